//! VLAN tags (IEEE 802.1Q): what is ours, and what becomes of the tags of what is sent.

use vc5_ebpf_abi::{Iface, Real, RealState, Reason, maps::FLOWS};

use crate::{
    common::{
        frame::{ACK, Family, Frame, MORE, OUR_MAC, PORT, SYN},
        kernel::IFINDEX,
        standard::{CHOSEN, IN, OTHER, OTHER_IFINDEX, RECORDED, STRANGER, real, record},
        world::{World, flow_hash},
    },
    row::{Row, forwarded, named, sent, untouched},
};

/// Customer tag and service tag.
const C: u16 = 0x8100;
const S: u16 = 0x88a8;
/// Priority 5 and drop eligible.
const PRIORITY: u16 = 0xb000;

fn trunk(w: &mut World) {
    w.set_iface(Iface {
        ifindex: IFINDEX,
        mac: OUR_MAC,
        index: IN,
        flags: Iface::TRUNK,
        ..Iface::default()
    });
}

fn tagged(family: Family, tags: &[(u16, u16)]) -> Frame {
    Frame { tags: tags.to_vec(), ..Frame::tcp(family, ACK) }
}

/// The ring's real is in this VLAN.
fn in_vlan(vlan: u16) -> impl Fn(&mut World) + 'static {
    move |w| w.set_real(CHOSEN, Real { vlan, ..real(CHOSEN, RealState::Live) })
}

/// On a trunk, a frame with the first tags reaches a real in a VLAN with the second.
fn row(name: &str, family: Family, tags: &[(u16, u16)], vlan: u16, after: &[(u16, u16)]) -> Row {
    let frame = tagged(family, tags);
    sent(named(name, family), &frame, Reason::Ring, CHOSEN)
        .given(trunk)
        .given(in_vlan(vlan))
        .out(&Frame { tags: after.to_vec(), ..forwarded(&frame, CHOSEN) })
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(one_tag(family));
        rows.extend(two_tags(family));
        rows.extend(left_alone(family));
        rows.extend(of_all_kinds(family));
        rows.extend(truncated(family));
    }
    rows
}

fn one_tag(f: Family) -> Vec<Row> {
    vec![
        row("untagged both", f, &[], 0, &[]),
        row("same VLAN", f, &[(C, 10)], 10, &[(C, 10)]),
        row("other VLAN", f, &[(C, 10)], 20, &[(C, 20)]),
        row("other VLAN, highest ids", f, &[(C, 4094)], 4093, &[(C, 4093)]),
        row("same VLAN, priority kept", f, &[(C, PRIORITY | 10)], 10, &[(C, PRIORITY | 10)]),
        row("other VLAN, priority kept", f, &[(C, PRIORITY | 10)], 20, &[(C, PRIORITY | 20)]),
        row("other VLAN, all ones", f, &[(C, 0xffff)], 1, &[(C, 0xf001)]),
        row("to native", f, &[(C, PRIORITY | 10)], 0, &[]),
        row("from native", f, &[], 20, &[(C, 20)]),
        row("from native, highest id", f, &[], 4094, &[(C, 4094)]),
        row("priority tag, native", f, &[(C, 0xe000)], 0, &[(C, 0xe000)]),
        row("priority tag without priority, native", f, &[(C, 0)], 0, &[(C, 0)]),
        row("priority tag to a VLAN", f, &[(C, 0xf000)], 20, &[(C, 0xf014)]),
        row("service tag, same VLAN", f, &[(S, 10)], 10, &[(S, 10)]),
        row("service tag, other VLAN", f, &[(S, PRIORITY | 10)], 20, &[(S, PRIORITY | 20)]),
        row("service tag to native", f, &[(S, 10)], 0, &[]),
    ]
}

/// With two tags the outer one is the carrier's.
fn two_tags(f: Family) -> Vec<Row> {
    let outer = (S, PRIORITY | 100);
    vec![
        row("QinQ, same VLAN", f, &[outer, (C, 10)], 10, &[outer, (C, 10)]),
        row("QinQ, other VLAN", f, &[outer, (C, 0x600a)], 20, &[outer, (C, 0x6014)]),
        row("QinQ to native", f, &[outer, (C, 10)], 0, &[outer]),
        row("QinQ, priority tag, native", f, &[outer, (C, 0x4000)], 0, &[outer, (C, 0x4000)]),
        row("QinQ, priority tag to a VLAN", f, &[outer, (C, 0x4000)], 20, &[outer, (C, 0x4014)]),
        row("two customer tags", f, &[(C, 100), (C, 10)], 20, &[(C, 100), (C, 20)]),
        row("two service tags", f, &[(S, 100), (S, 10)], 20, &[(S, 100), (S, 20)]),
        row("customer before service tag", f, &[(C, 7), (S, 10)], 20, &[(C, 7), (S, 20)]),
        row("outer tag is a priority tag", f, &[(S, 0xe000), (C, 10)], 20, &[(S, 0xe000), (C, 20)]),
        row("both are priority tags", f, &[(S, 0xe000), (C, 0)], 0, &[(S, 0xe000), (C, 0)]),
    ]
}

fn left_alone(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let frame = |tags: &[(u16, u16)]| tagged(family, tags);
    let on_trunk = |name, frame: &Frame, reason| untouched(n(name), frame, reason).given(trunk);
    let stranger = |f: Frame| f.to(family.vip(STRANGER), PORT);
    let other_mac = Frame { destination_mac: [2, 0, 0, 0, 0, 2], ..frame(&[(C, 10)]) };
    let inside = |ether_type, tags| Frame { ether_type: Some(ether_type), ..frame(tags) };
    vec![
        untouched(n("no trunk"), &frame(&[(C, 10)]), Reason::Vlan),
        untouched(n("no trunk, service tag"), &frame(&[(S, 10)]), Reason::Vlan),
        untouched(n("no trunk, priority tag"), &frame(&[(C, 0xe000)]), Reason::Vlan),
        untouched(n("no trunk, QinQ"), &frame(&[(S, 100), (C, 10)]), Reason::Vlan),
        on_trunk("three tags", &frame(&[(S, 100), (C, 10), (C, 11)]), Reason::Vlan),
        on_trunk("four tags", &frame(&[(S, 1), (S, 2), (C, 10), (C, 11)]), Reason::Vlan),
        on_trunk("three tags, service tag inside", &frame(&[(C, 1), (C, 2), (S, 3)]), Reason::Vlan),
        on_trunk("tag of the old type 0x9100", &frame(&[(0x9100, 10)]), Reason::NotIp),
        on_trunk("tag of the old type 0x9200", &frame(&[(0x9200, 10)]), Reason::NotIp),
        on_trunk("ARP in a VLAN", &inside(0x0806, &[(C, 10)]), Reason::NotIp),
        on_trunk("MPLS in QinQ", &inside(0x8847, &[(S, 100), (C, 10)]), Reason::NotIp),
        on_trunk("PPPoE in a VLAN", &inside(0x8864, &[(C, 10)]), Reason::NotIp),
        on_trunk("no VIP, in a VLAN", &stranger(frame(&[(C, 10)])), Reason::NotVip),
        on_trunk("no VIP, in QinQ", &stranger(frame(&[(S, 100), (C, 10)])), Reason::NotVip),
        on_trunk("not our MAC, in a VLAN", &other_mac, Reason::NotOurMac),
        on_trunk(
            "unknown port, in a VLAN",
            &frame(&[(C, 10)]).to(family.vip(1), 81),
            Reason::UnknownPort,
        ),
        on_trunk("no neighbour, to another VLAN", &frame(&[(C, 10)]), Reason::NoNeighbour).given(
            |w| {
                let away = Real { vlan: 20, mac: [0; 6], ..real(CHOSEN, RealState::Live) };
                w.set_real(CHOSEN, away);
            },
        ),
        on_trunk("no neighbour, tag to be pushed", &frame(&[]), Reason::NoNeighbour).given(|w| {
            let away = Real { vlan: 20, mac: [0; 6], ..real(CHOSEN, RealState::Live) };
            w.set_real(CHOSEN, away);
        }),
    ]
}

/// Frames of other kinds are moved between VLANs alike.
fn of_all_kinds(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let moved = |name, frame: &Frame, reason, id, vlan: u16, after: &[(u16, u16)]| {
        sent(n(name), frame, reason, id)
            .given(trunk)
            .given(move |w| w.set_real(id, Real { vlan, ..real(id, RealState::Live) }))
            .out(&Frame { tags: after.to_vec(), ..forwarded(frame, id) })
    };
    let known = tagged(family, &[(C, 10)]);
    let (hash, entry) = (flow_hash(&known), record(&known, RECORDED, 0));
    let syn = Frame { tags: vec![(C, 10)], ..Frame::tcp(family, SYN) };
    let udp = Frame { padding: 11, ..Frame::udp(family) };
    let long = Frame { data: vec![1; 1400], ..tagged(family, &[(C, PRIORITY | 10)]) };
    let other = |vlan| {
        let away =
            Real { ifindex: OTHER_IFINDEX, tx: OTHER, vlan, ..real(CHOSEN, RealState::Live) };
        move |w: &mut World| w.set_real(CHOSEN, away)
    };
    let out = |tags: &[(u16, u16)]| Frame { tags: tags.to_vec(), ..forwarded(&known, CHOSEN) };
    let mut rows = vec![
        moved("known flow, other VLAN", &known, Reason::Flow, RECORDED, 20, &[(C, 20)])
            .given(move |w| w.set_entry(FLOWS, hash, entry)),
        moved("SYN to native", &syn, Reason::Ring, CHOSEN, 0, &[]),
        moved("padded UDP from native", &udp, Reason::Ring, CHOSEN, 9, &[(C, 9)]),
        moved("long segment, other VLAN", &long, Reason::Ring, CHOSEN, 9, &[(C, PRIORITY | 9)]),
        moved("long segment to native", &long, Reason::Ring, CHOSEN, 0, &[]),
        sent(n("other interface and VLAN"), &known, Reason::Ring, CHOSEN)
            .given(trunk)
            .given(other(20))
            .out(&out(&[(C, 20)]))
            .redirected(),
        sent(n("other interface, untagged there"), &known, Reason::Ring, CHOSEN)
            .given(trunk)
            .given(other(0))
            .out(&out(&[]))
            .redirected(),
        sent(
            n("from no trunk to a VLAN of another interface"),
            &tagged(family, &[]),
            Reason::Ring,
            CHOSEN,
        )
        .given(other(20))
        .out(&out(&[(C, 20)]))
        .redirected(),
    ];
    if family == Family::V4 {
        let options = Frame { options: vec![1; 20], ..tagged(family, &[(S, 7), (C, 10)]) };
        let first = Frame { fragment: MORE, ..known.clone() };
        rows.push(moved("options in QinQ", &options, Reason::Ring, CHOSEN, 20, &[(S, 7), (C, 20)]));
        rows.push(moved("first fragment", &first, Reason::Ring, CHOSEN, 20, &[(C, 20)]));
    }
    rows
}

/// Frames that end in their tags, or between them and the end of the IP header.
fn truncated(family: Family) -> Vec<Row> {
    let ip = if family == Family::V4 { 20 } else { 40 };
    let one = tagged(family, &[(C, 10)]).bytes();
    let two = tagged(family, &[(S, 100), (C, 10)]).bytes();
    let cases = [
        ("at the tag", &one, 14),
        ("in the tag", &one, 15),
        ("before the type", &one, 16),
        ("in the type", &one, 17),
        ("behind the type", &one, 18),
        ("in the IP header", &one, 18 + ip - 1),
        ("at the second tag", &two, 18),
        ("in the second tag", &two, 19),
        ("before the type, QinQ", &two, 20),
        ("behind the type, QinQ", &two, 22),
        ("in the IP header, QinQ", &two, 22 + ip - 1),
    ];
    cases
        .into_iter()
        .map(|(name, frame, length)| {
            let name = named(&format!("cut {name}"), family);
            untouched(name, frame[..length].to_vec(), Reason::Short).given(trunk)
        })
        .collect()
}
