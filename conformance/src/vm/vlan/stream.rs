//! Traffic: backends that tell their names, a client that asks, and a stream of datagrams of which each is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::balancer::{FIXED, LIMIT, MOVED};
use super::network::{ALL, enter, within};
use crate::lab::Netns;

/// Flows of a stream for each VIP and service.
const FLOWS: usize = 6;
/// Time between two datagrams of a stream.
const PACE: Duration = Duration::from_millis(4);
/// How long after the last datagram its answer may come.
const GRACE: Duration = Duration::from_secs(5);

/// Starts the services of a backend. Their threads stay until the process ends.
pub(super) fn serve(backend: &Netns) -> Result<()> {
    let name: Arc<str> = backend.name().into();
    within(backend, || {
        for vip in ALL {
            for port in [FIXED, MOVED] {
                let socket = UdpSocket::bind((vip, port)).context("bind")?;
                let name = Arc::clone(&name);
                std::thread::spawn(move || answer(&socket, &name));
            }
            let listener = TcpListener::bind((vip, FIXED)).context("listen")?;
            let name = Arc::clone(&name);
            std::thread::spawn(move || greet(&listener, &name));
        }
        Ok(())
    })
}

/// Answers each datagram with its first 8 bytes and the name.
fn answer(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 64];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let number = buffer.get(..length.min(8)).unwrap_or_default();
        let _lost = socket.send_to(&[number, name.as_bytes()].concat(), client);
    }
}

fn greet(listener: &TcpListener, name: &str) {
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let _broken = stream.write_all(name.as_bytes());
    }
}

/// Connects so many times, and counts who answered.
pub(super) fn connect(
    client: &Netns,
    vip: IpAddr,
    times: usize,
) -> Result<BTreeMap<String, usize>> {
    within(client, || {
        let mut names = BTreeMap::new();
        for _ in 0..times {
            let address = SocketAddr::new(vip, FIXED);
            let mut stream = TcpStream::connect_timeout(&address, LIMIT)
                .with_context(|| format!("connecting to {address}"))?;
            stream.set_read_timeout(Some(LIMIT))?;
            let mut name = String::new();
            stream.read_to_string(&mut name).with_context(|| format!("reading from {address}"))?;
            *names.entry(name).or_default() += 1;
        }
        Ok(names)
    })
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) sent: u64,
    /// Datagrams without an answer.
    pub(super) lost: u64,
    /// Flows of the fixed service that were answered by more than one backend.
    pub(super) torn: usize,
    /// Who answered how many.
    pub(super) names: BTreeMap<String, u64>,
    /// When those were sent that got no answer, in milliseconds from the start, and where to.
    pub(super) lost_at: Vec<(u128, SocketAddr)>,
}

/// A stream that goes on until it is ended.
pub(super) struct Stream {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<Ledger>>,
}

impl Stream {
    pub(super) fn start(client: &Netns, vips: &[IpAddr]) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (until, name) = (Arc::clone(&end), client.name().to_owned());
        let vips = vips.to_vec();
        let thread = std::thread::spawn(move || {
            enter(&name)?;
            run(&vips, &until)
        });
        Self { end, thread }
    }

    /// Sends no more, waits for the answers and tells.
    pub(super) fn end(self) -> Result<Ledger> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the stream panicked"))?
    }
}

struct Flow {
    socket: UdpSocket,
    to: SocketAddr,
    /// Numbers of the datagrams without an answer, with the time each was sent.
    waiting: BTreeMap<u64, Instant>,
    names: BTreeSet<String>,
}

impl Flow {
    fn new(to: SocketAddr) -> Result<Self> {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to, waiting: BTreeMap::new(), names: BTreeSet::new() })
    }

    fn send(&mut self, number: u64) {
        // What could not be sent is missed like anything else.
        let _refused = self.socket.send(&number.to_be_bytes());
        self.waiting.insert(number, Instant::now());
    }

    fn receive(&mut self, ledger: &mut Ledger) {
        let mut buffer = [0; 64];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.note(buffer.get(..length).unwrap_or_default(), ledger),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error: the datagram it is about stays without an answer.
                Err(_) => {}
            }
        }
    }

    fn note(&mut self, answer: &[u8], ledger: &mut Ledger) {
        let Some((number, name)) = answer.split_first_chunk::<8>() else { return };
        if self.waiting.remove(&u64::from_be_bytes(*number)).is_some() {
            let name = String::from_utf8_lossy(name).into_owned();
            *ledger.names.entry(name.clone()).or_default() += 1;
            self.names.insert(name);
        }
    }
}

fn run(vips: &[IpAddr], end: &AtomicBool) -> Result<Ledger> {
    let begin = Instant::now();
    let mut flows = Vec::new();
    for _ in 0..FLOWS {
        for vip in vips {
            for port in [FIXED, MOVED] {
                flows.push(Flow::new(SocketAddr::new(*vip, port))?);
            }
        }
    }
    let mut ledger = Ledger::default();
    while !end.load(Ordering::Relaxed) {
        for flow in &mut flows {
            flow.send(ledger.sent);
            ledger.sent += 1;
            std::thread::sleep(PACE);
            flow.receive(&mut ledger);
        }
    }
    let last = Instant::now();
    while last.elapsed() < GRACE && flows.iter().any(|flow| !flow.waiting.is_empty()) {
        flows.iter_mut().for_each(|flow| flow.receive(&mut ledger));
        std::thread::sleep(PACE);
    }
    for flow in &flows {
        ledger.torn += usize::from(flow.to.port() == FIXED && flow.names.len() > 1);
        let times = flow.waiting.values().map(|sent| sent.duration_since(begin).as_millis());
        ledger.lost_at.extend(times.map(|time| (time, flow.to)));
    }
    ledger.lost_at.sort_unstable();
    ledger.lost = ledger.lost_at.len() as u64;
    Ok(ledger)
}
