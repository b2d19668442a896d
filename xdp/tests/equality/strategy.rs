//! Random frames and random changes of state.

use std::net::IpAddr;

use proptest::prelude::*;
use vc5_ebpf_abi::{
    Iface, NO_RING, Real, RealState, ServiceKey, ServiceValue, VipValue,
    maps::{EMBRYONIC, FLOWS, FRAGMENTS},
};

use crate::common::{
    extension::{
        Extension, authentication, destination_options, fragment, hop_by_hop, routing, routing_on,
    },
    frame::{ACK, FIN, Family, Frame, MORE, OUR_MAC, PORT, RST, SYN, TCP, UDP},
    kernel::IFINDEX,
    standard::{
        ABSENT, ALL_PAGE, ALL_PORTS, CHOSEN, DOWN, EMPTY, EXACT_PAGE, GENERATION, IN, NO_RANGES,
        OTHER, OTHER_IFINDEX, PASSING, PREVIOUS, RANGE_PAGE, REJECTING, RING, SPREAD, STICKY,
        STICKY_PAGE, STRANGER, VIP, WEB_PAGE, real, real_id, service, service_key,
    },
    world::World,
};

/// What happens to a world.
#[derive(Clone, Debug)]
pub enum Step {
    Frame(Vec<u8>),
    Real(u32, Real),
    Service(ServiceKey, Box<ServiceValue>),
    Vip(Family, u8, u32),
    /// Flags of the interface.
    Iface(u8),
    /// All records of a table are of this age from now on.
    Idle(&'static str, u8),
}

impl Step {
    pub fn take(&self, world: &mut World) {
        match self {
            Self::Frame(frame) => {
                world.process(frame);
            }
            Self::Real(id, real) => world.set_real(*id, *real),
            Self::Service(key, value) => world.set_service(*key, **value),
            Self::Vip(family, vip, flags) => world.set_vip(family.vip(*vip), *flags),
            Self::Iface(flags) => world.set_iface(Iface {
                ifindex: IFINDEX,
                mac: OUR_MAC,
                index: IN,
                flags: *flags,
                ..Iface::default()
            }),
            Self::Idle(table, idle) => world.set_idle(table, *idle),
        }
    }
}

/// Mostly frames, and first of all what the interface, the first VIP's services and their first
/// choice are.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![4 => frame().prop_map(Step::Frame), 1 => change()];
    let flags = prop::sample::select(vec![0, Iface::TRUNK, Iface::TRUNK]);
    let stick = prop::sample::select(vec![0, ServiceValue::STICK]);
    let ttl = prop::sample::select(vec![1, 1, 1, 0]);
    let later = prop::collection::vec(step, 1..50);
    (flags, stick, ttl, later).prop_map(|(flags, stick, ttl, later)| {
        let tcp = Family::BOTH.map(|family| {
            let value = ServiceValue { flags: stick, ..service(WEB_PAGE) };
            Step::Service(service_key(family.vip(VIP), PORT, TCP), Box::new(value))
        });
        let chosen = Step::Real(CHOSEN, Real { ttl, ..real(CHOSEN, RealState::Live) });
        [Step::Iface(flags), chosen].into_iter().chain(tcp).chain(later).collect()
    })
}

fn change() -> BoxedStrategy<Step> {
    prop_oneof![
        4 => reals(),
        3 => services(),
        1 => vips(),
        2 => prop::sample::select(vec![0, Iface::TRUNK, Iface::TRUNK]).prop_map(Step::Iface),
        1 => idle(),
    ]
    .boxed()
}

fn reals() -> BoxedStrategy<Step> {
    let pages =
        vec![WEB_PAGE, WEB_PAGE, WEB_PAGE, WEB_PAGE, RANGE_PAGE, ALL_PAGE, EXACT_PAGE, STICKY_PAGE];
    let states = vec![
        RealState::Live,
        RealState::Live,
        RealState::Live,
        RealState::Draining,
        RealState::Down,
        RealState::Down,
        RealState::Free,
    ];
    (
        prop::sample::select(pages),
        prop::sample::select(vec![1, 2, 2, 2, 3, 4]),
        prop::sample::select(states),
        prop::sample::select(vec![0u16, 0, 10, 20]),
        prop::sample::select(vec![1u8, 1, 0, 10, 64]),
        prop::sample::select(vec![0u8, 0, 0, OTHER, OTHER + 1]),
        prop::bool::weighted(0.1),
        prop::sample::select(vec![GENERATION, GENERATION, GENERATION, GENERATION + 1]),
    )
        .prop_map(|(page, member, state, vlan, ttl, tx, lost, generation)| {
            let id = real_id(page, member);
            let mut real = Real { vlan, ttl, generation, ..real(id, state) };
            if tx != 0 {
                (real.ifindex, real.tx) = (OTHER_IFINDEX, tx);
            }
            if lost {
                real.mac = [0; 6];
            }
            Step::Real(id, real)
        })
        .boxed()
}

fn services() -> BoxedStrategy<Step> {
    let rings = prop::sample::select(vec![RING, SPREAD, PREVIOUS, EMPTY, ABSENT, NO_RING]);
    let flags = vec![0, ServiceValue::STICK, ServiceValue::STICK, ServiceValue::BY_ADDRESS, 3];
    (
        family(),
        prop::sample::select(vec![VIP, VIP, VIP, REJECTING, DOWN]),
        prop::sample::select(vec![TCP, TCP, UDP]),
        (rings.clone(), rings),
        any::<bool>(),
        prop::sample::select(flags),
    )
        .prop_map(|(family, vip, protocol, (ring, prev_ring), over, flags)| {
            let prev_until_ns = if over { 1 } else { u64::MAX };
            let value = ServiceValue { ring, prev_ring, prev_until_ns, flags, ..service(WEB_PAGE) };
            Step::Service(service_key(family.vip(vip), PORT, protocol), Box::new(value))
        })
        .boxed()
}

fn vips() -> impl Strategy<Value = Step> {
    (family(), prop::sample::select(VIPS.to_vec()), 0..16u32).prop_map(|(family, vip, flags)| {
        let vip = if vip == STRANGER { VIP } else { vip };
        let unknown = VipValue::UNKNOWN_PASS | VipValue::UNKNOWN_REJECT;
        Step::Vip(family, vip, if flags & unknown == unknown { flags & !unknown } else { flags })
    })
}

fn idle() -> impl Strategy<Value = Step> {
    (prop::sample::select(vec![FLOWS, EMBRYONIC, FRAGMENTS]), 0..128u8)
        .prop_map(|(table, idle)| Step::Idle(table, idle))
}

/// The first more often than others.
const VIPS: [u8; 11] =
    [VIP, VIP, VIP, VIP, ALL_PORTS, STICKY, PASSING, REJECTING, DOWN, NO_RANGES, STRANGER];

fn family() -> impl Strategy<Value = Family> + Clone {
    prop::sample::select(Family::BOTH.to_vec())
}

/// A packet of one of a few flows, with nothing odd about it.
fn plain() -> BoxedStrategy<Frame> {
    let vips = prop::sample::select(vec![VIP, VIP, VIP, VIP, VIP, DOWN, STICKY]);
    (family(), flags(), prop::bool::weighted(0.2), vips, 1..3u8, 1..3u16)
        .prop_map(|(family, flags, udp, vip, client, source_port)| {
            let frame = if udp { Frame::udp(family) } else { Frame::tcp(family, flags) };
            frame.from(family.client(client), source_port).to(family.vip(vip), PORT)
        })
        .boxed()
}

/// Any bytes, or a frame that is well formed but for a few of them.
pub fn frame() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        16 => plain().prop_map(|frame| frame.bytes()),
        8 => structured().prop_map(|frame| frame.bytes()),
        3 => mutated(),
        1 => raw(),
    ]
    .boxed()
}

/// Any bytes behind a header that makes them ours, or any bytes at all.
pub fn raw() -> impl Strategy<Value = Vec<u8>> {
    let types = vec![[8, 0], [8, 0], [0x86, 0xdd], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]];
    let bytes = prop::collection::vec(any::<u8>(), 14..200);
    (bytes, prop::sample::select(types), 0..4u8).prop_map(|(mut bytes, ether_type, ours)| {
        if ours > 0 {
            bytes[..6].copy_from_slice(&OUR_MAC);
            bytes[12..14].copy_from_slice(&ether_type);
        }
        let IpAddr::V4(v4) = Family::V4.vip(VIP) else { unreachable!("it is IPv4") };
        let IpAddr::V6(v6) = Family::V6.vip(VIP) else { unreachable!("it is IPv6") };
        if ours > 1 && ether_type == [8, 0] && bytes.len() >= 34 {
            bytes[30..34].copy_from_slice(&v4.octets());
            bytes[14] = if ours == 2 { bytes[14] } else { 0x45 };
        }
        if ours > 1 && ether_type == [0x86, 0xdd] && bytes.len() >= 54 {
            bytes[38..54].copy_from_slice(&v6.octets());
            bytes[14] = if ours == 2 { bytes[14] } else { 0x60 };
        }
        bytes
    })
}

fn mutated() -> BoxedStrategy<Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    (structured(), changes, 0..200usize)
        .prop_map(|(frame, changes, length)| {
            let mut bytes = frame.bytes();
            for (index, byte) in changes {
                // Nearly always among the headers.
                let reach = bytes.len().min(80);
                bytes[index.index(reach)] = byte;
            }
            if length < 60 {
                bytes.truncate(14 + length);
            }
            bytes
        })
        .boxed()
}

fn structured() -> BoxedStrategy<Frame> {
    family()
        .prop_flat_map(|family| {
            (ip(family), options(), extensions(), tags(), ttl()).prop_map(
                move |(frame, (options, fragment), extensions, tags, ttl)| match family {
                    Family::V4 => Frame { options, fragment, tags, ttl, ..frame },
                    Family::V6 => Frame { extensions, tags, ttl, ..frame },
                },
            )
        })
        .boxed()
}

fn ttl() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![57, 57, 57, 57, 255, 2, 1, 0])
}

fn ip(family: Family) -> BoxedStrategy<Frame> {
    let ports = vec![PORT, PORT, PORT, 81, 8000, 8050, 8099, 8100, 443, 0];
    (
        body(family),
        prop::sample::select(VIPS.to_vec()),
        prop::sample::select(ports),
        1..4u8,
        1..5u16,
        prop::bool::weighted(0.97),
        prop_oneof![6 => Just(0usize), 1 => 1..20usize],
        prop_oneof![14 => Just(None), 1 => (0..40usize).prop_map(Some)],
    )
        .prop_map(move |(frame, vip, port, client, source_port, ours, padding, cut)| {
            // An error is to whom it quotes, more often than not.
            let vip = if client == 1 { vip } else { quoted_vip(&frame).unwrap_or(vip) };
            let destination_mac = if ours { OUR_MAC } else { [2, 0, 0, 0, 0, 0x77] };
            let frame = Frame { destination_mac, padding, cut, ..frame };
            frame.from(family.client(client), source_port).to(family.vip(vip), port)
        })
        .boxed()
}

/// The VIP whose packet an error quotes.
fn quoted_vip(frame: &Frame) -> Option<u8> {
    let source = if frame.family() == Family::V4 { 12..16 } else { 8..24 };
    let quoted = frame.data.get(source)?;
    VIPS.into_iter().find(|vip| match frame.family().vip(*vip) {
        IpAddr::V4(address) => quoted == address.octets(),
        IpAddr::V6(address) => quoted == address.octets(),
    })
}

fn flags() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![SYN, SYN, ACK, ACK, ACK, FIN | ACK, RST, SYN | ACK, SYN | FIN, 0])
}

fn body(family: Family) -> BoxedStrategy<Frame> {
    let data = || prop::collection::vec(any::<u8>(), 0..48);
    let with = move |frame: Frame, data| Frame { data, ..frame };
    prop_oneof![
        6 => (flags(), data()).prop_map(move |(f, data)| with(Frame::tcp(family, f), data)),
        3 => data().prop_map(move |data| with(Frame::udp(family), data)),
        2 => (any::<u16>(), any::<u16>(), data())
            .prop_map(move |(id, seq, data)| Frame::echo(family, id, seq, &data)),
        3 => error(family),
        1 => (any::<u8>(), any::<u8>(), data())
            .prop_map(move |(kind, code, data)| Frame::icmp(family, kind, code, [0; 4], &data)),
        1 => (any::<u8>(), data()).prop_map(move |(p, data)| Frame::raw(family, p, &data)),
        2 => (prop::sample::select(vec![TCP, UDP]), data())
            .prop_map(move |(p, data)| Frame::raw(family, p, &data)),
    ]
    .boxed()
}

/// An ICMP error that quotes a packet of a client's flow.
fn error(family: Family) -> BoxedStrategy<Frame> {
    let kinds: Vec<u8> = match family {
        Family::V4 => vec![3, 3, 4, 11, 12, 5],
        Family::V6 => vec![1, 2, 3, 4, 100],
    };
    let ports = vec![PORT, PORT, 81, 8050];
    (
        prop::sample::select(kinds),
        prop::sample::select(VIPS.to_vec()),
        prop::sample::select(ports),
        (1..4u8, 1..5u16),
        (any::<bool>(), extensions(), options()),
        0..100usize,
    )
        .prop_map(move |(kind, vip, port, (client, client_port), (tcp, extensions, v4), length)| {
            let quoted = if tcp { Frame::tcp(family, ACK) } else { Frame::udp(family) };
            let quoted = match family {
                Family::V4 => Frame { options: v4.0, fragment: v4.1, ..quoted },
                Family::V6 => Frame { extensions, ..quoted },
            };
            let quoted = quoted.from(family.vip(vip), port).to(family.client(client), client_port);
            let mut quote = quoted.packet();
            quote.truncate(20 + length);
            Frame::icmp(family, kind, 0, [0, 0, 5, 0xdc], &quote)
        })
        .boxed()
}

/// IPv4 options, and the word of flags and fragment offset.
fn options() -> impl Strategy<Value = (Vec<u8>, u16)> {
    let words = prop_oneof![4 => Just(0usize), 1 => 1..11usize];
    let fragments = prop_oneof![
        3 => prop::sample::select(vec![0x4000, 0x4000, 0x4000, 0, 0x8000]),
        1 => prop::sample::select(vec![MORE, MORE, MORE | 5, 9, 0x1fff]),
    ];
    (words, fragments).prop_map(|(words, f)| (vec![1; 4 * words], f))
}

fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let one = prop_oneof![
        2 => (0..3u8).prop_map(hop_by_hop),
        3 => (0..3u8).prop_map(destination_options),
        2 => (0..5u8, 0..3u8).prop_map(|(kind, more)| routing(kind, more)),
        1 => (0..5u8, 0..3u8).prop_map(|(kind, more)| routing_on(kind, more)),
        2 => Just(fragment(0, true, 7)),
        1 => Just(fragment(0, false, 7)),
        2 => Just(fragment(40, true, 7)),
        1 => Just(fragment(80, false, 7)),
        1 => Just(authentication()),
        1 => (0..6u8).prop_map(|more| destination_options(0).claiming(more)),
    ];
    prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(one.clone(), 1..3),
        1 => prop::collection::vec(one, 3..9),
    ]
}

fn tags() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let tag = (
        prop::sample::select(vec![0x8100, 0x8100, 0x8100, 0x88a8, 0x88a8, 0x9100]),
        prop::sample::select(vec![0, 10, 20, 0xb00a, 0xe000, 0xffff]),
    );
    prop_oneof![
        12 => Just(Vec::new()),
        4 => prop::collection::vec(tag.clone(), 1),
        3 => prop::collection::vec(tag.clone(), 2),
        1 => prop::collection::vec(tag, 3),
    ]
}
