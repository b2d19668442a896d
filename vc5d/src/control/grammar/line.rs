//! What a command line can mean.

use ipnet::IpNet;
use vc5_xdp::{TraceQuestion, Tuple};

use super::super::clock::TimeFormat;
use super::super::command::{Command, NamePattern};
use super::packet::ServiceFilter;
use super::table::Spec;

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

impl From<Show> for Line {
    fn from(what: Show) -> Self {
        Self::Show { what, json: false }
    }
}

impl From<Ask> for Line {
    fn from(what: Ask) -> Self {
        Self::Ask { what, json: false }
    }
}
