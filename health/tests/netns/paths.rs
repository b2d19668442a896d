//! What the prober does to the host's rules and routes, and what it does when the host changes.

use std::time::Duration;

use vc5_health::{Error, Probe, ProbePath, Prober, ProberConfig, Verdict, check_paths, cleanup};

use crate::lab::{Lab, VIP4, VIP6, ip_in as ip};
use crate::probes::{FAMILIES, collect, config, http, probe, tcp, wait_for};

/// A TCP probe of backend 1 and 2 in both families.
fn everything() -> Vec<Probe> {
    FAMILIES
        .iter()
        .flat_map(|&(vip, b1, b2)| [b1, b2].map(|to| probe("tcp", ProbePath::Dsr, vip, to, tcp())))
        .collect()
}

#[test]
fn nothing_is_left_after_the_shutdown() {
    let lab = Lab::new();
    let before = lab.routing("lb");
    let ns = lab.ns("lb");
    let during = lab.run("lb", async move {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        let routing = || {
            ["rule", "-6 rule", "route show table all", "-6 route show table all"]
                .map(|words| ip(&ns, words))
        };
        prober.set(everything()).await.unwrap();
        let during = routing();
        prober.set(everything()).await.unwrap();
        assert_eq!(routing(), during, "the same set again changes nothing");
        prober.shutdown().await;
        assert!(matches!(prober.set(everything()).await, Err(Error::Stopped)));
        during.join("\n")
    });
    for line in [
        "10000:\tfrom all fwmark 0/0xffff0000 goto 18739 proto 245",
        "fwmark 0x10000/0xffff0000 lookup 7650001 proto 245",
        "192.0.2.1 via 198.51.100.11 dev e0 table 7650001 proto 245 src 198.51.100.1 onlink",
        "fwmark 0x30000/0xffff0000 lookup 7650003 proto 245",
        "2001:db8:ffff::1 via 2001:db8:51::11 dev e0 table 7650003 proto 245 src 2001:db8:51::1 \
         metric 1024 onlink",
    ] {
        assert!(during.contains(line), "{line} is not in:\n{during}");
    }
    let first = "10000:\tfrom all fwmark 0/0xffff0000 goto 18739 proto 245";
    assert_eq!(during.matches(first).count(), 2, "one tree for each family:\n{during}");
    assert_eq!(lab.routing("lb"), before);
}

#[test]
fn what_a_killed_run_left_is_removed_and_only_that() {
    let lab = Lab::new();
    // Rules and routes of others, even with our protocol number, outside of our ranges.
    lab.ip("lb", "rule add fwmark 7 lookup 77 priority 500 protocol 245");
    lab.ip("lb", "rule add to 203.0.113.1 lookup 77 priority 10001");
    lab.ip("lb", "route add 203.0.113.1 dev e0 table 77 protocol 245");
    lab.ip("lb", "-6 rule add fwmark 7 lookup 77 priority 500 protocol 245");
    lab.ip("lb", "-6 rule add to 2001:db8:113::1 lookup 77 priority 10001");
    lab.ip("lb", "-6 route add 2001:db8:113::1 dev e0 table 77 protocol 245");
    lab.ip("lb", "-6 route add 2001:db8:113::1 dev e0 table 7650009 protocol static");
    let before = lab.routing("lb");
    let leave = || async {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        prober.set(everything()).await.unwrap();
    };
    lab.run("lb", leave());
    // What an older version may have made.
    lab.ip("lb", "rule add to 203.0.113.9 lookup 7650009 priority 10050 protocol 245");
    lab.ip("lb", "route add 203.0.113.0/24 dev e0 table 7650009 protocol 245");
    lab.ip("lb", "-6 rule add to 2001:db8:99::1 lookup 7650009 priority 10050 protocol 245");
    lab.ip("lb", "-6 route add 2001:db8:99::/64 dev e0 table 7650009 protocol 245");
    // The same destination twice: IPv6 tells routes apart by their metric.
    let second = "via 2001:db8:51::12 dev e0 metric 7 table 7650003 protocol 245";
    lab.ip("lb", &format!("-6 route add {VIP6} {second}"));
    assert_ne!(lab.routing("lb"), before);
    let report = lab.run("lb", async { cleanup(&config()).await.unwrap() });
    assert!(report.rules > 10 && report.routes == 11, "{report:?}");
    assert_eq!(lab.routing("lb"), before);

    lab.run("lb", leave());
    lab.run("lb", async { drop(Prober::start(config()).await.unwrap()) });
    assert_eq!(lab.routing("lb"), before, "a start removes it too");
}

#[test]
fn a_set_that_cannot_be_is_refused_and_the_old_one_goes_on() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    lab.ip("lb", "addr add 192.0.2.200/32 dev lo");
    lab.ip("lb", "addr add 2001:db8:ffff::200/128 dev lo nodad");
    let ns = lab.ns("lb");
    lab.run("lb", async move {
        let routing = || ["rule", "-6 rule"].map(|words| ip(&ns, words));
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let good = probe("good", ProbePath::Dsr, VIP4, "198.51.100.11", tcp());
        prober.set(vec![good.clone()]).await.unwrap();
        let before = routing();
        for (vip, backend, expected) in [
            (VIP4, "203.0.113.5", "backend 203.0.113.5 (VIP 192.0.2.1) is outside every connected"),
            (VIP6, "2001:db8:99::5", "backend 2001:db8:99::5 (VIP 2001:db8:ffff::1) is outside"),
            ("192.0.2.200", "198.51.100.11", "VIP 192.0.2.200 is an address of this host on lo"),
            (VIP4, "198.51.100.1", "backend 198.51.100.1 (VIP 192.0.2.1) is this host's own"),
            (VIP6, "198.51.100.11", "their address families differ"),
            (VIP4, "2001:db8:51::11", "their address families differ"),
            (
                "2001:db8:ffff::200",
                "2001:db8:51::11",
                "VIP 2001:db8:ffff::200 is an address of this host on lo",
            ),
            (VIP6, "2001:db8:51::1", "(VIP 2001:db8:ffff::1) is this host's own address on e0"),
            (VIP6, "fe80::1", "backend fe80::1 (VIP 2001:db8:ffff::1) is outside every connected"),
            ("::ffff:192.0.2.1", "2001:db8:51::11", "is an IPv4 address in IPv6 form"),
        ] {
            let bad = probe("bad", ProbePath::Dsr, vip, backend, tcp());
            let set = vec![good.clone(), bad];
            let error = check_paths(&set).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(prober.set(set).await.unwrap_err().to_string(), error);
        }
        let twice = prober.set(vec![good.clone(), good.clone()]).await.unwrap_err();
        assert!(twice.to_string().contains("given twice"));
        assert_eq!(routing(), before);
        assert_eq!(prober.stats().probes, 1);
        while events.try_recv().is_ok() {}
        assert!(events.recv().await.unwrap().outcome.ok);
        prober.shutdown().await;
    });
}

#[test]
fn without_the_privilege_the_error_says_so() {
    let lab = Lab::new();
    let before = lab.routing("lb");
    lab.run("lb", async {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        assert!(check_paths(&everything()).await.is_ok());
        drop_net_admin();
        let error = check_paths(&everything()).await.unwrap_err();
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        assert!(matches!(prober.set(everything()).await, Err(Error::NoPermission)));
        let direct = probe("direct", ProbePath::Direct, VIP4, "198.51.100.11", tcp());
        prober.set(vec![direct]).await.expect("needs no privilege");
        prober.shutdown().await;
    });
    assert_eq!(lab.routing("lb"), before);
}

/// Takes the capability from this thread.
fn drop_net_admin() {
    // Version 3 of the call, for thread 0, which is the caller: effective, permitted and
    // inheritable sets, the low half of each and then the high half.
    let header: [u32; 2] = [0x2008_0522, 0];
    let mut sets = [0u32; 6];
    // SAFETY: capget reads 8 bytes from the header and writes 24 to the sets.
    let read = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    assert_eq!(read, 0, "capget: {}", std::io::Error::last_os_error());
    sets[0] &= !(1 << 12);
    // SAFETY: capset reads 8 and 24 bytes from these arrays and changes this thread only.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(done, 0, "capset: {}", std::io::Error::last_os_error());
}

#[test]
fn replies_pass_a_reverse_path_filter() {
    for mode in ["1", "2"] {
        let lab = Lab::new();
        let _server = lab.serve("b1", 80);
        lab.sysctl("lb", "net/ipv4/conf/all/rp_filter", mode);
        let before = lab.routing("lb");
        let ns = lab.ns("lb");
        lab.run("lb", async move {
            let ip = |words: &str| ip(&ns, words);
            let (prober, mut events) = Prober::start(config()).await.unwrap();
            let mut one = probe("tcp", ProbePath::Dsr, VIP4, "198.51.100.11", tcp());
            one.check.timeout = Duration::from_millis(500);
            prober.set(vec![one]).await.unwrap();
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            // Without the helper the filter does drop the replies.
            ip(&format!("route del {VIP4} table 7650000"));
            let down = wait_for(&mut events, |e| e.verdict == Verdict::Down).await;
            assert_eq!(down.outcome.diagnostic, "timed out after 500 ms while connecting");
            // Any change of the host brings it back.
            ip("addr add 203.0.113.1/32 dev lo");
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            ip("addr del 203.0.113.1/32 dev lo");
            prober.shutdown().await;
        });
        assert_eq!(lab.routing("lb"), before);
    }
}

#[test]
fn without_a_reverse_path_filter_no_helper_is_installed() {
    let lab = Lab::new();
    for name in ["all", "e0"] {
        lab.sysctl("lb", &format!("net/ipv4/conf/{name}/rp_filter"), "0");
    }
    lab.run("lb", async {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        prober.set(everything()).await.unwrap();
    });
    let routing = lab.routing("lb");
    assert!(routing.contains("lookup 7650001"), "{routing}");
    assert!(!routing.contains("7650000"), "{routing}");
}

#[test]
fn paths_follow_the_interface() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    let ns = lab.ns("lb");
    lab.run("lb", async move {
        let ip = |words: &str| ip(&ns, words);
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let probes = FAMILIES.map(|(vip, b1, _)| {
            let mut one = probe("tcp", ProbePath::Dsr, vip, b1, tcp());
            one.check.timeout = Duration::from_millis(500);
            one
        });
        let [v4, v6] = [probes[0].key.clone(), probes[1].key.clone()];
        prober.set(probes.into()).await.unwrap();
        for key in [&v4, &v6] {
            wait_for(&mut events, |e| e.key == *key && e.verdict == Verdict::Up).await;
        }
        ip("link set e0 down");
        let down = |key, why: &'static str| {
            move |e: &vc5_health::ProbeEvent| e.key == key && e.outcome.diagnostic.contains(why)
        };
        wait_for(&mut events, down(v4.clone(), "interface e0 is down")).await;
        // The kernel takes an interface's IPv6 addresses away with it, and leaves those of IPv4.
        wait_for(&mut events, down(v6.clone(), "is outside every connected subnet")).await;
        ip("link set e0 up");
        wait_for(&mut events, |e| e.key == v4 && e.verdict == Verdict::Up).await;
        ip("addr add 2001:db8:51::1/64 dev e0 nodad");
        wait_for(&mut events, |e| e.key == v6 && e.verdict == Verdict::Up).await;
        prober.shutdown().await;
    });
}

/// Two interfaces, as with a VLAN of the first.
#[test]
fn backends_behind_another_interface_are_found_by_its_subnets() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    lab.add_interface("e0.7", "b2", "7");
    lab.run("lb", async {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let mut probes = Vec::new();
        for (vip, b1, through) in
            [(VIP4, "198.51.100.11", "10.0.7.12"), (VIP6, "2001:db8:51::11", "2001:db8:7::12")]
        {
            probes.push(probe("b1", ProbePath::Dsr, vip, b1, http("/b1")));
            probes.push(probe("b2", ProbePath::Dsr, vip, through, http("/b2")));
        }
        prober.set(probes).await.unwrap();
        for event in collect(&mut events, 4).await.into_values() {
            assert_eq!(event.outcome.diagnostic, "200 OK", "{:?}", event.key);
        }
        prober.shutdown().await;
    });
}

/// IPv6 checks an `onlink` gateway against the main table, IPv4 does not.
#[test]
fn a_route_of_the_host_to_the_backend_by_another_interface_does_no_harm() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    lab.add_interface("e1", "b2", "7");
    lab.ip("lb", "route add 198.51.100.11 dev e1");
    lab.ip("lb", "-6 route add 2001:db8:51::11 dev e1");
    let before = lab.routing("lb");
    lab.run("lb", async {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let probes = FAMILIES.map(|(vip, b1, _)| probe("b1", ProbePath::Dsr, vip, b1, tcp()));
        let mut found = Vec::new();
        for probes in [probes.to_vec(), probes.to_vec()] {
            prober.set(probes).await.unwrap();
            found.extend(collect(&mut events, 2).await.into_values());
        }
        for event in found {
            assert_eq!(event.outcome.diagnostic, "connected", "{:?}", event.key);
        }
        prober.shutdown().await;
    });
    assert_eq!(lab.routing("lb"), before);
}

#[test]
fn a_probe_without_its_route_never_takes_the_default_route() {
    let lab = Lab::new();
    let _servers = (lab.serve("b1", 80), lab.serve("b2", 80));
    // The wrong backend is where everything else goes, and it would answer.
    lab.ip("lb", "route add default via 198.51.100.11");
    lab.ip("lb", "-6 route add default via 2001:db8:51::11");
    for (vip, _, b2) in FAMILIES {
        let ns = lab.ns("lb");
        lab.run("lb", async move {
            let (prober, mut events) = Prober::start(config()).await.unwrap();
            prober.set(vec![probe("tcp", ProbePath::Dsr, vip, b2, tcp())]).await.unwrap();
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            ip(&ns, &format!("route del {vip} table 7650001"));
            let down = wait_for(&mut events, |e| e.verdict == Verdict::Down).await;
            assert_eq!(down.outcome.diagnostic, "no route to host");
            prober.shutdown().await;
        });
    }
}

/// The backend can only answer to its own subnet; by itself the kernel would rather send from the
/// address that has the most in common with the VIP.
#[test]
fn probes_are_sent_from_the_subnet_of_the_backend() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    lab.ip("lb", "addr add 2001:db8:ffff::2:1/112 dev e0 nodad");
    lab.run("lb", async {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let one = probe("tcp", ProbePath::Dsr, VIP6, "2001:db8:51::11", tcp());
        prober.set(vec![one]).await.unwrap();
        let first = events.recv().await.unwrap();
        assert_eq!(first.outcome.diagnostic, "connected");
        prober.shutdown().await;
    });
}

/// As long as the kernel looks for duplicates of it, an IPv6 address cannot be a route's source.
#[test]
fn an_address_that_is_not_ready_yet_is_used_when_it_is() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    let (_, b1, _) = FAMILIES[1];
    let address = "2001:db8:51::1/64 dev e0";
    lab.ip("lb", &format!("addr del {address}"));
    lab.sysctl("lb", "net/ipv6/conf/e0/accept_dad", "1");
    // So many that it never ends here.
    lab.sysctl("lb", "net/ipv6/conf/e0/dad_transmits", "1000");
    lab.ip("lb", &format!("addr add {address}"));
    assert!(lab.ip("lb", "addr show dev e0 tentative").contains("2001:db8:51::1"));
    let ns = lab.ns("lb");
    lab.run("lb", async move {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        prober.set(vec![probe("tcp", ProbePath::Dsr, VIP6, b1, tcp())]).await.unwrap();
        let routes = || ip(&ns, "-6 route show table 7650001");
        assert!(routes().contains(VIP6) && !routes().contains(" src "), "{}", routes());
        ip(&ns, &format!("addr del {address}"));
        ip(&ns, &format!("addr add {address} nodad"));
        wait_for(&mut events, |_| routes().contains(" src 2001:db8:51::1 ")).await;
        wait_for(&mut events, |e| e.outcome.ok).await;
        prober.shutdown().await;
    });
}

/// With the address IPv6 takes it from the routes too, and says nothing of that.
#[test]
fn probes_change_to_another_address_when_theirs_is_removed() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    lab.sysctl("lb", "net/ipv4/conf/e0/promote_secondaries", "1");
    let sources = [
        ("-4", "198.51.100.1", "198.51.100.2", 24),
        ("-6", "2001:db8:51::1", "2001:db8:51::2", 64),
    ];
    for ((vip, b1, _), (family, one, other, length)) in FAMILIES.into_iter().zip(sources) {
        lab.ip("lb", &format!("addr add {other}/{length} dev e0 nodad"));
        let ns = lab.ns("lb");
        lab.run("lb", async move {
            let (prober, mut events) = Prober::start(config()).await.unwrap();
            prober.set(vec![probe("tcp", ProbePath::Dsr, vip, b1, tcp())]).await.unwrap();
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            let leaves_from = |address: &str| {
                let route = ip(&ns, &format!("{family} route show table 7650001"));
                route.contains(&format!(" src {address} "))
            };
            let (first, second) = if leaves_from(one) { (one, other) } else { (other, one) };
            assert!(leaves_from(first));
            ip(&ns, &format!("addr del {first}/{length} dev e0"));
            wait_for(&mut events, |_| leaves_from(second)).await;
            wait_for(&mut events, |e| e.outcome.ok).await;
            prober.shutdown().await;
        });
    }
}

#[test]
fn a_vip_that_becomes_local_fails_its_probes() {
    let lab = Lab::new();
    // The balancer would answer itself.
    let _servers = (lab.serve("b1", 80), lab.serve("lb", 80));
    for (vip, b1, _) in FAMILIES {
        let ns = lab.ns("lb");
        lab.run("lb", async move {
            let length = if vip == VIP4 { 32 } else { 128 };
            let address = |verb: &str| ip(&ns, &format!("addr {verb} {vip}/{length} dev lo"));
            let (prober, mut events) = Prober::start(config()).await.unwrap();
            prober.set(vec![probe("tcp", ProbePath::Dsr, vip, b1, tcp())]).await.unwrap();
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            address("add");
            let down = wait_for(&mut events, |e| e.verdict == Verdict::Down).await;
            let why = &down.outcome.diagnostic;
            assert!(why.contains("is an address of this host on lo"), "{down:?}");
            address("del");
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            prober.shutdown().await;
        });
    }
}

#[test]
fn rules_that_others_flush_come_back() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    for ((vip, b1, _), family) in FAMILIES.into_iter().zip(["-4", "-6"]) {
        let ns = lab.ns("lb");
        lab.run("lb", async move {
            let (prober, mut events) = Prober::start(config()).await.unwrap();
            prober.set(vec![probe("tcp", ProbePath::Dsr, vip, b1, tcp())]).await.unwrap();
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            ip(&ns, &format!("{family} rule flush protocol 245"));
            wait_for(&mut events, |e| e.verdict == Verdict::Down).await;
            wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
            prober.shutdown().await;
        });
    }
}

#[test]
fn two_probers_share_a_host_by_different_bases() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    lab.run("lb", async {
        let other = ProberConfig {
            mark_mask: 0xffff,
            table_base: 8_000_000,
            rule_priority: 20_000,
            ..config()
        };
        let (one, mut events_one) = Prober::start(config()).await.unwrap();
        one.set(everything()).await.unwrap();
        let (two, mut events_two) = Prober::start(other).await.unwrap();
        two.set(everything()).await.unwrap();
        wait_for(&mut events_two, |e| e.verdict == Verdict::Up).await;
        one.shutdown().await;
        while events_one.try_recv().is_ok() {}
        while events_two.try_recv().is_ok() {}
        let is_b1 = |e: &vc5_health::ProbeEvent| e.key.backend.to_string() == "198.51.100.11";
        assert!(wait_for(&mut events_two, is_b1).await.outcome.ok);
        two.shutdown().await;
    });
}

/// Marks of thousands of backends, resolved by the kernel itself.
#[test]
fn a_large_tree_resolves_every_mark() {
    let lab = Lab::new();
    lab.ip("lb", "addr add 10.77.0.1/16 dev e0");
    lab.ip("lb", "addr add 2001:db8:77::1/64 dev e0 nodad");
    let v4 = |n| format!("10.77.{}.{}", 1 + n / 250, 1 + n % 250);
    resolve_every_mark(&lab, "-4", VIP4, (0..3000).map(v4).collect());
    let v6 = |n| format!("2001:db8:77::77:{n:x}");
    resolve_every_mark(&lab, "-6", VIP6, (1..=3000).map(v6).collect());
}

fn resolve_every_mark(lab: &Lab, family: &str, vip: &'static str, backends: Vec<String>) {
    let count = backends.len();
    let before = lab.routing("lb");
    lab.run("lb", async move {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        let probes = backends.iter().map(|backend| {
            let mut one = probe("tcp", ProbePath::Dsr, vip, backend, tcp());
            one.check.interval = Duration::from_secs(86_400);
            one
        });
        prober.set(probes.collect()).await.unwrap();
    });
    // The tables say which backend has which mark; the rules must lead there.
    let routes = lab.ip("lb", &format!("{family} route show table all protocol 245"));
    let mut expected = Vec::new();
    for line in routes.lines().filter(|line| line.starts_with(vip)) {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |word| words[words.iter().position(|&w| w == word).unwrap() + 1];
        let id = after("table").parse::<u32>().unwrap() - config().table_base;
        expected.push((id << 16, after("via").to_owned()));
    }
    assert_eq!(expected.len(), count);
    let batch: String =
        expected.iter().map(|(mark, _)| format!("route get {vip} mark {mark}\n")).collect();
    let file = std::env::temp_dir().join(lab.ns("batch"));
    std::fs::write(&file, batch).unwrap();
    let answers = lab.ip("lb", &format!("-o -batch {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(answers.lines().count(), count);
    for (answer, (mark, gateway)) in answers.lines().zip(&expected) {
        assert!(answer.contains(&format!("via {gateway} dev e0 ")), "mark {mark:#x}: {answer}");
    }
    let removed = lab.run("lb", async { cleanup(&config()).await.unwrap() });
    assert_eq!(removed.routes, 2 * count);
    assert_eq!(lab.routing("lb"), before);
}
