//! Checks.

use std::time::Duration;

use vc5_health::check::dns;
use vc5_health::{
    DnsCheck, ExecCheck, GrpcCheck, HttpCheck, HttpVersion, IcmpCheck, Pattern, Rule, Tls,
    TlsSettings, UdpCheck, Verify,
};
use vc5_xdp::Ports;

use super::*;

#[test]
fn checks_arrive() {
    let config = good();
    let check = |name: &str, kind| Check {
        name: name.into(),
        port: None,
        check: vc5_health::Check { jitter: 10, ..vc5_health::Check::new(kind) },
    };
    let mut alive = check(
        "alive",
        CheckKind::Http(HttpCheck {
            host: Some("www.example.org".into()),
            path: "/alive".into(),
            headers: vec![("X-Probe".into(), "vc5".into())],
            expect: vec![(204, 204), (300, 399)],
            version: HttpVersion::Two,
            body: Some("ready".into()),
            body_pattern: Some(Pattern::new("^status: (ready|busy)").unwrap()),
            body_limit: 4096,
            ..HttpCheck::default()
        }),
    );
    alive.port = Some(8080);
    alive.check.interval = seconds(1);
    alive.check.fast_interval = Some(Duration::from_millis(100));
    alive.check.jitter = 0;
    alive.check.timeout = Duration::from_millis(250);
    alive.check.rule = Rule { rise: 4, fall: 5, window: Some(8) };
    let udp = UdpCheck { send: b"ping".to_vec(), receive: Some(vec![0, 255]) };
    let echo = check("echo", CheckKind::Udp(udp));
    let settings = TlsSettings {
        server_name: Some("www.example.org".into()),
        verify: Verify::Pinned(vec![[0xab; 32]]),
        identity: None,
    };
    let unverified = TlsSettings { verify: Verify::Off, ..settings.clone() };
    let grpc = GrpcCheck {
        service: "shop.Basket".into(),
        host: Some("basket.example.org".into()),
        tls: Some(Tls::new(unverified).unwrap()),
    };
    let deep = check("deep", CheckKind::Grpc(grpc));
    let secure = check("secure", CheckKind::Tls(Tls::new(settings).unwrap()));
    let spare = check("spare", CheckKind::Tcp);
    let [half, name, ping, script] = newer_checks(check);
    let checks: Vec<_> = config.checks.into_values().collect();
    assert_eq!(checks, [alive, deep, echo, half, name, ping, script, secure, spare]);
}

/// Checks by SYN, DNS, ICMP and a command.
fn newer_checks(check: impl Fn(&str, CheckKind) -> Check) -> [Check; 4] {
    let name = DnsCheck {
        transport: dns::Transport::Tcp,
        name: dns::name("www.example.org.").unwrap(),
        record: dns::RecordType::AAAA,
        rcode: vec![3, 5],
        answer: Some(dns::answer(dns::RecordType::AAAA, "2001:db8::80").unwrap()),
    };
    let script = ExecCheck {
        command: vec!["/usr/local/bin/check".into(), "a b".into()],
        environment: [("HOME".into(), "/tmp".into())].into(),
        memory: Some(256 << 20),
        cpu: Some(seconds(90)),
        user: Some(0),
        group: Some(65_534),
    };
    [
        check("half", CheckKind::Syn),
        check("name", CheckKind::Dns(name)),
        check("ping", CheckKind::Icmp(IcmpCheck { size: 1000 })),
        check("script", CheckKind::Exec(script)),
    ]
}

/// Each figure of the profile holds unless its key is there.
#[test]
fn the_profile_vc5_decides_as_the_predecessor_did() {
    let config = with_base(
        r#"
            [check.whole]
            type = "tcp"
            profile = "vc5"
            [check.partly]
            type = "tcp"
            profile = "vc5"
            timeout = "1s"
            jitter = "5%"
            rise = 4
        "#,
    );
    let checks = config.unwrap().checks;
    let vc5 = vc5_health::Check {
        timeout: seconds(2),
        rule: Rule { rise: 5, fall: 2, window: Some(5) },
        ..vc5_health::Check::new(CheckKind::Tcp)
    };
    assert_eq!(vc5.interval, seconds(2));
    assert_eq!(checks["whole"].check, vc5);
    let mut partly = vc5_health::Check { timeout: seconds(1), jitter: 5, ..vc5 };
    partly.rule.rise = 4;
    assert_eq!(checks["partly"].check, partly);
}

#[test]
fn the_profile_vc5_asks_as_the_predecessor_did() {
    let config = with_base(
        r#"
            [check.dns]
            type = "dns"
            profile = "vc5"
            [check.tcp]
            type = "dns"
            profile = "vc5"
            transport = "tcp"
            rcode = ["NOERROR"]
            [check.web]
            type = "http"
            profile = "vc5"
            [check.own]
            type = "http"
        "#,
    );
    let checks = config.unwrap().checks;
    let query = DnsCheck {
        transport: dns::Transport::Udp,
        name: dns::name("localhost.").unwrap(),
        record: dns::RecordType::A,
        rcode: (0..=15).collect(),
        answer: None,
    };
    assert_eq!(checks["dns"].check.kind, CheckKind::Dns(query.clone()));
    assert_eq!(checks["dns"].check.timeout, seconds(1));
    let by_tcp = DnsCheck { transport: dns::Transport::Tcp, rcode: vec![0], ..query };
    assert_eq!(checks["tcp"].check.kind, CheckKind::Dns(by_tcp));
    assert_eq!(checks["tcp"].check.timeout, seconds(2));
    // GET / with the VIP as host and 200 is what both do.
    assert_eq!(checks["web"].check.kind, checks["own"].check.kind);
    assert_eq!(checks["web"].check.timeout, seconds(2));
}

#[test]
fn only_checks_that_connect_need_a_port() {
    let text = "[check.ping]\ntype = \"icmp\"\n[check.run]\ntype = \"exec\"\ncommand = [\"/bin/true\"]\nuser = \"root\"\n\
        [check.half]\ntype = \"syn\"\n";
    let config = with_base(text).unwrap_or_else(|errors| panic!("{errors}"));
    let of = |name: &str, ports| config.checks[name].port_for(ports);
    let all = ["ping", "run", "half"].map(|name| of(name, Ports::All));
    assert_eq!(all, [Some(0), Some(0), None]);
    let one = ["ping", "run", "half"].map(|name| of(name, Ports::One(53)));
    assert_eq!(one, [Some(0), Some(53), Some(53)]);
    let CheckKind::Exec(exec) = &config.checks["run"].check.kind else { panic!("not exec") };
    assert_eq!((exec.user, exec.group), (Some(0), Some(0)), "the group is the user's own");
}
