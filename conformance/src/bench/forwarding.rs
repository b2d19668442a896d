//! How long changes of the forwarding state take: from the call that hands over a state to the
//! moment at which the kernel's maps have it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::maps::{Array, Map, MapData};
use vc5_ebpf_abi::{Service, ServiceBucket, ServiceKey, mapped, maps};
use vc5_xdp::maglev::{Member, Ring};
use vc5_xdp::{
    AttachMode, BackendSpec, Dataplane, DataplaneConfig, Desired, Event, L4, OnDown, OnStop, Ports,
    RealState, ServiceSpec, Unknown, VipSpec,
};

use super::{Record, min_and_median};

const VIPS: u32 = 1000;
const BACKENDS: u32 = 100;
/// Ring builds, and changes of one pool.
const CHANGES: usize = 31;
/// Loads from nothing.
const LOADS: usize = 5;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The interface, in a namespace of its own.
const INTERFACE: &str = "bench0";

type Events = tokio::sync::mpsc::UnboundedReceiver<Event>;

/// Measures all of it.
///
/// # Errors
/// Without root, BPF or iproute2, or when a state is not put in force.
pub fn run() -> Result<Vec<Record>> {
    // A thread of its own, so that only it changes its namespaces.
    std::thread::scope(|scope| scope.spawn(measure_all).join())
        .map_err(|_| anyhow!("the measuring thread panicked"))?
}

fn measure_all() -> Result<Vec<Record>> {
    let lab = Lab::new()?;
    let mut records = vec![ring_build()];
    let (mut apart, mut shared) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        apart.push(load(&lab, &distinct())?);
        shared.push(load(&lab, &alike())?);
    }
    let method = |pools: &str| {
        format!(
            "from Dataplane::apply to Event::Applied on a dataplane just started: {VIPS} VIPs, each \
             with a service of {BACKENDS} backends, {pools}; every backend's neighbour entry is \
             there already"
        )
    };
    records.extend(change(&lab)?);
    let pools = "no two pools alike (windows of 1,099 addresses)";
    records.push(record("xdp.load_1000_s", "s", apart, method(pools)));
    records.push(record("xdp.load_1000_shared_s", "s", shared, method("all of one pool")));
    Ok(records)
}

fn ring_build() -> Record {
    let members: Vec<Member> =
        (1..=1000).map(|n| Member { address: backend(u32::from(n)), weight: 1, id: n }).collect();
    let times = (0..CHANGES).map(|_| {
        let began = Instant::now();
        let ring = Ring::build(&[7; 16], &members);
        let took = began.elapsed();
        drop(std::hint::black_box(ring));
        took.as_secs_f64() * 1e3
    });
    let method = "maglev::Ring::build of 1,000 members of equal weight, on one thread".to_owned();
    record("xdp.ring_build_ms", "ms", times.collect(), method)
}

/// Seconds that it takes to put a state in force where there was none.
fn load(lab: &Lab, desired: &Desired) -> Result<f64> {
    let (dataplane, mut events) = lab.start()?;
    let began = Instant::now();
    dataplane.apply(1, desired.clone());
    wait_applied(&mut events, 1)?;
    let took = began.elapsed();
    dataplane.stop(OnStop::Remove)?;
    Ok(took.as_secs_f64())
}

/// One pool of a thousand changes; its service is read until it has another ring.
fn change(lab: &Lab) -> Result<[Record; 2]> {
    let (dataplane, mut events) = lab.start()?;
    let mut desired = distinct();
    dataplane.apply(1, desired.clone());
    wait_applied(&mut events, 1)?;
    let services = lab.services()?;
    let key = ServiceKey::new(mapped(vip(VIPS / 2).octets()), 80, L4_TCP);
    let (mut times, mut work) = (Vec::new(), Vec::new());
    for (seq, weight) in (2u64..).zip(2u32..).take(CHANGES) {
        // What a change leaves to be done afterwards is not to be in the way of the next.
        std::thread::sleep(Duration::from_millis(150));
        let pool = desired
            .vips
            .get_mut(VIPS as usize / 2)
            .and_then(|vip| vip.services.first_mut())
            .and_then(|service| service.backends.first_mut());
        pool.context("a pool to change")?.weight = weight;
        let state = desired.clone();
        let before = services.ring(&key)?;
        let began = Instant::now();
        dataplane.apply(seq, state);
        while services.ring(&key)? == before {
            ensure!(began.elapsed() < PATIENCE, "the change is not seen");
            // Else the dataplane's thread, where it wakes on this CPU, waits for a tick.
            std::thread::yield_now();
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
        work.push(wait_applied(&mut events, seq)?.as_secs_f64() * 1e3);
    }
    dataplane.stop(OnStop::Remove)?;
    let method = |what: &str| {
        format!(
            "{what}: the weight of one backend changes in one of {VIPS} VIPs with pools of \
             {BACKENDS} backends each, no two alike"
        )
    };
    let seen = "from Dataplane::apply until a reader of the pinned map SERVICES sees the new ring";
    let took = "from the state being taken up to the acknowledgement, a new snapshot included";
    Ok([
        record("xdp.change_ms", "ms", times, method(seen)),
        record("xdp.change_work_ms", "ms", work, method(took)),
    ])
}

/// IP protocol number.
const L4_TCP: u8 = 6;

fn record(name: &str, unit: &'static str, figures: Vec<f64>, method: String) -> Record {
    let runs = figures.len();
    let (min, median) = min_and_median(figures);
    Record {
        name: name.into(),
        value: min,
        unit: unit.into(),
        min,
        median,
        runs,
        floor: None,
        peer: None,
        peer_value: None,
        method,
    }
}

/// Waits until a state is in force; how long the dataplane worked on it.
fn wait_applied(events: &mut Events, seq: u64) -> Result<Duration> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match events.try_recv() {
            Ok(Event::Applied { seq: s, took, not_ready }) if s == seq => {
                let first = not_ready.first();
                ensure!(first.is_none(), "{} VIPs are not ready: {first:?}", not_ready.len());
                return Ok(took);
            }
            Ok(Event::ApplyFailed { error, .. }) => bail!("the state is not in force: {error}"),
            Ok(_) => {}
            Err(_) => std::thread::sleep(Duration::from_micros(50)),
        }
    }
    bail!("no acknowledgement within {PATIENCE:?}")
}

/// A thousand VIPs, the backends of the `n`th being `BACKENDS` addresses from `first(n)` on.
fn desired(first: impl Fn(u32) -> u32) -> Desired {
    let backends = |n: u32| {
        let spec = |address| BackendSpec { address, weight: 1, state: RealState::Live };
        (first(n)..first(n) + BACKENDS).map(|n| spec(backend(n))).collect()
    };
    let service = |n: u32| ServiceSpec {
        ports: Ports::One(80),
        protocol: L4::Tcp,
        ttl: Some(1),
        on_down: OnDown::Reselect,
        sticky: false,
        serving: true,
        needed: true,
        backends: backends(n),
    };
    let vip = |n: u32| VipSpec {
        address: vip(n).into(),
        up: true,
        unknown: Unknown::Drop,
        services: vec![service(n)],
    };
    Desired { vips: (0..VIPS).map(vip).collect() }
}

fn distinct() -> Desired {
    desired(|n| n)
}

fn alike() -> Desired {
    desired(|_| 0)
}

/// Of TEST-NET-3 and what follows it.
fn vip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 113, 0)) + n)
}

fn backend(n: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 1, 0)) + n).into()
}

/// An interface with neighbours, and a bpffs, in namespaces of this thread's own: they go with it.
struct Lab {
    bpffs: PathBuf,
}

impl Lab {
    fn new() -> Result<Self> {
        // SAFETY: only this thread is affected.
        let result = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
        ensure!(result == 0, "namespaces need root: {}", std::io::Error::last_os_error());
        let bpffs = std::env::temp_dir().join(format!("vc5-bench-{}", std::process::id()));
        std::fs::create_dir_all(&bpffs)?;
        let lab = Self { bpffs };
        command("mount", &["--make-rprivate", "/"])?;
        command("mount", &["-t", "bpf", "bpf", &lab.bpffs.to_string_lossy()])?;
        let mut batch = format!(
            "link add {INTERFACE} address 02:00:00:00:00:01 type veth peer name {INTERFACE}-peer\n\
             addr add 198.18.0.1/15 dev {INTERFACE}\n\
             link set {INTERFACE}-peer up\n\
             link set {INTERFACE} up\n"
        );
        for n in 0..VIPS + BACKENDS {
            let mac = format!("02:00:00:01:{:02x}:{:02x}", n >> 8, n & 0xff);
            let address = backend(n);
            batch +=
                &format!("neigh replace {address} lladdr {mac} dev {INTERFACE} nud permanent\n");
        }
        let file = std::env::temp_dir().join(format!("vc5-bench-{}.batch", std::process::id()));
        std::fs::write(&file, batch)?;
        let done = command("ip", &["-batch", &file.to_string_lossy()]);
        std::fs::remove_file(&file)?;
        done?;
        Ok(lab)
    }

    fn start(&self) -> Result<(Dataplane, Events)> {
        let config = DataplaneConfig {
            interfaces: vec![INTERFACE.into()],
            vlans: BTreeMap::new(),
            mode: AttachMode::Generic,
            pin_path: Some(self.pin_path()),
            hash_key: [7; 16],
            flows: 65_536,
            max_reals: 131_072,
            settle_time: Duration::from_secs(1),
            drain_time: Duration::from_secs(1),
            sample: None,
        };
        Ok(Dataplane::start(config)?)
    }

    fn pin_path(&self) -> PathBuf {
        self.bpffs.join("vc5")
    }

    /// The running dataplane's services.
    fn services(&self) -> Result<Services> {
        let pinned = |path: PathBuf| Map::from_map_data(MapData::from_pin(path)?);
        for entry in std::fs::read_dir(self.pin_path())? {
            let directory = entry?.path();
            if directory.join(maps::SERVICES).exists() {
                let index = pinned(directory.join(maps::SERVICE_INDEX))?.try_into()?;
                let elements = pinned(directory.join(maps::SERVICES))?.try_into()?;
                return Ok(Services { index, elements });
            }
        }
        bail!("no pinned map of services")
    }
}

/// The services of a running dataplane, to be read as its program reads them.
struct Services {
    index: Array<MapData, ServiceBucket>,
    elements: Array<MapData, Service>,
}

impl Services {
    fn ring(&self, key: &ServiceKey) -> Result<u32> {
        for bucket in key.buckets() {
            for number in self.index.get(&bucket, 0)?.0 {
                let service = self.elements.get(&number, 0)?;
                if service.key == *key {
                    return Ok(service.value.ring);
                }
            }
        }
        bail!("no such service")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _unmounted = command("umount", &[&self.bpffs.to_string_lossy()]);
        let _removed = std::fs::remove_dir(&self.bpffs);
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .with_context(|| format!("{program}; apt-get install iproute2 mount"))?;
    ensure!(status.success(), "{program} {} failed", arguments.join(" "));
    Ok(())
}
