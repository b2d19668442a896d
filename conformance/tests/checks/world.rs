//! The network: a balancer, a backend with all servers, and two that are hard to reach.
//!
//! ```text
//! balancer 192.0.2.11     --- 192.0.2.21     backend  all servers
//!          198.51.100.11  --- 198.51.100.21  slow     the kernel answers, but its line carries 60 bytes a second
//!          100.64.0.11   --- 100.64.0.21   gate     refuses to pass packets on to the VIP
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use vc5_conformance::lab::{Lab, Netns, Process, command, wait};
use vc5_health::{Check, Probe, ProbeEvent, ProbeKey, ProbePath, Prober, ProberConfig};

use crate::certificates::Certificates;
use crate::row::{Finding, Place, Row};
use crate::servers;

const TOOL: &str = env!("CARGO_BIN_EXE_vc5-lab");
/// First probes are spread over it; a machine that is busy cannot do all of them at once.
const INTERVAL: Duration = Duration::from_secs(3);
/// Without a finding of each scenario by then, something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// VIPs by place, IPv4 and IPv6.
fn vip(place: Place) -> [IpAddr; 2] {
    let [v4, v6] = match place {
        Place::Served => ["203.0.113.10", "2001:db8:101::10"],
        Place::Hole => ["203.0.113.11", "2001:db8:101::11"],
        Place::Rejecting => ["203.0.113.12", "2001:db8:101::12"],
        Place::Missing => ["203.0.113.13", "2001:db8:101::13"],
        Place::SlowLine => ["203.0.113.14", "2001:db8:101::14"],
    };
    [v4.parse().unwrap(), v6.parse().unwrap()]
}

/// The backend that a place is on, IPv4 and IPv6.
fn backend(place: Place) -> [IpAddr; 2] {
    let [v4, v6] = match place {
        Place::SlowLine => ["198.51.100.21", "2001:db8:51::21"],
        Place::Rejecting => ["100.64.0.21", "2001:db8:64::21"],
        _ => ["192.0.2.21", "2001:db8:2::21"],
    };
    [v4.parse().unwrap(), v6.parse().unwrap()]
}

/// Everything; the lab comes last, so that it goes last.
pub(crate) struct World {
    _servers: Vec<Process>,
    pub(crate) certificates: Certificates,
    balancer: Netns,
    _backend: Netns,
    _slow: Netns,
    _gate: Netns,
    _lab: Lab,
}

impl World {
    pub(crate) fn new() -> Self {
        servers::require();
        let lab = Lab::new(TOOL).unwrap();
        let balancer = lab.netns("lb").unwrap();
        let host = lab.netns("backend").unwrap();
        let slow = lab.netns("slow").unwrap();
        let gate = lab.netns("gate").unwrap();
        join(&balancer, "eth0", &host, ["192.0.2", "2001:db8:2:"]);
        join(&balancer, "eth1", &slow, ["198.51.100", "2001:db8:51:"]);
        join(&balancer, "eth2", &gate, ["100.64.0", "2001:db8:64:"]);
        hold(&host, Place::Served);
        hold(&host, Place::Hole);
        drop_on_the_way(&host, Place::Hole);
        hold(&slow, Place::SlowLine);
        gate.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])
            .unwrap();
        for (ip, vip) in ["", "-6 "].iter().zip(vip(Place::Rejecting)) {
            gate.ip(&format!("{ip}route add prohibit {vip}")).unwrap();
        }
        slow_down(&balancer, &slow);

        let certificates = Certificates::new(lab.dir());
        let addresses = vip(Place::Served);
        let servers = servers::start(&lab, &host, &certificates, &addresses);
        Self {
            _servers: servers,
            certificates,
            balancer,
            _backend: host,
            _slow: slow,
            _gate: gate,
            _lab: lab,
        }
    }

    /// Probes all scenarios in both families at once, until each has been found once.
    pub(crate) fn run(&self, rows: &[Row]) -> Vec<Finding> {
        let probes: Vec<Probe> =
            rows.iter().enumerate().flat_map(|(n, row)| probes(n, row)).collect();
        let mut findings: Vec<Finding> = self
            .balancer
            .entry()
            .unwrap()
            .run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(first_of_each(probes))
            })
            .unwrap()
            .into_values()
            .map(|event| Finding {
                row: event.key.check.parse().unwrap(),
                vip: event.key.vip,
                outcome: event.outcome,
            })
            .collect();
        findings.sort_by_key(|finding| (finding.row, finding.vip));
        findings
    }

    /// The balancer's connections in TIME_WAIT, as the kernel's table has them.
    pub(crate) fn time_wait(&self) -> Vec<String> {
        let files = ["/proc/net/tcp", "/proc/net/tcp6"];
        let table = command::output(self.balancer.command("cat").args(files)).unwrap();
        let waiting = |line: &&str| line.split_whitespace().nth(3) == Some("06");
        table.lines().filter(waiting).map(str::to_owned).collect()
    }
}

/// A line between the balancer and a host, with addresses at both ends.
fn join(balancer: &Netns, interface: &str, host: &Netns, [v4, v6]: [&str; 2]) {
    balancer.veth(interface, host, "eth0").unwrap();
    // Each scenario is to have its ICMP error.
    host.sysctl(&[("net/ipv4/icmp_ratelimit", "0"), ("net/ipv6/icmp/ratelimit", "0")]).unwrap();
    for (namespace, interface, number) in [(balancer, interface, 11), (host, "eth0", 21)] {
        namespace.ip(&format!("address add {v4}.{number}/24 dev {interface}")).unwrap();
        namespace.ip(&format!("address add {v6}:{number}/64 dev {interface} nodad")).unwrap();
    }
}

/// Rules come before the table of local addresses only if that is moved down.
fn drop_on_the_way(host: &Netns, place: Place) {
    for (ip, vip) in ["", "-6 "].iter().zip(vip(place)) {
        host.ip(&format!("{ip}rule add preference 100 lookup local")).unwrap();
        host.ip(&format!("{ip}rule del preference 0")).unwrap();
        host.ip(&format!("{ip}rule add preference 10 to {vip} blackhole")).unwrap();
    }
}

/// Lets the two find each other, then leaves the line 500 bit/s and fills its queue.
fn slow_down(balancer: &Netns, slow: &Netns) {
    let send = |times: usize| {
        let sent = slow.entry().unwrap().run(|| {
            for to in ["198.51.100.11:9", "[2001:db8:51::11]:9"] {
                let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
                let socket = UdpSocket::bind(any).unwrap();
                // A full queue is what is wanted.
                (0..times).for_each(|_| drop(socket.send_to(&[0; 60], to)));
            }
        });
        sent.unwrap();
    };
    send(1);
    let known = wait::until_true("the balancer knows the slow backend", LIMIT, || {
        Ok(balancer.ip("neigh show dev eth1")?.matches("21 lladdr").count() == 2)
    });
    known.unwrap();
    let line = ["qdisc", "add", "dev", "eth0", "root", "tbf"];
    let rate = ["rate", "500bit", "burst", "150", "limit", "100000"];
    command::output(slow.command("tc").args(line).args(rate)).unwrap();
    send(20);
}

fn hold(host: &Netns, place: Place) {
    let [v4, v6] = vip(place);
    host.ip(&format!("address add {v4}/32 dev lo")).unwrap();
    host.ip(&format!("address add {v6}/128 dev lo nodad")).unwrap();
}

/// A scenario's probes, IPv4 and IPv6; its index is the name of its check.
fn probes(index: usize, row: &Row) -> Vec<Probe> {
    let pairs = vip(row.place).into_iter().zip(backend(row.place));
    pairs
        .zip(row.timeout)
        .map(|((vip, backend), timeout)| Probe {
            key: ProbeKey {
                vip,
                backend,
                port: row.port,
                service: row.kind.to_owned(),
                check: index.to_string(),
            },
            path: ProbePath::Dsr,
            ttl: Some(1),
            check: Check { interval: INTERVAL, timeout, ..Check::new(row.ask.clone()) },
        })
        .collect()
}

async fn first_of_each(probes: Vec<Probe>) -> HashMap<ProbeKey, ProbeEvent> {
    let (prober, mut events) = Prober::start(ProberConfig::default()).await.unwrap();
    let count = probes.len();
    prober.set(probes).await.unwrap();
    let mut first = HashMap::new();
    let all = async {
        while first.len() < count {
            let event = events.recv().await.unwrap();
            first.entry(event.key.clone()).or_insert(event);
        }
    };
    // Scenarios that nothing came from are shown as missing by the matrix.
    let _ = tokio::time::timeout(LIMIT, all).await;
    prober.shutdown().await;
    first
}
