//! What would become of a packet: the program itself is asked.

use std::net::IpAddr;

use vc5_ebpf_abi::{NO_MEMBER, NO_REAL, NO_RING, Reason, ServiceKey, Trace, Verdict};

use super::{Witness, frame};
use crate::forwarding::{address_of, protocol_of};
use crate::loader::{Run, Tracer};
use crate::topology::Link;
use crate::{Departure, Error, L4, Mac, Ports, TraceAnswer, TraceQuestion, Tuple};

/// XDP_TX and XDP_REDIRECT of `enum xdp_action`.
const SENDS: [u32; 2] = [3, 4];

/// Types of the tags that a frame may have (IEEE 802.1Q, 802.1ad).
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

impl Witness<'_> {
    pub(super) fn trace(&mut self, question: TraceQuestion) -> Result<TraceAnswer, Error> {
        let (bytes, link) = self.frame(question)?;
        let run = self.tracer()?.run(&bytes, link.index)?;
        let trace = self.forwarding.tables().trace().map_err(|e| Error::Question(e.to_string()))?;
        self.tell(&trace, run, &link)
    }

    fn frame(&self, question: TraceQuestion) -> Result<(Vec<u8>, Link), Error> {
        match question {
            TraceQuestion::Frame { bytes, interface } => Ok((bytes, self.link(interface)?)),
            TraceQuestion::Tuple {
                source,
                source_port,
                destination,
                port,
                protocol,
                flags,
                interface,
                vlan,
            } => {
                let link = self.link(interface)?;
                let tuple = Tuple { source, source_port, destination, port, protocol };
                Ok((frame::of_tuple(&tuple, flags, vlan, link.mac)?, link))
            }
        }
    }

    /// The interface of this name, or else the first one.
    fn link(&self, name: Option<String>) -> Result<Link, Error> {
        let topology = &self.network.topology;
        let name = name.or_else(|| topology.names().first().cloned()).unwrap_or_default();
        topology.by_name(&name).cloned().ok_or_else(|| {
            let names = topology.names().join(", ");
            Error::NotFound(format!("{name} is no interface of the dataplane; they are: {names}"))
        })
    }

    /// The program for tracing, loaded at the first question.
    fn tracer(&mut self) -> Result<&mut Tracer, Error> {
        match self.tracer {
            Some(tracer) => Ok(tracer),
            None => {
                let pins = self.pins.ok_or_else(|| {
                    Error::Question("tracing needs pinned maps; configure a pin path".into())
                })?;
                Ok(self.tracer.insert(Tracer::load(self.loaded, pins)?))
            }
        }
    }

    fn tell(&self, trace: &Trace, run: Run, link: &Link) -> Result<TraceAnswer, Error> {
        let reason = Reason::ALL.get(trace.reason as usize).ok_or_else(|| {
            Error::Question(format!("the program told the unknown reason {}", trace.reason))
        })?;
        let ring = (trace.ring != NO_RING).then_some(trace.ring);
        let real = (trace.real != NO_REAL).then_some(trace.real);
        let departure = SENDS.contains(&run.action).then(|| {
            let redirected = real.filter(|_| run.action == 4);
            self.departure(&run.frame, redirected, link)
        });
        Ok(TraceAnswer {
            verdict: match reason.verdict() {
                Verdict::Pass => "pass",
                Verdict::Drop => "drop",
                Verdict::Sent => "sent",
            },
            reason: reason.label(),
            interface: link.name.clone(),
            hash: (trace.hash != 0).then_some(trace.hash),
            service: self.service(trace.service),
            ring,
            is_previous_ring: *reason == Reason::PreviousRing,
            slot: ring.map(|_| trace.slot),
            member: (trace.member != NO_MEMBER).then_some(trace.member),
            backend: real.and_then(|real| self.backend(real, None)),
            record: self.record(trace.flow),
            embryonic: self.record(trace.embryonic),
            departure,
            frame: run.frame,
        })
    }

    fn service(&self, key: ServiceKey) -> Option<(IpAddr, Ports, L4)> {
        if key.protocol == 0 {
            return None;
        }
        let ports = self.forwarding.services().get(&key).map(|service| service.ports());
        let ports = ports.unwrap_or(Ports::One(u16::from_be_bytes(key.port)));
        Some((address_of(key.addr), ports, protocol_of(key)))
    }

    fn departure(&self, frame: &[u8], redirected: Option<u32>, link: &Link) -> Departure {
        let index = redirected.and_then(|real| self.forwarding.tables().real(real));
        let by = index.and_then(|real| self.network.topology.by_index(real.ifindex));
        let mut destination = Mac::default();
        destination.0.iter_mut().zip(frame).for_each(|(byte, sent)| *byte = *sent);
        Departure { interface: by.unwrap_or(link).name.clone(), vlan: vlan(frame), destination }
    }
}

/// The VLAN that a frame is in: that of the last of at most two tags. A priority tag is none.
fn vlan(frame: &[u8]) -> Option<u16> {
    let mut vlan = None;
    for tag in [12, 16] {
        match frame.get(tag..tag + 4) {
            Some([a, b, c, d]) if TAGS.contains(&[*a, *b]) => {
                vlan = Some(u16::from_be_bytes([*c, *d]) & 0xfff);
            }
            _ => break,
        }
    }
    vlan.filter(|id| *id != 0)
}
