//! The task of one neighbour: drives its [`Peer`] with sockets and the clock.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::SpeakerEvent;
use super::flush::Progress;
use super::link::Link;
use super::shared::{CHUNK, Command, Mailbox, Shared};
use super::snapshot::PeerPublication;
use super::{interface, options, socket};
use crate::rib::{PathKey, Route};
use crate::session::{Event, Peer, PeerConfig, PeerEvent, Reason, Role, StateName, StopCause};

/// Octets read at once.
const READ: usize = 64 * 1024;
/// Writes in a row before everything else gets a turn.
const WRITES: usize = 64;
/// Pictures for readers are not drawn more often than this, nor for more than a twentieth of the time.
const PUBLISH: Duration = Duration::from_millis(50);
/// Nor before this time after a change of routes: then every neighbour's task is writing the same change, and
/// a picture drawn by one is a delay of the next one's message.
const PUBLISH_DELAY: Duration = Duration::from_millis(10);

type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The task's ends of what connects it with the rest.
pub(super) struct Channels {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) incoming: mpsc::Receiver<TcpStream>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) published: Arc<ArcSwap<PeerPublication>>,
}

pub(super) struct PeerTask {
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
    publish_at: Option<Instant>,
    not_before: Instant,
    message: Option<String>,
    /// The last failure told.
    last_failure: Option<String>,
    leaving: bool,
}

/// What woke the task.
enum Wake {
    Command(Option<Command>),
    Incoming(TcpStream),
    Dialled(io::Result<TcpStream>),
    Readable(Role),
    /// A timer, room for writing, changed routes: everything is looked after in each round anyway.
    Round,
}

impl PeerTask {
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
            publish_at: None,
            not_before: Instant::now(),
            message: None,
            last_failure: None,
            leaving: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut buffer = vec![0; READ];
        self.handle(Event::Start);
        while !self.leaving {
            self.round();
            match self.wait().await {
                Wake::Command(command) => self.obey(command),
                Wake::Incoming(stream) => self.accept(stream),
                Wake::Dialled(result) => self.dialled(result),
                Wake::Readable(role) => self.read(role, &mut buffer),
                Wake::Round => {}
            }
            if self.peer.poll_timeout().is_some_and(|at| at <= Instant::now()) {
                // What has arrived in time must not be late because this task was.
                Role::ALL.into_iter().for_each(|role| self.read(role, &mut buffer));
                self.peer.handle_timeout(Instant::now());
                self.settle();
            }
        }
        while self.farewells.join_next().await.is_some() {}
    }

    /// Everything that can be done without waiting, the urgent first.
    fn round(&mut self) {
        self.take_changes();
        self.more = false;
        for role in Role::ALL {
            self.more |= self.pump(role);
        }
        self.publish();
    }

    async fn wait(&mut self) -> Wake {
        let timer = self.peer.poll_timeout();
        let next = timer.into_iter().chain(self.publish_at).min();
        let more = self.more || !self.channels.mailbox.is_empty();
        tokio::select! {
            biased;
            command = self.channels.commands.recv() => Wake::Command(command),
            () = self.channels.mailbox.wake.notified() => Wake::Round,
            Some(stream) = self.channels.incoming.recv() => Wake::Incoming(stream),
            result = dialled(&mut self.dialling) => Wake::Dialled(result),
            () = readable(self.outgoing.as_ref()) => Wake::Readable(Role::Outgoing),
            () = readable(self.incoming.as_ref()) => Wake::Readable(Role::Incoming),
            () = writable(self.outgoing.as_ref()) => Wake::Round,
            () = writable(self.incoming.as_ref()) => Wake::Round,
            () = sleep_until(next) => Wake::Round,
            () = tokio::task::yield_now(), if more => Wake::Round,
        }
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

    /// Reads once what is there.
    fn read(&mut self, role: Role, buffer: &mut [u8]) {
        let Some(link) = self.link_mut(role) else { return };
        match link.stream.try_read(buffer) {
            Ok(0) => self.failed(role, "Connection closed"),
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                self.handle(Event::Received { role, bytes });
                self.publish_soon();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.failed(role, &socket::describe(&error)),
        }
    }

    /// Writes until there is nothing left or the kernel takes no more; true if it is others' turn
    /// before that.
    fn pump(&mut self, role: Role) -> bool {
        for _ in 0..WRITES {
            self.fill(role);
            let Some(link) = self.link_mut(role) else { return false };
            if link.is_empty() {
                return false;
            }
            match link.write() {
                Ok(true) => {
                    let (written, at) = (link.written, Instant::now());
                    self.note_written(role, written, at);
                    self.handle(Event::Sent { role });
                    self.publish_soon();
                }
                Ok(false) => return false,
                Err(error) => {
                    self.failed(role, &socket::describe(&error));
                    return false;
                }
            }
        }
        true
    }

    fn fill(&mut self, role: Role) {
        let link = match role {
            Role::Outgoing => &mut self.outgoing,
            Role::Incoming => &mut self.incoming,
        };
        let Some(link) = link else { return };
        while link.has_room()
            && let Some(bytes) = self.peer.poll_transmit(role)
        {
            link.queue(&bytes);
        }
        let (queued, written) = (link.queued, link.written);
        if self.peer.session_role() == Some(role) && !self.peer.withdrawals_pending() {
            self.note_queued(queued, written);
        }
    }

    /// All withdrawals of the changes taken so far are in the link, up to the octet `queued`.
    fn note_queued(&mut self, queued: u64, written: u64) {
        let flushed = self.channels.progress.borrow().flushed;
        let noted = self.marks.back().map_or(flushed, |(change, _)| *change);
        if self.taken <= noted {
            return;
        }
        match self.marks.back_mut() {
            Some((change, octet)) if *octet == queued => *change = self.taken,
            None if written == queued => self.flushed(self.taken, None),
            _ => self.marks.push_back((self.taken, queued)),
        }
    }

    fn note_written(&mut self, role: Role, written: u64, at: Instant) {
        if self.peer.session_role() != Some(role) {
            return;
        }
        while let Some((change, octet)) = self.marks.front().copied()
            && octet <= written
        {
            self.marks.pop_front();
            self.flushed(change, Some(at));
        }
    }

    fn flushed(&mut self, change: u64, written_at: Option<Instant>) {
        self.channels.progress.send_modify(|progress| {
            progress.flushed = change;
            progress.written_at = written_at;
        });
    }

    /// Brings changed routes into the Adj-RIB-Out, a bounded number at a time.
    fn take_changes(&mut self) {
        if self.channels.mailbox.is_empty() && self.peer.state() != StateName::Established {
            return;
        }
        let (sequence, changed) = self.shared.core().take_changed(&self.channels.mailbox);
        if !changed.is_empty() {
            self.publish_soon();
        }
        for (prefix, route) in changed {
            self.peer.export(prefix, route.as_ref());
        }
        self.taken = sequence.unwrap_or(self.taken);
    }

    fn export_all(&mut self) {
        let (sequence, routes) = self.shared.all_best(&self.channels.mailbox);
        self.peer.export_all(routes.iter().map(|(prefix, route)| (prefix, route)));
        self.taken = sequence;
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

async fn dialled(dialling: &mut Option<Dialling>) -> io::Result<TcpStream> {
    match dialling {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

async fn readable(link: Option<&Link>) {
    match link {
        // An error is found again by the read that follows.
        Some(link) => drop(link.stream.readable().await),
        None => std::future::pending().await,
    }
}

async fn writable(link: Option<&Link>) {
    match link {
        Some(link) if !link.is_empty() => drop(link.stream.writable().await),
        _ => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
