//! What only the loaded program can show: that the kernel takes it at little cost, that its clock
//! runs, and that it displaces the records that the model displaces. Needs root.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{
    frame::{ACK, FIN, Family, Frame, MORE, RST, SYN},
    kernel::Kernel,
    standard::{SPREAD, WEB_PAGE, real, real_id, service, web_key},
    world::{SETTINGS, World, flow_hash},
};
use vc5_ebpf_abi::{
    Event, FlowEntry, RealState, Reason, ServiceValue, Settings, bucket_index, maps::FLOWS,
};

/// 12,000 packets of some 500 flows through tables of 128 and 32 records, while reals come and go:
/// the program's records and the model's stay the same, down to the choice of what to displace.
#[test]
fn eviction_is_the_models() {
    let mut world = World::standard();
    for family in Family::BOTH {
        for protocol in [6, 17] {
            let spread = ServiceValue { ring: SPREAD, ..service(WEB_PAGE) };
            world.set_service(web_key(family, protocol), spread);
        }
    }
    let mut random = 1u64;
    for step in 0..12_000u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if step % 100 == 0 {
            let state = [RealState::Live, RealState::Draining, RealState::Down, RealState::Live];
            let id = real_id(WEB_PAGE, 1 + (step / 100 % 4) as u16);
            world.set_real(id, real(id, state[(random >> 33 & 3) as usize]));
        }
        world.process(&random_frame(random).bytes());
    }
    for event in Event::ALL.iter().filter(|event| **event != Event::SampleLost) {
        assert!(world.model.events(*event) >= 100, "{event:?}: {}", world.model.events(*event));
    }
    assert!(world.model.count(Reason::Embryonic).packets > 100);
    world.check();
    assert_eq!(world.differences, [""; 0]);
    world.give_back();
}

fn random_frame(random: u64) -> Frame {
    let family = Family::BOTH[(random >> 47 & 1) as usize];
    let flags = [SYN, ACK, ACK, ACK, FIN | ACK, SYN, ACK, RST][(random >> 50 & 7) as usize];
    let frame = match random >> 40 & 7 {
        0 => Frame::udp(family),
        _ => Frame::tcp(family, flags),
    };
    let frame = frame.from(family.client(7), 1024 + (random >> 20 & 0x7f) as u16 * 2);
    match (random >> 53 & 3, family) {
        (0, Family::V4) => {
            Frame { fragment: MORE, identification: (random >> 20 & 0xff) as u16, ..frame }
        }
        _ => frame,
    }
}

/// The clock of ages runs, and a packet brings its record up to it.
#[test]
fn records_age() {
    let settings = Settings { age_shift: 2, ..SETTINGS };
    let mut world = World::with_settings(&settings);
    world.furnish();
    let frame = Frame::tcp(Family::V4, ACK);
    let index = bucket_index(flow_hash(&frame), settings.flow_mask);
    let kernel = world.kernel.as_mut().expect("loaded");
    let mut age = || {
        kernel.run(&frame.bytes());
        let entry = kernel.bucket(FLOWS, index).0.into_iter().find(|&e| e != 0).map(FlowEntry);
        entry.expect("recorded").age()
    };
    // On a busy machine this thread may sleep through an age, but not through each of them.
    let mut before = age();
    let stepped = std::iter::repeat_with(age)
        .take(1_000_000)
        .any(|now| now == std::mem::replace(&mut before, now).wrapping_add(1) % 128);
    assert!(stepped, "the age never went up by one");
}

/// A change that makes the verifier walk branches many times over shows here long before it fails
/// at the kernel's own bound, a million.
#[test]
fn the_verifier_has_little_to_do() {
    let verified = Kernel::load(&SETTINGS).verified();
    println!("{verified} instructions verified");
    assert!(verified < 20_000, "{verified} instructions");
}
