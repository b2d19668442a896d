//! Answers to questions: what would become of a packet, how a ring and the flow table are filled.

mod flows;
mod frame;
mod maglev;
mod trace;

use std::net::IpAddr;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use vc5_ebpf_abi::{FlowEntry, NO_REAL, RealState};

use crate::forwarding::{Forwarding, address_of};
use crate::loader::{Loaded, Pins, Tracer};
use crate::maps::KernelTables;
use crate::neighbour::Network;
use crate::{
    Error, FlowRecord, FlowView, L4, MaglevView, Ports, TraceAnswer, TraceQuestion, Tuple, clock,
};
use flows::Filling;

pub(super) type Reply<T> = SyncSender<Result<T, Error>>;

/// A question, and where its answer goes.
#[derive(Debug)]
pub(super) enum Question {
    Trace(TraceQuestion, Reply<TraceAnswer>),
    Maglev { vip: IpAddr, ports: Ports, protocol: L4, reply: Reply<MaglevView> },
    Flows(Reply<Filling>),
    Flow(Tuple, Reply<FlowView>),
}

/// What answers are made of.
pub(super) struct Witness<'a> {
    pub(super) forwarding: &'a Forwarding<KernelTables>,
    pub(super) network: &'a Network,
    pub(super) loaded: &'a Loaded,
    pub(super) pins: Option<&'a Pins>,
    /// The program for tracing, once it was needed.
    pub(super) tracer: &'a mut Option<Tracer>,
}

impl Witness<'_> {
    pub(super) fn answer(&mut self, question: Question) {
        // Who has asked may have stopped waiting.
        match question {
            Question::Trace(question, reply) => drop(reply.send(self.trace(question))),
            Question::Maglev { vip, ports, protocol, reply } => {
                drop(reply.send(self.maglev(vip, ports, protocol)));
            }
            Question::Flows(reply) => drop(reply.send(Ok(self.filling()))),
            Question::Flow(tuple, reply) => drop(reply.send(self.flow(&tuple))),
        }
    }

    fn record(&self, entry: u64) -> Option<FlowRecord> {
        let entry = FlowEntry(entry);
        let real = entry.real();
        let idle = u32::from(entry.idle(self.age()));
        (real != NO_REAL).then(|| FlowRecord {
            real,
            backend: self.backend(real, Some(entry)),
            idle: self.unit() * idle,
            closing: entry.closing(),
        })
    }

    /// The backend of a real, if it stands for one; for a record, the one that it was made for.
    fn backend(&self, real: u32, entry: Option<FlowEntry>) -> Option<IpAddr> {
        let real = self.forwarding.tables().real(real)?;
        let is_free = RealState::from_u8(real.state) == RealState::Free;
        let is_of = entry.is_none_or(|entry| entry.is_of(real.generation));
        (!is_free && is_of).then(|| address_of(real.addr))
    }

    /// Now, in units of age.
    fn age(&self) -> u8 {
        (clock::jiffies() >> self.loaded.settings().age_shift) as u8
    }

    /// The unit of age.
    fn unit(&self) -> Duration {
        clock::of_jiffies(1 << self.loaded.settings().age_shift)
    }
}
