//! The command language: one table of commands, and the way from a line to its meaning.
//!
//! The table serves parsing, `help` and the client's completion alike. Every command word may be shortened to a
//! beginning that no other word at its place has (`sh pro a`). This module does no input or output.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use vc5_xdp::{TraceQuestion, Tuple};

use super::admin_words as admin;
use super::clock::TimeFormat;
use super::command::{Action, AdminAction, Command, NamePattern};
use super::packet_words::{self as packet, ServiceFilter};
pub use super::words::Error;
use super::words::{Arguments, Choice, Word, choose, split};

/// Longest message of an administrator in bytes (RFC 9003 section 2).
pub(super) const MAX_MESSAGE: usize = 255;

/// The meaning of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing but white space.
    Empty,
    /// A look at the daemon.
    Show {
        /// At what.
        what: Show,
        /// As JSON, asked for by the word `json` before the command.
        json: bool,
    },
    /// A question for the dataplane.
    Ask {
        /// What is asked.
        what: Ask,
        /// As JSON.
        json: bool,
    },
    /// `show new-flows [COUNT]`
    Follow {
        /// The end comes after so many; `None`: with the session.
        count: Option<u64>,
        /// As JSON, one document a line.
        json: bool,
    },
    /// A change, for the core.
    Daemon(Command),
    /// `restrict`
    Restrict,
    /// `echo off`: there is nothing to switch off, since no log goes to the socket.
    EchoOff,
    /// `timeformat iso short|long [ms|us]`
    TimeFormat(TimeFormat),
    /// `help` or `?`, after the words whose continuations are asked for.
    Help(Vec<&'static Spec>),
    /// `quit` or `exit`
    Quit,
}

/// What `show` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// `show status`
    Status,
    /// `show protocols [all] [NAME|"PATTERN"]`
    Protocols {
        /// With details.
        all: bool,
        /// Which ones.
        names: NamePattern,
    },
    /// `show route ...`
    Route(RouteQuery),
    /// `show vips`
    Vips,
    /// `show vip NAME|ADDRESS`
    Vip(String),
    /// `show services`
    Services,
    /// `show backends`
    Backends,
    /// `show history [NAME|ADDRESS] [last COUNT]`
    History(HistoryQuery),
    /// `explain NAME|ADDRESS`
    Explain(String),
    /// `show interfaces`
    Interfaces,
    /// `show counters`
    Counters,
    /// `show symbols`
    Symbols,
}

/// What the dataplane is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `trace ...`
    Trace(TraceQuestion),
    /// `show maglev VIP [PORT] [tcp|udp]`
    Maglev {
        /// Name or address of the VIP.
        vip: String,
        /// Which of its services.
        filter: ServiceFilter,
    },
    /// `show flows [all]`
    Flows {
        /// Backend by backend.
        all: bool,
    },
    /// `show flow SRC:PORT to VIP:PORT [tcp|udp]`
    Flow(Tuple),
}

/// Which routes `show route` shows, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteQuery {
    /// With attributes.
    pub all: bool,
    /// Only how many.
    pub count: bool,
    /// By destination.
    pub destination: Destination,
    /// By the protocol that brought them.
    pub protocol: Option<String>,
    /// Only those exported to this neighbour.
    pub export: Option<String>,
}

/// Routes by destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// Any.
    #[default]
    Any,
    /// Exactly this prefix.
    Exact(IpNet),
    /// The longest prefix that holds this one.
    For(IpNet),
}

/// Which changes `show history` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Name or address of a VIP, or address of a backend.
    pub about: Option<String>,
    /// Only so many, the newest.
    pub last: Option<usize>,
}

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
    parse: fn(Arguments<'_>) -> Result<Line, Error>,
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
        configure,
    ),
    spec(
        &["configure", "check"],
        "[\"FILE\"]",
        &[],
        "Check a configuration, change nothing",
        configure_check,
    ),
    spec(&["disable"], NAMES, &["all"], "Switch neighbours or VIPs off", |a| {
        protocol(a, Action::Disable)
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
    spec(&["echo"], "off", &["off"], "Accepted for BIRD's clients; no log is sent here", echo),
    spec(&["enable"], NAMES, &["all"], "Switch neighbours or VIPs on", |a| {
        protocol(a, Action::Enable)
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
            a.end().map(|()| show(Show::Explain(name)))
        },
    ),
    spec(&["help"], "[COMMAND]", &[], "Show this list", |a| a.end().map(|()| everything())),
    spec(&["quit"], "", &[], "End this session", |a| a.end().map(|()| Line::Quit)),
    spec(&["restart"], NAMES, &["all"], "Switch neighbours or VIPs off and on", |a| {
        protocol(a, Action::Restart)
    }),
    spec(&["restrict"], "", &[], "Allow this session only to look", |a| {
        a.end().map(|()| Line::Restrict)
    }),
    spec(&["show", "backends"], "", &[], "Backends with the verdicts of their checks", |a| {
        plain(a, Show::Backends)
    }),
    spec(
        &["show", "counters"],
        "",
        &[],
        "Traffic by service and backend, packets by reason",
        |a| plain(a, Show::Counters),
    ),
    spec(
        &["show", "flow"],
        "SRC:PORT to VIP:PORT [tcp|udp]",
        &["to", "tcp", "udp"],
        "What is remembered of one flow",
        |mut a| {
            let tuple = packet::tuple(&mut a)?;
            a.end().map(|()| ask(Ask::Flow(tuple)))
        },
    ),
    spec(&["show", "flows"], "[all]", &["all"], "How the flow table is filled", show_flows),
    spec(
        &["show", "history"],
        "[NAME|ADDRESS] [last COUNT]",
        &["last"],
        "What has changed, and why",
        show_history,
    ),
    spec(&["show", "interfaces"], "", &[], "Interfaces and counters of the dataplane", |a| {
        plain(a, Show::Interfaces)
    }),
    spec(
        &["show", "maglev"],
        "NAME|ADDRESS [PORT] [tcp|udp]",
        &["tcp", "udp"],
        "The rings of a VIP's services",
        |mut a| {
            let vip = a.need("a name or an address")?.text.clone();
            let filter = packet::service_filter(&mut a)?;
            a.end().map(|()| ask(Ask::Maglev { vip, filter }))
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
        show_protocols(a, false)
    }),
    spec(&["show", "protocols", "all"], "[NAME|\"PATTERN\"]", &[], "The same with details", |a| {
        show_protocols(a, true)
    }),
    spec(
        &["show", "route"],
        "[PREFIX|for PREFIX|for ADDRESS] [protocol NAME] [export NAME] [all] [count]",
        &ROUTE_KEYWORDS,
        "Routes, ours and received ones",
        show_route,
    ),
    spec(&["show", "services"], "", &[], "Services with their health", |a| {
        plain(a, Show::Services)
    }),
    spec(&["show", "status"], "", &[], "Version, times and state of the daemon", |a| {
        plain(a, Show::Status)
    }),
    spec(&["show", "symbols"], "", &[], "Names of neighbours and VIPs", |a| {
        plain(a, Show::Symbols)
    }),
    spec(&["show", "vip"], "NAME|ADDRESS", &[], "Why a VIP is or is not announced", show_vip),
    spec(&["show", "vips"], "", &[], "VIPs and whether they are announced", |a| {
        plain(a, Show::Vips)
    }),
    spec(
        &["timeformat"],
        "iso short|long [ms|us]",
        &["iso", "short", "long", "ms", "us"],
        "How this session prints times",
        time_format,
    ),
    spec(
        &["trace"],
        "SRC[:PORT] to VIP:PORT [tcp|udp] [syn|data|fin|rst] [via IFACE] [vlan N]",
        &packet::TRACE_KEYWORDS,
        "What would become of a packet, and why",
        |mut a| {
            let question = packet::trace(&mut a)?;
            a.end().map(|()| ask(Ask::Trace(question)))
        },
    ),
    spec(
        &["trace", "frame"],
        "HEX [via IFACE]",
        &["via"],
        "What would become of a frame, and why",
        |mut a| {
            let question = packet::trace_frame(&mut a)?;
            a.end().map(|()| ask(Ask::Trace(question)))
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

/// Finds the meaning of a command line without its newline.
///
/// # Errors
/// Names the word that cannot be understood.
pub fn parse(line: &str) -> Result<Line, Error> {
    let words = split(line)?;
    let Some((first, rest)) = words.split_first() else { return Ok(Line::Empty) };
    if let Some((last, before)) = words.split_last()
        && last.text == "?"
        && !last.quoted
    {
        return help(before);
    }
    if !first.quoted && choose(&first.text, ["help"]) == Choice::One("help") {
        return help(rest);
    }
    if first.text == "json" && !first.quoted {
        return match run(rest)? {
            Line::Show { what, .. } => Ok(Line::Show { what, json: true }),
            Line::Ask { what, .. } => Ok(Line::Ask { what, json: true }),
            Line::Follow { count, .. } => Ok(Line::Follow { count, json: true }),
            _ => Err(Error("json: only show commands, explain and trace have JSON".to_owned())),
        };
    }
    run(&words)
}

fn run(words: &[Word]) -> Result<Line, Error> {
    let (candidates, depth) = descend(words)?;
    let Some(spec) = candidates.iter().find(|spec| spec.words.len() == depth) else {
        let next = continuations(&candidates, depth).join(", ");
        let so_far = candidates.first().and_then(|spec| spec.words.get(..depth));
        return Err(Error(match (so_far, words.get(depth)) {
            (Some([]) | None, None) => format!("a command is missing, one of {next}"),
            (Some([]) | None, Some(word)) => {
                format!("\"{}\" is not a command, try help", word.text)
            }
            (Some(so_far), None) => format!("{}: one of {next} must follow", so_far.join(" ")),
            (Some(so_far), Some(word)) => {
                format!("{}: \"{}\" is none of {next}", so_far.join(" "), word.text)
            }
        }));
    };
    let arguments = words.get(depth..).unwrap_or_default();
    (spec.parse)(Arguments::new(spec.words.join(" "), arguments))
}

/// Follows the table as far as the words go: the commands that remain, and how many words were used.
fn descend(words: &[Word]) -> Result<(Vec<&'static Spec>, usize), Error> {
    let mut candidates: Vec<&Spec> = COMMANDS.iter().collect();
    let mut depth = 0;
    for word in words.iter().take_while(|word| !word.quoted) {
        match choose(&word.text, continuations(&candidates, depth)) {
            Choice::One(chosen) => {
                candidates.retain(|spec| spec.words.get(depth) == Some(&chosen));
                depth += 1;
            }
            Choice::Ambiguous(choices) => {
                let choices = choices.join(", ");
                return Err(Error(format!("\"{}\" may be any of {choices}", word.text)));
            }
            Choice::Unknown => break,
        }
    }
    Ok((candidates, depth))
}

fn continuations(candidates: &[&'static Spec], depth: usize) -> Vec<&'static str> {
    let mut words: Vec<&str> =
        candidates.iter().filter_map(|spec| spec.words.get(depth).copied()).collect();
    words.dedup();
    words
}

fn help(words: &[Word]) -> Result<Line, Error> {
    let (candidates, depth) = descend(words)?;
    match words.get(depth) {
        Some(word) if !candidates.iter().any(|spec| spec.words.len() == depth) => {
            Err(Error(format!("\"{}\" is not a command, try help", word.text)))
        }
        _ => Ok(Line::Help(candidates)),
    }
}

fn everything() -> Line {
    Line::Help(COMMANDS.iter().collect())
}

/// What may stand at the end of `line`: command words and keywords, for completion.
#[must_use]
pub fn complete(line: &str) -> Vec<&'static str> {
    let partial = !line.is_empty() && !line.ends_with(char::is_whitespace);
    let Ok(mut words) = split(line) else { return Vec::new() };
    let last = if partial { words.pop() } else { None };
    let start = last.map(|word| word.text).unwrap_or_default();
    let Ok((candidates, depth)) = descend(&words) else { return Vec::new() };
    let mut found = if depth == words.len() { continuations(&candidates, depth) } else { vec![] };
    let complete = candidates.iter().find(|spec| spec.words.len() == depth);
    found.extend(complete.into_iter().flat_map(|spec| spec.keywords.iter().copied()));
    found.retain(|word| word.starts_with(&start));
    found
}

fn plain(arguments: Arguments<'_>, what: Show) -> Result<Line, Error> {
    arguments.end().map(|()| show(what))
}

fn show(what: Show) -> Line {
    Line::Show { what, json: false }
}

fn ask(what: Ask) -> Line {
    Line::Ask { what, json: false }
}

fn show_flows(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let all = match arguments.next() {
        None => false,
        Some(word) if choose(&word.text, ["all"]) == Choice::One("all") => true,
        Some(word) => return Err(arguments.unexpected(word)),
    };
    arguments.end().map(|()| ask(Ask::Flows { all }))
}

fn name_pattern(word: &Word) -> NamePattern {
    match word.text.as_str() {
        "all" if !word.quoted => NamePattern::All,
        text if text.contains(['*', '?']) => NamePattern::Glob(text.to_owned()),
        text => NamePattern::Name(text.to_owned()),
    }
}

fn show_protocols(mut arguments: Arguments<'_>, all: bool) -> Result<Line, Error> {
    let names = arguments.next().map_or(NamePattern::All, name_pattern);
    arguments.end().map(|()| show(Show::Protocols { all, names }))
}

fn show_vip(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let name = arguments.need("a name or an address")?.text.clone();
    arguments.end().map(|()| show(Show::Vip(name)))
}

fn show_history(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let mut query = HistoryQuery::default();
    while let Some(word) = arguments.next() {
        if !word.quoted && word.text == "last" && query.last.is_none() {
            let word = arguments.need("a number")?;
            let count = word.text.parse().ok().filter(|count| *count > 0);
            let wrong = || arguments.wrong(word, "is not a number from 1 on");
            query.last = Some(count.ok_or_else(wrong)?);
        } else if query.about.is_none() && query.last.is_none() {
            query.about = Some(word.text.clone());
        } else {
            return Err(arguments.unexpected(word));
        }
    }
    Ok(show(Show::History(query)))
}

const ROUTE_KEYWORDS: [&str; 5] = ["all", "count", "export", "for", "protocol"];

fn show_route(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let mut query = RouteQuery::default();
    while let Some(word) = arguments.next() {
        if let Some(net) = prefix(word) {
            set_destination(&mut query, Destination::Exact(net), &arguments, word)?;
            continue;
        }
        match choose(&word.text, ROUTE_KEYWORDS) {
            Choice::One("all") => query.all = true,
            Choice::One("count") => query.count = true,
            Choice::One("export") => {
                query.export = Some(arguments.need("the neighbour's name")?.text.clone());
            }
            Choice::One("protocol") => {
                query.protocol = Some(arguments.need("the protocol's name")?.text.clone());
            }
            Choice::One("for") => {
                let word = arguments.need("a prefix or an address")?;
                let net = prefix(word)
                    .ok_or_else(|| arguments.wrong(word, "is neither prefix nor address"))?;
                set_destination(&mut query, Destination::For(net), &arguments, word)?;
            }
            _ => return Err(arguments.unexpected(word)),
        }
    }
    Ok(show(Show::Route(query)))
}

fn set_destination(
    query: &mut RouteQuery,
    destination: Destination,
    arguments: &Arguments<'_>,
    word: &Word,
) -> Result<(), Error> {
    if query.destination != Destination::Any {
        return Err(arguments.wrong(word, "is a second destination"));
    }
    query.destination = destination;
    Ok(())
}

/// A prefix with its host bits cleared; an address is the prefix that holds just it.
fn prefix(word: &Word) -> Option<IpNet> {
    let net = word.text.parse::<IpNet>().map(|net| net.trunc());
    net.ok().or_else(|| word.text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn protocol(mut arguments: Arguments<'_>, action: Action) -> Result<Line, Error> {
    let names = name_pattern(arguments.need("a name, a \"PATTERN\" or all")?);
    let message = match arguments.next() {
        Some(word) if word.text.len() > MAX_MESSAGE => {
            return Err(arguments.wrong(word, "is longer than 255 bytes"));
        }
        word => word.map(|word| word.text.clone()),
    };
    arguments.end().map(|()| Line::Daemon(Command::Protocol { action, names, message }))
}

fn configure(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let (mut file, mut soft) = (None, false);
    while let Some(word) = arguments.next() {
        match file_name(word) {
            Some(path) if file.is_none() && !soft => file = Some(path),
            None if choose(&word.text, ["soft"]) == Choice::One("soft") && !soft => soft = true,
            _ => return Err(arguments.unexpected(word)),
        }
    }
    Ok(Line::Daemon(Command::Configure { file, soft }))
}

fn configure_check(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let file = match arguments.next() {
        None => None,
        Some(word) => Some(file_name(word).ok_or_else(|| arguments.unexpected(word))?),
    };
    arguments.end().map(|()| Line::Daemon(Command::ConfigureCheck { file }))
}

/// A quoted word is a file; a bare one only if it cannot be a keyword.
fn file_name(word: &Word) -> Option<PathBuf> {
    let is_file = !word.text.is_empty() && (word.quoted || word.text.contains(['/', '.']));
    is_file.then(|| PathBuf::from(&word.text))
}

fn echo(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let word = arguments.need("off")?;
    if word.text != "off" {
        return Err(arguments.wrong(word, "is not possible: the log goes to the daemon's output"));
    }
    arguments.end().map(|()| Line::EchoOff)
}

fn time_format(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let word = arguments.need("iso")?;
    if choose(&word.text, ["iso"]) != Choice::One("iso") || word.quoted {
        return Err(arguments.wrong(word, "is not possible: only iso is"));
    }
    let word = arguments.need("short or long")?;
    let long = match choose(&word.text, ["short", "long"]) {
        Choice::One(chosen) => chosen == "long",
        _ => return Err(arguments.wrong(word, "is neither short nor long")),
    };
    let digits = match arguments.next() {
        None => 0,
        Some(word) if word.text == "ms" => 3,
        Some(word) if word.text == "us" => 6,
        Some(word) => return Err(arguments.wrong(word, "is neither ms nor us")),
    };
    arguments.end().map(|()| Line::TimeFormat(TimeFormat { long, digits }))
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
