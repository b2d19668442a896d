//! An oracle that follows one direction of a connection beside the session machine: what the next
//! octets have to lead to, by its own reading of RFC 4271 sections 6 and 8.

use std::time::Duration;

use ipnet::IpNet;

use super::stats::Fault;

/// What has to come of a piece of stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The session goes on.
    Fine,
    /// It goes on, and this route is in the Adj-RIB-In.
    Learned(IpNet),
    /// It goes on, and this route is not there (any more).
    Withdrawn(IpNet),
    /// It ends, and a NOTIFICATION is not answered by another.
    Told,
    /// It ends by one of these NOTIFICATIONs.
    Fatal(Vec<(u8, u8)>),
    /// Changed octets: it goes on, or it ends by a NOTIFICATION with this code.
    Perhaps(u8),
}

impl Outcome {
    fn ends(&self) -> bool {
        matches!(self, Self::Told | Self::Fatal(_))
    }
}

/// Octets that do not come from the neighbour.
#[derive(Debug, Clone)]
pub(crate) struct Injection {
    pub(crate) octets: Vec<u8>,
    /// Messages among them, and what has to come of each where it has its place.
    pub(crate) crafted: Vec<(Vec<u8>, Outcome)>,
    /// What it is, for the statistics.
    pub(crate) fault: Fault,
}

/// How far the connection has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Phase {
    #[default]
    OpenSent,
    OpenConfirm,
    Established,
}

/// What was heard in one piece.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) outcome: Outcome,
    /// An OPEN came to where it belongs: the connection may have collided with the other one.
    pub(crate) open: bool,
    /// Codes of the NOTIFICATIONs that changed octets before may have led to.
    pub(crate) perhaps: Vec<u8>,
}

/// Follows what one side of a connection receives.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    buffer: Vec<u8>,
    pub(crate) phase: Phase,
    /// The stream has ended one way or the other.
    pub(crate) over: bool,
    /// Our OPEN said that messages of more than 4096 octets are understood (RFC 8654).
    extended: bool,
    /// One of the OPENs had no capabilities: the two may have no family in common, or no AS number
    /// that they agree on.
    bare: bool,
    crafted: Vec<(Vec<u8>, Outcome)>,
    /// When something came that restarts the hold timer.
    pub(crate) heard: Duration,
}

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;
const ROUTE_REFRESH: u8 = 5;

impl Tap {
    pub(crate) fn expect(&mut self, crafted: &[(Vec<u8>, Outcome)]) {
        self.crafted.extend(crafted.iter().cloned());
    }

    /// An OPEN passes, ours or theirs.
    pub(crate) fn note_open(&mut self, ours: bool, message: &[u8]) {
        self.extended |= ours && announces_extended(message);
        self.bare |= message.get(28) == Some(&0);
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.bare
    }

    /// `opened` says that our OPEN was sent before; `tainted` that octets may be other than what
    /// the neighbour wrote.
    pub(crate) fn feed(
        &mut self,
        now: Duration,
        piece: &[u8],
        opened: bool,
        tainted: bool,
    ) -> Heard {
        let mut heard = Heard { outcome: Outcome::Fine, open: false, perhaps: Vec::new() };
        if self.over {
            return heard;
        }
        self.buffer.extend_from_slice(piece);
        loop {
            if let Some(error) = self.header_error() {
                heard.outcome = error;
                break;
            }
            let Some(message) = self.cut() else { break };
            heard.open |= message[18] == OPEN && self.phase == Phase::OpenSent;
            heard.outcome = self.message(now, &message, opened, tainted);
            if let Outcome::Perhaps(code) = heard.outcome {
                heard.perhaps.push(code);
            }
            if heard.outcome.ends() {
                break;
            }
        }
        self.over |= heard.outcome.ends();
        heard
    }

    fn header_error(&self) -> Option<Outcome> {
        let header = self.buffer.get(..19)?;
        let fatal = |subcode| Some(Outcome::Fatal(vec![(1, subcode)]));
        if header[..16].iter().any(|octet| *octet != 0xFF) {
            return fatal(1);
        }
        let (length, kind) = (self.length()?, header[18]);
        let opened = self.phase > Phase::OpenSent;
        let long = self.extended && opened && !matches!(kind, OPEN | KEEPALIVE);
        let longest = if long { 65_535 } else { 4096 };
        let shortest = match kind {
            OPEN => 29,
            UPDATE => 23,
            NOTIFICATION => 21,
            _ => 19,
        };
        if length < 19 || length > longest {
            // Which of two errors in one header is told is nobody's business.
            let also = if (1..=5).contains(&kind) { (1, 2) } else { (1, 3) };
            return Some(Outcome::Fatal(vec![(1, 2), also]));
        }
        if !(1..=5).contains(&kind) {
            return fatal(3);
        }
        if length < shortest || kind == KEEPALIVE && length != 19 {
            return fatal(2);
        }
        None
    }

    fn length(&self) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes([*self.buffer.get(16)?, *self.buffer.get(17)?])))
    }

    fn cut(&mut self) -> Option<Vec<u8>> {
        let length = self.length().filter(|_| self.buffer.len() >= 19)?;
        (self.buffer.len() >= length).then(|| self.buffer.drain(..length).collect())
    }

    fn message(&mut self, now: Duration, message: &[u8], opened: bool, tainted: bool) -> Outcome {
        let kind = message[18];
        let in_place = match kind {
            NOTIFICATION => return Outcome::Told,
            OPEN => self.phase == Phase::OpenSent,
            KEEPALIVE => self.phase >= Phase::OpenConfirm,
            _ => self.phase == Phase::Established,
        };
        if !in_place {
            return match self.phase {
                // While DelayOpen runs there is no subcode for it.
                Phase::OpenSent if !opened => Outcome::Fatal(vec![(5, 0)]),
                Phase::OpenSent => Outcome::Fatal(vec![(5, 1)]),
                Phase::OpenConfirm => Outcome::Fatal(vec![(5, 2)]),
                Phase::Established => Outcome::Fatal(vec![(5, 3)]),
            };
        }
        self.heard = now;
        let crafted = self.crafted.iter().position(|(octets, _)| octets == message);
        if let Some(index) = crafted {
            return self.crafted.remove(index).1;
        }
        match kind {
            OPEN => {
                self.note_open(false, message);
                // Before ours was sent it is not known here what that would have said.
                self.phase = Phase::OpenConfirm;
                if tainted || self.bare || !opened { Outcome::Perhaps(2) } else { Outcome::Fine }
            }
            KEEPALIVE => {
                self.phase = Phase::Established;
                Outcome::Fine
            }
            ROUTE_REFRESH if tainted => Outcome::Perhaps(7),
            _ if tainted => Outcome::Perhaps(3),
            _ => Outcome::Fine,
        }
    }
}

/// Whether an OPEN has the capability of RFC 8654.
fn announces_extended(message: &[u8]) -> bool {
    let mut list = message.get(29..).unwrap_or_default();
    let long = list.first() == Some(&255);
    if long {
        list = list.get(3..).unwrap_or_default();
    }
    while let Some((&kind, rest)) = list.split_first() {
        let size = if long { 2 } else { 1 };
        let Some((length, rest)) = rest.split_at_checked(size) else { return false };
        let length = length.iter().fold(0, |sum, octet| sum * 256 + usize::from(*octet));
        let Some((mut value, behind)) = rest.split_at_checked(length) else { return false };
        while let [code, length, rest @ ..] = value {
            if kind == 2 && *code == 6 {
                return true;
            }
            value = rest.get(usize::from(*length)..).unwrap_or_default();
        }
        list = behind;
    }
    false
}
