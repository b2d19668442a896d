//! What one neighbour's task does: drives its [`Peer`] with sockets and the clock.
//!
//! All of it is synchronous and stands behind a lock of its own. The neighbour's task holds that while it
//! acts, never while it waits, so that whoever withdraws a route can write the withdrawal himself instead of
//! waking the task first ([`Driver::write_ahead`]).

mod sending;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::SpeakerEvent;
use super::flush::Progress;
use super::link::Link;
use super::shared::{CHUNK, Command, Mailbox, Shared};
use super::snapshot::PeerPublication;
use super::{interface, options, socket, ttl_filter};
use crate::rib::{PathKey, Route};
use crate::session::{Event, Peer, PeerConfig, PeerEvent, Reason, Role, StopCause};
pub(super) use sending::AHEAD;

/// Octets read at once.
const READ: usize = 64 * 1024;
/// Reads at most after a write that failed.
const LAST_READS: usize = 64;
/// Pictures for readers are not drawn more often than this, nor for more than a twentieth of the time.
const PUBLISH: Duration = Duration::from_millis(50);
/// Nor before this time after a change of routes: then every neighbour's task is writing the same change, and
/// a picture drawn by one is a delay of the next one's message.
pub(super) const PUBLISH_DELAY: Duration = Duration::from_millis(10);

type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

thread_local! {
    /// Where reads go: one for each thread, as what is in it is used up before the next read.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// The driver's ends of what connects it with the rest.
pub(super) struct Channels {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) published: Arc<ArcSwap<PeerPublication>>,
}

/// A neighbour with its sockets.
pub(super) struct Driver {
    shared: Arc<Shared>,
    name: String,
    peer: Peer,
    channels: Channels,
    dialling: Option<Dialling>,
    outgoing: Option<Link>,
    incoming: Option<Link>,
    farewells: JoinSet<()>,
    /// The last of our own changes that is in the Adj-RIB-Out.
    taken: u64,
    /// Changes whose withdrawals are in the session's link up to that octet, oldest first.
    marks: VecDeque<(u64, u64)>,
    /// There is more to do without anything happening.
    more: bool,
    /// When somebody last wrote a withdrawal ahead of the task.
    ahead_at: Option<Instant>,
    /// What went wrong then; the task is to act on it.
    ahead_error: Option<(Role, io::Error)>,
    publish_at: Option<Instant>,
    not_before: Instant,
    message: Option<String>,
    /// The last failure told.
    last_failure: Option<String>,
    leaving: bool,
}

/// What woke the task.
pub(super) enum Wake {
    Command(Option<Command>),
    Incoming(TcpStream),
    Dialled(io::Result<TcpStream>),
    Readable(Role),
    /// A timer, room for writing, changed routes: everything is looked after in each round anyway.
    Round,
}

/// What the task is to wait for besides events.
pub(super) struct Plan {
    /// Until then at most.
    pub(super) at: Option<Instant>,
    /// There is more to do without anything happening.
    pub(super) more: bool,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, peer: Peer, channels: Channels) -> Self {
        Self {
            shared,
            name: peer.config().name.clone(),
            peer,
            channels,
            dialling: None,
            outgoing: None,
            incoming: None,
            farewells: JoinSet::new(),
            taken: 0,
            marks: VecDeque::new(),
            more: false,
            ahead_at: None,
            ahead_error: None,
            publish_at: None,
            not_before: Instant::now(),
            message: None,
            last_failure: None,
            leaving: false,
        }
    }

    pub(super) fn start(&mut self) -> Plan {
        self.handle(Event::Start);
        self.round()
    }

    /// Acts on what woke the task; `None` when that is to end.
    pub(super) fn act(&mut self, wake: Wake) -> Option<Plan> {
        if let Some((role, error)) = self.ahead_error.take() {
            self.write_failed(role, &error);
        }
        match wake {
            Wake::Command(command) => self.obey(command),
            Wake::Incoming(stream) => self.accept(stream),
            Wake::Dialled(result) => self.dialled(result),
            Wake::Readable(role) => {
                self.read(role);
            }
            Wake::Round => {}
        }
        if self.peer.poll_timeout().is_some_and(|at| at <= Instant::now()) {
            // What has arrived in time must not be late because this task was.
            for role in Role::ALL {
                self.read(role);
            }
            self.peer.handle_timeout(Instant::now());
            self.settle();
        }
        (!self.leaving).then(|| self.round())
    }

    /// The farewells still under way, for the end of the task.
    pub(super) fn farewells(&mut self) -> JoinSet<()> {
        std::mem::take(&mut self.farewells)
    }

    /// Everything that can be done without waiting, the urgent first.
    fn round(&mut self) -> Plan {
        self.take_changes();
        self.more = false;
        for role in Role::ALL {
            self.more |= self.pump(role);
        }
        self.publish();
        let timer = self.peer.poll_timeout();
        Plan {
            at: timer.into_iter().chain(self.publish_at).min(),
            more: self.more || !self.channels.mailbox.is_empty(),
        }
    }

    /// Whether a socket asks for something.
    pub(super) fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if let Some(dialling) = &mut self.dialling
            && let Poll::Ready(result) = dialling.as_mut().poll(cx)
        {
            return Poll::Ready(Wake::Dialled(result));
        }
        let links = [(Role::Outgoing, &self.outgoing), (Role::Incoming, &self.incoming)];
        let links = links.into_iter().filter_map(|(role, link)| Some((role, link.as_ref()?)));
        for (role, link) in links.clone() {
            // An error is found again by the read that follows.
            if link.stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready(Wake::Readable(role));
            }
        }
        for (_, link) in links {
            if !link.is_empty() && link.stream.poll_write_ready(cx).is_ready() {
                return Poll::Ready(Wake::Round);
            }
        }
        Poll::Pending
    }

    fn obey(&mut self, command: Option<Command>) {
        let stop = |cause, message| Event::Stop { cause, message };
        match command {
            Some(Command::Configure(config)) => {
                self.change_password(self.peer.config(), &config);
                let restarted = self.peer.reconfigure(Instant::now(), config);
                self.settle();
                if !restarted {
                    self.export_all();
                }
            }
            Some(Command::Enable) => self.handle(Event::Start),
            Some(Command::Disable(message)) => {
                self.handle(stop(StopCause::Shutdown, message.as_deref()));
                self.message = message;
            }
            Some(Command::Restart(message)) => {
                self.handle(stop(StopCause::Reset, message.as_deref()));
                self.handle(Event::Start);
                self.message = message;
            }
            Some(Command::Refresh) => self.handle(Event::Refresh),
            Some(Command::Remove) | None => {
                self.handle(stop(StopCause::Deconfigured, None));
                self.leaving = true;
            }
            Some(Command::Shutdown(message)) => {
                self.handle(stop(StopCause::Shutdown, message.as_deref()));
                self.leaving = true;
            }
        }
        self.publish_now();
    }

    fn accept(&mut self, stream: TcpStream) {
        let config = self.peer.config();
        let ours = config.source_address.is_none_or(|source| {
            stream.local_addr().is_ok_and(|local| local.ip().to_canonical() == source)
        });
        if ours
            && self.peer.accepts_incoming()
            && socket::prepare(&stream, &self.shared.local, config).is_ok()
            // From here on the options do it.
            && ttl_filter::detach(&stream).is_ok()
        {
            self.connected(Role::Incoming, stream);
        }
    }

    /// A changed key holds for what stands too: a session outlives the change if both ends make it
    /// within the time that TCP goes on trying.
    fn change_password(&self, old: &PeerConfig, new: &PeerConfig) {
        if old.password == new.password {
            return;
        }
        for link in [&self.outgoing, &self.incoming].into_iter().flatten() {
            let (neighbor, key) = (new.neighbor, new.password.as_ref());
            if let Err(error) = options::set_password(&link.stream, neighbor, key) {
                tracing::error!(target: "bgp", peer = %self.name, %error, "cannot change the key");
            }
        }
    }

    fn dialled(&mut self, result: io::Result<TcpStream>) {
        self.dialling = None;
        match result {
            Ok(stream) => self.connected(Role::Outgoing, stream),
            Err(error) => self.failed(Role::Outgoing, &socket::describe(&error)),
        }
    }

    fn connected(&mut self, role: Role, stream: TcpStream) {
        let local = stream.local_addr().map(|address| address.ip().to_canonical());
        let local: IpAddr = match local {
            Ok(local) => local,
            Err(error) => return self.failed(role, &socket::describe(&error)),
        };
        *self.link_mut(role) = Some(Link::new(stream));
        let interface = interface::of(local);
        self.handle(Event::TcpConnected { role, local, interface: &interface });
    }

    fn failed(&mut self, role: Role, error: &str) {
        self.handle(Event::TcpFailed { role, error });
    }

    /// Writing failed. What the neighbour said before tells more than that: a NOTIFICATION decides what
    /// becomes of its routes.
    fn write_failed(&mut self, role: Role, error: &io::Error) {
        for _ in 0..LAST_READS {
            if !self.read(role) {
                break;
            }
        }
        if self.link_mut(role).is_some() {
            self.failed(role, &socket::describe(error));
        }
    }

    /// Reads once what is there; true if there was something.
    fn read(&mut self, role: Role) -> bool {
        BUFFER.with_borrow_mut(|buffer| self.read_into(role, buffer))
    }

    fn read_into(&mut self, role: Role, buffer: &mut [u8]) -> bool {
        let Some(link) = self.link_mut(role) else { return false };
        match link.stream.try_read(buffer) {
            Ok(0) => self.failed(role, "Connection closed"),
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                self.handle(Event::Received { role, bytes });
                self.publish_soon();
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.failed(role, &socket::describe(&error)),
        }
        false
    }

    fn handle(&mut self, event: Event<'_>) {
        self.peer.handle(Instant::now(), event);
        self.settle();
    }

    /// Does what the peer asks for, until it asks for nothing more.
    fn settle(&mut self) {
        let mut changes = Vec::new();
        let mut down = false;
        while let Some(event) = self.peer.poll_event() {
            self.publish_soon();
            match event {
                PeerEvent::Dial => {
                    let (local, config) = (self.shared.local, self.peer.config().clone());
                    self.dialling =
                        Some(Box::pin(async move { socket::dial(local, &config).await }));
                }
                PeerEvent::Close(role) => self.close(role),
                PeerEvent::StateChanged { from, to } => {
                    tracing::debug!(target: "bgp", peer = %self.name, %from, %to, "state");
                    self.publish_now();
                }
                PeerEvent::Established => self.established(),
                PeerEvent::Down { reason, retained } => {
                    down = true;
                    if !retained {
                        changes.clear();
                        self.unlearn();
                    }
                    self.down(reason.as_ref());
                }
                PeerEvent::Error(reason) if !down => self.note_error(&reason),
                PeerEvent::Error(_) => {}
                PeerEvent::Learned(prefix, route) => {
                    changes.push(((prefix, route.path_id), Some(route)));
                }
                PeerEvent::Unlearned(prefix, path_id) => changes.push(((prefix, path_id), None)),
            }
        }
        self.learn(changes);
    }

    /// Brings learned routes into the Loc-RIB and before the other neighbours, in pieces.
    fn learn(&mut self, changes: Vec<(PathKey, Option<Route>)>) {
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            let mut core = self.shared.core();
            let mut best = Vec::new();
            for ((prefix, path_id), route) in changes.by_ref().take(CHUNK) {
                let changed = match route {
                    Some(route) => core.rib.insert(prefix, route),
                    None => core.rib.remove(&prefix, Some(&self.name), path_id),
                };
                if changed {
                    best.push(prefix);
                }
            }
            core.tell_learned(&self.name, &best);
        }
    }

    /// Takes everything the neighbour taught us out of the Loc-RIB, in pieces.
    fn unlearn(&mut self) {
        let mut from = Bound::Unbounded;
        loop {
            let mut core = self.shared.core();
            let (best, next) = core.rib.remove_peer(&self.name, from, CHUNK);
            core.tell_learned(&self.name, &best);
            match next {
                Some(last) => from = Bound::Excluded(last),
                None => return,
            }
        }
    }

    fn established(&mut self) {
        tracing::info!(target: "bgp", peer = %self.name, "session established");
        self.last_failure = None;
        self.marks.clear();
        // Before the routes are read: a withdrawal from now on waits for this neighbour.
        self.channels.progress.send_modify(|progress| progress.established = true);
        self.export_all();
        let flushed = self.taken;
        self.channels.progress.send_modify(|progress| progress.flushed = flushed);
        self.shared.emit(SpeakerEvent::Established { peer: self.name.clone() });
    }

    fn down(&mut self, reason: Option<&Reason>) {
        let reason = reason.map(ToString::to_string);
        let text = reason.as_deref().unwrap_or("administrative");
        tracing::warn!(target: "bgp", peer = %self.name, reason = text, "session down");
        self.marks.clear();
        self.channels.progress.send_modify(|progress| progress.established = false);
        self.shared.emit(SpeakerEvent::Down { peer: self.name.clone(), reason });
    }

    /// An attempt failed. The same again and again is told once.
    fn note_error(&mut self, reason: &Reason) {
        let text = reason.to_string();
        if self.last_failure.as_ref() == Some(&text) {
            tracing::debug!(target: "bgp", peer = %self.name, reason = text, "no session yet");
            return;
        }
        tracing::info!(target: "bgp", peer = %self.name, reason = text, "no session yet");
        self.last_failure = Some(text.clone());
        self.shared.emit(SpeakerEvent::Failed { peer: self.name.clone(), reason: text });
    }

    /// Sends what is left to say, then closes.
    fn close(&mut self, role: Role) {
        if role == Role::Outgoing {
            self.dialling = None;
        }
        let link = self.link_mut(role).take();
        let mut rest = Vec::new();
        while let Some(bytes) = self.peer.poll_transmit(role) {
            rest.extend_from_slice(&bytes);
        }
        if let Some(mut link) = link {
            link.queue(&rest);
            // The first attempt is made at once, so that the words are out before anything else.
            if link.is_empty() || link.write().is_ok() {
                self.farewells.spawn(link.farewell());
            }
        }
        while self.farewells.try_join_next().is_some() {}
    }

    fn link_mut(&mut self, role: Role) -> &mut Option<Link> {
        match role {
            Role::Outgoing => &mut self.outgoing,
            Role::Incoming => &mut self.incoming,
        }
    }

    fn publish_soon(&mut self) {
        self.publish_at.get_or_insert_with(|| self.not_before.max(Instant::now() + PUBLISH_DELAY));
    }

    fn publish_now(&mut self) {
        self.publish_at = Some(Instant::now());
    }

    /// Draws the picture for readers when it is due.
    fn publish(&mut self) {
        let start = Instant::now();
        if self.publish_at.is_none_or(|at| at > start) {
            return;
        }
        let publication = PeerPublication::of(&self.peer, self.message.as_deref());
        self.channels.published.store(Arc::new(publication));
        self.shared.changed();
        self.publish_at = None;
        self.not_before = start + PUBLISH.max(20 * start.elapsed());
    }
}
