//! A row of the packet table, and how it is tried.

use vc5_ebpf_abi::{Counter, Reason, Traffic, Verdict};

use crate::common::{
    frame::{ACK, Body, FIN, Family, Frame, OUR_MAC, RST, SYN},
    kernel::{Action, REALS, add_traffic},
    standard::{IN, mac},
    world::{Seen, World},
};

type Change = Box<dyn Fn(&mut World)>;
type Check = Box<dyn Fn(&World) -> bool>;

/// What happens before the frame of a row comes.
enum Step {
    Change(Change),
    Frame(Vec<u8>, Reason),
}

/// A frame, the state that it meets, and what must come of it.
pub struct Row {
    pub name: String,
    given: Vec<Step>,
    frame: Vec<u8>,
    reason: Reason,
    out: Vec<u8>,
    redirected: bool,
    /// What is added to the counters of which real.
    traffic: Option<(u32, Traffic)>,
    then: Vec<(&'static str, Check)>,
}

/// A frame that is passed or dropped, as it is.
pub fn untouched(name: impl Into<String>, frame: impl Into<Vec<u8>>, reason: Reason) -> Row {
    let frame = frame.into();
    let name = name.into();
    assert_ne!(reason.verdict(), Verdict::Sent, "{name}");
    let out = frame.clone();
    Row {
        name,
        given: Vec::new(),
        frame,
        reason,
        out,
        redirected: false,
        traffic: None,
        then: Vec::new(),
    }
}

/// A frame that is answered.
pub fn answered(
    name: impl Into<String>,
    frame: impl Into<Vec<u8>>,
    reason: Reason,
    out: impl Into<Vec<u8>>,
) -> Row {
    assert_eq!(reason.verdict(), Verdict::Sent);
    Row { reason, out: out.into(), ..untouched(name, frame, Reason::NotIp) }
}

/// A frame that goes to a real of the standard world.
pub fn sent(name: impl Into<String>, frame: &Frame, reason: Reason, real: u32) -> Row {
    let traffic = Some((real, traffic(frame, reason)));
    Row { traffic, ..answered(name, frame, reason, &forwarded(frame, real)) }
}

/// What a real of the standard world gets to see of a frame.
pub fn forwarded(frame: &Frame, real: u32) -> Frame {
    Frame { destination_mac: mac(real), source_mac: OUR_MAC, ttl: 1, ..frame.clone() }
}

/// What a forwarded frame adds to the counters of its real.
fn traffic(frame: &Frame, reason: Reason) -> Traffic {
    let chosen = matches!(reason, Reason::Ring | Reason::PreviousRing | Reason::Embryonic);
    let has = |flag| frame.flags().is_some_and(|flags| flags & flag != 0);
    let recorded = match frame.body {
        Body::Tcp { flags, .. } => flags & (FIN | RST) == 0 && flags & (SYN | ACK) != SYN,
        Body::Udp => true,
        Body::Icmp { .. } | Body::Raw => false,
    };
    Traffic {
        packets: 1,
        bytes: frame.bytes().len() as u64,
        flows: u64::from(chosen && recorded),
        syns: u64::from(has(SYN) && !has(ACK | FIN | RST)),
        fins: u64::from(has(FIN)),
        rsts: u64::from(has(RST)),
    }
}

impl Row {
    /// After a change of the standard world.
    pub fn given(mut self, change: impl Fn(&mut World) + 'static) -> Self {
        self.given.push(Step::Change(Box::new(change)));
        self
    }

    /// After another frame.
    pub fn after(mut self, frame: &Frame, reason: Reason) -> Self {
        self.given.push(Step::Frame(frame.bytes(), reason));
        self
    }

    /// With another frame out than a real of the standard world would get.
    pub fn out(self, out: &Frame) -> Self {
        Self { out: out.bytes(), ..self }
    }

    /// Out by another interface.
    pub fn redirected(self) -> Self {
        Self { redirected: true, ..self }
    }

    /// With a condition on the tables afterwards.
    pub fn then(mut self, what: &'static str, check: impl Fn(&World) -> bool + 'static) -> Self {
        self.then.push((what, Box::new(check)));
        self
    }

    /// Tries the row in a world; what was wrong.
    pub fn check(&self, mut world: World) -> Vec<String> {
        let mut wrong = Vec::new();
        for step in &self.given {
            match step {
                Step::Change(change) => change(&mut world),
                Step::Frame(frame, reason) => {
                    let seen = world.process(frame).reason;
                    if seen != *reason {
                        wrong.push(format!("frame before: {seen:?} rather than {reason:?}"));
                    }
                }
            }
        }
        let before = (world.model.count_of(IN, self.reason), reals(&world));
        let seen = world.process(&self.frame);
        self.compare(&seen, &mut wrong);
        if seen.reason == self.reason {
            self.compare_counters(&world, before, &mut wrong);
        }
        for (what, check) in &self.then {
            if !check(&world) {
                wrong.push(format!("not so: {what}"));
            }
        }
        world.check();
        wrong.append(&mut world.differences);
        world.give_back();
        wrong.iter().map(|text| format!("{}: {text}", self.name)).collect()
    }

    fn compare(&self, seen: &Seen, wrong: &mut Vec<String>) {
        if seen.reason != self.reason {
            wrong.push(format!("{:?} rather than {:?}", seen.reason, self.reason));
        } else if seen.frame != self.out {
            wrong.push(format!("out:\n  {:02x?}, not\n  {:02x?}", seen.frame, self.out));
        }
        let action = match self.reason.verdict() {
            Verdict::Pass => Action::Pass,
            Verdict::Drop => Action::Drop,
            Verdict::Sent if self.redirected => Action::Redirect,
            Verdict::Sent => Action::Tx,
        };
        if let Some(seen) = seen.action
            && seen != action
        {
            wrong.push(format!("program: {seen:?} rather than {action:?}"));
        }
    }

    fn compare_counters(
        &self,
        world: &World,
        (before, reals_before): (Counter, Vec<Traffic>),
        wrong: &mut Vec<String>,
    ) {
        let after = world.model.count_of(IN, self.reason);
        let bytes = self.frame.len() as u64;
        if (after.packets, after.bytes) != (before.packets + 1, before.bytes + bytes) {
            wrong.push(format!("{before:?} became {after:?}"));
        }
        let mut expected = reals_before;
        if let Some((id, traffic)) = &self.traffic {
            let total = &mut expected[*id as usize];
            *total = add_traffic(*total, traffic);
        }
        for (id, (seen, expected)) in reals(world).into_iter().zip(expected).enumerate() {
            if seen != expected {
                wrong.push(format!("real {id}: {seen:?}, not {expected:?}"));
            }
        }
    }
}

fn reals(world: &World) -> Vec<Traffic> {
    (0..REALS).map(|id| world.model.traffic(id)).collect()
}

/// The name of a row that is there for both families.
pub fn named(name: &str, family: Family) -> String {
    format!("{name}, {family:?}")
}
