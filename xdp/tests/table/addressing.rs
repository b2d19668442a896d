//! Which frames are ours: by interface, hardware address, type, VIP and port.

use std::net::{IpAddr, Ipv4Addr};

use vc5_ebpf_abi::{Iface, NO_RING, Real, RealState, Reason, ServiceValue, VipValue, maps::FLOWS};

use crate::{
    common::{
        frame::{ACK, Family, Frame, OUR_MAC, PORT, SYN, TCP, UDP},
        kernel::IFINDEX,
        standard::{
            ABSENT, ALL_PAGE, ALL_PORTS, CHOSEN, DOWN, EMPTY, EXACT_PAGE, IN, NO_RANGES, PASSING,
            RANGE_PAGE, STRANGER, VIP, WEB_PAGE, real, real_id, service, service_key, web_key,
        },
        world::{World, filter_bit, flow_hash},
    },
    row::{Row, named, sent, untouched},
};

pub fn rows() -> Vec<Row> {
    let mut rows = link();
    rows.extend(v6_only());
    for family in Family::BOTH {
        rows.extend(hardware(family));
        rows.extend(vips(family));
        rows.extend(ports(family));
        rows.extend(ranges(family));
        rows.extend(protocols(family));
        rows.extend(backends(family));
    }
    rows
}

/// Frames that are no IP.
fn link() -> Vec<Row> {
    let ether =
        |ether_type| Frame { ether_type: Some(ether_type), ..Frame::tcp(Family::V4, ACK) }.bytes();
    vec![
        untouched("ARP", ether(0x0806), Reason::NotIp),
        untouched("LLDP", ether(0x88cc), Reason::NotIp),
        untouched("MPLS", ether(0x8847), Reason::NotIp),
        untouched("PPPoE", ether(0x8864), Reason::NotIp),
        untouched("length instead of type", ether(0x0040), Reason::NotIp),
        untouched("IPv4's type in host order", ether(0x0008), Reason::NotIp),
        untouched("type zero", ether(0), Reason::NotIp),
        untouched("IPv4 as IPv6", ether(0x86dd), Reason::NotVip),
    ]
}

/// IPv4 addresses in the dress of IPv6, and what IPv6 does by multicast.
fn v6_only() -> Vec<Row> {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let tcp = Frame::tcp(Family::V6, ACK);
    let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
    // Lets the mapped address through the filter.
    let twin = filter_twin(Family::V6, mapped);
    let from_mapped = Frame { source: address("::ffff:198.51.100.7"), ..tcp.clone() };
    let hash = flow_hash(&from_mapped);
    let group = address("ff02::1:ff00:1");
    let solicitation =
        Frame { destination: group, ..Frame::icmp(Family::V6, 135, 0, [0; 4], &[0; 16]) };
    let report = Frame {
        destination: address("ff02::16"),
        ..Frame::icmp(Family::V6, 143, 0, [0; 4], &[0; 4])
    };
    let multicast = [0x33, 0x33, 0xff, 0, 0, 1];
    vec![
        untouched(
            "to a VIP of IPv4, mapped",
            &Frame { destination: mapped, ..tcp },
            Reason::NotVip,
        )
        .given(move |w| w.set_vip(twin, 0)),
        sent("from a mapped address", &from_mapped, Reason::Ring, CHOSEN)
            .then("the flow is one of IPv6", move |w| w.entry(FLOWS, hash).is_some()),
        untouched(
            "neighbour solicitation",
            &Frame { destination_mac: multicast, ..solicitation.clone() },
            Reason::NotOurMac,
        ),
        untouched("neighbour solicitation to our MAC", &solicitation, Reason::NotVip),
        untouched("multicast listener report", &report, Reason::NotVip),
    ]
}

fn hardware(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let to = |destination_mac| Frame { destination_mac, ..Frame::tcp(family, ACK) };
    let other = |name, mac| untouched(n(name), &to(mac), Reason::NotOurMac);
    vec![
        other("last byte of the MAC differs", [2, 0, 0, 0, 0, 2]),
        other("first byte of the MAC differs", [3, 0, 0, 0, 0, 1]),
        other("one bit in the middle of the MAC differs", [2, 0, 0x80, 0, 0, 1]),
        other("broadcast", [0xff; 6]),
        other("multicast", [1, 0, 0x5e, 0, 0, 1]),
        other("IPv6 multicast", [0x33, 0x33, 0, 0, 0, 1]),
        other("no MAC", [0; 6]),
        sent(
            n("from a MAC that is ours"),
            &{ Frame { source_mac: OUR_MAC, ..Frame::tcp(family, ACK) } },
            Reason::Ring,
            CHOSEN,
        ),
        sent(n("our MAC has changed"), &to([2, 0, 0, 0, 7, 7]), Reason::Ring, CHOSEN)
            .given(|w| w.set_iface(iface([2, 0, 0, 0, 7, 7]))),
        untouched(n("our old MAC"), &to(OUR_MAC), Reason::NotOurMac)
            .given(|w| w.set_iface(iface([2, 0, 0, 0, 7, 7]))),
    ]
}

fn iface(mac: [u8; 6]) -> Iface {
    Iface { ifindex: IFINDEX, mac, index: IN, ..Iface::default() }
}

/// Another address of the family that shares an address's bit in the filter.
fn filter_twin(family: Family, of: IpAddr) -> IpAddr {
    let bit = filter_bit(of);
    let candidate = |i: u32| -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4((0x0a00_0000 + i).into()),
            Family::V6 => IpAddr::V6((0x2001_0db8_u128 << 96 | 7 << 64 | u128::from(i)).into()),
        }
    };
    (1..).map(candidate).find(|a| filter_bit(*a) == bit).expect("some in 65536 have the bit")
}

fn vips(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let tcp = || Frame::tcp(family, ACK);
    let to = |address| tcp().to(address, PORT);
    let twin = filter_twin(family, family.vip(VIP));
    let passed = |name, frame: &Frame| untouched(n(name), frame, Reason::NotVip);
    let not = |frame: Frame, protocol| Frame { protocol, ..frame };
    vec![
        passed("no VIP", &to(family.vip(STRANGER))),
        passed("from the VIP", &to(family.client(7)).from(family.vip(VIP), PORT)),
        passed("no VIP, known port of another", &to(family.client(9))),
        passed("same bit of the filter", &to(twin)),
        passed("same bit, UDP", &Frame::udp(family).to(twin, PORT)),
        passed("same bit, unknown protocol", &not(to(twin), 132)),
        passed("same bit, echo", &Frame::echo(family, 1, 1, b"x").to(twin, 0)),
        passed("same bit, ICMP error", &{
            let kind = if family == Family::V4 { 3 } else { 1 };
            Frame::icmp(family, kind, 0, [0; 4], &[0; 60]).to(twin, 0)
        }),
        passed("same bit, ICMP error about a flow", &{
            let kind = if family == Family::V4 { 3 } else { 1 };
            let quoted = tcp().from(twin, PORT).to(family.client(7), 40000);
            Frame::icmp(family, kind, 0, [0; 4], &quoted.packet()).to(twin, 0)
        }),
        passed("same bit, too short for TCP", &Frame { cut: Some(3), ..to(twin) }),
        passed("same bit, length beyond frame", &Frame { length: Some(999), ..to(twin) }),
        passed("VIP that was removed", &tcp()).given(move |w| {
            w.remove_service(web_key(family, TCP));
            w.remove_vip(family.vip(VIP));
        }),
        sent(
            n("source and destination are VIPs"),
            &{ tcp().from(family.vip(ALL_PORTS), PORT) },
            Reason::Ring,
            CHOSEN,
        ),
        sent(
            n("VIP that is not up forwards all the same"),
            &to(family.vip(DOWN)),
            Reason::Ring,
            CHOSEN,
        ),
    ]
}

fn ports(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let unknown = |name, port| {
        let frame = Frame::tcp(family, SYN).to(family.vip(VIP), port);
        untouched(n(name), &frame, Reason::UnknownPort)
    };
    let passing = |frame: Frame, port| frame.to(family.vip(PASSING), port);
    let passed = |name, frame: &Frame| untouched(n(name), frame, Reason::UnknownPassed);
    vec![
        unknown("next port", 81),
        unknown("port before", 79),
        unknown("port in host order", PORT.swap_bytes()),
        unknown("port 0", 0),
        unknown("port 65535", 65535),
        untouched(n("known port of TCP only"), &Frame::udp(family), Reason::UnknownPort)
            .given(move |w| w.remove_service(web_key(family, UDP))),
        untouched(n("known port of UDP only"), &Frame::tcp(family, ACK), Reason::UnknownPort)
            .given(move |w| w.remove_service(web_key(family, TCP))),
        sent(
            n("any source port"),
            &Frame::tcp(family, ACK).from(family.client(7), 0),
            Reason::Ring,
            CHOSEN,
        ),
        sent(n("UDP"), &Frame::udp(family), Reason::Ring, CHOSEN),
        passed("unknown port, passed", &passing(Frame::tcp(family, SYN), 81)),
        passed("unknown port of UDP, passed", &passing(Frame::udp(family), 81)),
        passed("unknown protocol, passed", &passing(Frame::raw(family, 132, &[0; 30]), 0)),
        sent(
            n("known port where unknown ones are passed"),
            &passing(Frame::tcp(family, ACK), PORT),
            Reason::Ring,
            CHOSEN,
        ),
        untouched(
            n("too short for ports, not passed"),
            &{ Frame { cut: Some(3), ..passing(Frame::tcp(family, SYN), 81) } },
            Reason::Truncated,
        ),
        untouched(
            n("other ICMP, not passed"),
            &{ Frame::icmp(family, 200, 0, [0; 4], b"").to(family.vip(PASSING), 0) },
            Reason::IcmpOther,
        ),
    ]
}

/// Services on ranges of ports and on all ports.
fn ranges(family: Family) -> Vec<Row> {
    let n = |name: String| format!("{name}, {family:?}");
    let frame = |vip, port| Frame::tcp(family, ACK).to(family.vip(vip), port);
    let to = |what: &str, vip, port, page| {
        sent(n(format!("{what}: port {port}")), &frame(vip, port), Reason::Ring, real_id(page, 2))
    };
    let unknown = |what: &str, vip, port| {
        untouched(n(format!("{what}: port {port}")), &frame(vip, port), Reason::UnknownPort)
    };
    let udp = |vip, port| Frame::udp(family).to(family.vip(vip), port);
    vec![
        unknown("before the range", VIP, 7999),
        to("range", VIP, 8000, RANGE_PAGE),
        to("range", VIP, 8001, RANGE_PAGE),
        to("range, end of its first block", VIP, 8063, RANGE_PAGE),
        to("range, start of its second block", VIP, 8064, RANGE_PAGE),
        to("range, end of its second block", VIP, 8095, RANGE_PAGE),
        to("range, start of its last block", VIP, 8096, RANGE_PAGE),
        to("range", VIP, 8099, RANGE_PAGE),
        unknown("behind the range", VIP, 8100),
        unknown("range, port in host order", VIP, 8050u16.swap_bytes()),
        to("one port beside a range", VIP, PORT, WEB_PAGE),
        sent(n("UDP range".into()), &udp(VIP, 8050), Reason::Ring, real_id(RANGE_PAGE, 2)),
        to("all ports", ALL_PORTS, 0, ALL_PAGE),
        to("all ports", ALL_PORTS, 1, ALL_PAGE),
        to("all ports", ALL_PORTS, 65535, ALL_PAGE),
        to("all ports, beside a range", ALL_PORTS, 7999, ALL_PAGE),
        to("all ports, beside a range", ALL_PORTS, 8100, ALL_PAGE),
        to("a range before all ports", ALL_PORTS, 8050, RANGE_PAGE),
        to("one port before all ports", ALL_PORTS, 443, EXACT_PAGE),
        sent(n("UDP on all ports".into()), &udp(ALL_PORTS, 53), Reason::Ring, real_id(ALL_PAGE, 2)),
        to("one port inside a range", ALL_PORTS, 8050, EXACT_PAGE).given(move |w| {
            w.set_service(service_key(family.vip(ALL_PORTS), 8050, TCP), service(EXACT_PAGE));
        }),
        unknown("VIP without ranges", NO_RANGES, 8050),
        to("its first port is a service all the same", NO_RANGES, 8000, RANGE_PAGE),
        unknown("range whose service is gone", VIP, 8050)
            .given(move |w| w.remove_service(service_key(family.vip(VIP), 8000, TCP))),
        unknown("range whose service is gone", VIP, 8000)
            .given(move |w| w.remove_service(service_key(family.vip(VIP), 8000, TCP))),
    ]
}

fn protocols(family: Family) -> Vec<Row> {
    let other = if family == Family::V4 { 58 } else { 1 };
    let unknown = |protocol: u8| {
        let frame = Frame::raw(family, protocol, &[0x5a; 40]);
        let name = format!("protocol {protocol}, {family:?}");
        untouched(name, &frame, Reason::UnknownProtocol)
    };
    let all_ports = Frame::raw(family, 132, &[0x5a; 40]).to(family.vip(ALL_PORTS), 0);
    vec![
        unknown(2),
        unknown(4),
        unknown(41),
        unknown(47),
        unknown(132),
        unknown(136),
        unknown(255),
        unknown(other),
        untouched(named("SCTP to all ports", family), &all_ports, Reason::UnknownProtocol),
        untouched(
            named("unknown protocol, empty", family),
            &Frame::raw(family, 132, &[]),
            Reason::UnknownProtocol,
        ),
    ]
}

/// Nobody to send to.
fn backends(family: Family) -> Vec<Row> {
    let n = |name| named(name, family);
    let frame = Frame::tcp(family, ACK);
    let row = |name, reason| untouched(n(name), &frame, reason);
    let ring = |ring| {
        move |w: &mut World| {
            w.set_service(web_key(family, TCP), ServiceValue { ring, ..service(WEB_PAGE) });
        }
    };
    let chosen = |change: fn(&mut Real)| {
        move |w: &mut World| {
            let mut value = real(CHOSEN, RealState::Live);
            change(&mut value);
            w.set_real(CHOSEN, value);
        }
    };
    vec![
        row("empty ring", Reason::NoBackend).given(ring(EMPTY)),
        row("no ring", Reason::NoBackend).given(ring(NO_RING)),
        row("ring that is not there", Reason::NoBackend).given(ring(ABSENT)),
        row("ring's real is down", Reason::RealDown)
            .given(chosen(|r| r.state = RealState::Down as u8)),
        row("ring's real is free", Reason::RealDown)
            .given(chosen(|r| r.state = RealState::Free as u8)),
        row("ring's real in an unknown state", Reason::RealDown).given(chosen(|r| r.state = 9)),
        row("ring's real has no neighbour", Reason::NoNeighbour).given(chosen(|r| r.mac = [0; 6])),
        row("ring's member has no page", Reason::RealDown).given(move |w| {
            w.set_ring(ABSENT, |_| 20);
            w.set_service(web_key(family, TCP), ServiceValue { ring: ABSENT, ..service(WEB_PAGE) });
        }),
        sent(n("ring's real drains"), &frame, Reason::Ring, CHOSEN)
            .given(chosen(|r| r.state = RealState::Draining as u8)),
        sent(n("member of the second page"), &frame, Reason::Ring, real_id(EXACT_PAGE, 2)).given(
            move |w| {
                w.set_ring(ABSENT, |_| 16 + 2);
                let mut value = ServiceValue { ring: ABSENT, ..service(WEB_PAGE) };
                value.pages[1] = EXACT_PAGE;
                w.set_service(web_key(family, TCP), value);
            },
        ),
        sent(n("member of the last page"), &frame, Reason::Ring, real_id(EXACT_PAGE, 15)).given(
            move |w| {
                w.set_ring(ABSENT, |_| 4095);
                w.set_real(real_id(EXACT_PAGE, 15), real(real_id(EXACT_PAGE, 15), RealState::Live));
                let mut value = ServiceValue { ring: ABSENT, ..service(WEB_PAGE) };
                value.pages[255] = EXACT_PAGE;
                w.set_service(web_key(family, TCP), value);
            },
        ),
        sent(n("VIP table says nothing of known ports"), &frame, Reason::Ring, CHOSEN)
            .given(move |w| w.set_vip(family.vip(VIP), VipValue::UNKNOWN_REJECT)),
    ]
}
