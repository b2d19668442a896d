//! The judgement against hosts made up here, and the whole in network namespaces of its own.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::machine::{Address, Link, Machine, NeighbourLimits, Neighbours};
use super::{Findings, When, check, checks, neighbours, rules};
use crate::config::{Config, parse};

const CAP_BPF: u64 = 1 << 39;
const CAP_NET_ADMIN: u64 = 1 << 12;

/// A configuration with one VIP and one pool.
fn config(mode: &str, interfaces: &str, probe: &str, backend: &str) -> Config {
    let text = format!(
        "[router]\nid = \"192.0.2.1\"\nas = 65001\n\
         [control]\nsocket = \"/nonexistent/vc5.ctl\"\n[metrics]\nlisten = \"off\"\n\
         [dataplane]\nmode = \"{mode}\"\ninterfaces = {interfaces}\n\
         [pool.web]\nprobe = \"{probe}\"\nbackends = [\"{backend}\", {{ address = \"203.0.113.78\", state = \"disabled\" }}]\n\
         [pool.unused]\nbackends = [\"203.0.113.77\"]\n\
         [vip.www]\naddresses = [\"192.168.101.1\"]\nservice = [{{ port = 80, pool = \"web\" }}]\n"
    );
    parse(&text, Path::new("vc5.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn link(index: u32, name: &str) -> Link {
    let loopback = name == "lo";
    Link { index, name: name.into(), up: true, running: true, loopback, ..Link::default() }
}

fn address(link: u32, text: &str) -> Address {
    let subnet: ipnet::IpNet = text.parse().unwrap();
    Address { link, local: subnet.addr(), subnet }
}

/// A host with eth0 in 10.1.10.0/24 and all permissions.
fn host() -> Machine {
    Machine {
        links: vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1")],
        addresses: vec![address(1, "127.0.0.1/8"), address(2, "10.1.10.100/24")],
        capabilities: CAP_BPF | CAP_NET_ADMIN,
        ..Machine::default()
    }
}

fn findings(errors: &[&str], warnings: &[&str]) -> Findings {
    let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    Findings { errors: own(errors), warnings: own(warnings) }
}

#[test]
fn a_fitting_host_has_no_findings() {
    for (mode, probe, backend) in [
        ("auto", "dsr", "10.1.10.10"),
        ("off", "dsr", "10.1.10.10"),
        ("auto", "direct", "203.0.113.9"),
    ] {
        let config = config(mode, "[\"eth0\"]", probe, backend);
        assert_eq!(rules::examine(&config, &host()), findings(&[], &[]), "{mode} {probe}");
    }
}

#[test]
fn interfaces_have_to_be_there() {
    let config = config("auto", "[\"eth9\", \"eth1\", \"eth0\"]", "dsr", "10.1.10.10");
    let mut host = host();
    host.links[2].up = false;
    host.links[1].running = false;
    assert_eq!(
        rules::examine(&config, &host),
        findings(
            &["dataplane.interfaces: there is no interface `eth9`; this host has: eth0, eth1"],
            &[
                "dataplane.interfaces: `eth1` is down; bring it up with: ip link set eth1 up",
                "dataplane.interfaces: `eth0` has no carrier; check its cable or peer",
            ],
        )
    );
    let off = self::config("off", "[\"eth9\"]", "dsr", "10.1.10.10");
    assert_eq!(rules::examine(&off, &host), findings(&[], &[]));
}

#[test]
fn backends_have_to_be_connected() {
    let outside = |backend: &str| config("auto", "[\"eth0\"]", "dsr", backend);
    assert_eq!(
        rules::examine(&outside("10.1.11.10"), &host()),
        findings(
            &[
                "pool.web.backends: 10.1.11.10 is outside every connected subnet: give this host an address in its subnet, or set probe = \"direct\""
            ],
            &[],
        )
    );
    assert_eq!(
        rules::examine(&outside("10.1.10.100"), &host()),
        findings(
            &[
                "pool.web.backends: 10.1.10.100 is this host's own address (on eth0); a service on this host needs probe = \"local\" and dataplane.mode = \"off\""
            ],
            &[],
        )
    );
}

#[test]
fn backends_behind_another_interface_are_warned_about() {
    let config = config("auto", "[\"eth1\"]", "dsr", "10.1.10.10");
    let warning = "pool.web.backends: 10.1.10.10 is behind `eth0`, which is not in dataplane.interfaces: packets will not reach it";
    assert_eq!(rules::examine(&config, &host()), findings(&[], &[warning]));
    // eth0 as a bond of eth1, and eth0 as a VLAN on eth1, by a customer tag or a service tag.
    let mut bond = host();
    bond.links[2].controller = Some(2);
    let port = "dataplane.interfaces: `eth1` is a port of `eth0`: no backend is reached by it; name `eth0` instead";
    assert_eq!(rules::examine(&config, &bond), findings(&[], &[port, warning]));
    let mut vlan = host();
    (vlan.links[1].lower, vlan.links[1].vlan) = (Some(3), Some(10));
    assert_eq!(rules::examine(&config, &vlan), findings(&[], &[]));
    vlan.links[1].vlan = None;
    assert_eq!(rules::examine(&config, &vlan), findings(&[], &[warning]));
}

#[test]
fn backends_are_in_the_vlan_that_the_configuration_says() {
    let mut config = config("auto", "[\"eth0\", \"eth1\"]", "dsr", "10.1.10.10");
    config.dataplane.vlans = [(10, vec!["10.1.10.0/24".parse().unwrap()])].into();
    let missing = "pool.web.backends: 10.1.10.10 is in VLAN 10 by dataplane.vlans, which has no interface on `eth0` or `eth1`: make one with `ip link add link eth0 name eth0.10 type vlan id 10` and give it an address in the backend's subnet";
    assert_eq!(rules::examine(&config, &host()), findings(&[missing], &[]));
    let mut machine = host();
    let mut sub = link(4, "eth1.10");
    (sub.lower, sub.vlan) = (Some(3), Some(10));
    machine.links.push(sub);
    let bare = "pool.web.backends: 10.1.10.10 is in VLAN 10 by dataplane.vlans, and `eth1.10` has no address in a subnet with it: give it one";
    assert_eq!(rules::examine(&config, &machine), findings(&[bare], &[]));
    machine.addresses.push(address(4, "10.1.10.101/24"));
    assert_eq!(rules::examine(&config, &machine), findings(&[], &[]));
    // Without a dataplane VLANs are the host's own affair.
    config.dataplane.mode = crate::config::model::DataplaneMode::Off;
    assert_eq!(rules::examine(&config, &host()), findings(&[], &[]));
}

#[test]
fn the_backends_of_a_vip_may_be_behind_several_interfaces() {
    let text = "[router]\nid = \"192.0.2.1\"\nas = 65001\n[dataplane]\ninterfaces = [\"eth0\", \"eth1\"]\n\
        [pool.web]\nbackends = [\"10.1.10.10\", \"10.1.11.10\"]\n\
        [vip.www]\naddresses = [\"192.168.101.1\"]\nservice = [{ port = 80, pool = \"web\" }]\n";
    let config = parse(text, Path::new("vc5.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let mut machine = host();
    machine.addresses.push(address(3, "10.1.11.100/24"));
    assert_eq!(rules::examine(&config, &machine), findings(&[], &[]));
}

#[test]
fn the_vip_is_where_the_probe_expects_it() {
    let mut holder = host();
    holder.addresses.push(address(1, "192.168.101.1/32"));
    assert_eq!(
        rules::examine(&config("auto", "[\"eth0\"]", "dsr", "10.1.10.10"), &holder),
        findings(
            &[
                "vip.www.addresses: 192.168.101.1 is an address of this host (on lo), so probes would never leave it: remove it with `ip addr del 192.168.101.1/32 dev lo`, or set another probe for pool `web`"
            ],
            &[],
        )
    );
    let local = config("off", "[]", "local", "127.0.0.1");
    assert_eq!(rules::examine(&local, &holder), findings(&[], &[]));
    assert_eq!(
        rules::examine(&local, &host()),
        findings(
            &[],
            &[
                "vip.www.addresses: 192.168.101.1 is not an address of this host: checks will fail until `ip addr add 192.168.101.1/32 dev lo`"
            ],
        )
    );
}

#[test]
fn permissions_are_asked_for_what_is_used() {
    let bpf = "dataplane: no permission to load and attach BPF programs: run as root or with CAP_BPF and CAP_NET_ADMIN, or set mode = \"off\"";
    let probes = "pool.web.probe: no permission to mark and route probes: run as root or with CAP_NET_ADMIN, or set probe = \"direct\"";
    let sys_admin = 1 << 21;
    let rows: [(&str, &str, u64, &[&str]); 7] = [
        ("auto", "dsr", 0, &[bpf, probes]),
        ("auto", "dsr", CAP_NET_ADMIN, &[bpf]),
        ("auto", "dsr", CAP_BPF, &[bpf, probes]),
        ("auto", "dsr", sys_admin | CAP_NET_ADMIN, &[]),
        ("off", "dsr", 0, &[probes]),
        ("off", "direct", 0, &[]),
        ("off", "dsr", CAP_NET_ADMIN, &[]),
    ];
    for (mode, probe, capabilities, errors) in rows {
        let host = Machine { capabilities, ..host() };
        let config = config(mode, "[\"eth0\"]", probe, "10.1.10.10");
        assert_eq!(rules::examine(&config, &host), findings(errors, &[]), "{mode} {probe}");
    }
}

#[test]
fn checks_of_services_need_their_permission_and_their_program() {
    let check = |name: &str, keys: &str| format!("[check.{name}]\n{keys}\n");
    let text = [
        check("ping", "type = \"icmp\""),
        check("unused", "type = \"exec\"\ncommand = [\"/nonexistent/b\"]"),
        check("gone", "type = \"exec\"\ncommand = [\"/nonexistent/a\"]"),
        check("text", "type = \"exec\"\ncommand = [\"/etc/passwd\"]"),
        check("place", "type = \"exec\"\ncommand = [\"/etc\"]"),
        check("good", "type = \"exec\"\ncommand = [\"/bin/sh\"]"),
        "[router]\nid = \"192.0.2.1\"\nas = 65001\n[dataplane]\nmode = \"off\"\n\
         [pool.web]\nbackends = [\"10.1.10.10\"]\n[vip.www]\naddresses = [\"192.168.101.1\"]\n\
         service = [{ port = 80, pool = \"web\", checks = [\"ping\", \"gone\", \"text\", \"place\", \"good\"] }]\n"
            .to_owned(),
    ]
    .concat();
    let config = parse(&text, Path::new("vc5.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let missing = [
        "check.gone.command: cannot run /nonexistent/a: No such file or directory (os error 2)",
        "check.place.command: /etc is not a file",
        "check.text.command: /etc/passwd is not executable: `chmod +x /etc/passwd`",
    ];
    let raw = Machine { capabilities: 1 << 13, ..host() };
    assert_eq!(checks::examine(&config, &raw), missing);
    let ping = "check.ping.type: no permission for echo requests: run as root or with CAP_NET_RAW";
    let [gone, place, text] = missing;
    assert_eq!(checks::examine(&config, &host()), [gone, ping, place, text]);
}

/// A pool of so many backends, in 10.2.0.0/16 or in 2001:db8:2::/64.
fn many(ipv4: bool, mode: &str, probe: &str, count: u32) -> Config {
    let backend = |n: u32| match ipv4 {
        true => format!("\"10.2.{}.{}\"", n / 256, n % 256),
        false => format!("\"2001:db8:2::{n:x}\""),
    };
    let backends: Vec<String> = (1..=count).map(backend).collect();
    let (vip, backends) = (if ipv4 { "192.0.2.1" } else { "2001:db8::1" }, backends.join(", "));
    let text = format!(
        "[router]\nid = \"192.0.2.1\"\nas = 65001\n\
         [dataplane]\nmode = \"{mode}\"\ninterfaces = [\"eth0\"]\n\
         [pool.web]\nprobe = \"{probe}\"\nbackends = [{backends}]\n\
         [vip.www]\naddresses = [\"{vip}\"]\nservice = [{{ port = 80, pool = \"web\" }}]\n"
    );
    parse(&text, Path::new("vc5.toml")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A host with eth0 and eth1, of which one has the subnets of [`many`], and these limits for IPv4 and IPv6.
fn with_limits(index: u32, limits: [(u32, u32); 2]) -> Machine {
    let [ipv4, ipv6] = limits.map(|(forced, most)| Some(NeighbourLimits { forced, most }));
    Machine {
        addresses: vec![address(index, "10.2.255.1/16"), address(index, "2001:db8:2::ffff/64")],
        neighbours: Neighbours { ipv4, ipv6, ..Neighbours::default() },
        ..host()
    }
}

#[test]
fn backends_need_room_in_the_neighbour_table() {
    let usual = with_limits(2, [(512, 1024); 2]);
    let error = "pool: 1024 IPv4 backends on connected subnets need a neighbour entry each, and this host has room for 1024 with all else that it talks to (gc_thresh3): probes would fail at random; raise it with `sysctl -w net.ipv4.neigh.default.gc_thresh2=2048 net.ipv4.neigh.default.gc_thresh3=4096` (on the host, if this is a container)";
    let warning = "pool: 512 IPv6 backends on connected subnets need a neighbour entry each, and this host clears entries beyond 512 with all else that it talks to (gc_thresh2): backends will be resolved again and again; raise it with `sysctl -w net.ipv6.neigh.default.gc_thresh2=1024 net.ipv6.neigh.default.gc_thresh3=2048` (on the host, if this is a container)";
    let seen = |ipv4, count| neighbours::examine(&many(ipv4, "off", "dsr", count), &usual);
    assert_eq!(seen(true, 1024), findings(&[error], &[]));
    assert_eq!(seen(false, 512), findings(&[], &[warning]));
    assert_eq!(seen(true, 1023).errors, [""; 0]);
    assert_eq!(seen(true, 511), findings(&[], &[]));
    // Each family has its own limits.
    let other = with_limits(2, [(512, 1024), (4096, 8192)]);
    let seen = neighbours::examine(&many(false, "off", "dsr", 1024), &other);
    assert_eq!(seen, findings(&[], &[]));
    // What the kernel does not tell is not judged.
    let unknown = Machine { neighbours: Neighbours::default(), ..usual };
    let seen = neighbours::examine(&many(true, "off", "dsr", 1024), &unknown);
    assert_eq!(seen, findings(&[], &[]));
}

#[test]
fn only_entries_that_are_not_the_dataplanes_count() {
    for (mode, probe, index, counts) in [
        // By eth0, which is the dataplane's.
        ("auto", "dsr", 2, false),
        ("auto", "direct", 2, false),
        ("off", "direct", 2, true),
        ("off", "local", 2, false),
        // By another interface.
        ("auto", "direct", 3, true),
    ] {
        let machine = with_limits(index, [(8, 16); 2]);
        let seen = neighbours::examine(&many(true, mode, probe, 16), &machine);
        assert_eq!(seen.errors.len(), usize::from(counts), "{mode} {probe} {index}: {seen:?}");
    }
    // Those that last are exempt.
    let mut lasting = with_limits(2, [(17, 17); 2]);
    lasting.neighbours.exempt = (1..=4).map(|n| IpAddr::from([10, 2, 0, n])).collect();
    assert_eq!(neighbours::examine(&many(true, "off", "dsr", 20), &lasting), findings(&[], &[]));
    assert_eq!(neighbours::examine(&many(true, "off", "dsr", 21), &lasting).errors.len(), 1);
    // Beyond a router it is that one's entry alone.
    let mut away = with_limits(2, [(8, 16); 2]);
    away.addresses.clear();
    assert_eq!(neighbours::examine(&many(true, "off", "direct", 16), &away), findings(&[], &[]));
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    let status = status.expect("needs the command `ip`: apt-get install iproute2");
    assert!(status.success(), "ip {arguments}");
}

/// Runs a test in a network namespace that is gone when the thread ends.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(|| {
        // SAFETY: no memory is involved; only this thread changes its namespace.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "needs root to make a network namespace: run the tests as root");
        test();
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A namespace with eth0, which is up and in 10.1.10.0/24, and its peer eth1, which is down.
fn in_lab(test: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        ip("link add eth0 type veth peer name eth1");
        ip("link set lo up");
        ip("link set eth0 up");
        ip("addr add 10.1.10.100/24 dev eth0");
        test();
    });
}

#[test]
fn the_kernel_is_asked_about_links_addresses_and_permissions() {
    in_lab(|| {
        ip("addr add 2001:db8:10::100/64 dev eth0 nodad");
        ip("addr add 10.9.0.1 peer 10.9.0.2/30 dev eth1");
        let machine = Machine::read().unwrap();
        let mut names: Vec<_> =
            machine.links.iter().map(|link| (link.name.as_str(), link.up)).collect();
        names.sort_unstable();
        assert_eq!(names, [("eth0", true), ("eth1", false), ("lo", true)]);
        let holder = |text: &str| machine.holder(text.parse().unwrap()).map(|link| &*link.name);
        assert_eq!(holder("10.1.10.100"), Some("eth0"));
        assert_eq!(holder("2001:db8:10::100"), Some("eth0"));
        assert_eq!(holder("10.9.0.1"), Some("eth1"));
        assert_eq!(holder("10.9.0.2"), None);
        let connected =
            |text: &str| machine.connected(text.parse().unwrap()).map(|link| &*link.name);
        assert_eq!(connected("10.1.10.7"), Some("eth0"));
        assert_eq!(connected("2001:db8:10::7"), Some("eth0"));
        assert_eq!(connected("10.9.0.2"), Some("eth1"));
        assert_eq!(connected("10.1.11.7"), None);
        assert_eq!(connected("127.0.0.2"), None);
        assert!(machine.may(12), "root has CAP_NET_ADMIN");
        assert_eq!(machine.neighbours, Neighbours::default());
        ip("neigh add 10.1.10.8 lladdr 02:00:00:00:00:08 dev eth0 nud permanent");
        ip("neigh add 10.1.10.9 lladdr 02:00:00:00:00:09 dev eth0 nud reachable");
        let Neighbours { ipv4, ipv6, exempt } = machine.with_neighbours().neighbours;
        assert_eq!(exempt, ["10.1.10.8".parse().unwrap()].into());
        for limits in [ipv4, ipv6] {
            assert!(limits.is_some_and(|limits| limits.most > 0), "{limits:?}");
        }
    });
}

#[test]
fn a_whole_check_reports_all_errors_by_file() {
    in_lab(|| {
        ip("addr add 192.168.101.1/32 dev lo");
        let config = config("generic", "[\"eth0\", \"eth9\"]", "dsr", "10.1.11.10");
        run(async move {
            let errors = check(&config, When::Start).await.unwrap_err();
            assert_eq!(
                errors.to_string(),
                "vc5.toml: dataplane.interfaces: there is no interface `eth9`; this host has: eth0, eth1\n\
                 vc5.toml: pool.web.backends: 10.1.11.10 is outside every connected subnet: give this host an address in its subnet, or set probe = \"direct\"\n\
                 vc5.toml: vip.www.addresses: 192.168.101.1 is an address of this host (on lo), so probes would never leave it: remove it with `ip addr del 192.168.101.1/32 dev lo`, or set another probe for pool `web`"
            );
        });
    });
}

#[test]
fn a_whole_check_passes_with_warnings() {
    in_lab(|| {
        let config = config("generic", "[\"eth0\", \"eth1\"]", "dsr", "10.1.10.10");
        run(async move {
            assert_eq!(
                check(&config, When::Start).await.unwrap(),
                [
                    // A veth has a carrier only while both of its ends are up.
                    "dataplane.interfaces: `eth0` has no carrier; check its cable or peer",
                    "dataplane.interfaces: `eth1` is down; bring it up with: ip link set eth1 up",
                ]
            );
        });
    });
}

#[test]
fn sockets_have_to_be_free_at_the_start_only() {
    in_lab(|| {
        let directory = std::env::temp_dir().join(format!("vc5-preflight-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut config = config("off", "[]", "direct", "10.1.10.10");
        config.control.socket = directory.join("vc5.ctl");
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        config.metrics.listen = Some(metrics.local_addr().unwrap());
        let answering = std::os::unix::net::UnixListener::bind(&config.control.socket).unwrap();
        run(async move {
            let errors = check(&config, When::Start).await.unwrap_err();
            assert_eq!(
                errors.to_string(),
                format!(
                    "vc5.toml: control.socket: another daemon answers on {}; stop it or choose another path\n\
                     vc5.toml: metrics.listen: cannot listen on {}: Address already in use (os error 98); choose another address or \"off\"",
                    config.control.socket.display(),
                    metrics.local_addr().unwrap()
                )
            );
            assert_eq!(check(&config, When::Reload).await, Ok(vec![]));
            drop((answering, metrics));
            assert_eq!(check(&config, When::Start).await, Ok(vec![]), "a dead socket is no error");
            std::fs::remove_file(&config.control.socket).unwrap();
            std::fs::write(&config.control.socket, "").unwrap();
            let errors = check(&config, When::Start).await.unwrap_err().to_string();
            assert!(
                errors.ends_with("exists and is not a socket; move it away or choose another path")
            );
        });
        std::fs::remove_dir_all(directory).unwrap();
    });
}
