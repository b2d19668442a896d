//! From the verdict that takes a VIP down to the withdrawal in the routers' hands.
//!
//! The daemon's own core and speaker run in this process; routers are plain threads on loopback that speak just enough
//! BGP and note when a withdrawal was on the wire, as the kernel's time of its receipt says, and when they had read it
//! (on few cores they wait for one). The floor is the same number of loopback connections written to and
//! read by the same threads without any of vc5.

use std::io::{IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use tokio::sync::{mpsc as queue, oneshot, watch};
use vc5_bgp::speaker::Speaker;
use vc5_bgp::wire::{
    DecodeContext, Decoded, EncodeContext, Family, MAX_LEN, Message, Open, decode, encode, frame,
};
use vc5_health::{Outcome, ProbeEvent, ProbeKey, Verdict};
use vc5d::config::{self, Config};
use vc5d::core::{Core, CoreRequest, Parts, State, View};
use vc5d::telemetry::Metrics;
use vc5d::translate;

use super::{Record, min_and_median};

const ROUNDS: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);
/// The first VIP; the others follow it.
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 0, 1);
/// How often all VIPs go down at once.
const ROUNDS_OF_ALL: usize = 20;
/// Between announcements and the next withdrawal, longer than anything that the announcements leave to be done.
const PAUSE: Duration = Duration::from_millis(50);
const ROUTER_AS: u32 = 65000;

/// One and sixteen neighbours with one VIP, then sixteen with a thousand.
///
/// # Errors
/// When sessions do not come up or a withdrawal does not arrive.
pub fn run() -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for neighbours in [1, 16] {
        let method = format!(
            "from handing the failing verdict to the core until the last of {neighbours} loopback neighbours has read \
             the withdrawal"
        );
        let times = measure(neighbours, 1)?;
        records.push(median(
            &format!("gate/withdraw, {neighbours} neighbours"),
            times.of_one.read,
            &method,
            neighbours,
        )?);
    }
    let (vips, neighbours) = (1000, 16);
    let times = measure(neighbours, vips)?;
    for (kind, what, figures) in [
        ("withdraw", "it is on the wire to the last neighbour", times.of_one.on_wire),
        ("withdraw_read", "the last neighbour has read the withdrawal", times.of_one.read),
    ] {
        let method = format!(
            "{vips} VIPs that are up, {neighbours} loopback neighbours; one VIP at a time: from handing the failing \
             verdict to the core until {what}"
        );
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            let mut record =
                median(&format!("gate.{kind}_{name}_us"), figures.clone(), &method, neighbours)?;
            let value = percentile(figures.clone(), share);
            (record.value, record.min, record.median) = (value, value, value);
            records.push(record);
        }
    }
    let method = format!(
        "{vips} VIPs that are up go down together, {neighbours} loopback neighbours: from handing the first of the \
         failing verdicts to the core until the last neighbour has read the last withdrawal"
    );
    records.push(median("gate.withdraw_1000_us", times.of_all.read, &method, neighbours)?);
    Ok(records)
}

/// Of withdrawals, in us.
struct Times {
    /// Of one VIP while the others stay.
    of_one: Until,
    /// Of all of them, if there are several.
    of_all: Until,
}

/// Until the last neighbour's withdrawal was there, and until it had been read.
#[derive(Default)]
struct Until {
    on_wire: Vec<f64>,
    read: Vec<f64>,
}

impl Until {
    fn push(&mut self, begin: Instant, last: Option<Seen>) -> Result<()> {
        let last = last.context("no withdrawal was seen")?;
        let since = |end: Instant| end.saturating_duration_since(begin).as_secs_f64() * 1e6;
        self.on_wire.push(since(last.on_wire));
        self.read.push(since(last.read));
        Ok(())
    }
}

fn median(name: &str, latencies: Vec<f64>, method: &str, neighbours: u8) -> Result<Record> {
    let floor = floor(neighbours)?;
    let (min, median) = min_and_median(latencies.clone());
    let [p99, max] = [0.99, 1.0].map(|share| percentile(latencies.clone(), share));
    Ok(Record {
        name: name.into(),
        value: median,
        unit: "us".into(),
        min,
        median,
        runs: latencies.len(),
        floor: Some(floor),
        peer: None,
        peer_value: None,
        method: format!(
            "{method}; p99 {p99:.1} us, max {max:.1} us; floor: median of the same writes and reads of one withdrawal by \
             bare threads"
        ),
    })
}

fn measure(neighbours: u8, vips: u32) -> Result<Times> {
    let (seen, arrivals) = mpsc::channel();
    let routers =
        (1..=neighbours).map(|n| Router::start(n, seen.clone())).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(rounds(&routers, &arrivals, vips))
}

/// What a router saw.
enum Arrival {
    /// So many prefixes.
    Announced(usize),
    /// So many prefixes.
    Withdrawn(usize, Seen),
}

/// When octets were received by the kernel, and when they had been read.
#[derive(Clone, Copy)]
struct Seen {
    on_wire: Instant,
    read: Instant,
}

impl Seen {
    /// Reads octets, and when the last of them came.
    fn read(stream: &TcpStream, chunk: &mut [u8]) -> Result<(usize, Self)> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut into = [IoSliceMut::new(chunk)];
        let fd = stream.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut into, Some(&mut control), MsgFlags::empty())?;
        let (read, wall) = (Instant::now(), SystemTime::now());
        let stamp = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
            _ => None,
        });
        // What came before the kernel was asked for the time has none; then later is assumed.
        let ago = match stamp {
            Some(stamp) => wall.duration_since(UNIX_EPOCH)?.saturating_sub(stamp),
            None => Duration::ZERO,
        };
        let on_wire = read.checked_sub(ago).context("an early clock")?;
        Ok((message.bytes, Self { on_wire, read }))
    }
}

/// A router on an address of its own.
struct Router {
    address: SocketAddr,
}

impl Router {
    fn start(number: u8, seen: mpsc::Sender<Arrival>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, number), 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            // The thread ends with the session; what went wrong shows as an arrival that is missing.
            let _ = listener.accept().map(|(stream, _)| converse(stream, number, &seen));
        });
        Ok(Self { address })
    }
}

fn converse(mut stream: TcpStream, number: u8, seen: &mpsc::Sender<Arrival>) -> Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(&stream, ReceiveTimestampns, &true)?;
    let families = vec![Family::IPV4_UNICAST];
    let open = Open::new(ROUTER_AS, 90, Ipv4Addr::new(10, 0, 0, number), &families);
    for message in [Message::Open(open), Message::Keepalive] {
        stream.write_all(&encode(&message, &EncodeContext::default())?)?;
    }
    let families = families.as_slice().into();
    let context = DecodeContext { families, ..DecodeContext::default() };
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let (read, now) = Seen::read(&stream, &mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        while let Some(message) = frame(&buffer, MAX_LEN)? {
            let length = message.bytes.len();
            if let Decoded::Update(decoded) = decode(message, &context)? {
                let gone = decoded.update.withdrawals().count();
                let new = decoded.update.announcements().count();
                if gone > 0 {
                    seen.send(Arrival::Withdrawn(gone, now))?;
                }
                if new > 0 {
                    seen.send(Arrival::Announced(new))?;
                }
            }
            buffer.drain(..length);
        }
    }
}

async fn rounds(
    routers: &[Router],
    arrivals: &mpsc::Receiver<Arrival>,
    vips: u32,
) -> Result<Times> {
    let config = Arc::new(configuration(routers, vips)?);
    let speaker = Speaker::start(translate::speaker(&config.router)).await?;
    for peer in translate::peers(&config) {
        speaker.set_peer(peer)?;
    }
    let (verdicts, probes) = queue::unbounded_channel();
    let (requests, core) = start_core(&config, speaker.clone(), probes)?;
    let (done, configured) = oneshot::channel();
    requests.send(CoreRequest::Configure(Arc::clone(&config), done)).await?;
    configured.await?;
    established(&speaker, routers.len()).await?;

    let await_all = |of: u32, withdrawn| {
        let count = routers.len() * of as usize;
        tokio::task::block_in_place(|| collect(arrivals, count, withdrawn))
    };
    let set = |of: std::ops::Range<u32>, to: Verdict| -> Result<Instant> {
        let mut begin = None;
        for vip in of {
            let event = verdict(vip, to);
            begin = begin.or(Some(event.at));
            verdicts.send(event)?;
        }
        begin.context("no VIP")
    };
    let mut times = Times { of_one: Until::default(), of_all: Until::default() };
    set(0..vips, Verdict::Up)?;
    await_all(vips, false)?;
    for round in 0..ROUNDS {
        // Not neighbours in the table: 7 has no factor in common with the number of VIPs.
        let vip = u32::try_from(round * 7)? % vips;
        tokio::time::sleep(PAUSE).await;
        let begin = set(vip..vip + 1, Verdict::Down)?;
        times.of_one.push(begin, await_all(1, true)?)?;
        set(vip..vip + 1, Verdict::Up)?;
        await_all(1, false)?;
    }
    for _ in 0..if vips > 1 { ROUNDS_OF_ALL } else { 0 } {
        tokio::time::sleep(PAUSE).await;
        let begin = set(0..vips, Verdict::Down)?;
        times.of_all.push(begin, await_all(vips, true)?)?;
        set(0..vips, Verdict::Up)?;
        await_all(vips, false)?;
    }
    speaker.shutdown(None).await;
    drop(requests);
    core.await??;
    Ok(times)
}

fn start_core(
    config: &Config,
    speaker: Speaker,
    probes: queue::UnboundedReceiver<ProbeEvent>,
) -> Result<(queue::Sender<CoreRequest>, tokio::task::JoinHandle<Result<()>>)> {
    let (requests, request_queue) = queue::channel(4);
    let parts = Parts {
        speaker,
        dataplane: None,
        probes,
        dataplane_events: queue::unbounded_channel().1,
        requests: request_queue,
        view: watch::channel(Arc::new(View::default())).0,
        metrics: Arc::new(Metrics::new()?),
    };
    let core = Core::new(State::new(config.dataplane.mode), parts);
    Ok((requests, tokio::spawn(core.run())))
}

fn configuration(routers: &[Router], vips: u32) -> Result<Config> {
    let mut text = r#"
        [router]
        id = "10.0.0.100"
        as = 65001
        listen = []
        [dataplane]
        mode = "off"
        [pool.web]
        backends = ["127.0.0.1"]
        probe = "direct"
        [check.alive]
        type = "tcp"
        "#
    .to_owned();
    for vip in 0..vips {
        text += &format!(
            r#"
            [vip.v{vip}]
            addresses = ["{}"]
            up-delay = "0s"
            [[vip.v{vip}.service]]
            port = 80
            protocol = "tcp"
            pool = "web"
            checks = ["alive"]
            "#,
            address(vip)
        );
    }
    for (number, router) in routers.iter().enumerate() {
        text += &format!(
            r#"
            [protocol.bgp.r{number}]
            neighbor = "{}"
            neighbor-port = {}
            neighbor-as = {ROUTER_AS}
            source-address = "127.0.0.1"
            hold-time = "90s"
            ipv4 = {{ import = "none", export = "all", next-hop-address = "192.0.2.9" }}
            "#,
            router.address.ip(),
            router.address.port(),
        );
    }
    Ok(config::parse(&text, Path::new("bench.toml"))?)
}

fn address(vip: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(VIP.to_bits() + vip)
}

fn verdict(vip: u32, verdict: Verdict) -> ProbeEvent {
    ProbeEvent {
        key: ProbeKey {
            vip: IpAddr::V4(address(vip)),
            backend: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 80,
            service: "80/tcp".to_owned(),
            check: "alive".to_owned(),
        },
        verdict,
        changed: true,
        outcome: Outcome {
            ok: verdict == Verdict::Up,
            diagnostic: String::new(),
            took: Duration::ZERO,
        },
        at: Instant::now(),
        passed: 0,
        failed: 0,
    }
}

async fn established(speaker: &Speaker, neighbours: usize) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while speaker.snapshot().peers.values().filter(|peer| peer.session.is_some()).count()
        < neighbours
    {
        if Instant::now() > end {
            bail!("not all sessions with the {neighbours} neighbours came up");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// So many arrivals of the wanted kind, over all neighbours; when the last withdrawals were there and had been read.
fn collect(
    arrivals: &mpsc::Receiver<Arrival>,
    count: usize,
    withdrawn: bool,
) -> Result<Option<Seen>> {
    let (mut last, mut arrived) = (None::<Seen>, 0);
    while arrived < count {
        match (arrivals.recv_timeout(PATIENCE).context("a neighbour heard nothing")?, withdrawn) {
            (Arrival::Withdrawn(prefixes, at), true) => {
                arrived += prefixes;
                last = Some(last.map_or(at, |last| Seen {
                    on_wire: last.on_wire.max(at.on_wire),
                    read: last.read.max(at.read),
                }));
            }
            (Arrival::Announced(prefixes), false) => arrived += prefixes,
            _ => bail!("a neighbour heard the contrary"),
        }
    }
    Ok(last)
}

/// Median time until the last of so many reading threads has what one thread writes to them in turn.
fn floor(neighbours: u8) -> Result<f64> {
    let (seen, arrivals) = mpsc::channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut writers = Vec::new();
    for _ in 0..neighbours {
        let writer = TcpStream::connect(listener.local_addr()?)?;
        writer.set_nodelay(true)?;
        writers.push(writer);
        let (mut reader, _) = listener.accept()?;
        let seen = seen.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while reader.read(&mut chunk).is_ok_and(|n| n > 0) {
                if seen.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
    }
    let mut latencies = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for writer in &mut writers {
            writer.write_all(&[0xff; 28])?;
        }
        let mut last = begin;
        for _ in 0..neighbours {
            last = last.max(arrivals.recv_timeout(PATIENCE)?);
        }
        latencies.push(last.duration_since(begin).as_secs_f64() * 1e6);
    }
    Ok(min_and_median(latencies).1)
}

fn percentile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (figures.len() as f64 * share) as usize;
    figures.get(index.min(figures.len().saturating_sub(1))).copied().unwrap_or_default()
}
