//! The table of all commands.

use super::super::command::{Action, AdminAction, Command};
use super::line::{Ask, Line, Show};
use super::words::{Arguments, Error};
use super::{admin, change, look, packet, routes, session};

/// One command of the table.
#[derive(Debug)]
pub struct Spec {
    /// Its fixed words.
    pub words: &'static [&'static str],
    /// What may follow, as shown by `help`.
    pub arguments: &'static str,
    /// Keywords among the arguments, for completion.
    pub keywords: &'static [&'static str],
    /// What it does, in one line.
    pub help: &'static str,
    pub(super) parse: fn(Arguments<'_>) -> Result<Line, Error>,
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Eq for Spec {}

const BACKEND: &str = "POOL/ADDRESS [for TIME] [\"REASON\"]";
const VIP: &str = "NAME [for TIME] [\"REASON\"]";
const NAMES: &str = "NAME|\"PATTERN\"|all [\"MESSAGE\"]";

/// All commands, sorted by their words.
pub const COMMANDS: &[Spec] = &[
    spec(
        &["configure"],
        "[\"FILE\"] [soft]",
        &["soft"],
        "Read the configuration and apply it",
        change::configure,
    ),
    spec(
        &["configure", "check"],
        "[\"FILE\"]",
        &[],
        "Check a configuration, change nothing",
        change::configure_check,
    ),
    spec(&["disable"], NAMES, &["all"], "Switch neighbours or VIPs off", |a| {
        change::protocol(a, Action::Disable)
    }),
    spec(&["disable", "backend"], BACKEND, &["for"], "Take a backend out of use", |a| {
        admin::backend(a, AdminAction::Disable)
    }),
    spec(&["disable", "vip"], VIP, &["for"], "Withdraw a VIP and keep it down", |a| {
        admin::vip(a, AdminAction::Disable)
    }),
    spec(&["down"], "", &[], "Withdraw everything and stop the daemon", |a| {
        a.end().map(|()| Line::Daemon(Command::Down))
    }),
    spec(&["drain", "backend"], BACKEND, &["for"], "Give a backend no new flows", |a| {
        admin::backend(a, AdminAction::Drain)
    }),
    spec(&["drain", "vip"], VIP, &["for"], "Withdraw a VIP and let its flows go on", |a| {
        admin::vip(a, AdminAction::Drain)
    }),
    spec(
        &["echo"],
        "off",
        &["off"],
        "Accepted for BIRD's clients; no log is sent here",
        session::echo,
    ),
    spec(&["enable"], NAMES, &["all"], "Switch neighbours or VIPs on", |a| {
        change::protocol(a, Action::Enable)
    }),
    spec(&["enable", "backend"], "POOL/ADDRESS", &[], "Take drain or disable back", |a| {
        admin::backend(a, AdminAction::Enable)
    }),
    spec(&["enable", "vip"], "NAME", &[], "Take drain or disable back", |a| {
        admin::vip(a, AdminAction::Enable)
    }),
    spec(&["exit"], "", &[], "End this session", |a| a.end().map(|()| Line::Quit)),
    spec(
        &["explain"],
        "NAME|ADDRESS",
        &[],
        "Why a VIP is or is not announced, link by link",
        |mut a| {
            let name = a.need("a name or an address")?.text.clone();
            a.end().map(|()| Show::Explain(name).into())
        },
    ),
    spec(&["help"], "[COMMAND]", &[], "Show this list", |a| a.end().map(|()| everything())),
    spec(&["quit"], "", &[], "End this session", |a| a.end().map(|()| Line::Quit)),
    spec(&["restart"], NAMES, &["all"], "Switch neighbours or VIPs off and on", |a| {
        change::protocol(a, Action::Restart)
    }),
    spec(&["restrict"], "", &[], "Allow this session only to look", |a| {
        a.end().map(|()| Line::Restrict)
    }),
    spec(&["show", "backends"], "", &[], "Backends with the verdicts of their checks", |a| {
        look::plain(a, Show::Backends)
    }),
    spec(
        &["show", "counters"],
        "",
        &[],
        "Traffic by service and backend, packets by reason",
        |a| look::plain(a, Show::Counters),
    ),
    spec(
        &["show", "flow"],
        "SRC:PORT to VIP:PORT [tcp|udp]",
        &["to", "tcp", "udp"],
        "What is remembered of one flow",
        |mut a| {
            let tuple = packet::tuple(&mut a)?;
            a.end().map(|()| Ask::Flow(tuple).into())
        },
    ),
    spec(&["show", "flows"], "[all]", &["all"], "How the flow table is filled", look::show_flows),
    spec(
        &["show", "history"],
        "[NAME|ADDRESS] [last COUNT]",
        &["last"],
        "What has changed, and why",
        look::show_history,
    ),
    spec(&["show", "interfaces"], "", &[], "Interfaces and counters of the dataplane", |a| {
        look::plain(a, Show::Interfaces)
    }),
    spec(
        &["show", "maglev"],
        "NAME|ADDRESS [PORT] [tcp|udp]",
        &["tcp", "udp"],
        "The rings of a VIP's services",
        |mut a| {
            let vip = a.need("a name or an address")?.text.clone();
            let filter = packet::service_filter(&mut a)?;
            a.end().map(|()| Ask::Maglev { vip, filter }.into())
        },
    ),
    spec(
        &["show", "new-flows"],
        "[COUNT]",
        &[],
        "New flows as they come, as far as they are sampled",
        |mut a| {
            let count = packet::count(&mut a)?;
            a.end().map(|()| Line::Follow { count, json: false })
        },
    ),
    spec(&["show", "protocols"], "[NAME|\"PATTERN\"]", &[], "Neighbours and VIPs", |a| {
        look::show_protocols(a, false)
    }),
    spec(&["show", "protocols", "all"], "[NAME|\"PATTERN\"]", &[], "The same with details", |a| {
        look::show_protocols(a, true)
    }),
    spec(
        &["show", "route"],
        "[PREFIX|for PREFIX|for ADDRESS] [protocol NAME] [export NAME] [all] [count]",
        &routes::ROUTE_KEYWORDS,
        "Routes, ours and received ones",
        routes::show_route,
    ),
    spec(&["show", "services"], "", &[], "Services with their health", |a| {
        look::plain(a, Show::Services)
    }),
    spec(&["show", "status"], "", &[], "Version, times and state of the daemon", |a| {
        look::plain(a, Show::Status)
    }),
    spec(&["show", "symbols"], "", &[], "Names of neighbours and VIPs", |a| {
        look::plain(a, Show::Symbols)
    }),
    spec(&["show", "vip"], "NAME|ADDRESS", &[], "Why a VIP is or is not announced", look::show_vip),
    spec(&["show", "vips"], "", &[], "VIPs and whether they are announced", |a| {
        look::plain(a, Show::Vips)
    }),
    spec(
        &["timeformat"],
        "iso short|long [ms|us]",
        &["iso", "short", "long", "ms", "us"],
        "How this session prints times",
        session::time_format,
    ),
    spec(
        &["trace"],
        "SRC[:PORT] to VIP:PORT [tcp|udp] [syn|data|fin|rst] [via IFACE] [vlan N]",
        &packet::TRACE_KEYWORDS,
        "What would become of a packet, and why",
        |mut a| {
            let question = packet::trace(&mut a)?;
            a.end().map(|()| Ask::Trace(question).into())
        },
    ),
    spec(
        &["trace", "frame"],
        "HEX [via IFACE]",
        &["via"],
        "What would become of a frame, and why",
        |mut a| {
            let question = packet::trace_frame(&mut a)?;
            a.end().map(|()| Ask::Trace(question).into())
        },
    ),
];

const fn spec(
    words: &'static [&'static str],
    arguments: &'static str,
    keywords: &'static [&'static str],
    help: &'static str,
    parse: fn(Arguments<'_>) -> Result<Line, Error>,
) -> Spec {
    Spec { words, arguments, keywords, help, parse }
}

/// All of it, for `help`.
fn everything() -> Line {
    Line::Help(COMMANDS.iter().collect())
}
