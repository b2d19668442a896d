//! TCP connections as far as a speaker notices: octets in order, late, in pieces, or never.

use std::collections::VecDeque;
use std::time::Duration;

use vc5_bgp::session::Role;

use super::rng::Rng;
use super::tap::{Injection, Tap};

/// What is under way.
#[derive(Debug)]
pub(crate) enum Segment {
    Data(Vec<u8>),
    Fin,
}

/// In what pieces the receiver gets its octets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pieces {
    Whole,
    /// Octet by octet, so many of them; then as `Random`.
    Single(u32),
    Random,
}

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) pieces: Pieces,
    /// Octets that may be under way or unread, as socket buffers allow.
    pub(crate) window: usize,
    /// The sender's driver asks for more while it holds fewer octets.
    pub(crate) high_water: usize,
    /// The sender's driver holds these; whole messages but for the first.
    pub(crate) out: Vec<u8>,
    pub(crate) flight: VecDeque<(Duration, Segment)>,
    pub(crate) in_flight: usize,
    /// Arrived, not read.
    pub(crate) unread: VecDeque<u8>,
    pub(crate) fin: bool,
    pub(crate) reset: bool,
    pub(crate) last_arrival: Duration,
    /// Nothing arrives before.
    pub(crate) stalled_until: Duration,
    /// Nothing is read before.
    pub(crate) unread_until: Duration,
    /// So many octets are read at a time, then nothing for so long.
    pub(crate) drip: Option<(usize, Duration)>,
    /// Everything is lost on the way.
    pub(crate) black_hole: bool,
    /// When octets were taken last, or there were none to take.
    pub(crate) taken: Duration,
}

impl Pipe {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let jitter = if rng.percent(50) { rng.millis(0, 60) } else { Duration::ZERO };
        Self {
            delay: Duration::from_micros(rng.pick(&[50, 1_000, 5_000, 20_000, 80_000])),
            jitter,
            pieces: rng.pick(&[
                Pieces::Whole,
                Pieces::Whole,
                Pieces::Random,
                Pieces::Random,
                Pieces::Single(100),
            ]),
            window: rng.pick(&[128, 1024, 4096, 16_384, 65_536]),
            high_water: rng.pick(&[1, 256, 4096]),
            out: Vec::new(),
            flight: VecDeque::new(),
            in_flight: 0,
            unread: VecDeque::new(),
            fin: false,
            reset: false,
            last_arrival: Duration::ZERO,
            stalled_until: Duration::ZERO,
            unread_until: Duration::ZERO,
            drip: None,
            black_hole: false,
            taken: Duration::ZERO,
        }
    }

    /// Octets that the sender's kernel takes now.
    pub(crate) fn room(&self) -> usize {
        self.window.saturating_sub(self.in_flight + self.unread.len())
    }

    /// Puts a segment on its way; when it arrives, if ever.
    pub(crate) fn send(
        &mut self,
        now: Duration,
        segment: Segment,
        rng: &mut Rng,
    ) -> Option<Duration> {
        if let Segment::Data(octets) = &segment {
            self.in_flight += octets.len();
        }
        if self.black_hole {
            return None;
        }
        let mut at = now + self.delay;
        if !self.jitter.is_zero() {
            at += rng.up_to(self.jitter);
        }
        let at = at.max(self.last_arrival).max(self.stalled_until);
        self.last_arrival = at;
        self.flight.push_back((at, segment));
        Some(at)
    }

    /// Nothing disturbs this direction now, and nothing waits in it.
    pub(crate) fn is_clear(&self, now: Duration) -> bool {
        self.out.is_empty()
            && self.stalled_until <= now
            && self.unread_until <= now
            && self.drip.is_none()
            && !self.black_hole
            && self.room() >= 100
    }
}

/// A TCP connection, from the attempt on.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Who dialled, who was dialled.
    pub(crate) ends: [usize; 2],
    /// The application at this side has it.
    pub(crate) up: [bool; 2],
    /// It had it at some time.
    pub(crate) was_up: [bool; 2],
    /// The hold time that side agreed on.
    pub(crate) hold: [Duration; 2],
    /// `pipes[side]` carries what `side` sends.
    pub(crate) pipes: [Pipe; 2],
    /// `taps[side]` follows what `side` receives.
    pub(crate) taps: [Tap; 2],
    /// The host at this side has forgotten the connection and answers data by a reset.
    pub(crate) forgotten: [bool; 2],
    /// What is thrown in after so many messages of that side.
    pub(crate) injections: Vec<(usize, u64, Injection)>,
    /// A bit of this many messages from now is turned over.
    pub(crate) flips: [Option<u64>; 2],
    /// Octets were changed in ways that nobody may notice.
    pub(crate) tainted: bool,
    /// How often somebody interfered.
    pub(crate) disturbed: u32,
    pub(crate) sent: [Sent; 2],
}

/// What a side has sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) messages: u64,
    pub(crate) open: bool,
    pub(crate) notification: Option<(u8, u8)>,
}

impl Conn {
    pub(crate) fn new(ends: [usize; 2], rng: &mut Rng) -> Self {
        Self {
            ends,
            up: [false; 2],
            was_up: [false; 2],
            hold: [Duration::ZERO; 2],
            pipes: [Pipe::new(rng), Pipe::new(rng)],
            taps: [Tap::default(), Tap::default()],
            forgotten: [false; 2],
            injections: Vec::new(),
            flips: [None; 2],
            tainted: false,
            disturbed: 0,
            sent: [Sent::default(), Sent::default()],
        }
    }

    /// Both applications have it and nobody lost track of the other.
    pub(crate) fn whole(&self) -> bool {
        self.up == [true, true]
            && self.pipes.iter().all(|pipe| !pipe.black_hole && !pipe.fin && !pipe.reset)
    }
}

/// The role of the end at `side` of a connection.
pub(crate) fn role(side: usize) -> Role {
    if side == 0 { Role::Outgoing } else { Role::Incoming }
}

/// The other way.
pub(crate) fn side(role: Role) -> usize {
    usize::from(role == Role::Incoming)
}
