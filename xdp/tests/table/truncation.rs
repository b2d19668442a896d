//! Frames of every length: none is sent, answered or changed unless all that decides is there.

use vc5_ebpf_abi::{Iface, Reason};

use crate::{
    common::{
        extension::{destination_options, hop_by_hop},
        frame::{ACK, Family, Frame, OUR_MAC},
        kernel::IFINDEX,
        standard::{CHOSEN, IN},
        world::World,
    },
    row::{Row, sent, untouched},
};

/// A whole frame, where its IP header begins, and the lengths of what follows that.
struct Whole {
    name: &'static str,
    frame: Frame,
    ip: usize,
    /// The fixed part of the IP header.
    fixed: usize,
    /// IPv4 options.
    options: usize,
    /// IPv6 extension headers.
    extensions: usize,
    transport: usize,
}

fn wholes() -> Vec<Whole> {
    let whole = |name, frame: Frame, transport| Whole {
        name,
        ip: 14 + 4 * frame.tags.len(),
        fixed: if frame.family() == Family::V4 { 20 } else { 40 },
        options: frame.options.len(),
        extensions: 0,
        frame,
        transport,
    };
    let headers = [hop_by_hop(0), destination_options(1)];
    vec![
        whole("IPv4 TCP", Frame::tcp(Family::V4, ACK), 20),
        whole("IPv4 UDP", Frame::udp(Family::V4), 8),
        whole(
            "IPv4 TCP with options",
            Frame { options: vec![1; 40], ..Frame::tcp(Family::V4, ACK) },
            20,
        ),
        whole("IPv6 TCP", Frame::tcp(Family::V6, ACK), 20),
        whole("IPv6 UDP", Frame::udp(Family::V6), 8),
        Whole {
            extensions: 8 + 16,
            ..whole(
                "IPv6 TCP with headers",
                Frame::tcp(Family::V6, ACK).with_extensions(headers),
                20,
            )
        },
        whole("IPv4 TCP in a VLAN", Frame::tcp(Family::V4, ACK).tagged(0x8100, 10), 20),
        whole(
            "IPv6 TCP in QinQ",
            Frame::tcp(Family::V6, ACK).tagged(0x88a8, 9).tagged(0x8100, 10),
            20,
        ),
    ]
}

impl Whole {
    /// Why a frame cut to this length goes no further, if its lengths are still those of the whole.
    fn cut(&self, length: usize) -> Reason {
        if length < self.ip + self.fixed { Reason::Short } else { Reason::Malformed }
    }

    /// The same if the IP header tells the truth.
    fn honest(&self, length: usize) -> Option<Reason> {
        let transport = self.ip + self.fixed + self.options + self.extensions;
        match length {
            l if l < self.ip + self.fixed => Some(Reason::Short),
            l if l < self.ip + self.fixed + self.options => Some(Reason::Malformed),
            l if l < transport + self.transport => Some(Reason::Truncated),
            _ => None,
        }
    }

    fn honestly(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.frame.bytes()[..length].to_vec();
        let (at, not_counted) = match self.frame.family() {
            Family::V4 => (self.ip + 2, self.ip),
            Family::V6 => (self.ip + 4, self.ip + 40),
        };
        if let Some(field) = bytes.get_mut(at..at + 2) {
            let counted = length.saturating_sub(not_counted) as u16;
            field.copy_from_slice(&counted.to_be_bytes());
        }
        bytes
    }
}

fn trunk(w: &mut World) {
    w.set_iface(Iface {
        ifindex: IFINDEX,
        mac: OUR_MAC,
        index: IN,
        flags: Iface::TRUNK,
        ..Iface::default()
    });
    for id in 1..=4 {
        let id = crate::common::standard::real_id(crate::common::standard::WEB_PAGE, id);
        let here = crate::common::standard::real(id, vc5_ebpf_abi::RealState::Live);
        w.set_real(id, vc5_ebpf_abi::Real { vlan: 10, ..here });
    }
}

/// The kernel's test run takes no frame shorter than an Ethernet header.
pub const SHORTEST: usize = 14;

pub fn rows() -> Vec<Row> {
    wholes().iter().flat_map(of).collect()
}

fn of(whole: &Whole) -> Vec<Row> {
    let all = whole.frame.bytes();
    let tagged = !whole.frame.tags.is_empty();
    let prepared = |row: Row| if tagged { row.given(trunk) } else { row };
    let name = whole.name;
    let mut rows = Vec::new();
    for length in SHORTEST..all.len() {
        let cut = untouched(format!("{name}, cut to {length}"), &all[..length], whole.cut(length));
        rows.push(prepared(cut));
        let Some(reason) = whole.honest(length) else { continue };
        let bytes = whole.honestly(length);
        rows.push(prepared(untouched(format!("{name}, honestly {length}"), bytes, reason)));
    }
    rows.push(prepared(sent(format!("{name}, whole"), &whole.frame, Reason::Ring, CHOSEN)));
    rows
}

/// Shorter still, on the model alone; what was wrong.
pub fn below(world: &mut World) -> Vec<String> {
    let all = Frame::tcp(Family::V4, ACK).bytes();
    (0..SHORTEST)
        .filter(|&length| world.process(&all[..length]).reason != Reason::Short)
        .map(|length| format!("{length} bytes are not short"))
        .collect()
}
