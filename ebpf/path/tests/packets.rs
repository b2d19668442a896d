//! Packets by themselves: what of a frame the path looks at, what of it makes the flow, and what is
//! answered.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{cell::Cell, mem::MaybeUninit};

use proptest::prelude::*;
use vc5_ebpf_abi::{
    Address, BUCKET_WAYS, Event, Iface, RangeKey, RangeValue, Real, Reason, Sample, ServiceKey,
    ServiceValue, Trace, Traffic, Verdict, VipKey, VipValue, mapped,
};
use vc5_ebpf_path::{Buffer, Flow, Segment, Tables, Way, flow, link, process, siphash13};

const KEY: [u64; 2] = [1, 2];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const VIP: [u8; 4] = [192, 0, 2, 1];
const CLIENT: [u8; 4] = [198, 51, 100, 7];
const VIP_V6: Address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const CLIENT_V6: Address = [0x20, 1, 0xd, 0xb8, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 7];
const HEADROOM: usize = 64;

/// Tables that know one interface and two VIPs, and no service.
struct Vips {
    iface: Iface,
    flags: u32,
    counted: Cell<u64>,
}

fn vips(flags: u32) -> Vips {
    let iface = Iface { ifindex: 7, mac: MAC, index: 1, flags: Iface::TRUNK, pad: [0; 4] };
    Vips { iface, flags, counted: Cell::new(0) }
}

impl Tables for Vips {
    fn hash_key(&self) -> [u64; 2] {
        KEY
    }
    fn udp_idle(&self) -> u8 {
        1
    }
    fn closing_idle(&self) -> u8 {
        1
    }
    fn embryonic_idle(&self) -> u8 {
        1
    }
    fn fragment_idle(&self) -> u8 {
        1
    }
    fn sample_shift(&self) -> u32 {
        32
    }
    fn tracing(&self) -> bool {
        false
    }
    fn age(&self) -> u8 {
        0
    }
    fn coarse_ns(&self) -> u64 {
        0
    }
    fn iface(&self, _slot: u32) -> Option<&Iface> {
        Some(&self.iface)
    }
    fn may_be_vip(&self, _bit: u16) -> bool {
        true
    }
    fn vip(&self, key: &VipKey) -> Option<VipValue> {
        [mapped(VIP), VIP_V6].contains(&key.0).then_some(VipValue { flags: self.flags })
    }
    fn service(&self, _key: &ServiceKey) -> Option<&ServiceValue> {
        None
    }
    fn range(&self, _key: &RangeKey) -> Option<RangeValue> {
        None
    }
    fn ring_slot(&self, _ring: u32, _slot: u16) -> u16 {
        0
    }
    fn real(&self, _id: u32) -> Option<&Real> {
        None
    }
    fn flows(&self, _hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        None
    }
    fn embryonic(&self, _hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        None
    }
    fn fragments(&self, _hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        None
    }
    fn can_send(&self, _tx: u8) -> bool {
        false
    }
    fn count(&self, _iface: u8, _reason: Reason, _bytes: u64) {
        self.counted.set(self.counted.get() + 1);
    }
    fn event(&self, event: Event) {
        panic!("{event:?} without a table");
    }
    fn count_traffic(&self, real: u32, _traffic: &Traffic) {
        panic!("traffic of real {real}");
    }
    fn sample(&self, _sample: &Sample) -> bool {
        panic!("a sample without a table");
    }
    fn trace(&self, _note: impl FnOnce(&mut Trace)) {}
}

fn ethernet(ether_type: [u8; 2]) -> Vec<u8> {
    [&MAC[..], &ROUTER, &ether_type].concat()
}

/// IPv4 packet to the VIP: `options` bytes of options, then `transport`.
fn ipv4(protocol: u8, options: usize, transport: &[u8]) -> Vec<u8> {
    let total = (20 + options + transport.len()) as u16;
    let mut p = vec![0x45 + (options / 4) as u8, 0];
    p.extend(total.to_be_bytes());
    p.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    p.extend([CLIENT, VIP].concat());
    p.extend(vec![1; options]);
    let sum = checksum(&p);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.extend(transport);
    p
}

/// IPv6 packet to the VIP whose first next header is `next`.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend((payload.len() as u16).to_be_bytes());
    p.extend([next, 64]);
    p.extend([CLIENT_V6, VIP_V6].concat());
    p.extend(payload);
    p
}

fn v4(protocol: u8, options: usize, transport: &[u8]) -> Vec<u8> {
    [ethernet([8, 0]), ipv4(protocol, options, transport)].concat()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    [ethernet([0x86, 0xdd]), ipv6(next, payload)].concat()
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut t = vec![0xc3, 0x50, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags];
    t.extend([0xff, 0xff, 0, 0, 0, 0]);
    t
}

fn checksum(bytes: &[u8]) -> u16 {
    let word = |w: &[u8]| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The flow of a frame, and its hash.
fn flow_of(frame: &[u8]) -> Result<(Flow, u64), Reason> {
    let tables = vips(0);
    let mut memory = frame.to_vec();
    let mut packet = Buffer::new(&mut memory, 0);
    let link = link::read(&packet, Some(&tables.iface))?;
    let mut place = MaybeUninit::uninit();
    let flow = *flow::of(&mut packet, &link, &tables, &mut place)?;
    let ports = [flow.source_port, flow.service.port].concat().try_into().unwrap();
    let tuple = (&flow.source, &flow.service.addr, ports, flow.service.protocol);
    Ok((flow, vc5_ebpf_path::flow_hash(KEY, tuple.0, tuple.1, tuple.2, tuple.3)))
}

/// Puts a frame through the path: the reason, and the frame afterwards.
fn answer(frame: &[u8], flags: u32) -> (Reason, Vec<u8>) {
    let mut memory = vec![0; HEADROOM];
    memory.extend(frame);
    let mut packet = Buffer::new(&mut memory, HEADROOM);
    let outcome = process(&mut packet, 7, &vips(flags));
    assert_eq!(outcome.egress, None);
    (outcome.reason, packet.frame().to_vec())
}

#[test]
fn the_flow_is_the_five_tuple() {
    let expected = siphash13(KEY, &[198, 51, 100, 7, 192, 0, 2, 1, 0xc3, 0x50, 0x01, 0xbb, 6, 4]);
    for options in (0..=40).step_by(4) {
        let (flow, hash) = flow_of(&v4(6, options, &tcp(0x10))).unwrap();
        assert_eq!(flow.service, ServiceKey::new(mapped(VIP), 443, 6));
        assert_eq!(flow.source, mapped(CLIENT));
        assert_eq!((flow.fragment, hash), (0, expected), "{options} bytes of options");
    }
}

#[test]
fn extension_headers_do_not_change_the_flow() {
    let (plain, hash) = flow_of(&v6(6, &tcp(0x10))).unwrap();
    assert_eq!(plain.service, ServiceKey::new(VIP_V6, 443, 6));
    let encoded = [&CLIENT_V6[..], &VIP_V6, &[0xc3, 0x50, 0x01, 0xbb, 6, 6]].concat();
    assert_eq!(hash, siphash13(KEY, &encoded));
    // Hop-by-hop options, a routing header that is done with, destination options of 16 bytes.
    let chain = [
        vec![43, 0, 1, 4, 0, 0, 0, 0],
        vec![60, 0, 4, 0, 0, 0, 0, 0],
        vec![6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        tcp(0x10),
    ];
    assert_eq!(flow_of(&v6(0, &chain.concat())), Ok((plain, hash)));
    // An atomic fragment is no fragment.
    let atomic = [vec![6, 0, 0, 0, 1, 2, 3, 4], tcp(0x10)].concat();
    assert_eq!(flow_of(&v6(44, &atomic)), Ok((plain, hash)));
}

#[test]
fn an_error_is_of_the_flow_that_it_quotes() {
    let (data, hash) = flow_of(&v4(6, 0, &tcp(0x10))).unwrap();
    // What the VIP sent, 8 bytes of it beyond the header.
    let mut sent = ipv4(6, 0, &[0x01, 0xbb, 0xc3, 0x50, 0, 0, 0, 1]);
    sent[12..20].copy_from_slice(&[VIP, CLIENT].concat());
    let error = [vec![3, 4, 0, 0, 0, 0, 5, 0xdc], sent].concat();
    let quoted = Flow { segment: Segment::Quoted, tcp_flags: 0, ..data };
    assert_eq!(flow_of(&v4(1, 0, &error)), Ok((quoted, hash)));
}

#[test]
fn every_combination_of_tcp_flags_has_one_kind() {
    for flags in 0..=255u8 {
        let (fin, syn, rst, ack) = (flags & 1, flags & 2, flags & 4, flags & 16);
        let expected = match () {
            () if fin + rst != 0 => Segment::Close,
            () if syn != 0 && ack == 0 => Segment::Open,
            () => Segment::Data,
        };
        let (flow, _) = flow_of(&v4(6, 0, &tcp(flags))).unwrap();
        assert_eq!((flow.segment, flow.tcp_flags), (expected, flags));
    }
    assert_eq!(flow_of(&v4(17, 0, &tcp(2))).unwrap().0.segment, Segment::Datagram);
}

#[test]
fn every_cut_has_its_reason() {
    for (protocol, least) in [(6, 20), (17, 8)] {
        for options in (0..=40).step_by(4) {
            let whole = v4(protocol, options, &tcp(0x10)[..least]);
            for length in 0..whole.len() {
                let expected = if length < 34 { Reason::Short } else { Reason::Malformed };
                assert_eq!(flow_of(&whole[..length]), Err(expected), "{length}");
            }
            for short in 0..least {
                let cut = v4(protocol, options, &tcp(0x10)[..short]);
                assert_eq!(flow_of(&cut), Err(Reason::Truncated), "{short} of {protocol}");
            }
        }
        let whole = v6(protocol, &tcp(0x10)[..least]);
        for length in 0..whole.len() {
            let expected = if length < 54 { Reason::Short } else { Reason::Malformed };
            assert_eq!(flow_of(&whole[..length]), Err(expected), "{length}");
        }
    }
}

#[test]
fn a_reset_says_what_rfc_9293_asks_for() {
    // To data with an acknowledgment: its number, and none.
    let (reason, frame) = answer(&v4(6, 0, &tcp(0x18)), VipValue::UNKNOWN_REJECT);
    assert_eq!(reason, Reason::UnknownRejected);
    assert_eq!(frame[..14], [&ROUTER[..], &MAC, &[8, 0]].concat());
    assert_eq!(frame[26..34], [VIP, CLIENT].concat());
    let expected = [0x01, 0xbb, 0xc3, 0x50, 0, 0, 0, 2, 0, 0, 0, 0, 0x50, 0x04];
    assert_eq!(frame[34..48], expected);
    // To a SYN: its number and one more.
    let (_, frame) = answer(&v6(6, &tcp(0x02)), VipValue::UNKNOWN_REJECT);
    let expected = [0x01, 0xbb, 0xc3, 0x50, 0, 0, 0, 0, 0, 0, 0, 2, 0x50, 0x14];
    assert_eq!(frame[54..68], expected);
    // To a reset: nothing.
    let reset = v4(6, 0, &tcp(0x04));
    assert_eq!(answer(&reset, VipValue::UNKNOWN_REJECT), (Reason::UnknownPort, reset));
}

/// The checksum over a pseudo-header and a message: zero if it is right.
fn with_pseudo(source: &[u8], destination: &[u8], protocol: u8, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    checksum(&[source, destination, &length, &[0, 0, 0, protocol], message].concat())
}

proptest! {
    #[test]
    fn arbitrary_frames_are_read_within_their_bounds_and_counted_once(
        mut bytes in prop::collection::vec(any::<u8>(), 0..160),
        ours: bool,
        to_vip: bool,
        six: bool,
    ) {
        if ours && bytes.len() >= 14 {
            bytes[..6].copy_from_slice(&MAC);
            bytes[12..14].copy_from_slice(if six { &[0x86, 0xdd] } else { &[8, 0] });
        }
        if to_vip && !six && bytes.len() >= 34 {
            bytes[30..34].copy_from_slice(&VIP);
        }
        if to_vip && six && bytes.len() >= 54 {
            bytes[38..54].copy_from_slice(&VIP_V6);
        }
        let before = bytes.clone();
        let tables = vips(0);
        let mut packet = Buffer::new(&mut bytes, 0);
        let outcome = process(&mut packet, 7, &tables);
        prop_assert_ne!(outcome.reason.verdict(), Verdict::Sent);
        prop_assert_eq!(bytes, before);
        prop_assert_eq!(tables.counted.get(), 1);
    }

    #[test]
    fn an_echo_comes_back_with_a_right_checksum(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 4..70),
            prop::collection::vec(prop_oneof![Just(0u8), Just(0xff)], 4..12),
        ],
        six: bool,
        tagged: bool,
    ) {
        let kinds = if six { [128, 129] } else { [8, 0] };
        let mut message = [vec![kinds[0], 0, 0, 0], body.clone()].concat();
        let sum = if six {
            with_pseudo(&CLIENT_V6, &VIP_V6, 58, &message)
        } else {
            checksum(&message)
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = if six { v6(58, &message) } else { v4(1, 0, &message) };
        if tagged {
            frame.splice(12..12, [0x81, 0, 0xe0, 5]);
        }
        let tags = if tagged { 4 } else { 0 };
        let (reason, out) = answer(&frame, VipValue::UP);
        prop_assert_eq!(reason, Reason::Echo);
        prop_assert_eq!(&out[..12], [ROUTER, MAC].concat());
        prop_assert_eq!(&out[12..14 + tags], &frame[12..14 + tags]);
        let ip = 14 + tags;
        if six {
            prop_assert_eq!(&out[ip + 8..ip + 40], [VIP_V6, CLIENT_V6].concat());
            prop_assert_eq!(with_pseudo(&VIP_V6, &CLIENT_V6, 58, &out[ip + 40..]), 0);
            prop_assert_eq!(&out[ip + 44..], &body);
        } else {
            prop_assert_eq!(&out[ip + 12..ip + 20], [VIP, CLIENT].concat());
            prop_assert_eq!(checksum(&out[ip..ip + 20]), 0);
            prop_assert_eq!(checksum(&out[ip + 20..]), 0);
            prop_assert_eq!(&out[ip + 24..], &body);
        }
    }

    #[test]
    fn what_no_service_is_for_is_answered_with_right_checksums(
        payload in prop::collection::vec(any::<u8>(), 20..1400),
        protocol in prop_oneof![Just(6u8), Just(17), Just(132)],
        six: bool,
        tagged: bool,
    ) {
        let mut payload = payload;
        // A TCP header of 20 bytes that is no reset.
        payload[12] = 0x50;
        payload[13] &= !0x04;
        let mut frame = if six { v6(protocol, &payload) } else { v4(protocol, 0, &payload) };
        if tagged {
            frame.splice(12..12, [0x81, 0, 0xe0, 5]);
        }
        let ip = if tagged { 18 } else { 14 };
        let (reason, out) = answer(&frame, VipValue::UNKNOWN_REJECT);
        prop_assert_eq!(reason, Reason::UnknownRejected);
        prop_assert_eq!(&out[..12], [ROUTER, MAC].concat());
        let sent = if six { 40 } else { 20 };
        let message = &out[ip + sent..];
        let answered = if protocol == 6 { 6 } else if six { 58 } else { 1 };
        if six {
            prop_assert_eq!(out[ip + 6], answered);
            prop_assert_eq!(with_pseudo(&VIP_V6, &CLIENT_V6, answered, message), 0);
            prop_assert_eq!(&out[ip + 8..ip + 40], [VIP_V6, CLIENT_V6].concat());
            prop_assert!(out.len() - ip <= 1280);
        } else {
            prop_assert_eq!(out[ip + 9], answered);
            prop_assert_eq!(checksum(&out[ip..ip + 20]), 0);
            prop_assert_eq!(&out[ip + 12..ip + 20], [VIP, CLIENT].concat());
            let sum = match answered {
                6 => with_pseudo(&VIP, &CLIENT, 6, message),
                _ => checksum(message),
            };
            prop_assert_eq!(sum, 0);
            prop_assert!(out.len() - ip <= 576);
        }
        if answered != 6 {
            let quote = &message[8..];
            prop_assert_eq!(quote, &frame[ip..ip + quote.len()]);
            prop_assert!(quote.len() >= sent + 8);
        }
    }
}
