//! From a configuration to a running worker, on the thread that will own it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;

use super::mailbox::Mailbox;
use super::worker::Worker;
use super::{DataplaneConfig, Snapshot};
use crate::forwarding::{Forwarding, Setup};
use crate::loader::{Attachments, Loaded, Pins, check_permission};
use crate::neighbour::Network;
use crate::netlink::{Listener, Requests};
use crate::offload::{Ethtool, Offloads};
use crate::{Error, Event, clock};

/// The thread's whole life. Whether it has begun well is said through `started`.
pub(super) fn run(
    config: DataplaneConfig,
    mailbox: Arc<Mailbox>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    events: UnboundedSender<Event>,
    started: &SyncSender<Result<(), Error>>,
) -> Result<(), Error> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = Error::Io { what: "starting the dataplane's runtime", source };
            return report(started, Err(error));
        }
    };
    runtime.block_on(async {
        match prepare(&config, mailbox, snapshot, events) {
            Ok(worker) => {
                report(started, Ok(()))?;
                worker.run().await
            }
            Err(error) => report(started, Err(error)),
        }
    })
}

fn report(
    started: &SyncSender<Result<(), Error>>,
    outcome: Result<(), Error>,
) -> Result<(), Error> {
    started.send(outcome).map_err(|_| Error::ThreadGone)
}

/// Loads and attaches. Whatever was made is undone by dropping it if a later step fails, and the
/// interfaces come last, so that a packet meets a program that has all it needs.
fn prepare(
    config: &DataplaneConfig,
    mailbox: Arc<Mailbox>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    events: UnboundedSender<Event>,
) -> Result<Worker, Error> {
    check_permission()?;
    let listener = Listener::open().map_err(Error::io("listening to the kernel's netlink"))?;
    let mut requests = Requests::open().map_err(Error::io("opening a netlink socket"))?;
    let mut network = Network::new(config.interfaces.clone(), config.vlans.clone());
    for event in requests.dump().map_err(Error::io("reading links and addresses"))? {
        network.handle(event);
    }
    if let Some(missing) =
        config.interfaces.iter().find(|name| network.topology.by_name(name).is_none())
    {
        return Err(Error::UnknownInterface(missing.clone()));
    }

    let mut pins = config.pin_path.as_deref().map(Pins::open).transpose()?;
    let (mut loaded, mut tables) = Loaded::load(config, pins.as_mut())?;
    let ports = network.topology.ports();
    tables.set_interfaces(&ports).map_err(|e| Error::Load(e.to_string()))?;

    let setup = Setup {
        hash_key: config.hash_key,
        settle_ns: u64::try_from(config.settle_time.as_nanos()).unwrap_or(u64::MAX),
        max_services: tables.max_services(),
        max_rings: tables.max_rings(),
    };
    let mut forwarding = Forwarding::new(tables, setup);
    forwarding.top_up(clock::coarse_ns()).map_err(|e| Error::Load(e.to_string()))?;

    // Before attaching, as some drivers refuse a program while such an offload is on.
    let ethtool = Ethtool::open().map_err(Error::io("opening a socket for ethtool"))?;
    let mut offloads = Offloads::default();
    offloads.enforce(&network.topology, &ethtool);
    let attachments = Attachments::attach(&mut loaded, &mut pins, &network.topology, config.mode)?;
    if let Some(pins) = &mut pins {
        pins.keep();
        if attachments.is_swap_due() {
            tracing::info!(
                "the earlier program forwards until all VIPs are ready; its flow records are not \
                 taken over yet, so its connections go by the rings then"
            );
        } else {
            // Such as a link to an interface that is not configured any more.
            pins.remove_older(&attachments.indices());
        }
    }
    Ok(Worker::new(super::worker::Parts {
        mailbox,
        snapshot,
        events,
        listener,
        requests,
        network,
        ethtool,
        offloads,
        pins,
        loaded,
        attachments,
        forwarding,
    }))
}
