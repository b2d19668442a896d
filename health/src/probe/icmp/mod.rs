//! The ICMP check: an echo request is answered.
//!
//! A raw socket is given every ICMP message that comes to the host. With one for each probe, every
//! message would be copied to every probe under way, so all probes of a family share one socket,
//! whose reader hands each reply to the probe that waits for it. This needs CAP_NET_RAW; the ping
//! sockets that do without are switched off by default (`net.ipv4.ping_group_range`).

mod message;
mod waiting;

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::message::Key;
use self::waiting::Waiting;
use super::{Clock, Finished, Target, socket};
use crate::check::icmp::{IcmpCheck, SIZE_MAX, SIZE_MIN};

/// Room for the largest reply, and for the header before it.
const RECEIVE: usize = SIZE_MAX + 128;

/// How long the reader waits after an error of the socket.
const PAUSE: Duration = Duration::from_millis(100);

/// The sockets that the echo requests of one prober share, each opened when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Pingers {
    v4: Mutex<Option<Arc<Pinger>>>,
    v6: Mutex<Option<Arc<Pinger>>>,
}

impl Pingers {
    fn get(&self, v4: bool) -> Result<Arc<Pinger>, String> {
        let mut slot = lock(if v4 { &self.v4 } else { &self.v6 });
        if let Some(pinger) = &*slot {
            return Ok(pinger.clone());
        }
        let pinger = Arc::new(Pinger::open(v4)?);
        *slot = Some(pinger.clone());
        Ok(pinger)
    }
}

/// One raw socket, its reader and the probes that wait.
#[derive(Debug)]
struct Pinger {
    v4: bool,
    socket: Arc<AsyncFd<Socket>>,
    /// What the socket was set to for the packet before.
    set: Mutex<Set>,
    waiting: Arc<Mutex<Waiting>>,
    reader: AbortHandle,
}

/// What differs from packet to packet but belongs to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Set {
    mark: Option<u32>,
    ttl: Option<u8>,
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Sends one echo request and waits for its reply.
pub(super) async fn probe(
    target: Target,
    clock: Clock,
    check: &IcmpCheck,
    pingers: &Pingers,
) -> Finished {
    let size = check.size;
    match exchange(target, clock, size, pingers).await {
        Ok(()) => clock.finished(true, format!("echo reply of {size} bytes")),
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

async fn exchange(
    target: Target,
    clock: Clock,
    size: usize,
    pingers: &Pingers,
) -> Result<(), String> {
    socket::can_be_source(target)?;
    let pinger = pingers.get(target.address.is_ipv4())?;
    let (tell, told) = oneshot::channel();
    let payload = payload(size)?;
    let key = lock(&pinger.waiting).add(target.address.ip(), payload.clone(), tell);
    // Also where this future is dropped on its way.
    let entry = Entry { waiting: &pinger.waiting, key };
    pinger.send(target, &message::request(pinger.v4, key, &payload))?;
    let waiting =
        async { told.await.unwrap_or_else(|_| Err("the reader of replies ended".into())) };
    let result = clock.stage("waiting for the echo reply", waiting).await;
    match entry.give_up() {
        0 => result,
        odd => result.map_err(|error| format!("{error}; {odd} came with another payload")),
    }
}

/// Bytes that nobody can know beforehand, and fixed ones up to the size.
fn payload(size: usize) -> Result<Vec<u8>, String> {
    let mut payload = vec![0; size];
    let token = payload.get_mut(..SIZE_MIN.min(size)).unwrap_or_default();
    SystemRandom::new().fill(token).map_err(|_| "no random bytes")?;
    Ok(payload)
}

/// A place among those who wait, given up when dropped.
struct Entry<'a> {
    waiting: &'a Mutex<Waiting>,
    key: Key,
}

impl Entry<'_> {
    /// Gives the place up. Returns how many replies with another payload came to it.
    fn give_up(&self) -> u32 {
        lock(self.waiting).remove(self.key)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Pinger {
    fn open(v4: bool) -> Result<Self, String> {
        let (domain, protocol) = match v4 {
            true => (Domain::IPV4, Protocol::ICMPV4),
            false => (Domain::IPV6, Protocol::ICMPV6),
        };
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(protocol)).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => " (it takes root or CAP_NET_RAW)",
                _ => "",
            };
            format!("cannot open a raw socket: {}{hint}", socket::describe(&error))
        })?;
        filter(&socket, v4)
            .map_err(|error| format!("cannot filter a raw socket: {}", socket::describe(&error)))?;
        // SAFETY: the descriptor is open, and the same one as long as the socket lives.
        let socket = unsafe { AsyncFd::register(socket) };
        let socket = Arc::new(socket.map_err(|error| socket::describe(&error.into()))?);
        let mut first = [0; size_of::<Key>()];
        SystemRandom::new().fill(&mut first).map_err(|_| "no random bytes")?;
        let waiting = Arc::new(Mutex::new(Waiting::new(Key::from_be_bytes(first))));
        let reader = tokio::spawn(read(v4, socket.clone(), waiting.clone())).abort_handle();
        Ok(Self { v4, socket, set: Mutex::default(), waiting, reader })
    }

    fn send(&self, target: Target, message: &[u8]) -> Result<(), String> {
        let socket = self.socket.get_ref();
        let wanted = Set { mark: target.mark, ttl: target.ttl };
        let to = SocketAddr::new(target.address.ip(), 0);
        // Held over the send, which does not block: nobody else is to set the socket meanwhile.
        let mut set = lock(&self.set);
        if set.mark != wanted.mark {
            let marked = socket.set_mark(wanted.mark.unwrap_or(0));
            marked
                .map_err(|error| format!("cannot mark the socket: {}", socket::describe(&error)))?;
            set.mark = wanted.mark;
        }
        if set.ttl != wanted.ttl {
            // All ones are minus one, which is the system's default.
            let ttl = wanted.ttl.map_or(u32::MAX, u32::from);
            let done =
                if self.v4 { socket.set_ttl_v4(ttl) } else { socket.set_unicast_hops_v6(ttl) };
            done.map_err(|error| format!("cannot set the TTL: {}", socket::describe(&error)))?;
            set.ttl = wanted.ttl;
        }
        socket.send_to(message, &to.into()).map(drop).map_err(|error| socket::describe(&error))
    }
}

/// Has the kernel keep back the types that say nothing about a request.
fn filter(socket: &Socket, v4: bool) -> io::Result<()> {
    // A set bit blocks a type, in both families.
    if v4 {
        /// `ICMP_FILTER` of linux/icmp.h.
        const ICMP_FILTER: libc::c_int = 1;
        let blocked = message::TYPES4.iter().fold(!0_u32, |bits, kind| bits & !(1 << kind));
        return socket::set_option(socket.as_raw_fd(), libc::SOL_RAW, ICMP_FILTER, &blocked);
    }
    /// `ICMPV6_FILTER` of linux/icmpv6.h.
    const ICMPV6_FILTER: libc::c_int = 1;
    let mut blocked = [!0_u32; 8];
    for kind in message::TYPES6 {
        if let Some(bits) = blocked.get_mut(usize::from(kind >> 5)) {
            *bits &= !(1 << (kind & 31));
        }
    }
    socket::set_option(socket.as_raw_fd(), libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)
}

/// Reads for ever.
async fn read(v4: bool, socket: Arc<AsyncFd<Socket>>, waiting: Arc<Mutex<Waiting>>) {
    let mut buffer = vec![MaybeUninit::uninit(); RECEIVE];
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|socket| receive(socket.get_ref(), &mut buffer)) {
            Ok(Ok((from, packet))) => {
                let seen = if v4 { message::read4(packet) } else { message::read6(packet) };
                if let Some((key, seen)) = seen {
                    lock(&waiting).handle(from, key, seen);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot receive ICMP");
                tokio::time::sleep(PAUSE).await;
            }
            Err(_not_ready) => {}
        }
    }
}

fn receive<'a>(
    socket: &Socket,
    buffer: &'a mut [MaybeUninit<u8>],
) -> io::Result<(IpAddr, &'a [u8])> {
    let (length, from) = socket.recv_from(buffer)?;
    let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?.ip();
    let received = buffer.get(..length).unwrap_or_default();
    // SAFETY: the socket has written these bytes, which is what recv_from promises.
    Ok((from, unsafe { received.assume_init_ref() }))
}

/// What is behind a lock is whole at any time, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
