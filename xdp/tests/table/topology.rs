//! Layer 2 of each topology: backends in the subnet that frames come in by, in a VLAN, and behind
//! another interface.

use vc5_ebpf_abi::{Iface, Real, RealState, Reason, maps::FLOWS};

use crate::{
    common::{
        frame::{ACK, Family, Frame, OUR_MAC, SYN},
        kernel::IFINDEX,
        standard::{CHOSEN, IN, OTHER, OTHER_IFINDEX, RECORDED, mac, real, record},
        world::{World, flow_hash},
    },
    row::{Row, forwarded, named, sent, untouched},
};

/// Our hardware address on the other interface.
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x22];

/// A real behind the other interface.
fn behind(id: u32) -> Real {
    let here = real(id, RealState::Live);
    Real { ifindex: OTHER_IFINDEX, tx: OTHER, src_mac: OTHER_MAC, ..here }
}

fn set(change: impl Fn(&mut Real) + 'static) -> impl Fn(&mut World) + 'static {
    move |w| {
        let mut value = behind(CHOSEN);
        change(&mut value);
        w.set_real(CHOSEN, value);
    }
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in Family::BOTH {
        rows.extend(one_subnet(family));
        rows.extend(other_interface(family));
        rows.extend(nowhere(family));
        rows.extend(trunk(family));
        rows.extend(interfaces(family));
    }
    rows
}

/// Sent back out by where it came in, with our address as the source.
fn one_subnet(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let frame = Frame::tcp(family, ACK);
    let with_mac = |mac| {
        move |w: &mut World| w.set_real(CHOSEN, Real { mac, ..real(CHOSEN, RealState::Live) })
    };
    let (hash, entry) = (flow_hash(&frame), record(&frame, RECORDED, 0));
    let moved = [2, 0, 0, 9, 9, 9];
    vec![
        sent(n("one subnet"), &frame, Reason::Ring, CHOSEN),
        sent(n("a new MAC takes effect at once"), &frame, Reason::Ring, CHOSEN)
            .given(with_mac(moved))
            .out(&Frame { destination_mac: moved, ..forwarded(&frame, CHOSEN) }),
        sent(n("a new MAC takes effect for live flows"), &frame, Reason::Flow, CHOSEN)
            .after(&frame, Reason::Ring)
            .given(with_mac(moved))
            .out(&Frame { destination_mac: moved, ..forwarded(&frame, CHOSEN) }),
        untouched(n("a live flow's neighbour is lost"), &frame, Reason::NoNeighbour)
            .after(&frame, Reason::Ring)
            .given(with_mac([0; 6]))
            .then("the flow is still known", move |w| w.entry(FLOWS, hash).is_some()),
        sent(n("a MAC that begins with zeros"), &frame, Reason::Ring, CHOSEN)
            .given(with_mac([0, 0, 0, 0, 0, 1]))
            .out(&Frame { destination_mac: [0, 0, 0, 0, 0, 1], ..forwarded(&frame, CHOSEN) }),
        sent(n("another source MAC than the frame's destination"), &frame, Reason::Flow, RECORDED)
            .given(move |w| {
                w.set_entry(FLOWS, hash, entry);
                w.set_real(
                    RECORDED,
                    Real { src_mac: OTHER_MAC, ..real(RECORDED, RealState::Live) },
                );
            })
            .out(&Frame { source_mac: OTHER_MAC, ..forwarded(&frame, RECORDED) }),
    ]
}

/// Redirected, with the other interface's address as the source.
fn other_interface(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let there = |frame: &Frame| Frame { source_mac: OTHER_MAC, ..forwarded(frame, CHOSEN) };
    let redirected = |name, frame: &Frame, reason| {
        sent(n(name), frame, reason, CHOSEN).given(set(|_| ())).out(&there(frame)).redirected()
    };
    let ack = Frame::tcp(family, ACK);
    vec![
        redirected("redirected, data", &ack, Reason::Ring),
        redirected("redirected, SYN", &Frame::tcp(family, SYN), Reason::Ring),
        redirected("redirected, UDP", &Frame::udp(family), Reason::Ring),
        redirected("redirected, known flow", &ack, Reason::Flow).after(&ack, Reason::Ring),
        redirected("redirected, padded", &Frame { padding: 5, ..ack.clone() }, Reason::Ring),
        sent(n("redirected, TTL kept"), &ack, Reason::Ring, CHOSEN)
            .given(set(|r| r.ttl = 0))
            .out(&Frame { ttl: ack.ttl - 1, ..there(&ack) })
            .redirected(),
        sent(n("redirected into a VLAN"), &ack, Reason::Ring, CHOSEN)
            .given(set(|r| r.vlan = 30))
            .out(&there(&ack).tagged(0x8100, 30))
            .redirected(),
        sent(n("the backend has moved to this interface"), &ack, Reason::Flow, CHOSEN)
            .given(set(|_| ()))
            .after(&ack, Reason::Ring)
            .given(|w| w.set_real(CHOSEN, real(CHOSEN, RealState::Live))),
    ]
}

fn nowhere(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let frame = Frame::tcp(family, ACK);
    let hash = flow_hash(&frame);
    let row = |name, reason, change: fn(&mut Real)| {
        untouched(n(name), &frame, reason)
            .given(set(change))
            .then("no record is made", move |w| w.entry(FLOWS, hash).is_none())
    };
    vec![
        row("an interface that cannot be sent by", Reason::NoInterface, |r| r.tx = OTHER + 1),
        row("an interface that has no number", Reason::NoInterface, |r| r.tx = 0),
        row("an interface number out of range", Reason::NoInterface, |r| r.tx = 200),
        row("redirected, no neighbour", Reason::NoNeighbour, |r| r.mac = [0; 6]),
        row("redirected, TTL used up", Reason::RealDown, |r| {
            r.ttl = 0;
            r.state = RealState::Down as u8;
        }),
    ]
}

/// On a trunk every backend is behind the one interface.
fn trunk(family: Family) -> Vec<Row> {
    let on_trunk = |w: &mut World| {
        w.set_iface(Iface {
            ifindex: IFINDEX,
            mac: OUR_MAC,
            index: IN,
            flags: Iface::TRUNK,
            ..Iface::default()
        });
    };
    let to_vlan = |vlan| {
        move |w: &mut World| {
            w.set_real(CHOSEN, Real { vlan, ..real(CHOSEN, RealState::Live) });
        }
    };
    let n = |name| named(name, family);
    let frame = Frame::tcp(family, ACK);
    let row = |name, tags: &[(u16, u16)], vlan, after: &[(u16, u16)]| {
        let frame = Frame { tags: tags.to_vec(), ..frame.clone() };
        sent(n(name), &frame, Reason::Ring, CHOSEN)
            .given(on_trunk)
            .given(to_vlan(vlan))
            .out(&Frame { tags: after.to_vec(), ..forwarded(&frame, CHOSEN) })
    };
    let tagged = frame.clone().tagged(0x8100, 10);
    vec![
        row("trunk, backend in the native VLAN", &[], 0, &[]),
        row("trunk, backend in the same VLAN", &[(0x8100, 10)], 10, &[(0x8100, 10)]),
        row("trunk, backend in another VLAN", &[(0x8100, 10)], 11, &[(0x8100, 11)]),
        row("trunk, router in the native VLAN", &[], 11, &[(0x8100, 11)]),
        sent(n("trunk, backend has moved to another VLAN"), &tagged, Reason::Flow, CHOSEN)
            .given(on_trunk)
            .given(to_vlan(10))
            .after(&tagged, Reason::Ring)
            .given(to_vlan(11))
            .out(&forwarded(&frame, CHOSEN).tagged(0x8100, 11)),
        sent(n("trunk, a flow that changes its VLAN is one flow"), &tagged, Reason::Flow, CHOSEN)
            .given(on_trunk)
            .given(to_vlan(10))
            .after(&frame, Reason::Ring)
            .out(&forwarded(&tagged, CHOSEN)),
    ]
}

/// The table of interfaces is a small open one.
fn interfaces(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let frame = Frame::tcp(family, ACK);
    let other = |nth: u32| Iface {
        ifindex: IFINDEX + 256 * nth,
        mac: OTHER_MAC,
        index: OTHER,
        ..Iface::default()
    };
    vec![
        sent(n("other interfaces share the slot"), &frame, Reason::Ring, CHOSEN).given(move |w| {
            (1..4).for_each(|nth| w.set_iface(other(nth)));
        }),
        untouched(
            n("another interface's MAC"),
            &Frame { destination_mac: OTHER_MAC, ..frame.clone() },
            Reason::NotOurMac,
        )
        .given(move |w| w.set_iface(other(1))),
        sent(
            n("mac is by interface"),
            &Frame { destination_mac: mac(1), ..frame },
            Reason::Ring,
            CHOSEN,
        )
        .given(|w| {
            w.set_iface(Iface { ifindex: IFINDEX, mac: mac(1), index: IN, ..Iface::default() })
        }),
    ]
}

/// An interface that is not ours passes everything; what was wrong.
pub fn unknown_interface(mut world: World) -> Vec<String> {
    for family in Family::BOTH {
        let frame = Frame::tcp(family, ACK);
        for frame in [frame.bytes(), frame.tagged(0x8100, 10).bytes(), vec![0; 14]] {
            let seen = world.process(&frame);
            if (seen.reason, &seen.frame) != (Reason::UnknownInterface, &frame) {
                world.differences.push(format!("{:?} from an unknown interface", seen.reason));
            }
        }
    }
    if world.model.count_of(0, Reason::UnknownInterface).packets != 6 {
        world.differences.push("not counted with unknown interfaces".into());
    }
    // Another interface sits in the first slot, and ours comes into the second.
    let other = Iface { ifindex: IFINDEX + 256, mac: OUR_MAC, index: OTHER, ..Iface::default() };
    let ours = Iface { ifindex: IFINDEX, index: IN, ..other };
    for (iface, reason) in [(other, Reason::UnknownInterface), (ours, Reason::NotVip)] {
        world.set_iface(iface);
        let seen = world.process(&Frame::tcp(Family::V4, ACK).bytes());
        if seen.reason != reason {
            world.differences.push(format!("{:?} rather than {reason:?}", seen.reason));
        }
    }
    // Its number in the counters may change.
    world.set_iface(Iface { index: 3, ..ours });
    world.process(&Frame::tcp(Family::V4, ACK).bytes());
    if [IN, 3].map(|index| world.model.count_of(index, Reason::NotVip).packets) != [1, 1] {
        world.differences.push("not counted by the interface's number".into());
    }
    world.check();
    world.differences
}
