use super::*;

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

fn json(line: Line) -> Line {
    match line {
        Line::Show { what, .. } => Line::Show { what, json: true },
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
        ("show interfaces", show(Show::Interfaces)),
        ("show symbols", show(Show::Symbols)),
        ("json show vips", json(show(Show::Vips))),
        ("json sh pro a", json(protocols(true, all))),
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
        ("e", "\"e\" may be any of echo, enable, exit"),
        ("re tor1", "\"re\" may be any of restart, restrict"),
        ("show v", "\"v\" may be any of vip, vips"),
        ("show s", "\"s\" may be any of services, status, symbols"),
        ("show foo", "show: \"foo\" is none of backends"),
        ("show", "show: one of backends"),
        ("show status now", "show status: \"now\" is not expected here"),
        ("show protocols all a b", "show protocols all: \"b\" is not expected here"),
        ("show vip", "show vip: a name or an address is missing"),
        ("show route for", "show route: a prefix or an address is missing"),
        ("show route for x", "show route: \"x\" is neither prefix nor address"),
        ("show route 192.0.2.0/33", "show route: \"192.0.2.0/33\" is not expected here"),
        ("show route 192.0.2.1 for 192.0.2.2", "\"192.0.2.2\" is a second destination"),
        ("show route protocol", "show route: the protocol's name is missing"),
        ("disable", "disable: a name, a \"PATTERN\" or all is missing"),
        ("disable a b c", "disable: \"c\" is not expected here"),
        (&long, "is longer than 255 bytes"),
        ("configure maybe", "configure: \"maybe\" is not expected here"),
        ("configure soft soft", "configure: \"soft\" is not expected here"),
        ("configure check soft", "configure check: \"soft\" is not expected here"),
        ("down now", "down: \"now\" is not expected here"),
        ("echo all", "echo: \"all\" is not possible"),
        ("timeformat \"%T\"", "timeformat: \"%T\" is not possible: only iso is"),
        ("timeformat iso short ns", "timeformat: \"ns\" is neither ms nor us"),
        ("json", "a command is missing"),
        ("json down", "json: only show commands have JSON"),
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
    assert_eq!(words("disable tor1 ?"), ["disable"]);
}

#[test]
fn completion_offers_words_and_keywords() {
    assert_eq!(complete("sh"), ["show"]);
    assert_eq!(complete("show v"), ["vip", "vips"]);
    assert_eq!(complete("show protocols "), ["all"]);
    assert_eq!(complete("configure "), ["check", "soft"]);
    assert_eq!(complete("show route p"), ["protocol"]);
    assert_eq!(complete("show route protocol www a"), ["all"]);
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
        proptest::prop_assert!(offered.len() <= COMMANDS.len() + 8);
    }
}
