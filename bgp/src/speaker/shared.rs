//! What handle, listeners and neighbours' tasks share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use super::config::{LocalRoute, SpeakerError};
use super::driver::{self, AHEAD, Driver, PUBLISH_DELAY};
use super::flush::{Flush, Progress};
use super::snapshot::{PeerPublication, SpeakerSnapshot};
use super::{SpeakerEvent, listener, options, socket, task, ttl_filter};
use crate::policy::Changes;
use crate::rib::{Interner, LocRib, Origin, Route};
use crate::session::{LocalSpeaker, Password, Peer, PeerConfig};
use crate::wire::Attributes;

/// Prefixes handled under one hold of the lock.
pub(super) const CHUNK: usize = 500;
/// Neighbours that a withdrawal is written to by its caller alone.
const ALONE: usize = 32;
/// Events kept for a subscriber that does not read.
const EVENTS: usize = 256;
/// Accepted connections that wait for a neighbour's task.
const INCOMING: usize = 4;

/// What the owner wants of a neighbour.
#[derive(Debug)]
pub(super) enum Command {
    Configure(Arc<PeerConfig>),
    Enable,
    Disable(Option<String>),
    Restart(Option<String>),
    Refresh,
    Remove,
    Shutdown(Option<String>),
}

/// Prefixes whose best route changed and that a neighbour's task has not looked at yet. A set, so
/// that it is bounded by the size of the Loc-RIB.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    changed: Mutex<Changed>,
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
struct Changed {
    /// By our own doing: looked at first.
    local: BTreeSet<IpNet>,
    learned: BTreeSet<IpNet>,
}

/// A neighbour's task as the others see it.
#[derive(Debug)]
struct PeerHandle {
    config: Arc<PeerConfig>,
    commands: mpsc::UnboundedSender<Command>,
    incoming: mpsc::Sender<TcpStream>,
    mailbox: Arc<Mailbox>,
    /// Its task's; when that is gone, so is this.
    driver: Weak<Mutex<Driver>>,
    progress: watch::Receiver<Progress>,
    published: Arc<ArcSwap<PeerPublication>>,
    task: JoinHandle<()>,
}

/// A socket that listens and its task.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    task: JoinHandle<()>,
}

/// Everything under the lock.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub(super) rib: LocRib,
    sets: Interner<Attributes>,
    /// Counts the changes of our own routes.
    sequence: u64,
    peers: BTreeMap<String, PeerHandle>,
    /// Removed neighbours whose farewell may still be under way.
    leaving: Vec<JoinHandle<()>>,
    listeners: Vec<Listener>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) local: LocalSpeaker,
    runtime: Handle,
    core: Mutex<Core>,
    events: broadcast::Sender<SpeakerEvent>,
    /// Grows with everything that a snapshot shows.
    version: AtomicU64,
    snapshot: ArcSwapOption<(u64, Arc<SpeakerSnapshot>)>,
    /// Connections from addresses that are no neighbour's.
    pub(super) refused: AtomicU64,
}

/// A lock whose holder panicked guards plain data that is still sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A neighbour that has been told of a change, as far as its mailbox.
struct Told {
    mailbox: Arc<Mailbox>,
    driver: Weak<Mutex<Driver>>,
}

/// Wakes the neighbours' tasks. The first thing they do is to take the lock: whoever holds it then makes
/// all of them wait.
fn wake(told: &[Told]) {
    told.iter().for_each(|peer| peer.mailbox.wake.notify_one());
}

/// Wakes tasks that have nothing to do but to draw a picture. At once they would compete with whatever the
/// withdrawal sets off.
fn wake_later(runtime: &Handle, told: Vec<Told>) {
    if !told.is_empty() {
        runtime.spawn(async move {
            tokio::time::sleep(PUBLISH_DELAY).await;
            wake(&told);
        });
    }
}

/// Writes withdrawals to neighbours whose tasks are not just acting, as far as that needs no waiting. The
/// tasks of the others see to theirs.
fn write_ahead(runtime: &Handle, mut next: impl FnMut() -> Option<Told>) {
    let now = Instant::now();
    let mut written = Vec::new();
    while let Some(peer) = next() {
        let Some(driver) = peer.driver.upgrade() else { continue };
        if driver.try_lock().is_ok_and(|mut driver| driver.write_ahead(now)) {
            written.push(peer);
        } else {
            peer.mailbox.wake.notify_one();
        }
    }
    wake_later(runtime, written);
}

impl Shared {
    pub(super) fn new(local: LocalSpeaker, runtime: Handle) -> Self {
        Self {
            local,
            runtime,
            core: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
            version: AtomicU64::new(0),
            snapshot: ArcSwapOption::empty(),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    pub(super) fn add_listener(self: &Arc<Self>, listener: TcpListener) {
        let Ok(address) = listener.local_addr() else { return };
        let socket = Arc::new(listener);
        let task = self.runtime.spawn(listener::run(self.clone(), socket.clone()));
        self.core().listeners.push(Listener { address, socket, task });
    }

    pub(super) fn listen_addresses(&self) -> Vec<SocketAddr> {
        self.core().listeners.iter().map(|listener| listener.address).collect()
    }

    pub(super) fn set_peer(self: &Arc<Self>, config: Arc<PeerConfig>) -> Result<(), SpeakerError> {
        let mut core = self.core();
        if core.closed {
            return Err(SpeakerError::Closed);
        }
        let twin = |peer: &&PeerHandle| {
            let scope = |config: &PeerConfig| {
                let scoped = socket::is_link_local(config.neighbor);
                config.interface.clone().filter(|_| scoped)
            };
            peer.config.neighbor == config.neighbor
                && scope(&peer.config) == scope(&config)
                && peer.config.name != config.name
        };
        if let Some(twin) = core.peers.values().find(twin) {
            return Err(SpeakerError::InvalidPeer {
                name: config.name.clone(),
                reason: format!("{} is {}'s address already", config.neighbor, twin.config.name),
            });
        }
        core.filter_ttls(Some(&config))?;
        if let Err(error) = core.exchange_passwords(&config) {
            // As it was, which the kernel took before.
            let _ = core.filter_ttls(None);
            return Err(error);
        }
        match core.peers.get_mut(&config.name) {
            Some(peer) if *peer.config == *config => {}
            Some(peer) => {
                peer.config = config.clone();
                // A task that is gone was removed, and is not in the map any more.
                let _ = peer.commands.send(Command::Configure(config));
            }
            None => {
                let handle = self.spawn(config.clone());
                core.peers.insert(config.name.clone(), handle);
            }
        }
        drop(core);
        self.changed();
        Ok(())
    }

    fn spawn(self: &Arc<Self>, config: Arc<PeerConfig>) -> PeerHandle {
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        let peer = Peer::new(Instant::now(), self.local, config.clone(), seed);
        let (commands, receive_commands) = mpsc::unbounded_channel();
        let (incoming, receive_incoming) = mpsc::channel(INCOMING);
        let (send_progress, progress) = watch::channel(Progress::default());
        let mailbox = Arc::new(Mailbox::default());
        let published = Arc::new(ArcSwap::from_pointee(PeerPublication::of(&peer, None)));
        let channels = driver::Channels {
            mailbox: mailbox.clone(),
            progress: send_progress,
            published: published.clone(),
        };
        let owned = Arc::new(Mutex::new(Driver::new(self.clone(), peer, channels)));
        let driver = Arc::downgrade(&owned);
        let inputs = task::Inputs { commands: receive_commands, incoming: receive_incoming };
        let task = self.runtime.spawn(task::run(owned, mailbox.clone(), inputs));
        PeerHandle { config, commands, incoming, mailbox, driver, progress, published, task }
    }

    /// A neighbour's driver, behind the back of its task.
    #[cfg(test)]
    pub(super) fn driver(&self, name: &str) -> Option<Arc<Mutex<Driver>>> {
        self.core().peers.get(name)?.driver.upgrade()
    }

    pub(super) fn remove_peer(&self, name: &str) {
        let mut core = self.core();
        if let Some(peer) = core.peers.remove(name) {
            core.forget_password(&peer.config);
            // A shorter program than the one that the kernel took before.
            let _ = core.filter_ttls(None);
            let _ = peer.commands.send(Command::Remove);
            core.leaving.retain(|task| !task.is_finished());
            core.leaving.push(peer.task);
        }
        drop(core);
        self.changed();
    }

    pub(super) fn command(&self, name: &str, command: Command) -> Result<(), SpeakerError> {
        let core = self.core();
        let peer = core.peers.get(name);
        let peer = peer.ok_or_else(|| SpeakerError::UnknownPeer(name.to_owned()))?;
        peer.commands.send(command).map_err(|_| SpeakerError::Closed)
    }

    /// Hands an accepted connection to the neighbour of that address. False if there is none.
    pub(super) fn hand_over(&self, remote: &SocketAddr, stream: TcpStream) -> bool {
        let core = self.core();
        let peer = core.peers.values().find(|peer| socket::is_from(&peer.config, remote));
        // A neighbour that dials faster than its task can look is told by the closed connection.
        peer.is_some_and(|peer| peer.incoming.try_send(stream).is_ok())
    }

    pub(super) fn announce(&self, route: LocalRoute) {
        let prefix = route.prefix.trunc();
        let mut core = self.core();
        if core.closed {
            return;
        }
        let attributes = core.sets.intern(Attributes {
            med: route.med,
            communities: route.communities,
            ..Attributes::default()
        });
        let tag: Option<Arc<str>> = route.tag.map(Into::into);
        let last = (route.last != Changes::default()).then(|| Arc::new(route.last));
        let same = core.rib.local(&prefix).is_some_and(|known| {
            let Origin::Local { tag: old_tag, last: old_last } = &known.origin else {
                return false;
            };
            *old_tag == tag && *old_last == last && known.attributes == attributes
        });
        if same {
            return;
        }
        let origin = Origin::Local { tag, last };
        let route = Route { origin, attributes, next_hop: None, path_id: 0, since: Instant::now() };
        core.rib.insert(prefix, route);
        let told = core.tell_local(&[prefix]);
        drop(core);
        wake(&told);
        self.changed();
    }

    pub(super) fn withdraw(&self, prefix: IpNet) -> Flush {
        self.withdraw_set(&[prefix.trunc()])
    }

    pub(super) fn withdraw_all(&self) -> Flush {
        let prefixes: Vec<IpNet> =
            self.core().rib.iter_local().map(|(prefix, _)| *prefix).collect();
        self.withdraw_set(&prefixes)
    }

    fn withdraw_set(&self, prefixes: &[IpNet]) -> Flush {
        let mut core = self.core();
        for prefix in prefixes {
            core.rib.remove(prefix, None, 0);
        }
        let told = core.tell_local(prefixes);
        let peers = core.peers.values().map(|peer| peer.progress.clone()).collect();
        let flush = Flush::new(core.sequence, peers);
        drop(core);
        self.send(prefixes.len(), told);
        self.changed();
        flush
    }

    /// Has so many withdrawals sent. To few neighbours the caller writes all; if there are many, a task helps,
    /// from the other end. One task: to wake each neighbour's costs more than to write for it.
    fn send(&self, withdrawals: usize, told: Vec<Told>) {
        if withdrawals > AHEAD {
            return wake(&told);
        }
        let many = told.len() > ALONE;
        let line = Arc::new(Mutex::new(VecDeque::from(told)));
        if many {
            let (runtime, line) = (self.runtime.clone(), line.clone());
            self.runtime.spawn(async move { write_ahead(&runtime, || lock(&line).pop_back()) });
        }
        write_ahead(&self.runtime, || lock(&line).pop_front());
    }

    /// Ends everything; returns the tasks that say farewell.
    pub(super) fn close(&self, message: Option<&str>) -> Vec<JoinHandle<()>> {
        let mut core = self.core();
        core.closed = true;
        let mut tasks = std::mem::take(&mut core.leaving);
        for listener in core.listeners.drain(..).collect::<Vec<_>>() {
            listener.task.abort();
            tasks.push(listener.task);
        }
        for peer in std::mem::take(&mut core.peers).into_values() {
            let _ = peer.commands.send(Command::Shutdown(message.map(str::to_owned)));
            tasks.push(peer.task);
        }
        tasks
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<SpeakerEvent> {
        self.events.subscribe()
    }

    pub(super) fn emit(&self, event: SpeakerEvent) {
        // Nobody listens: nobody wants to know.
        let _ = self.events.send(event);
    }

    /// Something that a snapshot shows has changed.
    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn snapshot(&self) -> Arc<SpeakerSnapshot> {
        let version = self.version.load(Ordering::Acquire);
        if let Some(cached) = &*self.snapshot.load()
            && cached.0 == version
        {
            return cached.1.clone();
        }
        let snapshot = Arc::new(SpeakerSnapshot::take(self));
        self.snapshot.store(Some(Arc::new((version, snapshot.clone()))));
        snapshot
    }

    /// What the neighbours' tasks published, by name.
    pub(super) fn publications(&self) -> BTreeMap<String, Arc<PeerPublication>> {
        let core = self.core();
        core.peers.iter().map(|(name, peer)| (name.clone(), peer.published.load_full())).collect()
    }

    /// All best routes, copied piece by piece so that the lock is never held for long. What changes
    /// meanwhile is in the mailbox. Returns the last of our own changes that is surely included.
    pub(super) fn all_best(&self, mailbox: &Mailbox) -> (u64, Vec<(IpNet, Route)>) {
        let mut core = self.core();
        mailbox.clear();
        let sequence = core.sequence;
        let mut all: Vec<(IpNet, Route)> = Vec::new();
        loop {
            let from = all.last().map_or(Bound::Unbounded, |(last, _)| Bound::Excluded(*last));
            let known = all.len();
            let piece = core.rib.iter_best_from(from).take(CHUNK);
            all.extend(piece.map(|(prefix, route)| (*prefix, route.clone())));
            drop(core);
            if all.len() < known + CHUNK {
                return (sequence, all);
            }
            core = self.core();
        }
    }
}

impl Core {
    /// Tells the listening sockets whose packets must have come from near, with the neighbour that is about to
    /// be set.
    fn filter_ttls(&self, set: Option<&PeerConfig>) -> Result<(), SpeakerError> {
        let others = self.peers.values().map(|peer| &*peer.config);
        let others = others.filter(|peer| set.is_none_or(|set| set.name != peer.name));
        let rules: Vec<(IpAddr, u8)> = others
            .chain(set)
            // No router passes on what has a link-local source.
            .filter(|peer| !socket::is_link_local(peer.neighbor))
            .filter_map(|peer| Some((peer.neighbor, socket::least_ttl(peer)?)))
            .collect();
        for listener in &self.listeners {
            let ipv4 = listener.address.is_ipv4();
            let rules: Vec<_> =
                rules.iter().filter(|(address, _)| address.is_ipv4() == ipv4).copied().collect();
            ttl_filter::attach(&*listener.socket, &rules).map_err(|error| {
                SpeakerError::InvalidPeer {
                    name: set.map(|set| set.name.clone()).unwrap_or_default(),
                    reason: format!("TTL security: {}", socket::describe(&error)),
                }
            })?;
        }
        Ok(())
    }

    /// Tells the listening sockets a neighbour's key before it is used.
    fn exchange_passwords(&self, config: &PeerConfig) -> Result<(), SpeakerError> {
        let old = self.peers.get(&config.name).map(|peer| &*peer.config);
        if let Some(old) = old.filter(|old| old.neighbor != config.neighbor) {
            self.forget_password(old);
        }
        let known = old.is_some_and(|old| {
            (old.neighbor, &old.password) == (config.neighbor, &config.password)
        });
        if known || old.is_none() && config.password.is_none() {
            return Ok(());
        }
        self.set_password(config.neighbor, config.password.as_ref()).map_err(|error| {
            SpeakerError::InvalidPeer {
                name: config.name.clone(),
                reason: format!("TCP MD5 signatures: {}", socket::describe(&error)),
            }
        })
    }

    fn forget_password(&self, config: &PeerConfig) {
        if config.password.is_some()
            && let Err(error) = self.set_password(config.neighbor, None)
        {
            tracing::warn!(target: "bgp", peer = %config.name, %error, "cannot forget the key");
        }
    }

    fn set_password(&self, neighbor: IpAddr, password: Option<&Password>) -> io::Result<()> {
        let same_family = |listener: &&Listener| listener.address.is_ipv4() == neighbor.is_ipv4();
        self.listeners
            .iter()
            .filter(same_family)
            .try_for_each(|listener| options::set_password(&*listener.socket, neighbor, password))
    }

    /// Puts our own changes before all neighbours, who are still to be woken.
    fn tell_local(&mut self, prefixes: &[IpNet]) -> Vec<Told> {
        self.sequence += 1;
        let mut told = Vec::with_capacity(self.peers.len());
        for peer in self.peers.values() {
            lock(&peer.mailbox.changed).local.extend(prefixes);
            told.push(Told { mailbox: peer.mailbox.clone(), driver: peer.driver.clone() });
        }
        told
    }

    /// Puts changes that came from one neighbour before the others.
    pub(super) fn tell_learned(&self, from: &str, prefixes: &[IpNet]) {
        for (_, peer) in self.peers.iter().filter(|(name, _)| *name != from) {
            lock(&peer.mailbox.changed).learned.extend(prefixes);
            peer.mailbox.wake.notify_one();
        }
    }

    /// Takes what one neighbour has not seen yet, `limit` at most, our own changes first. The number
    /// is that of the last of our own changes if all of those are included.
    pub(super) fn take_changed(
        &self,
        mailbox: &Mailbox,
        limit: usize,
    ) -> (Option<u64>, Vec<(IpNet, Option<Route>)>) {
        let mut changed = lock(&mailbox.changed);
        let mut taken: Vec<IpNet> = Vec::new();
        while taken.len() < limit
            && let Some(prefix) = changed.local.pop_first()
        {
            taken.push(prefix);
        }
        let sequence = changed.local.is_empty().then_some(self.sequence);
        while taken.len() < limit
            && let Some(prefix) = changed.learned.pop_first()
        {
            taken.push(prefix);
        }
        let look = |prefix: IpNet| (prefix, self.rib.best(&prefix).cloned());
        (sequence, taken.into_iter().map(look).collect())
    }
}

impl Mailbox {
    fn clear(&self) {
        *lock(&self.changed) = Changed::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        let changed = lock(&self.changed);
        changed.local.is_empty() && changed.learned.is_empty()
    }
}
