//! The committed object in the running kernel, by BPF_PROG_TEST_RUN, beside the model.
//!
//! Needs root. Every frame goes through both; verdict, frame, counters and flow tables must agree.

mod common;

use common::{
    decisions,
    frame::{ACK, FIN, Frame, RST, SYN},
    kernel::CPU,
    packets,
    world::{SETTINGS, STAT, World, real},
};
use vc5_ebpf_abi::{Event, FlowEntry, RealState, Reason, Settings, bucket_index};

fn world() -> World {
    World::with_kernel().with_service()
}

#[test]
fn packets_are_passed_dropped_and_sent() {
    let rows = packets::table();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for row in rows {
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
    // The kernel takes no frame shorter than an Ethernet header.
    packets::truncation(world(), 14);
}

#[test]
fn ttl() {
    packets::ttl(world());
}

#[test]
fn unknown_interface() {
    packets::unknown_interface(World::with_kernel());
}

/// 8,000 packets of some 500 flows through tables of 128 and 32 records, while reals come and go: the
/// program's records and the model's stay the same, down to the choice of what to displace.
#[test]
fn eviction_is_the_models() {
    let mut world = world();
    world.set_ring(0, |slot| 1 + slot % 4);
    let mut random = 1u64;
    for step in 0..8000u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let frame = Frame {
            source_port: 1024 + (random >> 20 & 0xff) as u16 * 2,
            protocol: if random >> 40 & 7 == 0 { 17 } else { 6 },
            tcp_flags: [SYN, ACK, ACK, ACK, FIN | ACK, SYN, ACK, RST][(random >> 50 & 7) as usize],
            ..Frame::default()
        };
        if step % 100 == 0 {
            let state = [RealState::Live, RealState::Draining, RealState::Down, RealState::Live];
            let id = 1 + (step / 100 % 4) as u16;
            world.set_real(id, real(id, state[(random >> 33 & 3) as usize]));
        }
        world.process(&frame.bytes());
    }
    for event in Event::ALL {
        assert!(world.model.events(*event) >= 100, "{event:?}");
    }
    assert!(world.count(Reason::Embryonic).packets > 100);
    assert!(world.model.service_traffic(STAT).packets > 1000);
    world.check(8000);
}

/// The clock of ages runs, and a packet brings its record up to it.
#[test]
fn records_age() {
    let settings = Settings { age_shift: 2, ..SETTINGS };
    let mut world = World::with_settings(&settings).with_service();
    let frame = Frame::tcp(ACK);
    let hash = frame.hash(SETTINGS.hash_key);
    let index = bucket_index(hash, CPU, settings.flow_mask);
    let kernel = world.kernel.as_mut().expect("loaded");
    let mut age = || {
        kernel.run(&frame.bytes());
        let entry = kernel.flows(index).0.into_iter().find(|&e| e != 0).map(FlowEntry);
        entry.expect("recorded").age()
    };
    // On a busy machine this thread may sleep through an age, but not through each of them.
    let mut before = age();
    let stepped = std::iter::repeat_with(age)
        .take(1_000_000)
        .any(|now| now == std::mem::replace(&mut before, now).wrapping_add(1));
    assert!(stepped, "the age never went up by one");
}

/// Some 7,000 instructions when this was written, of a million that the kernel allows: a change
/// that makes the verifier walk branches many times over shows here long before it fails there.
#[test]
fn the_verifier_has_little_to_do() {
    let verified = world().kernel.expect("loaded").verified();
    assert!(verified < 20_000, "{verified} instructions");
}
