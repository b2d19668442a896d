//! The speaker with many neighbours: how soon all sessions stand, how soon a withdrawal is with all of them, and what
//! they cost while there is nothing to say.
//!
//! Beside it in the same run: BIRD 2 with as many neighbours of the same kind, and a bare loop of as many writes. All
//! neighbours are TCP sockets on loopback addresses, read by one and the same thread.

mod bird;
mod idle;
mod routers;
mod speaker;

use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use vc5_bgp::speaker::Speaker;
use vc5_bgp::wire::{EncodeContext, Family, Message, Nlri, Open, Update, encode};

pub use idle::{ARGUMENT as IDLE_ARGUMENT, child as idle_child};

use self::bird::Bird;
use self::routers::{Routers, Thread};
use super::{Record, min_and_median};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const LOCAL_AS: u32 = 65001;
/// Of our own speaker and BIRD.
const HOLD: Duration = Duration::from_secs(9);

const NEIGHBOURS: usize = 200;
const STARTS: usize = 15;
const ROUNDS: usize = 50;
const ROUNDS_OF_ONE: usize = 300;
/// Between an announcement and the withdrawal, longer than anything that the announcement leaves to be done.
const PAUSE: Duration = Duration::from_millis(80);
const PAUSE_OF_ONE: Duration = Duration::from_millis(3);

/// All of it.
///
/// # Errors
/// BIRD cannot be started, sessions do not come up, or a withdrawal does not arrive.
pub fn run() -> Result<Vec<Record>> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let thread = Thread::start()?;
    // The daemon's runtime is made like this.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut records = vec![starts(&thread, &runtime)?, wire(&thread, &runtime)?];
    records.extend(withdrawals(&thread, &runtime)?);
    records.extend(idle::measure(&thread)?);
    Ok(records)
}

/// From the first neighbour's configuration to the last session that stands.
fn starts(thread: &Thread, runtime: &Runtime) -> Result<Record> {
    let routers = thread.routers(2, NEIGHBOURS)?;
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let begin = Instant::now();
        let speaker = runtime.block_on(speaker::established(&routers.addresses))?;
        times.push(begin.elapsed().as_secs_f64());
        runtime.block_on(speaker.shutdown(None));
    }
    let (min, median) = min_and_median(times);
    Ok(Record {
        name: "bgp.peers200_established_s".into(),
        value: min,
        unit: "s".into(),
        min,
        median,
        runs: STARTS,
        floor: None,
        peer: None,
        peer_value: None,
        method: format!(
            "from before the speaker's start to the event of the last of {NEIGHBOURS} sessions; the speaker dials \
             routers on 127.0.2.0/24, all of which one thread of the same process answers; a new speaker each time"
        ),
    })
}

/// One neighbour: from the call to the write's return.
fn wire(thread: &Thread, runtime: &Runtime) -> Result<Record> {
    let routers = thread.routers(3, 1)?;
    let speaker = runtime.block_on(speaker::established(&routers.addresses))?;
    let bird_routers = thread.routers(4, 1)?;
    let mut bird = Bird::start("one", &bird_routers.addresses)?;
    bird.wait_established(1)?;
    bird_routers.wait_announced()?;
    let (mut written, mut read, mut bird_read) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS_OF_ONE {
        announce(&speaker, &routers)?;
        std::thread::sleep(PAUSE_OF_ONE);
        let begin = Instant::now();
        let report = runtime.block_on(speaker.withdraw(speaker::prefix()));
        let at = report.written_at.context("nothing was written")?;
        written.push(at.duration_since(begin).as_secs_f64() * 1e6);
        read.extend(routers.wait_withdrawn(begin)?);
        bird_read.extend(bird_round(&mut bird, &bird_routers, PAUSE_OF_ONE)?);
    }
    runtime.block_on(speaker.shutdown(None));
    let (min, median) = min_and_median(written);
    let (read, bird_read) = (min_and_median(read), min_and_median(bird_read));
    Ok(Record {
        name: "bgp.withdraw_wire_us".into(),
        value: median,
        unit: "us".into(),
        min,
        median,
        runs: ROUNDS_OF_ONE,
        floor: None,
        peer: Some("BIRD 2, to the reader, median".into()),
        peer_value: Some(bird_read.1),
        method: format!(
            "from entering withdraw(), called from outside of the runtime, to the return of the write to the one \
             neighbour; to that neighbour's read min {:.0}, median {:.0} us; BIRD from before the write of `disable` \
             to its control socket to its neighbour's read min {:.0}, median {:.0} us, rounds of both taking turns",
            read.0, read.1, bird_read.0, bird_read.1
        ),
    })
}

/// Times of arrival with the first, the median and the last neighbour, over all rounds.
#[derive(Default)]
struct Arrivals {
    first: Vec<f64>,
    median: Vec<f64>,
    last: Vec<f64>,
}

impl Arrivals {
    fn add(&mut self, times: &[f64]) {
        self.first.extend(times.first());
        self.median.extend(times.get(times.len() / 2));
        self.last.extend(times.last());
    }
}

/// Many neighbours: to each one's read, beside BIRD and bare writes.
fn withdrawals(thread: &Thread, runtime: &Runtime) -> Result<Vec<Record>> {
    let routers = thread.routers(5, NEIGHBOURS)?;
    let bird_routers = thread.routers(6, NEIGHBOURS)?;
    let bare_routers = thread.routers(7, NEIGHBOURS)?;
    let speaker = runtime.block_on(speaker::established(&routers.addresses))?;
    let mut bird = Bird::start("many", &bird_routers.addresses)?;
    bird.wait_established(NEIGHBOURS)?;
    bird_routers.wait_announced()?;
    let mut writers = bare_writers(&bare_routers)?;
    let withdrawal = withdrawal()?;
    let (mut ours, mut birds, mut bare) =
        (Arrivals::default(), Arrivals::default(), Arrivals::default());
    for _ in 0..ROUNDS {
        bare.add(&bare_round(&mut writers, &bare_routers, &withdrawal)?);
        birds.add(&bird_round(&mut bird, &bird_routers, PAUSE)?);
        announce(&speaker, &routers)?;
        std::thread::sleep(PAUSE);
        let begin = Instant::now();
        // How far it is, the routers say.
        drop(speaker.withdraw(speaker::prefix()));
        ours.add(&routers.wait_withdrawn(begin)?);
    }
    runtime.block_on(speaker.shutdown(None));
    Ok(records(ours, birds, bare))
}

fn records(ours: Arrivals, birds: Arrivals, bare: Arrivals) -> Vec<Record> {
    let method = format!(
        "{NEIGHBOURS} loopback routers of each, all read by one thread, times taken after each read; ours from \
         entering withdraw(), BIRD from before the write of `disable` to its control socket, bare from before the \
         first of {NEIGHBOURS} writes by one thread; the three taking turns, {PAUSE:?} of quiet before each round"
    );
    let record = |name: &str, unit: &'static str, min, median, floor, bird| Record {
        name: name.into(),
        value: min,
        unit: unit.into(),
        min,
        median,
        runs: ROUNDS,
        floor: Some(floor),
        peer: Some("BIRD 2, min".into()),
        peer_value: Some(bird),
        method: method.clone(),
    };
    let last = [&ours, &birds, &bare].map(|arrivals| min_and_median(arrivals.last.clone()));
    let [(ours_min, ours_median), (bird_min, bird_median), (bare_min, bare_median)] = last;
    let mut ratio = record(
        "bgp.withdraw_last200_ratio",
        "x bare loop",
        ours_min / bare_min,
        ours_median / bare_median,
        1.0,
        bird_min / bare_min,
    );
    ratio.method = format!(
        "the last router's time over that of the bare loop, least over least and median over median; medians: ours \
         {ours_median:.0}, BIRD {bird_median:.0}, bare {bare_median:.0} us; {method}"
    );
    let mut all = vec![ratio];
    for (which, ours, birds, bare) in [
        ("first", ours.first, birds.first, bare.first),
        ("median", ours.median, birds.median, bare.median),
        ("last", ours.last, birds.last, bare.last),
    ] {
        let (min, median) = min_and_median(ours);
        let (bare, bird) = (min_and_median(bare), min_and_median(birds));
        let name = format!("bgp.withdraw_{which}200_us");
        let mut record = record(&name, "us", min, median, bare.0, bird.0);
        record.method = format!(
            "the {which} router of {NEIGHBOURS}; floor: the bare loop, min, median {:.0} us; BIRD's median {:.0} us",
            bare.1, bird.1
        );
        all.push(record);
    }
    all
}

fn announce(speaker: &Speaker, routers: &Routers) -> Result<()> {
    routers.forget();
    speaker.announce(speaker::route());
    routers.wait_announced()
}

/// BIRD's VIP comes and goes; expects it to be there, and leaves it there.
fn bird_round(bird: &mut Bird, routers: &Routers, pause: Duration) -> Result<Vec<f64>> {
    std::thread::sleep(pause);
    routers.forget();
    let begin = Instant::now();
    bird.say("disable vip")?;
    let times = routers.wait_withdrawn(begin)?;
    bird.answer()?;
    bird.say("enable vip")?;
    bird.answer()?;
    routers.wait_announced()?;
    Ok(times)
}

/// Connections that the routers take for sessions.
fn bare_writers(routers: &Routers) -> Result<Vec<TcpStream>> {
    let open = Open::new(LOCAL_AS, 0, Ipv4Addr::LOCALHOST, &[Family::IPV4_UNICAST]);
    let open = encode(&Message::Open(open), &EncodeContext::default())?;
    let mut writers = Vec::with_capacity(routers.addresses.len());
    for address in &routers.addresses {
        let mut writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        std::io::Write::write_all(&mut writer, &open)?;
        writers.push(writer);
    }
    Ok(writers)
}

fn withdrawal() -> Result<Vec<u8>> {
    let vip = Nlri::from(Ipv4Net::from(VIP));
    let update = Update { withdrawn: vec![vip], ..Update::default() };
    Ok(encode(&Message::Update(update), &EncodeContext::default())?.to_vec())
}

fn bare_round(writers: &mut [TcpStream], routers: &Routers, message: &[u8]) -> Result<Vec<f64>> {
    std::thread::sleep(PAUSE);
    routers.forget();
    let begin = Instant::now();
    for writer in writers {
        std::io::Write::write_all(writer, message)?;
    }
    routers.wait_withdrawn(begin)
}
