//! What the prober does to the host's rules and routes, and what it does when the host changes.

use std::time::Duration;

use vc5_health::{Error, Probe, ProbePath, Prober, ProberConfig, Verdict, check_paths, cleanup};

use crate::lab::{Lab, VIP4, VIP6};
use crate::probes::{FAMILIES, config, probe, tcp, wait_for};

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
            ["rule", "route show table all"].map(|words| {
                let mut command = std::process::Command::new("ip");
                let output = command.args(["-n", &ns]).args(words.split(' ')).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            })
        };
        prober.set(everything()).await.unwrap();
        let during = routing();
        prober.set(everything()).await.unwrap();
        assert_eq!(routing(), during, "the same set again changes nothing");
        prober.shutdown().await;
        assert!(matches!(prober.set(everything()).await, Err(Error::Stopped)));
        during.join("\n")
    });
    assert!(during.contains("fwmark 0x10000/0xffff0000 lookup 7650001 proto 245"), "{during}");
    assert!(during.contains("fwmark 0/0xffff0000 goto"), "{during}");
    assert_eq!(lab.routing("lb"), before);
}

#[test]
fn what_a_killed_run_left_is_removed_and_only_that() {
    let lab = Lab::new();
    // Rules and routes of others, even with our protocol number, outside of our ranges.
    lab.ip("lb", "rule add fwmark 7 lookup 77 priority 500 protocol 245");
    lab.ip("lb", "rule add to 203.0.113.1 lookup 77 priority 10001");
    lab.ip("lb", "route add 203.0.113.1 dev e0 table 77 protocol 245");
    let before = lab.routing("lb");
    let leave = || async {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        prober.set(everything()).await.unwrap();
    };
    lab.run("lb", leave());
    // What an older version may have made.
    lab.ip("lb", "rule add to 203.0.113.9 lookup 7650009 priority 10050 protocol 245");
    lab.ip("lb", "route add 203.0.113.0/24 dev e0 table 7650009 protocol 245");
    assert_ne!(lab.routing("lb"), before);
    let report = lab.run("lb", async { cleanup(&config()).await.unwrap() });
    assert!(report.rules > 10 && report.routes == 9, "{report:?}");
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
    let ns = lab.ns("lb");
    lab.run("lb", async move {
        let routing = || {
            let output = std::process::Command::new("ip").args(["-n", &ns, "rule"]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
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
            let ip = |words: &str| {
                let mut command = std::process::Command::new("ip");
                let output = command.args(["-n", &ns]).args(words.split(' ')).output().unwrap();
                assert!(output.status.success(), "ip {words}: {output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
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
        let link = |state: &str| {
            let words = ["-n", &ns, "link", "set", "e0", state];
            assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
        };
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let mut one = probe("tcp", ProbePath::Dsr, VIP4, "198.51.100.11", tcp());
        one.check.timeout = Duration::from_millis(500);
        prober.set(vec![one]).await.unwrap();
        wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
        link("down");
        wait_for(&mut events, |e| e.outcome.diagnostic == "interface e0 is down").await;
        link("up");
        wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
        prober.shutdown().await;
    });
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
            let mut command = std::process::Command::new("ip");
            let words = ["-n", &ns, "route", "del", vip, "table", "7650001"];
            assert!(command.args(words).status().unwrap().success());
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

#[test]
fn a_vip_that_becomes_local_fails_its_probes() {
    let lab = Lab::new();
    // The balancer would answer itself.
    let _servers = (lab.serve("b1", 80), lab.serve("lb", 80));
    let ns = lab.ns("lb");
    lab.run("lb", async move {
        let address = |verb: &str| {
            let words = ["-n", &ns, "addr", verb, "192.0.2.1/32", "dev", "lo"];
            assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
        };
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        let one = probe("tcp", ProbePath::Dsr, VIP4, "198.51.100.11", tcp());
        prober.set(vec![one]).await.unwrap();
        wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
        address("add");
        let down = wait_for(&mut events, |e| e.verdict == Verdict::Down).await;
        assert!(down.outcome.diagnostic.contains("is an address of this host on lo"), "{down:?}");
        address("del");
        wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
        prober.shutdown().await;
    });
}

#[test]
fn rules_that_others_flush_come_back() {
    let lab = Lab::new();
    let _server = lab.serve("b1", 80);
    let ns = lab.ns("lb");
    lab.run("lb", async move {
        let (prober, mut events) = Prober::start(config()).await.unwrap();
        prober.set(vec![probe("tcp", ProbePath::Dsr, VIP4, "198.51.100.11", tcp())]).await.unwrap();
        wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
        let words = ["-n", &ns, "rule", "flush", "protocol", "245"];
        assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
        wait_for(&mut events, |e| e.verdict == Verdict::Down).await;
        wait_for(&mut events, |e| e.verdict == Verdict::Up).await;
        prober.shutdown().await;
    });
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
    const BACKENDS: u32 = 3000;
    let lab = Lab::new();
    lab.ip("lb", "addr add 10.77.0.1/16 dev e0");
    let before = lab.routing("lb");
    let gateway = |n: u32| format!("10.77.{}.{}", 1 + n / 250, 1 + n % 250);
    lab.run("lb", async move {
        let (prober, _events) = Prober::start(config()).await.unwrap();
        let probes = (0..BACKENDS).map(|n| {
            let mut one = probe("tcp", ProbePath::Dsr, VIP4, &gateway(n), tcp());
            one.check.interval = Duration::from_secs(86_400);
            one
        });
        prober.set(probes.collect()).await.unwrap();
    });
    // The tables say which backend has which mark; the rules must lead there.
    let routes = lab.ip("lb", "route show table all protocol 245");
    let mut expected = Vec::new();
    for line in routes.lines().filter(|line| line.starts_with(VIP4)) {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |word| words[words.iter().position(|&w| w == word).unwrap() + 1];
        let id = after("table").parse::<u32>().unwrap() - config().table_base;
        expected.push((id << 16, after("via").to_owned()));
    }
    assert_eq!(expected.len(), BACKENDS as usize);
    let batch: String =
        expected.iter().map(|(mark, _)| format!("route get {VIP4} mark {mark}\n")).collect();
    let file = std::env::temp_dir().join(lab.ns("batch"));
    std::fs::write(&file, batch).unwrap();
    let answers = lab.ip("lb", &format!("-o -batch {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(answers.lines().count(), expected.len());
    for (answer, (mark, gateway)) in answers.lines().zip(&expected) {
        assert!(answer.contains(&format!("via {gateway} dev e0 ")), "mark {mark:#x}: {answer}");
    }
    let removed = lab.run("lb", async { cleanup(&config()).await.unwrap() });
    assert_eq!(removed.routes, 2 * BACKENDS as usize);
    assert_eq!(lab.routing("lb"), before);
}
