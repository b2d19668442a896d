//! What only the loaded program can show: that the kernel takes it at little cost, that its clock
//! runs, and that it displaces the records that the model displaces. Needs root.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{
    frame::{ACK, FIN, Family, Frame, MORE, RST, SYN, TCP},
    kernel::Kernel,
    standard::{
        CHOSEN, IN, RANGE_PAGE, RING, SPREAD, VIP, WEB_PAGE, real, real_id, record, service,
        service_key, web_key,
    },
    world::{RESIZED, SETTINGS, World, flow_hash, key_address},
};
use vc5_ebpf_abi::{
    Active, Address, Event, FlowEntry, NO_REAL, RealState, Reason, ServiceValue, Settings, Trace,
    bucket_index, maps::FLOWS, stats_index,
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
        // No note of a fragment is ever taken back: the table fills up but once.
        let least = if *event == Event::FragmentInserted { 32 } else { 100 };
        let seen = world.model.events(*event);
        assert!(seen >= least, "{event:?}: {seen}");
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

/// Packets of one flow may meet different CPUs: all know what one has noted.
#[test]
fn a_flow_survives_a_change_of_cpu() {
    for family in Family::BOTH {
        let mut world = World::standard();
        let steps = [
            (0, SYN, Reason::Ring),
            (1, ACK, Reason::Embryonic),
            (0, ACK, Reason::Flow),
            (1, FIN | ACK, Reason::Flow),
        ];
        for (cpu, flags, reason) in steps {
            pin_to(cpu);
            let seen = world.process(&Frame::tcp(family, flags).bytes());
            assert_eq!(seen.reason, reason, "{family:?} on CPU {cpu}");
        }
        world.check();
        assert_eq!(world.differences, [""; 0]);
        world.give_back();
    }
}

/// Two CPUs at once lose no count, and all packets of a flow go to one backend.
#[test]
fn two_cpus_at_once() {
    const ROUNDS: usize = 3000;
    let mut world = World::standard();
    let spread = ServiceValue { ring: SPREAD, ..service(WEB_PAGE) };
    world.set_service(web_key(Family::V4, TCP), spread);
    let kernel = world.kernel.as_mut().expect("loaded");
    let frames: Vec<Vec<u8>> = (1..=40)
        .map(|port| Frame::tcp(Family::V4, ACK).from(Family::V4.client(7), port).bytes())
        .collect();
    let run = |cpu| {
        pin_to(cpu);
        let all = frames.iter().cycle().take(ROUNDS).map(|frame| kernel.run(frame).1);
        all.map(|out| out[..6].to_vec()).collect::<Vec<_>>()
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(0), other.join().expect("it did not panic"))
    });
    assert_eq!(first, second);
    assert!(first.iter().zip(&first[frames.len()..]).all(|(a, b)| a == b));
    let counted = [Reason::Ring, Reason::Flow].map(|r| kernel.count(stats_index(IN, r)).packets);
    assert_eq!(counted.iter().sum::<u64>(), 2 * ROUNDS as u64);
    world.give_back();
}

/// Runs this thread on this CPU, or on the only one there is.
fn pin_to(cpu: usize) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: a CPU set is plain bits, and the calls get its right size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu % cpus, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(result, 0, "cannot run on CPU {cpu}");
}

/// Records lie in the part of the table in use, and are found there again.
#[test]
fn only_the_part_of_the_table_in_use_holds_flows() {
    let mut world = World::standard();
    let active = Active::new(SETTINGS.flow_mask, 4);
    assert_eq!(active.mask(SETTINGS.flow_mask), 3);
    set_active(&mut world, active);
    for family in Family::BOTH {
        for port in 1..=20 {
            let frame = Frame::tcp(family, ACK).from(family.client(7), port);
            let reasons = [0; 2].map(|_| world.process(&frame.bytes()).reason);
            assert_eq!(reasons, [Reason::Ring, Reason::Flow]);
        }
    }
    world.check();
    assert_eq!(world.differences, [""; 0]);
    let used = |index| world.model.flows(index).is_some_and(|b| b.0.iter().any(|way| *way != 0));
    let (part, rest): (Vec<u32>, Vec<u32>) = (0..16).partition(|index| *index < 4);
    assert!(part.into_iter().all(used) && !rest.into_iter().any(used));
    world.give_back();
}

fn set_active(world: &mut World, active: Active) {
    world.model.set_active(active);
    world.kernel.as_mut().expect("loaded").set_active(active);
}

/// As more of the table comes into use, flows are found where they lay, and deleted there too.
#[test]
fn flows_are_found_before_they_are_copied() {
    let mut world = World::standard();
    let active = |buckets, copying| Active { copying, ..Active::new(SETTINGS.flow_mask, buckets) };
    set_active(&mut world, active(4, 0));
    let frames = |flags| {
        let all = Family::BOTH.into_iter().flat_map(|family| (1..=10).map(move |n| (family, n)));
        all.map(move |(family, n)| Frame::tcp(family, flags).from(family.client(7), n))
    };
    let all = |world: &mut World, flags, reason| {
        for frame in frames(flags) {
            assert_eq!(world.process(&frame.bytes()).reason, reason, "{frame:?}");
        }
    };
    all(&mut world, ACK, Reason::Ring);
    set_active(&mut world, active(8, 1));
    all(&mut world, ACK, Reason::Flow);
    set_active(&mut world, active(8, 0));
    all(&mut world, ACK, Reason::Flow);
    // Again, and now they are deleted before they are copied.
    set_active(&mut world, active(16, 1));
    world.set_real(CHOSEN, real(CHOSEN, RealState::Draining));
    all(&mut world, SYN, Reason::Ring);
    world.check();
    assert_eq!(world.differences, [""; 0]);
    let upper = |frame: &Frame| {
        let hash = flow_hash(frame);
        [hash as u32 & 15, hash as u32 & 7].map(|index| {
            world
                .model
                .flows(index)
                .is_some_and(|b| b.0.iter().any(|w| FlowEntry(*w).matches(hash)))
        })
    };
    assert!(frames(ACK).all(|frame| upper(&frame) == [false; 2]), "all are deleted");
    world.give_back();
}

/// Of the new flows some are told, and it is counted how many could not be.
#[test]
fn new_flows_are_sampled() {
    let settings = Settings { sample_shift: 1, flow_mask: 4095, ..SETTINGS };
    let mut world = World::with_settings(&settings);
    world.furnish();
    let frames = |family: Family| {
        let frame = move |port| Frame::udp(family).from(family.client(7), port);
        (1..=6000).map(frame).chain([Frame::tcp(family, SYN), Frame::tcp(family, ACK)])
    };
    let frames: Vec<Frame> = Family::BOTH.into_iter().flat_map(frames).collect();
    frames.iter().for_each(|frame| drop(world.process(&frame.bytes())));
    assert_eq!(world.differences, [""; 0]);

    let told = world.kernel.as_mut().expect("loaded").samples();
    let mut all = world.model.take_samples();
    let lost = world.kernel.as_mut().expect("loaded").events(Event::SampleLost) as usize;
    assert_eq!(told.len() + lost, all.len());
    assert!(lost > 0 && told.len() > 4000, "{} told, {lost} lost", told.len());
    let recorded = frames.iter().filter(|frame| frame.flags() != Some(SYN));
    let wanted: Vec<_> = recorded.filter(|f| flow_hash(f) & 1 == 0).map(tuple).collect();
    assert!(all.iter().map(|s| (s.source, s.ports)).eq(wanted), "one in two, by the hash");
    assert!(told.iter().all(|sample| sample.real == CHOSEN));
    all.truncate(told.len());
    assert_eq!(told, all);
}

fn tuple(frame: &Frame) -> (Address, [u8; 4]) {
    let ([s0, s1], [d0, d1]) = (frame.source_port.to_be_bytes(), frame.port.to_be_bytes());
    (key_address(frame.source), [s0, s1, d0, d1])
}

/// What a trace says of a packet that the ring decides, and of one that a record does.
#[test]
fn a_trace_tells_how_it_was_chosen() {
    for family in Family::BOTH {
        let mut world = World::standard_traced();
        let frame = Frame::tcp(family, ACK);
        let hash = flow_hash(&frame);
        let service = web_key(family, TCP);
        let by_ring = Trace {
            hash,
            flow: 0,
            embryonic: 0,
            reason: Reason::Ring as u32,
            real: CHOSEN,
            ring: RING,
            slot: (hash >> 48) as u16,
            member: 2,
            service,
            pad: 0,
        };
        let mut tell = |frame: &Frame| {
            world.process(&frame.bytes());
            let kernel = &mut world.tracer.as_mut().expect("loaded").0;
            kernel.trace()
        };
        assert_eq!(tell(&frame), by_ring);
        let known = tell(&frame);
        assert_eq!((known.reason, known.real), (Reason::Flow as u32, CHOSEN));
        assert_eq!((known.flow, known.hash), (record(&frame, CHOSEN, 0).0, hash));
        let unknown = tell(&frame.clone().to(family.vip(VIP), 81));
        assert_eq!((unknown.reason, unknown.real), (Reason::UnknownPort as u32, NO_REAL));
        let range = tell(&frame.clone().to(family.vip(VIP), 8050));
        assert_eq!(range.service, service_key(family.vip(VIP), 8000, TCP));
        assert_eq!((range.real, range.member), (real_id(RANGE_PAGE, 2), 2));
        assert_eq!(world.differences, [""; 0]);
        world.give_back();
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
    // An older verifier walks more: 19,649 instructions on 6.1, where it is 18,260 on 6.18, and with a
    // table before 19,804 and 18,441.
    for settings in [SETTINGS, RESIZED] {
        let verified = Kernel::load(&settings).verified();
        println!("{verified} instructions verified");
        assert!(verified < 20_000, "{verified} instructions");
    }
}
