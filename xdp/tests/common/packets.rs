//! Packets that are passed, dropped or sent, and why.

use vc5_ebpf_abi::{NO_RING, RealState, Reason, ServiceValue, Verdict, vip_filter_bit};

use super::{
    frame::{ACK, CLIENT, Frame, OUR_MAC, PORT, SYN, TCP, VIP, checksum},
    world::{EMPTY, World, mac, real, sent_to, service, service_key},
};

/// A frame, a change of the world, and the reason that must come of it.
pub struct Row {
    pub name: &'static str,
    pub frame: Vec<u8>,
    pub change: fn(&mut World),
    pub reason: Reason,
}

fn row(name: &'static str, frame: Vec<u8>, reason: Reason) -> Row {
    Row { name, frame, change: |_| (), reason }
}

impl Row {
    fn given(self, change: fn(&mut World)) -> Self {
        Self { change, ..self }
    }

    pub fn check(&self, mut world: World) {
        (self.change)(&mut world);
        let outcome = world.process(&self.frame);
        assert_eq!(outcome.reason, self.reason, "{}", self.name);
        match outcome.reason.verdict() {
            Verdict::Tx => only_addresses_and_ttl_changed(&self.frame, &outcome.frame),
            Verdict::Pass | Verdict::Drop => assert_eq!(outcome.frame, self.frame, "{}", self.name),
        }
        let bytes = world.count(self.reason).bytes;
        assert_eq!(bytes, self.frame.len() as u64, "{}: bytes counted", self.name);
        world.check(1);
    }
}

/// What a rewrite may do to a frame.
pub fn only_addresses_and_ttl_changed(before: &[u8], after: &[u8]) {
    assert_eq!(before.len(), after.len());
    for (i, (b, a)) in before.iter().zip(after).enumerate() {
        let may_change = i < 12 || i == 22 || i == 24 || i == 25;
        assert!(may_change || a == b, "byte {i} changed");
    }
    let header = 14 + usize::from(before[14] & 0xf) * 4;
    // A checksum that was right stays right.
    if checksum(&before[14..header]) == 0 {
        assert_eq!(checksum(&after[14..header]), 0, "checksum of the IPv4 header");
    }
}

/// Changes bytes of a frame, keeping the checksum of a plain IPv4 header right.
fn patched(frame: &Frame, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = frame.bytes();
    for (offset, patch) in patches {
        bytes[*offset..offset + patch.len()].copy_from_slice(patch);
    }
    bytes[24..26].fill(0);
    let sum = checksum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// An address that is no VIP but shares the VIP's bit in the filter.
fn filter_twin() -> [u8; 4] {
    (1u32..)
        .map(u32::to_be_bytes)
        .find(|&a| a != VIP && vip_filter_bit(a) == vip_filter_bit(VIP))
        .expect("65536 bits for 2^32 addresses")
}

pub fn table() -> Vec<Row> {
    [not_ours(), not_a_vip(), odd(), no_way(), sent()].into_iter().flatten().collect()
}

fn not_ours() -> Vec<Row> {
    let tcp = Frame::default();
    let ether = |ether_type| Frame { ether_type, ..Frame::default() }.bytes();
    let to = |destination_mac| Frame { destination_mac, ..Frame::default() }.bytes();
    vec![
        row("another host's MAC", to([2, 0, 0, 0, 0, 2]), Reason::NotOurMac),
        row("broadcast", to([0xff; 6]), Reason::NotOurMac),
        row("multicast", to([1, 0, 0x5e, 0, 0, 1]), Reason::NotOurMac),
        row("802.1Q", ether(0x8100), Reason::Vlan),
        row("802.1ad", ether(0x88a8), Reason::Vlan),
        row("IPv6", ether(0x86dd), Reason::Ipv6),
        row("ARP", ether(0x0806), Reason::NotIp),
        row("LLDP", ether(0x88cc), Reason::NotIp),
        row("MPLS", ether(0x8847), Reason::NotIp),
        row("length instead of type", ether(0x0040), Reason::NotIp),
        row("Ethernet header alone", tcp.bytes()[..14].to_vec(), Reason::Short),
        row("half an IPv4 header", tcp.bytes()[..24].to_vec(), Reason::Short),
        row("IPv4 header less a byte", tcp.bytes()[..33].to_vec(), Reason::Short),
    ]
}

fn not_a_vip() -> Vec<Row> {
    let to = |destination| Frame { destination, ..Frame::default() };
    let twin = filter_twin();
    vec![
        row("another address", to([192, 0, 2, 2]).bytes(), Reason::NotVip),
        row("from the VIP", Frame { source: VIP, ..to(CLIENT) }.bytes(), Reason::NotVip),
        row("same bit of the filter", to(twin).bytes(), Reason::NotVip),
        row("same bit, fragment", Frame { fragment: 0x2000, ..to(twin) }.bytes(), Reason::NotVip),
        row("same bit, ICMP", Frame { protocol: 1, ..to(twin) }.bytes(), Reason::NotVip),
        row("same bit, malformed", patched(&to(twin), &[(14, &[0x44])]), Reason::NotVip),
        row("same bit, other protocol", Frame { protocol: 50, ..to(twin) }.bytes(), Reason::NotVip),
        row("same bit, truncated", patched(&to(twin), &[(16, &[0, 39])]), Reason::NotVip),
        row("VIP that was removed", Frame::default().bytes(), Reason::NotVip).given(remove_vip),
    ]
}

fn remove_vip(world: &mut World) {
    world.remove_vip(VIP);
    world.remove_service(service_key(TCP));
}

fn odd() -> Vec<Row> {
    let tcp = Frame::default();
    let fragment = |fragment| Frame { fragment, ..Frame::default() }.bytes();
    let protocol = |protocol| Frame { protocol, ..Frame::default() }.bytes();
    let port = |port| Frame { port, ..Frame::default() };
    vec![
        row("IP version 6 in IPv4", patched(&tcp, &[(14, &[0x65])]), Reason::Malformed),
        row("header of 16 bytes", patched(&tcp, &[(14, &[0x44])]), Reason::Malformed),
        row("header longer than packet", patched(&tcp, &[(14, &[0x4f])]), Reason::Malformed),
        row("total length below header", patched(&tcp, &[(16, &[0, 19])]), Reason::Malformed),
        row("total length beyond frame", patched(&tcp, &[(16, &[0, 46])]), Reason::Malformed),
        row("TCP header less a byte", patched(&tcp, &[(16, &[0, 39])]), Reason::Truncated),
        row("no TCP header", patched(&tcp, &[(16, &[0, 20])]), Reason::Truncated),
        row("UDP less a byte", patched(&Frame::udp(), &[(16, &[0, 27])]), Reason::Truncated),
        row("first fragment", fragment(0x2000), Reason::Fragment),
        row("middle fragment", fragment(0x2001), Reason::Fragment),
        row("last fragment", fragment(0x00b9), Reason::Fragment),
        row(
            "fragment that is ICMP",
            Frame { protocol: 1, fragment: 1, ..tcp }.bytes(),
            Reason::Fragment,
        ),
        row("ICMP", protocol(1), Reason::Icmp),
        row("IPsec", protocol(50), Reason::UnknownProtocol),
        row("SCTP", protocol(132), Reason::UnknownProtocol),
        row("unknown port", port(PORT + 1).bytes(), Reason::UnknownPort),
        row("port in host order", port(PORT.swap_bytes()).bytes(), Reason::UnknownPort),
        row("known port of TCP only", Frame::udp().bytes(), Reason::UnknownPort)
            .given(|w| w.remove_service(service_key(super::frame::UDP))),
    ]
}

fn no_way() -> Vec<Row> {
    let tcp = || Frame::default().bytes();
    vec![
        row("empty ring", tcp(), Reason::NoBackend).given(|w| use_ring(w, EMPTY)),
        row("no ring", tcp(), Reason::NoBackend).given(|w| use_ring(w, NO_RING)),
        row("ring that is not there", tcp(), Reason::NoBackend).given(|w| use_ring(w, 3)),
        row("ring's real is down", tcp(), Reason::RealDown)
            .given(|w| w.set_real(2, real(2, RealState::Down))),
        row("ring's real is free", tcp(), Reason::RealDown)
            .given(|w| w.set_real(2, real(2, RealState::Free))),
        row("ring's real in an unknown state", tcp(), Reason::RealDown).given(|w| {
            w.set_real(2, vc5_ebpf_abi::Real { state: 9, ..real(2, RealState::Live) });
        }),
        row("real's MAC unknown", tcp(), Reason::NoNeighbour).given(|w| {
            w.set_real(2, vc5_ebpf_abi::Real { mac: [0; 6], ..real(2, RealState::Live) });
        }),
        row("real on another interface", tcp(), Reason::OtherInterface).given(|w| {
            w.set_real(2, vc5_ebpf_abi::Real { ifindex: 2, ..real(2, RealState::Live) });
        }),
    ]
}

fn use_ring(world: &mut World, ring: u32) {
    world.set_service(service_key(TCP), ServiceValue { ring, ..service() });
}

fn sent() -> Vec<Row> {
    let with = |options| Frame { options, ..Frame::default() }.bytes();
    let padded = |frame: Frame| {
        let mut bytes = frame.bytes();
        bytes.resize(bytes.len().max(60), 0);
        bytes
    };
    vec![
        row("TCP", Frame::default().bytes(), Reason::Ring),
        row(
            "SYN without payload, padded",
            padded(Frame { payload: 0, ..Frame::tcp(SYN) }),
            Reason::Ring,
        ),
        row("UDP", Frame::udp().bytes(), Reason::Ring),
        row("empty UDP, padded", padded(Frame { payload: 0, ..Frame::udp() }), Reason::Ring),
        row("1,514 bytes", Frame { payload: 1460, ..Frame::default() }.bytes(), Reason::Ring),
        row("4 bytes of IP options", with(4), Reason::Ring),
        row("40 bytes of IP options", with(40), Reason::Ring),
        row("UDP with IP options", Frame { options: 12, ..Frame::udp() }.bytes(), Reason::Ring),
        row("may be fragmented", Frame { fragment: 0, ..Frame::default() }.bytes(), Reason::Ring),
        row("reserved flag", Frame { fragment: 0x8000, ..Frame::default() }.bytes(), Reason::Ring),
        row("TTL 1 already", Frame { ttl: 1, ..Frame::default() }.bytes(), Reason::Ring),
        row("TTL 255", Frame { ttl: 255, ..Frame::tcp(ACK) }.bytes(), Reason::Ring),
        row(
            "wrong IP checksum",
            {
                let mut f = Frame::default().bytes();
                f[24] ^= 1;
                f
            },
            Reason::Ring,
        ),
        row("draining real still in the ring", Frame::default().bytes(), Reason::Ring)
            .given(|w| w.set_real(2, real(2, RealState::Draining))),
    ]
}

/// Frames cut at every length, and packets whose lengths say so at every boundary: none is sent
/// unless whole, none is changed.
pub fn truncation(mut world: World, shortest: usize) {
    let mut frames = 0;
    for frame in [Frame::default(), Frame::udp(), Frame { options: 40, ..Frame::default() }] {
        let whole = frame.bytes();
        let transport = 34 + frame.options;
        let least = transport + if frame.protocol == TCP { 20 } else { 8 };
        for length in shortest..whole.len() {
            let cut = whole[..length].to_vec();
            let expected = if length < 34 { Reason::Short } else { Reason::Malformed };
            assert_eq!(world.process(&cut).reason, expected, "{length} of {frame:?}");
            frames += 1;
            if length < 34 {
                continue;
            }
            let mut honest = cut;
            honest[16..18].copy_from_slice(&((length - 14) as u16).to_be_bytes());
            let expected = match length {
                l if l < transport => Reason::Malformed,
                l if l < least => Reason::Truncated,
                _ => Reason::Ring,
            };
            let outcome = world.process(&honest);
            let expected = if outcome.reason == Reason::Flow { Reason::Flow } else { expected };
            assert_eq!(outcome.reason, expected, "{length}, honestly, of {frame:?}");
            assert_eq!(sent_to(&outcome).is_some(), length >= least);
            frames += 1;
        }
    }
    world.check(frames);
}

/// The TTL is written if the real asks for it, and left alone otherwise.
pub fn ttl(mut world: World) {
    for ttl in [0, 1, 64, 255] {
        world.set_real(2, vc5_ebpf_abi::Real { ttl, ..real(2, RealState::Live) });
        let outcome = world.process(&Frame::tcp(SYN).bytes());
        assert_eq!(outcome.frame[22], if ttl == 0 { 57 } else { ttl });
        assert_eq!(checksum(&outcome.frame[14..34]), 0);
        assert_eq!(outcome.frame[..6], mac(2));
        assert_eq!(outcome.frame[6..12], OUR_MAC);
    }
    world.check(4);
}

/// An interface that is not ours passes everything.
pub fn unknown_interface(mut world: World) {
    assert_eq!(world.process(&Frame::default().bytes()).reason, Reason::UnknownInterface);
    // Another interface sits in the first slot, ours in the second.
    world.set_iface(1 + 256, OUR_MAC);
    assert_eq!(world.process(&Frame::default().bytes()).reason, Reason::UnknownInterface);
    world.set_iface(1, OUR_MAC);
    assert_eq!(world.process(&Frame::default().bytes()).reason, Reason::NotVip);
    world.check(3);
}
