//! The traffic machine: it plays connections, reads where their packets arrive and judges that by the ledger.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use anyhow::Result;

use super::frame::{self, Arrival, LONGEST, Stamp, Template, flags};
use super::packet::{BATCH, Batch, Port};
use super::{Ledger, Report, Rng, Target, Transport, Violation, Wire, now};

/// Most frames under way: fewer than the queue of a veth has room for (256).
const WINDOW: u64 = 192;
/// Frames under way that make no progress for so long are lost.
const PATIENCE: u64 = 3_000_000_000;
/// For how long the machine stays on one CPU.
const STAY: u64 = 20_000_000;
/// Client ports that a connection uses by turns, each twice in a row.
const PORTS: u32 = 8;
const NOBODY: u16 = u16::MAX;
const NONE: u32 = u32::MAX;

/// How fast it goes, how long connections are, and in which VLAN clients are.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Frames a second, at most.
    pub rate: u64,
    /// Packets of a connection: from, to; 3 to 60.
    pub packets: (u8, u8),
    /// VLAN in which every other client is, 0 if none is in any.
    pub vlan: u16,
}

/// A place at which connections are played, one after another.
#[derive(Debug)]
struct Seat {
    service: usize,
    side: usize,
    transport: Transport,
    first_port: u16,
    /// Connections it has played.
    played: u32,
    template: Template,
    /// The connection that is going on.
    incarnation: u32,
    next: u8,
    len: u8,
    /// The incarnation that used each port last.
    last: [u32; PORTS as usize],
}

/// One connection, or a part of a UDP flow.
#[derive(Clone, Copy, Debug)]
struct Incarnation {
    /// Packets sent and packets that arrived, a bit each.
    sent: u64,
    seen: u64,
    service: u16,
    /// The backend that the last packet went to, by the packets' own order, and which packet that was.
    backend: u16,
    last: u8,
    /// When the last packet that arrived was sent.
    last_sent: u64,
    /// Changes begun or acknowledged when the last packet was sent.
    changes: u32,
    /// The one of the same UDP flow before it.
    before: u32,
    tcp: bool,
    fresh: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Machine<'l> {
    ledger: &'l Ledger,
    targets: Vec<Target>,
    pace: Pace,
    rng: Rng,
    balancer: [[u8; 6]; 2],
    seats: Vec<Seat>,
    incarnations: Vec<Incarnation>,
    report: Report,
}

impl<'l> Machine<'l> {
    /// A machine for these services, numbered as in the ledger.
    #[must_use]
    pub fn new(
        ledger: &'l Ledger,
        targets: Vec<Target>,
        pace: Pace,
        balancer: [[u8; 6]; 2],
        seed: u64,
    ) -> Self {
        let mut machine = Self {
            ledger,
            targets,
            pace,
            rng: Rng::new(seed),
            balancer,
            seats: Vec::new(),
            incarnations: Vec::with_capacity(1 << 20),
            report: Report::default(),
        };
        for service in 0..machine.targets.len() {
            machine.take_seats(service);
        }
        machine
    }

    fn take_seats(&mut self, service: usize) {
        let Some(target) = self.targets.get(service).cloned() else { return };
        for number in 0..target.connections {
            let (first, last) = target.ports;
            let port = if number % 2 == 0 { first } else { last };
            let client: IpAddr = match target.vip {
                IpAddr::V4(_) => Ipv4Addr::new(198, 18, (number >> 8) as u8, number as u8).into(),
                IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, number).into(),
            };
            let side = usize::from(number / 2 % 2);
            let mac = self.balancer.get(side).copied().unwrap_or_default();
            let destination = (target.vip, port);
            let mut template = Template::new(mac, (client, 1024), destination, target.transport);
            if self.pace.vlan != 0 && number / 4 % 2 == 1 {
                template = template.tagged(self.pace.vlan);
            }
            self.seats.push(Seat {
                service,
                side,
                transport: target.transport,
                first_port: 10_000 + number,
                played: 0,
                template,
                incarnation: NONE,
                next: 0,
                len: 0,
                last: [NONE; PORTS as usize],
            });
        }
    }

    /// Plays until the ledger says stop. To be called in the namespace of the ends.
    ///
    /// # Errors
    /// When packets cannot be sent or read.
    pub fn run(mut self) -> Result<Report> {
        let mut ports = Vec::new();
        for name in Wire::ends() {
            ports.push(Port::open(name)?);
        }
        let began = now();
        let (mut progress, mut moved) = (began, began);
        let mut batch = Batch::new();
        for round in 0usize.. {
            self.ledger.rounds.fetch_add(1, SeqCst);
            let stopped = self.ledger.stopped.load(SeqCst);
            let under_way = self.report.sent - self.report.received;
            let now = now();
            if stopped && under_way == 0 {
                break;
            }
            let due = began + self.report.sent * 1_000_000_000 / self.pace.rate.max(1);
            let room = under_way + BATCH as u64 <= WINDOW;
            if !stopped && room && due <= now {
                let side = round % 2;
                self.fill(&mut batch, side, now);
                if let Some(port) = ports.get(side) {
                    port.send(&mut batch)?;
                }
            }
            let before = self.report.received;
            for (side, port) in ports.iter_mut().enumerate() {
                port.receive(|bytes, vlan| self.arrive(bytes, vlan, side));
            }
            if self.report.received > before || under_way == 0 {
                progress = now;
            } else if now - progress > PATIENCE {
                break;
            } else if !room || due > now || stopped {
                wait(&ports);
            }
            if now - moved > STAY {
                moved = now;
                stay_on(round / 2);
            }
        }
        self.ledger.stop();
        self.report.took = Duration::from_nanos(now() - began);
        for port in &ports {
            self.report.dropped += u64::from(port.dropped()?);
        }
        self.account();
        Ok(self.report)
    }

    /// Frames of connections taken at random, that enter by one side.
    fn fill(&mut self, batch: &mut Batch, side: usize, now: u64) {
        let count = self.seats.len();
        // Of a few services that are closed, and of the other side, there are seats that send nothing.
        for _ in 0..BATCH * 4 {
            if batch.len == BATCH || count == 0 {
                return;
            }
            let at = self.rng.below(count);
            let Some((bytes, len)) = batch.frames.get_mut(batch.len) else { return };
            if let Some(written) = self.next_frame(at, side, now, bytes) {
                *len = written;
                batch.len += 1;
            }
        }
    }

    fn next_frame(
        &mut self,
        at: usize,
        side: usize,
        now: u64,
        into: &mut [u8; LONGEST],
    ) -> Option<usize> {
        let seat = self.seats.get_mut(at).filter(|seat| seat.side == side)?;
        let service = self.ledger.services.get(seat.service)?;
        if !service.active.load(SeqCst) {
            // Once the service is there again, its connections are new ones.
            seat.incarnation = NONE;
            seat.last = [NONE; PORTS as usize];
            return None;
        }
        let changes = self.ledger.changes.load(SeqCst) as u32;
        if seat.incarnation == NONE || seat.next == seat.len {
            let (least, most) = self.pace.packets;
            seat.len = least + self.rng.below(usize::from(most - least) + 1) as u8;
            seat.begin(&mut self.incarnations, changes, &mut self.report);
        }
        let seat = self.seats.get_mut(at)?;
        let incarnation = self.incarnations.get_mut(seat.incarnation as usize)?;
        let number = seat.next;
        if number > 0 && incarnation.changes != changes {
            match (number, incarnation.tcp) {
                (1, true) => self.report.straddled_syn += 1,
                (2, true) => self.report.straddled_ack += 1,
                _ => self.report.straddled_data += 1,
            }
        }
        incarnation.changes = changes;
        incarnation.sent |= 1 << number;
        let flags = match number {
            0 => flags::SYN,
            1 => flags::ACK,
            _ if number + 1 == seat.len => flags::FIN | flags::ACK,
            _ => flags::PUSH_ACK,
        };
        seat.next += 1;
        self.report.sent += 1;
        service.sent.store(service.sent.load(SeqCst) + 1, SeqCst);
        let stamp = Stamp { incarnation: seat.incarnation, number: u32::from(number), sent: now };
        Some(seat.template.write(stamp, flags, into))
    }

    /// Judges a frame.
    fn arrive(&mut self, bytes: &[u8], vlan: u16, side: usize) {
        let Some(arrival) = frame::read(bytes, vlan) else { return };
        let Stamp { incarnation: number, number: packet, sent } = arrival.stamp;
        let ledger = self.ledger;
        let Some(incarnation) = self.incarnations.get(number as usize).copied() else { return };
        let bit = 1u64.checked_shl(packet).unwrap_or(0);
        if incarnation.sent & bit == 0 || incarnation.seen & bit != 0 {
            self.report.note(Violation::Twice, || format!("{arrival:?}"));
            return;
        }
        self.report.received += 1;
        self.report.tagged += u64::from(vlan != 0);
        let service = usize::from(incarnation.service);
        if let Some(service) = ledger.services.get(service) {
            service.received.store(service.received.load(SeqCst) + 1, SeqCst);
        }
        let to = match self.judge_way(&arrival, side, service) {
            Some(backend) => backend,
            None => NOBODY,
        };
        self.judge_choice(&arrival, &incarnation, to);
        self.judge_move(&arrival, &incarnation, to);
        if let Some(kept) = self.incarnations.get_mut(number as usize) {
            kept.seen |= bit;
            if packet >= u32::from(kept.last) {
                (kept.backend, kept.last, kept.last_sent) = (to, packet as u8, sent);
            }
        }
    }

    /// Whether the frame went where one of a backend's goes; the backend.
    fn judge_way(&mut self, arrival: &Arrival, side: usize, service: usize) -> Option<u16> {
        let report = &mut self.report;
        let Some((backend, address)) = arrival.backend else {
            report.note(Violation::Nobody, || format!("{arrival:?}"));
            return None;
        };
        let source = self.balancer.get(side).copied().unwrap_or_default();
        if usize::from(backend % 2) != side || arrival.source != source {
            report.note(Violation::WrongWay, || format!("on side {side}: {arrival:?}"));
        }
        if self.targets.get(service).is_some_and(|target| target.ttl != arrival.ttl) {
            report.note(Violation::WrongTtl, || format!("service {service}: {arrival:?}"));
        }
        let sent = arrival.stamp.sent;
        if !self.ledger.mac(backend).is_some_and(|rule| rule.allows(address, sent)) {
            report.note(Violation::WrongMac, || format!("{arrival:?}"));
        }
        if !self.ledger.vlan(backend).is_some_and(|rule| rule.allows(arrival.vlan, sent)) {
            report.note(Violation::WrongVlan, || format!("{arrival:?}"));
        }
        Some(backend)
    }

    /// Whether that backend could be chosen.
    fn judge_choice(&mut self, arrival: &Arrival, of: &Incarnation, to: u16) {
        let (service, Stamp { number, sent, .. }) = (usize::from(of.service), arrival.stamp);
        let Some(chosen) = self.ledger.backend(service, to) else { return };
        let tell = || format!("{chosen:?}: service {service}, {of:?}, {arrival:?}");
        if !chosen.takes(sent) {
            self.report.note(Violation::NotServing, tell);
        }
        // A new datagram of a flow that went on is none of a new flow.
        if number == 0 && (of.tcp || of.fresh) && !chosen.takes_new(sent, of.fresh) {
            self.report.note(Violation::NotOpen, tell);
        }
    }

    /// Whether the packets before this one went there too, or had to go elsewhere.
    fn judge_move(&mut self, arrival: &Arrival, of: &Incarnation, to: u16) {
        let before = match self.incarnations.get(of.before as usize) {
            Some(before) if of.backend == NOBODY => before,
            _ => of,
        };
        if before.backend == NOBODY || before.backend == to {
            return;
        }
        // Of two packets that took the two interfaces the later one can be here first.
        let is_late = of.backend != NOBODY && arrival.stamp.number < u32::from(of.last);
        let (from, sent) = match is_late {
            true => (to, arrival.stamp.sent),
            false => (before.backend, before.last_sent),
        };
        let service = usize::from(of.service);
        let lost = self.ledger.backend(service, from);
        if lost.is_some_and(|backend| backend.may_have_lost(sent)) {
            self.report.moves += 1;
        } else {
            let from = before.backend;
            let tell = || format!("from {from} to {to}: service {service}, {of:?}, {arrival:?}");
            self.report.note(Violation::Moved, tell);
        }
    }

    /// Finds what has not arrived.
    fn account(&mut self) {
        let Self { incarnations, report, .. } = self;
        for (number, one) in incarnations.iter().enumerate() {
            for packet in (0..64).filter(|bit| (one.sent & !one.seen) >> bit & 1 == 1) {
                report.note(Violation::Lost, || {
                    format!("packet {packet} of connection {number}: {one:?}")
                });
            }
        }
    }
}

impl Seat {
    /// A new connection begins.
    fn begin(&mut self, all: &mut Vec<Incarnation>, changes: u32, report: &mut Report) {
        let turn = self.played / 2 % PORTS;
        // Ports of seats lie apart, and those of one seat farther.
        let port = self.first_port.wrapping_add((turn * 6007) as u16).max(1);
        self.template = self.template.with_source_port(port);
        self.played += 1;
        self.next = 0;
        self.incarnation = all.len() as u32;
        let tcp = self.transport == Transport::Tcp;
        let last = self.last.get_mut(turn as usize);
        let before = last.map_or(NONE, |last| std::mem::replace(last, self.incarnation));
        report.connections += 1;
        report.reused += u64::from(before != NONE);
        all.push(Incarnation {
            sent: 0,
            seen: 0,
            service: self.service as u16,
            backend: NOBODY,
            last: 0,
            last_sent: 0,
            changes,
            before: if tcp { NONE } else { before },
            tcp,
            fresh: before == NONE,
        });
    }
}

/// Lets others have the CPU until there are frames, or for a millisecond.
fn wait(ports: &[Port]) {
    let mut wanted = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; 2];
    for (one, port) in wanted.iter_mut().zip(ports) {
        one.fd = port.descriptor();
    }
    // SAFETY: the structures outlive the call, which gets their number.
    unsafe { libc::poll(wanted.as_mut_ptr(), wanted.len() as libc::nfds_t, 1) };
}

/// Goes to another CPU of those that this process may use: the packets of a connection meet the program on all.
fn stay_on(turn: usize) {
    // SAFETY: CPU sets are plain bits, and the calls get their right size. Failing is no harm.
    unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = std::mem::zeroed();
        if libc::sched_getaffinity(std::process::id().cast_signed(), size, &raw mut all) != 0 {
            return;
        }
        let mut allowed = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &all));
        let count = allowed.clone().count().max(1);
        if let Some(cpu) = allowed.nth(turn % count) {
            libc::CPU_SET(cpu, &mut one);
            libc::sched_setaffinity(0, size, &raw const one);
        }
    }
}
