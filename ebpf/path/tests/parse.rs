//! Parsing by itself: what of a frame the path looks at, and what of it makes the flow.

use std::cell::Cell;

use proptest::prelude::*;
use vc5_ebpf_abi::{
    BUCKET_WAYS, Event, Iface, Real, Reason, ServiceKey, ServiceValue, Traffic, VipKey,
};
use vc5_ebpf_path::{Flow, Packet, Segment, Tables, Way, parse, process, siphash13};

const KEY: [u64; 2] = [1, 2];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VIP: [u8; 4] = [192, 0, 2, 1];

/// Tables that know one interface and one VIP, and no service.
struct OneVip {
    iface: Iface,
    counted: Cell<u64>,
}

fn one_vip() -> OneVip {
    OneVip { iface: Iface { ifindex: 7, mac: MAC, pad: [0; 6] }, counted: Cell::new(0) }
}

impl Tables for OneVip {
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
    fn is_vip(&self, key: &VipKey) -> bool {
        key.0 == VIP
    }
    fn service(&self, _key: &ServiceKey) -> Option<&ServiceValue> {
        None
    }
    fn ring_slot(&self, _ring: u32, _slot: u16) -> u16 {
        0
    }
    fn real(&self, _id: u16) -> Option<&Real> {
        None
    }
    fn flows(&self, _hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        None
    }
    fn embryonic(&self, _hash: u64) -> Option<&[Way; BUCKET_WAYS]> {
        None
    }
    fn count(&self, _reason: Reason, _bytes: u64) {
        self.counted.set(self.counted.get() + 1);
    }
    fn event(&self, event: Event) {
        panic!("{event:?} without a table");
    }
    fn count_traffic(&self, real: u16, _service_stat: u32, _traffic: &Traffic) {
        panic!("traffic of real {real}");
    }
}

/// Frame to the VIP: `options` bytes of IPv4 options, then `transport`.
fn frame(protocol: u8, options: usize, transport: &[u8]) -> Vec<u8> {
    let mut f = [&MAC[..], &[2, 0, 0, 0, 0, 9], &[8, 0]].concat();
    let total = (20 + options + transport.len()) as u16;
    f.extend([0x45 + (options / 4) as u8, 0]);
    f.extend(total.to_be_bytes());
    f.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 198, 51, 100, 7]);
    f.extend(VIP);
    f.extend(vec![1; options]);
    f.extend(transport);
    f
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut t = vec![0xc3, 0x50, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags];
    t.extend([0xff, 0xff, 0, 0, 0, 0]);
    t
}

fn flow(frame: &mut [u8]) -> Result<Flow, Reason> {
    let tables = one_vip();
    parse::ours(&frame, 7, &tables)?;
    parse::flow(&frame, &tables)
}

#[test]
fn the_flow_is_the_five_tuple() {
    let expected = siphash13(KEY, &[198, 51, 100, 7, 192, 0, 2, 1, 0xc3, 0x50, 0x01, 0xbb, 6, 4]);
    for options in (0..=40).step_by(4) {
        let found = flow(&mut frame(6, options, &tcp(0x10))).unwrap();
        assert_eq!(found.service, ServiceKey::new(VIP, 443, 6));
        assert_eq!(found.hash, expected, "{options} bytes of options");
    }
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
        assert_eq!(flow(&mut frame(6, 0, &tcp(flags))).unwrap().segment, expected, "{flags:#x}");
    }
    assert_eq!(flow(&mut frame(17, 0, &tcp(2))).unwrap().segment, Segment::Datagram);
}

#[test]
fn every_cut_has_its_reason() {
    for (protocol, least) in [(6, 20), (17, 8)] {
        for options in (0..=40).step_by(4) {
            let whole = frame(protocol, options, &tcp(0x10)[..least]);
            for length in 0..whole.len() {
                let expected = if length < 34 { Reason::Short } else { Reason::Malformed };
                assert_eq!(flow(&mut whole[..length].to_vec()), Err(expected), "{length}");
            }
            for short in 0..least {
                let mut cut = frame(protocol, options, &tcp(0x10)[..short]);
                assert_eq!(flow(&mut cut), Err(Reason::Truncated), "{short} of {protocol}");
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_frames_are_read_within_their_bounds_and_counted_once(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        ours: bool,
        to_vip: bool,
    ) {
        if ours && bytes.len() >= 14 {
            bytes[..6].copy_from_slice(&MAC);
            bytes[12..14].copy_from_slice(&[8, 0]);
        }
        if to_vip && bytes.len() >= 34 {
            bytes[30..34].copy_from_slice(&VIP);
        }
        let before = bytes.clone();
        let tables = one_vip();
        let reason = process(&mut bytes.as_mut_slice(), 7, &tables);
        prop_assert_ne!(reason.verdict(), vc5_ebpf_abi::Verdict::Tx);
        prop_assert_eq!(bytes, before);
        prop_assert_eq!(tables.counted.get(), 1);
    }

    #[test]
    fn loads_and_stores_are_those_of_a_slice(
        mut bytes in prop::collection::vec(any::<u8>(), 0..40),
        offset in 0usize..60,
    ) {
        let expected = bytes.get(offset..).and_then(|b| b.first_chunk::<8>().copied());
        prop_assert_eq!(bytes.as_slice().load::<8>(offset), expected);
        let stored = bytes.as_mut_slice().store(offset, [7u8; 8]);
        prop_assert_eq!(stored.is_some(), expected.is_some());
    }
}
