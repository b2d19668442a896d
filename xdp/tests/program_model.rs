//! The forwarding path on the model alone: no kernel, no privileges.

// The exemption for tests does not reach the strategy.
#![allow(clippy::indexing_slicing)]

mod common;

use common::{
    decisions,
    frame::{Frame, OUR_MAC, PORT, ROUTER_MAC, VIP},
    packets,
    world::{World, mac},
};
use proptest::prelude::*;
use vc5_ebpf_abi::{Reason, Verdict};

fn world() -> World {
    World::model_only().with_service()
}

#[test]
fn packets_are_passed_dropped_and_sent() {
    for row in packets::table() {
        row.check(world());
    }
}

#[test]
fn every_cell_of_the_decision_table() {
    for case in decisions::table() {
        case.check(world());
    }
}

#[test]
fn a_service_that_is_gone_is_gone_for_its_flows() {
    decisions::service_gone(world());
}

#[test]
fn nothing_is_remembered_of_what_is_not_sent() {
    decisions::not_sent_not_remembered(world());
}

#[test]
fn a_handshake_survives_a_ring_change() {
    decisions::ring_changes_during_the_handshake(world());
}

#[test]
fn truncated_packets() {
    packets::truncation(world(), 0);
}

#[test]
fn ttl() {
    packets::ttl(world());
}

#[test]
fn unknown_interface() {
    packets::unknown_interface(World::model_only());
}

/// Frames of the right shape, with any bytes in the places that are decided upon.
fn near_miss() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.9),
        prop_oneof![9 => Just(0x45u8), 1 => any::<u8>()],
        prop_oneof![Just(6u8), Just(17), any::<u8>()],
        prop::collection::vec(any::<u8>(), 0..120),
        any::<(u8, u16, u16)>(),
    )
        .prop_map(|(ours, to_vip, version_ihl, protocol, tail, (ttl, ports, length))| {
            let mut f = Frame::default().bytes();
            f.truncate(34);
            f[0] ^= u8::from(!ours);
            f[14] = version_ihl;
            let total = 20 + tail.len();
            let total = if length % 8 == 0 { usize::from(length) % 160 } else { total };
            f[16..18].copy_from_slice(&(total as u16).to_be_bytes());
            f[22] = ttl;
            f[23] = protocol;
            f[30..34].copy_from_slice(&if to_vip { VIP } else { [1, 2, 3, 4] });
            f.extend(tail);
            if ports % 4 != 0 && f.len() > 38 {
                f[36..38].copy_from_slice(&PORT.to_be_bytes());
            }
            f
        })
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict_and_are_counted(
        frame in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut world = world();
        let outcome = world.process(&frame);
        prop_assert_ne!(outcome.reason.verdict(), Verdict::Tx);
        prop_assert_eq!(outcome.frame, frame);
        world.check(1);
    }

    #[test]
    fn what_is_sent_is_changed_in_its_addresses_ttl_and_checksum_only(frame in near_miss()) {
        let mut world = world();
        let outcome = world.process(&frame);
        if outcome.reason.verdict() == Verdict::Tx {
            prop_assert_eq!(&frame[..6], &OUR_MAC);
            prop_assert_eq!(&frame[6..12], &ROUTER_MAC);
            prop_assert_eq!(&outcome.frame[..6], &mac(2));
            prop_assert_eq!(outcome.frame[22], 1);
            prop_assert_eq!(outcome.reason, Reason::Ring);
            packets::only_addresses_and_ttl_changed(&frame, &outcome.frame);
        } else {
            prop_assert_eq!(outcome.frame, frame);
        }
        world.check(1);
    }
}
