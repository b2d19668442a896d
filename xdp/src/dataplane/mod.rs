//! The dataplane as its owner sees it: a handle on the thread that holds it.

mod answer;
mod mailbox;
mod report;
mod samples;
mod start;
mod takeover;
mod worker;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::{broadcast, mpsc};

use crate::{
    Desired, Error, Event, FlowView, FlowsView, L4, MaglevView, NewFlow, Ports, Snapshot,
    TraceAnswer, TraceQuestion, Tuple, Way,
};
use answer::Question;
use mailbox::{Directions, Mailbox};

/// Sampled flows that wait for a slow reader.
const SAMPLES_WAITING: usize = 1024;

/// How the program is attached to interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// Native if the driver can, else generic with a warning.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's stack, which any interface can do, at several times the cost.
    Generic,
}

/// What becomes of the dataplane when its owner stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// It forwards on with the state it has, if it is pinned; unpinned it ends all the same.
    Keep,
    /// It is detached, and all that belongs to it is removed.
    Remove,
}

/// How to run a dataplane.
#[derive(Clone, Debug)]
pub struct DataplaneConfig {
    /// Names of the interfaces through which packets for VIPs come in.
    pub interfaces: Vec<String>,
    /// The subnets of the backends in each VLAN (1 to 4094) that comes tagged by these interfaces.
    /// A backend in one of them is reached in that VLAN, on a VLAN sub-interface of one of the
    /// interfaces, or not at all. For the others what the kernel has decides. An interface without
    /// sub-interfaces is no trunk if this is empty: tagged frames are none of ours then.
    pub vlans: BTreeMap<u16, Vec<IpNet>>,
    /// How to attach to them.
    pub mode: AttachMode,
    /// A directory on a bpffs in which links and maps are pinned, one per instance; `None` pins
    /// nothing, so that the dataplane ends with the process. It is made if it does not exist; a
    /// bpffs is mounted on `/sys/fs/bpf` if the path is below it and none is there.
    pub pin_path: Option<PathBuf>,
    /// The fleet's key: nodes with the same key choose the same backends.
    pub hash_key: [u8; 16],
    /// Flows that can be remembered, in all; rounded up to eight times a power of two.
    pub flows: u32,
    /// Pairs of service and backend for which there is room, each service's number rounded up to
    /// 16; at most 262,144.
    pub max_reals: u32,
    /// For how long after a change of backends the flows unknown to this node are sent where
    /// they went before the change.
    pub settle_time: Duration,
    /// For how long a backend that has left the desired state keeps the flows it has.
    pub drain_time: Duration,
    /// One in 2^n new flows, chosen by its hash, is told by [`Dataplane::samples`]; `None`: none.
    pub sample: Option<u8>,
}

/// A running dataplane. Dropping it is stopping it with [`OnStop::Keep`].
#[derive(Debug)]
pub struct Dataplane {
    mailbox: Arc<Mailbox>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    samples: broadcast::Sender<NewFlow>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Dataplane {
    /// Loads the program, attaches it to the interfaces and starts the thread that owns it. It
    /// blocks, so call it outside of asynchronous code.
    ///
    /// If an earlier run has left its pins, this one takes over. With the same hash key and layout of
    /// tables it goes on with those tables: flows, rings and services stand, and the program is
    /// replaced at once, by one stroke per interface. A flow table that is to have another size begins
    /// empty, and the program looks into the one before for the flows that it does not know, until the
    /// next start. With another key or layout nothing can be taken over: the earlier program
    /// forwards on with the state it had, until the first desired state for which every VIP could be
    /// served is in the tables, or 10 s have passed; until then every VIP is reported as not ready.
    ///
    /// # Errors
    /// Anything that keeps packets from being forwarded; nothing is left behind then.
    pub fn start(config: DataplaneConfig) -> Result<(Self, mpsc::UnboundedReceiver<Event>), Error> {
        if config.interfaces.is_empty() {
            return Err(Error::NoInterface);
        }
        let mailbox = Arc::new(Mailbox::default());
        let snapshot = Arc::new(ArcSwap::default());
        let (events, receiver) = mpsc::unbounded_channel();
        let samples = broadcast::Sender::new(SAMPLES_WAITING);
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        let shares = start::Shares {
            mailbox: Arc::clone(&mailbox),
            snapshot: Arc::clone(&snapshot),
            events,
            samples: samples.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("vc5-dataplane".into())
            .spawn(move || start::run(config, shares, &started))
            .map_err(Error::io("starting the dataplane thread"))?;
        match outcome.recv() {
            Ok(Ok(())) => Ok((Self { mailbox, snapshot, samples, thread: Some(thread) }, receiver)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::ThreadGone),
        }
    }

    /// Hands over the state wanted. Never blocks; of several calls in a row the newest wins.
    pub fn apply(&self, seq: u64, desired: Desired) {
        self.mailbox.put(seq, desired);
    }

    /// From now on these backends are reached as given, whatever the kernel knows of them, and all
    /// others as the kernel says. It blocks until what is given is in force; a flow goes on to its
    /// backend, by the new way. It is not waited for that the kernel resolves a backend which is left
    /// to it again: until then its flows go by the way they went before. What comes in tagged is for
    /// [`DataplaneConfig::vlans`] to say all the same.
    ///
    /// A state handed over that the dataplane has not come to yet is put in force after this.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an interface that is none of the dataplane's, [`Error::Question`] for
    /// a VLAN above 4094, for an address that is all zero or of a group, or when it could not be put in
    /// force as a whole; that is tried again.
    pub fn direct(&self, ways: BTreeMap<IpAddr, Way>) -> Result<(), Error> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.mailbox.direct(Directions { ways, reply });
        answer.recv().map_err(|_| Error::ThreadGone)?
    }

    /// State and counters as of about a second ago or the last change.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// What would become of a packet, and why: the program itself is asked, on the tables as they
    /// are, without writing to any of them. It blocks.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an interface that is none of the dataplane's, [`Error::Question`] for
    /// a packet that cannot be, or when the kernel does not run the program.
    pub fn trace(&self, question: TraceQuestion) -> Result<TraceAnswer, Error> {
        self.ask(|reply| Question::Trace(question, reply))
    }

    /// The ring of the service that has exactly these ports. It blocks.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such service.
    pub fn maglev(&self, vip: IpAddr, ports: Ports, l4: L4) -> Result<MaglevView, Error> {
        self.ask(|reply| Question::Maglev { vip, ports, protocol: l4, reply })
    }

    /// How the flow table is filled. It blocks, for as long as it takes to read that table.
    ///
    /// # Errors
    /// [`Error::Question`] when the table cannot be read.
    pub fn flows(&self) -> Result<FlowsView, Error> {
        // Counting takes as long as the table is large, and the dataplane has other things to do.
        Ok(self.ask(Question::Flows)?.count())
    }

    /// What is remembered of one flow. It blocks.
    ///
    /// # Errors
    /// [`Error::Question`] for addresses of two families.
    pub fn flow(&self, tuple: Tuple) -> Result<FlowView, Error> {
        self.ask(|reply| Question::Flow(tuple, reply))
    }

    /// New flows from now on, as [`DataplaneConfig::sample`] selects them. Who does not keep up
    /// loses the oldest and is told how many.
    pub fn samples(&self) -> broadcast::Receiver<NewFlow> {
        self.samples.subscribe()
    }

    /// Stops the thread, and the forwarding too when so asked. It blocks.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn stop(mut self, on_stop: OnStop) -> Result<(), Error> {
        self.end(on_stop)
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(SyncSender<Result<T, Error>>) -> Question,
    ) -> Result<T, Error> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.mailbox.ask(question(reply));
        answer.recv().map_err(|_| Error::ThreadGone)?
    }

    fn end(&mut self, on_stop: OnStop) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.mailbox.stop(on_stop);
        thread.join().map_err(|_| Error::ThreadGone)?
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        if let Err(error) = self.end(OnStop::Keep) {
            tracing::error!(%error, "stopping the dataplane");
        }
    }
}
