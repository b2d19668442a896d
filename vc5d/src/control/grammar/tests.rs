use std::path::PathBuf;

use ipnet::IpNet;
use vc5_xdp::{L4, TcpKind, TraceQuestion, Tuple};

use super::super::clock::TimeFormat;
use super::super::command::{Action, AdminAction, Command};
use super::*;
use crate::admin::Target;

fn show(what: Show) -> Line {
    what.into()
}

fn ask(what: Ask) -> Line {
    what.into()
}

fn status() -> Line {
    show(Show::Status)
}

fn protocols(all: bool, names: NamePattern) -> Line {
    show(Show::Protocols { all, names })
}

fn name(name: &str) -> NamePattern {
    NamePattern::Name(name.into())
}

fn glob(pattern: &str) -> NamePattern {
    NamePattern::Glob(pattern.into())
}

fn act(action: Action, names: NamePattern, message: Option<&str>) -> Line {
    let message = message.map(str::to_owned);
    Line::Daemon(Command::Protocol { action, names, message })
}

fn admin(action: AdminAction, target: Target, lasts: Option<u64>, reason: Option<&str>) -> Line {
    let lasts = lasts.map(std::time::Duration::from_secs);
    let reason = reason.map(str::to_owned);
    Line::Daemon(Command::Admin { action, target, lasts, reason })
}

fn backend(address: &str) -> Target {
    Target::Backend { pool: "web".into(), address: address.parse().unwrap() }
}

fn configure(file: Option<&str>, soft: bool) -> Line {
    Line::Daemon(Command::Configure { file: file.map(PathBuf::from), soft })
}

fn check(file: Option<&str>) -> Line {
    Line::Daemon(Command::ConfigureCheck { file: file.map(PathBuf::from) })
}

fn route(query: RouteQuery) -> Line {
    show(Show::Route(query))
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn exact(text: &str) -> RouteQuery {
    RouteQuery { destination: Destination::Exact(net(text)), ..RouteQuery::default() }
}

fn best(text: &str) -> RouteQuery {
    RouteQuery { destination: Destination::For(net(text)), ..RouteQuery::default() }
}

fn history(about: Option<&str>, last: Option<usize>) -> Line {
    show(Show::History(HistoryQuery { about: about.map(str::to_owned), last }))
}

fn json(line: Line) -> Line {
    match line {
        Line::Show { what, .. } => Line::Show { what, json: true },
        Line::Ask { what, .. } => Line::Ask { what, json: true },
        other => other,
    }
}

#[test]
fn looking() {
    let all = NamePattern::All;
    let table = [
        ("", Line::Empty),
        (" \t ", Line::Empty),
        ("show status", status()),
        ("sh st", status()),
        ("show\tstatus\r", status()),
        ("show protocols", protocols(false, all.clone())),
        ("show protocols all", protocols(true, all.clone())),
        ("sh pro a", protocols(true, all.clone())),
        ("show protocols tor1", protocols(false, name("tor1"))),
        ("show protocols all tor1", protocols(true, name("tor1"))),
        ("show protocols \"tor*\"", protocols(false, glob("tor*"))),
        ("show protocols all 'tor1'", protocols(true, name("tor1"))),
        ("show protocols \"all\"", protocols(false, name("all"))),
        ("show protocols tor?", protocols(false, glob("tor?"))),
        ("show vips", show(Show::Vips)),
        ("show vip www", show(Show::Vip("www".into()))),
        ("sho vip 192.0.2.1", show(Show::Vip("192.0.2.1".into()))),
        ("show services", show(Show::Services)),
        ("show backends", show(Show::Backends)),
        ("sh b", show(Show::Backends)),
        ("show history", history(None, None)),
        ("sh h www", history(Some("www"), None)),
        ("show history 192.0.2.1 last 5", history(Some("192.0.2.1"), Some(5))),
        ("show history last 5", history(None, Some(5))),
        ("show history \"last\"", history(Some("last"), None)),
        ("explain www", show(Show::Explain("www".into()))),
        ("json exp 192.0.2.1", json(show(Show::Explain("192.0.2.1".into())))),
        ("show interfaces", show(Show::Interfaces)),
        ("show counters", show(Show::Counters)),
        ("show symbols", show(Show::Symbols)),
        ("json show vips", json(show(Show::Vips))),
        ("json sh pro a", json(protocols(true, all))),
    ];
    for (line, expected) in table {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

fn traced(change: fn(&mut Traced)) -> Line {
    let mut traced = Traced { protocol: L4::Tcp, ..Traced::default() };
    change(&mut traced);
    let Traced { source, destination, protocol, flags, interface, vlan } = traced;
    let end = |text: Option<&str>, default: &str| {
        text.unwrap_or(default).parse::<std::net::SocketAddr>().unwrap()
    };
    let source = end(source, "198.51.100.1:49152");
    let destination = end(destination, "192.0.2.1:80");
    ask(Ask::Trace(TraceQuestion::Tuple {
        source: source.ip(),
        source_port: source.port(),
        destination: destination.ip(),
        port: destination.port(),
        protocol,
        flags,
        interface: interface.map(str::to_owned),
        vlan,
    }))
}

/// What a line says beyond `trace 198.51.100.1 to 192.0.2.1:80`.
struct Traced {
    source: Option<&'static str>,
    destination: Option<&'static str>,
    protocol: L4,
    flags: TcpKind,
    interface: Option<&'static str>,
    vlan: Option<u16>,
}

impl Default for Traced {
    fn default() -> Self {
        Self {
            source: None,
            destination: None,
            protocol: L4::Tcp,
            flags: TcpKind::Syn,
            interface: None,
            vlan: None,
        }
    }
}

#[test]
fn tracing() {
    let v6 = |t: &mut Traced| {
        (t.source, t.destination) = (Some("[2001:db8::1]:49152"), Some("[2001:db8:1::1]:80"));
    };
    let table = [
        ("trace 198.51.100.1 to 192.0.2.1:80", traced(|_| ())),
        ("tr 198.51.100.1:49152 to 192.0.2.1:80 tcp syn", traced(|_| ())),
        ("trace 198.51.100.1:7 to 192.0.2.1:80", traced(|t| t.source = Some("198.51.100.1:7"))),
        ("trace 198.51.100.1 to 192.0.2.1:80 udp", traced(|t| t.protocol = L4::Udp)),
        ("trace 198.51.100.1 to 192.0.2.1:80 data", traced(|t| t.flags = TcpKind::Data)),
        ("trace 198.51.100.1 to 192.0.2.1:80 tcp fin", traced(|t| t.flags = TcpKind::Fin)),
        ("trace 198.51.100.1 to 192.0.2.1:80 rst vlan 10 via eth0", {
            traced(|t| (t.flags, t.vlan, t.interface) = (TcpKind::Rst, Some(10), Some("eth0")))
        }),
        ("trace 198.51.100.1 to 192.0.2.1:80 via \"via\"", traced(|t| t.interface = Some("via"))),
        ("trace [2001:db8::1] to [2001:db8:1::1]:80", traced(v6)),
        ("trace 2001:db8::1 to [2001:db8:1::1]:80", traced(v6)),
        ("trace [2001:db8::1]:49152 to [2001:db8:1::1]:80", traced(v6)),
        ("json trace 198.51.100.1 to 192.0.2.1:80", json(traced(|_| ()))),
    ];
    for (line, expected) in table {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
    let frame = |line: &str, interface: Option<&str>| {
        let interface = interface.map(str::to_owned);
        let bytes = (0..14).collect();
        assert_eq!(
            parse(line),
            Ok(ask(Ask::Trace(TraceQuestion::Frame { bytes, interface }))),
            "{line}"
        );
    };
    frame("trace frame 000102030405060708090a0b0c0d", None);
    frame("trace frame 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D via eth0", Some("eth0"));
    frame("trace f \"00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d\"", None);
}

#[test]
fn flows_and_rings() {
    let tuple = |protocol| Tuple {
        source: "198.51.100.1".parse().unwrap(),
        source_port: 4000,
        destination: "192.0.2.1".parse().unwrap(),
        port: 80,
        protocol,
    };
    let maglev = |vip: &str, port, protocol| {
        ask(Ask::Maglev { vip: vip.into(), filter: ServiceFilter { port, protocol } })
    };
    let table = [
        ("show flow 198.51.100.1:4000 to 192.0.2.1:80 udp", ask(Ask::Flow(tuple(L4::Udp)))),
        ("show flow 198.51.100.1:4000 to 192.0.2.1:80", ask(Ask::Flow(tuple(L4::Tcp)))),
        ("show flows", ask(Ask::Flows { all: false })),
        ("show flows all", ask(Ask::Flows { all: true })),
        ("json show flows a", json(ask(Ask::Flows { all: true }))),
        ("show maglev www", maglev("www", None, None)),
        ("sh m 192.0.2.1 80", maglev("192.0.2.1", Some(80), None)),
        ("show maglev www 53 udp", maglev("www", Some(53), Some(L4::Udp))),
        ("show maglev www tcp", maglev("www", None, Some(L4::Tcp))),
        ("show new-flows", Line::Follow { count: None, json: false }),
        ("json show new-flows 5", Line::Follow { count: Some(5), json: true }),
    ];
    for (line, expected) in table {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn routes() {
    let with = |change: fn(&mut RouteQuery)| {
        let mut query = RouteQuery::default();
        change(&mut query);
        query
    };
    let table = [
        ("show route", RouteQuery::default()),
        ("show route all", with(|q| q.all = true)),
        ("show route count", with(|q| q.count = true)),
        ("show route 192.0.2.0/24", exact("192.0.2.0/24")),
        ("show route 192.0.2.9/24", exact("192.0.2.0/24")),
        ("show route 192.0.2.1", exact("192.0.2.1/32")),
        ("show route for 192.0.2.1", best("192.0.2.1/32")),
        ("show route for 2001:db8::1", best("2001:db8::1/128")),
        ("sh ro f 192.0.2.0/25 a", RouteQuery { all: true, ..best("192.0.2.0/25") }),
        ("show route protocol www", with(|q| q.protocol = Some("www".into()))),
        ("show route all protocol 'tor1'", {
            with(|q| (q.all, q.protocol) = (true, Some("tor1".into())))
        }),
        ("show route export tor1", with(|q| q.export = Some("tor1".into()))),
        ("show route protocol all", with(|q| q.protocol = Some("all".into()))),
    ];
    for (line, expected) in table {
        assert_eq!(parse(line), Ok(route(expected)), "{line}");
    }
}

#[test]
fn changing() {
    use Action::{Disable, Enable, Restart};
    let long = "x".repeat(255);
    let table = [
        ("configure".to_owned(), configure(None, false)),
        ("conf soft".to_owned(), configure(None, true)),
        ("configure \"/etc/vc5/a b.toml\"".to_owned(), configure(Some("/etc/vc5/a b.toml"), false)),
        ("configure /etc/a.toml soft".to_owned(), configure(Some("/etc/a.toml"), true)),
        ("configure \"soft\"".to_owned(), configure(Some("soft"), false)),
        ("configure check".to_owned(), check(None)),
        ("conf ch new.toml".to_owned(), check(Some("new.toml"))),
        ("enable tor1".to_owned(), act(Enable, name("tor1"), None)),
        ("disable all".to_owned(), act(Disable, NamePattern::All, None)),
        ("disable \"tor*\" \"moving racks\"".to_owned(), {
            act(Disable, glob("tor*"), Some("moving racks"))
        }),
        ("restart www soon".to_owned(), act(Restart, name("www"), Some("soon"))),
        (format!("disable a \"{long}\""), act(Disable, name("a"), Some(&long))),
        ("drain backend web/10.1.10.11 for 30m \"kernel upgrade\"".to_owned(), {
            admin(AdminAction::Drain, backend("10.1.10.11"), Some(1800), Some("kernel upgrade"))
        }),
        ("disable backend web/2001:db8::1".to_owned(), {
            admin(AdminAction::Disable, backend("2001:db8::1"), None, None)
        }),
        ("drain vip www".to_owned(), {
            admin(AdminAction::Drain, Target::Vip("www".into()), None, None)
        }),
        ("disable vip www \"for\" ".to_owned(), {
            admin(AdminAction::Disable, Target::Vip("www".into()), None, Some("for"))
        }),
        ("enable vip www".to_owned(), {
            admin(AdminAction::Enable, Target::Vip("www".into()), None, None)
        }),
        ("enable backend web/10.1.10.11".to_owned(), {
            admin(AdminAction::Enable, backend("10.1.10.11"), None, None)
        }),
        ("disable \"vip\"".to_owned(), act(Disable, name("vip"), None)),
        ("down".to_owned(), Line::Daemon(Command::Down)),
        ("restrict".to_owned(), Line::Restrict),
        ("echo off".to_owned(), Line::EchoOff),
        ("timeformat iso short ms".to_owned(), {
            Line::TimeFormat(TimeFormat { long: false, digits: 3 })
        }),
        ("timef iso long us".to_owned(), Line::TimeFormat(TimeFormat { long: true, digits: 6 })),
        ("quit".to_owned(), Line::Quit),
        ("exit".to_owned(), Line::Quit),
    ];
    for (line, expected) in table {
        assert_eq!(parse(&line), Ok(expected), "{line}");
    }
}

#[test]
fn errors_name_the_word() {
    let long = format!("disable a {}", "x".repeat(256));
    let table = [
        ("frobnicate", "\"frobnicate\" is not a command, try help"),
        ("\"show\" status", "\"show\" is not a command, try help"),
        ("e", "\"e\" may be any of echo, enable, exit, explain"),
        ("re tor1", "\"re\" may be any of restart, restrict"),
        ("show v", "\"v\" may be any of vip, vips"),
        ("show s", "\"s\" may be any of services, status, symbols"),
        ("show foo", "show: \"foo\" is none of backends"),
        ("show", "show: one of backends"),
        ("show status now", "show status: \"now\" is not expected here"),
        ("show protocols all a b", "show protocols all: \"b\" is not expected here"),
        ("show history last", "show history: a number is missing"),
        ("show history last 0", "show history: \"0\" is not a number from 1 on"),
        ("show history a b", "show history: \"b\" is not expected here"),
        ("show history last 1 a", "show history: \"a\" is not expected here"),
        ("explain", "explain: a name or an address is missing"),
        ("show vip", "show vip: a name or an address is missing"),
        ("show route for", "show route: a prefix or an address is missing"),
        ("show route for x", "show route: \"x\" is neither prefix nor address"),
        ("show route 192.0.2.0/33", "show route: \"192.0.2.0/33\" is not expected here"),
        ("show route 192.0.2.1 for 192.0.2.2", "\"192.0.2.2\" is a second destination"),
        ("show route protocol", "show route: the protocol's name is missing"),
        ("disable", "disable: a name, a \"PATTERN\" or all is missing"),
        ("disable a b c", "disable: \"c\" is not expected here"),
        (&long, "is longer than 255 bytes"),
        ("drain www", "drain: \"www\" is none of backend, vip"),
        ("drain vip", "drain vip: the VIP's name is missing"),
        ("drain backend web", "drain backend: \"web\" is not POOL/ADDRESS"),
        ("drain backend web/x", "drain backend: \"web/x\" is not POOL/ADDRESS"),
        ("drain vip www for", "drain vip: a time such as 30m is missing"),
        ("drain vip www for 0s", "drain vip: \"0s\" is no time such as 30m"),
        ("drain vip www for 1d", "drain vip: \"1d\" is no time such as 30m"),
        ("drain vip www a b", "drain vip: \"b\" is not expected here"),
        ("enable vip www now", "enable vip: \"now\" is not expected here"),
        ("configure maybe", "configure: \"maybe\" is not expected here"),
        ("configure soft soft", "configure: \"soft\" is not expected here"),
        ("configure check soft", "configure check: \"soft\" is not expected here"),
        ("down now", "down: \"now\" is not expected here"),
        ("echo all", "echo: \"all\" is not possible"),
        ("timeformat \"%T\"", "timeformat: \"%T\" is not possible: only iso is"),
        ("timeformat iso short ns", "timeformat: \"ns\" is neither ms nor us"),
        ("json", "a command is missing"),
        ("json down", "json: only show commands, explain and trace have JSON"),
        ("trace", "trace: the source address is missing"),
        ("trace x to 192.0.2.1:80", "trace: \"x\" is no address and port"),
        ("trace 198.51.100.1 192.0.2.1:80", "\"192.0.2.1:80\" stands where `to` is expected"),
        ("trace 198.51.100.1 to", "trace: the VIP's address and port is missing"),
        ("trace 198.51.100.1 to 192.0.2.1", "trace: \"192.0.2.1\" has no port"),
        ("trace 2001:db8::1 to 2001:db8::2:80", "trace: \"2001:db8::2:80\" has no port"),
        ("trace 198.51.100.1 to [2001:db8::2]:80", "is of another address family"),
        ("trace 198.51.100.1 to 192.0.2.1:80 tcp udp", "\"udp\" says the same thing a second time"),
        ("trace 198.51.100.1 to 192.0.2.1:80 fin udp", "\"udp\" does not fit"),
        ("trace 198.51.100.1 to 192.0.2.1:80 vlan 4095", "\"4095\" is no VLAN id: 1 to 4094"),
        ("trace 198.51.100.1 to 192.0.2.1:80 via", "trace: the interface's name is missing"),
        ("trace 198.51.100.1 to 192.0.2.1:80 sctp", "trace: \"sctp\" is not expected here"),
        ("trace frame", "trace frame: the frame in hexadecimal digits is missing"),
        ("trace frame 0", "\"0\" is not an even number of hexadecimal digits"),
        ("trace frame 0g", "\"0g\" is not an even number of hexadecimal digits"),
        ("trace frame 00ff", "\"00ff\" is shorter than an Ethernet header"),
        ("show flow 198.51.100.1 to 192.0.2.1:80", "show flow: \"198.51.100.1\" has no port"),
        ("show flows some", "show flows: \"some\" is not expected here"),
        ("show maglev", "show maglev: a name or an address is missing"),
        ("show maglev www 0", "show maglev: \"0\" is not expected here"),
        ("show maglev www tcp 80", "show maglev: \"80\" is not expected here"),
        ("show new-flows 0", "show new-flows: \"0\" is not a number from 1 on"),
        ("help frobnicate", "\"frobnicate\" is not a command, try help"),
        ("show \"x", "\"x: the closing quote is missing"),
    ];
    for (line, expected) in table {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn help_lists_what_can_follow() {
    let words = |line: &str| match parse(line) {
        Ok(Line::Help(specs)) => specs.iter().map(|spec| spec.words.join(" ")).collect::<Vec<_>>(),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(words("help").len(), COMMANDS.len());
    assert_eq!(words("?"), words("help"));
    assert_eq!(words("show pro ?"), ["show protocols", "show protocols all"]);
    assert_eq!(words("help conf"), ["configure", "configure check"]);
    assert_eq!(words("disable tor1 ?"), ["disable", "disable backend", "disable vip"]);
}

#[test]
fn completion_offers_words_and_keywords() {
    assert_eq!(complete("sh"), ["show"]);
    assert_eq!(complete("show v"), ["vip", "vips"]);
    assert_eq!(complete("show protocols "), ["all"]);
    assert_eq!(complete("configure "), ["check", "soft"]);
    assert_eq!(complete("show route p"), ["protocol"]);
    assert_eq!(complete("show route protocol www a"), ["all"]);
    assert_eq!(
        complete("trace "),
        ["frame", "to", "tcp", "udp", "syn", "data", "fin", "rst", "via", "vlan"]
    );
    assert_eq!(complete("trace 198.51.100.1 to 192.0.2.1:80 v"), ["via", "vlan"]);
    assert_eq!(complete("show history www l"), ["last"]);
    assert_eq!(complete("drain "), ["backend", "vip"]);
    assert_eq!(complete("drain vip www f"), ["for"]);
    assert_eq!(complete("show f"), ["flow", "flows"]);
    assert_eq!(complete("nonsense "), Vec::<&str>::new());
    assert!(complete("").contains(&"configure"));
}

#[test]
fn the_table_is_sorted_and_has_no_twins() {
    assert!(COMMANDS.is_sorted_by(|a, b| a.words < b.words));
}

proptest::proptest! {
    #[test]
    fn any_line_is_understood_or_refused(line in ".{0,200}") {
        if let Err(error) = parse(&line) {
            proptest::prop_assert!(!error.to_string().is_empty());
        }
        let offered = complete(&line);
        proptest::prop_assert!(offered.len() <= COMMANDS.len() + 10);
    }
}
