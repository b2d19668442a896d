//! The dataplane as its owner sees it: a handle on the thread that holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::{Desired, Error, Event, Snapshot};

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
    /// How to attach to them.
    pub mode: AttachMode,
    /// A directory on a bpffs in which links and maps are pinned, one per instance; `None` pins
    /// nothing, so that the dataplane ends with the process.
    pub pin_path: Option<PathBuf>,
    /// The fleet's key: nodes with the same key choose the same backends.
    pub hash_key: [u8; 16],
    /// Flows that one CPU can remember; rounded up to a power of two.
    pub flows_per_cpu: u32,
    /// For how long after a change of backends the flows unknown to this node are sent where
    /// they went before the change.
    pub settle_time: Duration,
}

/// A running dataplane.
#[derive(Debug)]
pub struct Dataplane {
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Dataplane {
    /// Loads the program, attaches it to the interfaces and starts the thread that owns it. It
    /// blocks, so call it outside of asynchronous code.
    ///
    /// # Errors
    /// Anything that keeps packets from being forwarded; nothing is left behind then.
    pub fn start(config: DataplaneConfig) -> Result<(Self, mpsc::UnboundedReceiver<Event>), Error> {
        if config.interfaces.is_empty() {
            return Err(Error::NoInterface);
        }
        let (_events, receiver) = mpsc::unbounded_channel();
        Ok((Self { snapshot: Arc::default() }, receiver))
    }

    /// Hands over the state wanted. Never blocks; of several calls in a row the newest wins.
    pub fn apply(&self, _seq: u64, _desired: Desired) {}

    /// State and counters as of about a second ago or the last change.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Stops the thread, and the forwarding too when so asked. It blocks.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn stop(self, _on_stop: OnStop) -> Result<(), Error> {
        Ok(())
    }
}

/// Removes whatever a dataplane with this pin path has left: links, and with them the program,
/// then the pinned maps and the directory.
///
/// # Errors
/// [`Error::PinPath`] when the path cannot be read or something in it cannot be removed.
pub fn detach(_pin_path: &Path) -> Result<(), Error> {
    Ok(())
}
