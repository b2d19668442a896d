//! From a configuration to a running worker, on the thread that will own it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use arc_swap::ArcSwap;
use tokio::sync::broadcast;
use tokio::sync::mpsc::UnboundedSender;

use super::mailbox::Mailbox;
use super::samples::Samples;
use super::worker::{self, Worker};
use super::{DataplaneConfig, NewFlow, Snapshot};
use crate::forwarding::{Forwarding, Setup};
use crate::loader::{self, Attachments, Beginning, Earlier, Loaded, Pins, check_permission};
use crate::maps::KernelTables;
use crate::neighbour::Network;
use crate::netlink::{Listener, Requests};
use crate::offload::{Ethtool, Offloads};
use crate::{Error, Event, clock};

/// What the thread and its owner have in common.
pub(super) struct Shares {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) events: UnboundedSender<Event>,
    pub(super) samples: broadcast::Sender<NewFlow>,
}

/// Closes the mailbox when the thread ends, however it does.
struct Closing(Arc<Mailbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The thread's whole life. Whether it has begun well is said through `started`.
pub(super) fn run(
    config: DataplaneConfig,
    shares: Shares,
    started: &SyncSender<Result<(), Error>>,
) -> Result<(), Error> {
    let _closing = Closing(Arc::clone(&shares.mailbox));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = Error::Io { what: "starting the dataplane's runtime", source };
            return report(started, Err(error));
        }
    };
    runtime.block_on(async {
        match prepare(&config, shares) {
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
fn prepare(config: &DataplaneConfig, shares: Shares) -> Result<Worker, Error> {
    check_permission()?;
    let mut requests = Requests::open().map_err(Error::io("opening a netlink socket"))?;
    let ethtool = Ethtool::open().map_err(Error::io("opening a socket for ethtool"))?;
    let mut offloads = Offloads::default();
    // Before attaching, as some drivers refuse a program while such an offload is on. And before
    // listening, as an interface's change tells of its program too, of which there is none yet.
    offloads.enforce(&network(config, &mut requests)?.topology, &ethtool);
    let listener = Listener::open().map_err(Error::io("listening to the kernel's netlink"))?;
    let network = network(config, &mut requests)?;
    let mut pins = config.pin_path.as_deref().map(Pins::open).transpose()?;
    let earlier = pins.as_ref().and_then(Earlier::find);
    let adoptable = match &earlier {
        Some(earlier) => earlier.is_adoptable(&loader::settings(config)?),
        None => false,
    };
    let adoptable = earlier.as_ref().filter(|_| adoptable);
    let Tables { mut loaded, mut forwarding, samples, mut beginning } =
        tables(config, &network, &mut pins, adoptable)?;
    tracing::info!(bytes = forwarding.tables().flow_memory(), "memory of the flow tables");
    let now = clock::coarse_ns();
    forwarding.top_up(now).map_err(|e| Error::Load(e.to_string()))?;

    let mut attachments =
        Attachments::attach(&mut loaded, &mut pins, &network.topology, config.mode)?;
    if let Some(pins) = &mut pins {
        replace(&mut loaded, &mut attachments, pins, &mut beginning)?;
    }
    let samples = Samples::new(samples, shares.samples)
        .map_err(Error::io("waiting for samples of new flows"))?;
    Ok(Worker::new(worker::Parts {
        mailbox: shares.mailbox,
        snapshot: shares.snapshot,
        events: shares.events,
        listener,
        requests,
        network,
        ethtool,
        offloads,
        pins,
        loaded,
        attachments,
        forwarding,
        samples,
    }))
}

fn network(config: &DataplaneConfig, requests: &mut Requests) -> Result<Network, Error> {
    let mut network = Network::new(config.interfaces.clone(), config.vlans.clone());
    for event in requests.dump().map_err(Error::io("reading links and addresses"))? {
        network.handle(event);
    }
    let missing = config.interfaces.iter().find(|name| network.topology.by_name(name).is_none());
    match missing {
        Some(missing) => Err(Error::UnknownInterface(missing.clone())),
        None => Ok(network),
    }
}

/// A loaded program and the forwarding state in its tables.
struct Tables {
    loaded: Loaded,
    forwarding: Forwarding<KernelTables>,
    samples: aya::maps::RingBuf<aya::maps::MapData>,
    beginning: Beginning,
}

/// Loads the program, over the tables of an earlier run if they can be taken over.
fn tables(
    config: &DataplaneConfig,
    network: &Network,
    pins: &mut Option<Pins>,
    earlier: Option<&Earlier>,
) -> Result<Tables, Error> {
    let loader::Parts { loaded, mut tables, samples, beginning } =
        Loaded::load(config, pins.as_mut(), earlier)?;
    let failed = |e: crate::maps::TableError| Error::Load(e.to_string());
    let topology = &network.topology;
    tables.set_interfaces(&topology.ports(), &topology.bonded()).map_err(failed)?;
    let setup = setup(config, &tables);
    let now = clock::coarse_ns();
    if matches!(beginning, Beginning::Fresh) {
        let forwarding = Forwarding::new(tables, setup);
        return Ok(Tables { loaded, forwarding, samples, beginning });
    }
    let found = tables.found().map_err(failed)?;
    match Forwarding::adopt(tables, setup, found, now) {
        Ok(mut forwarding) => {
            // Interfaces may have other numbers now, and neighbours other addresses.
            let backends = forwarding.backends();
            if let Err(error) = forwarding.refresh(&backends, network, now) {
                tracing::warn!(%error, "following the neighbours; it is tried again");
            }
            Ok(Tables { loaded, forwarding, samples, beginning })
        }
        Err(error) => {
            tracing::error!(%error, "the earlier run's tables cannot be taken over");
            if let Some(pins) = pins {
                pins.use_new_maps();
            }
            self::tables(config, network, pins, None)
        }
    }
}

fn setup(config: &DataplaneConfig, tables: &KernelTables) -> Setup {
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Setup {
        hash_key: config.hash_key,
        settle_ns: ns(config.settle_time),
        drain_ns: ns(config.drain_time),
        max_vips: tables.max_vips(),
        max_services: tables.max_services(),
        max_rings: tables.max_rings(),
        max_reals: tables.max_reals(),
    }
}

/// Puts the program in place of that of an earlier run, if its tables were taken over; else that
/// goes on until there is a state to forward by.
fn replace(
    loaded: &mut Loaded,
    attachments: &mut Attachments,
    pins: &mut Pins,
    beginning: &mut Beginning,
) -> Result<(), Error> {
    if let Beginning::Fresh = beginning {
        pins.keep();
        if attachments.is_swap_due() {
            tracing::info!("the earlier program forwards until all VIPs are ready");
        } else {
            // Such as a link to an interface that is not configured any more.
            pins.remove_older(&attachments.indices());
        }
        return Ok(());
    }
    if let Beginning::Copied(copied) = beginning {
        copied.again();
    }
    attachments.swap(loaded, pins)?;
    pins.keep();
    if let Beginning::Copied(copied) = beginning {
        copied.again();
        tracing::info!(
            records = copied.copied,
            lost = copied.lost,
            "flow records of the earlier run were copied into a table of another size"
        );
    } else {
        tracing::info!("the tables of the earlier run are used on: its flows stand");
    }
    Ok(())
}
