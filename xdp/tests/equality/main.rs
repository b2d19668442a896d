//! The program and the model are one: whatever happens to both, they do the same to every frame,
//! count the same and remember the same. And whatever happens, some things hold.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod strategy;

use std::{collections::BTreeMap, sync::Mutex};

use common::world::{Seen, World};
use proptest::prelude::*;
use strategy::{Step, raw, steps};
use vc5_ebpf_abi::{Reason, Verdict};

/// A frame that is not sent stays as it is; one that is sent to a backend keeps all but its
/// addresses, TTL and tag.
fn check_frame(before: &[u8], seen: &Seen) -> Result<(), TestCaseError> {
    let answered = matches!(seen.reason, Reason::Echo | Reason::UnknownRejected);
    if seen.reason.verdict() != Verdict::Sent {
        prop_assert_eq!(before, &seen.frame, "{:?}", seen.reason);
    } else if !answered {
        let (before_tags, after) = (tags(before), tags(&seen.frame));
        prop_assert!(after.len().abs_diff(before_tags.len()) <= 1);
        let (ip, ip_after) = (14 + 4 * before_tags.len(), 14 + 4 * after.len());
        let mut packet = before[ip..].to_vec();
        let packet_after = &seen.frame[ip_after..];
        prop_assert_eq!(packet.len(), packet_after.len());
        let changes = if packet[0] >> 4 == 4 { vec![8, 10, 11] } else { vec![7] };
        changes.into_iter().for_each(|at| packet[at] = packet_after[at]);
        prop_assert_eq!(packet, packet_after);
        prop_assert!(
            before_tags.iter().zip(&after).all(|(b, a)| b[..2] == a[..2] && b[2] >> 4 == a[2] >> 4)
        );
    }
    Ok(())
}

fn tags(frame: &[u8]) -> Vec<[u8; 4]> {
    let words = frame[12..].as_chunks::<4>().0.iter();
    words.take_while(|tag| matches!(tag[..2], [0x81, 0] | [0x88, 0xa8])).copied().collect()
}

/// How often each reason was met, over all cases.
type Met = Mutex<BTreeMap<&'static str, u32>>;

fn go_through(mut world: World, steps: &[Step], met: &Met) -> Result<(), TestCaseError> {
    for step in steps {
        let Step::Frame(frame) = step else {
            step.take(&mut world);
            continue;
        };
        let seen = world.process(frame);
        check_frame(frame, &seen)?;
        *met.lock().unwrap().entry(seen.reason.label()).or_default() += 1;
    }
    world.check();
    prop_assert!(world.differences.is_empty(), "{}", world.differences.join("\n"));
    world.give_back();
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// So many cases, or as many as `PROPTEST_CASES` says, for a search that goes on for longer.
fn at_length(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").map(|_| default.cases);
    config(asked.unwrap_or(cases))
}

/// All reasons but those that these worlds cannot meet.
fn check_that_all_were_met(met: &Met) {
    let met = met.lock().unwrap();
    println!("{met:?}");
    for reason in Reason::ALL {
        let elsewhere = matches!(reason, Reason::UnknownInterface | Reason::NoRoom);
        assert!(elsewhere || met.contains_key(reason.label()), "{} was never met", reason.label());
    }
}

#[test]
fn the_model_keeps_to_the_rules() {
    let met = Met::default();
    proptest!(config(1000), |(steps in steps())| {
        go_through(World::standard_model(), &steps, &met)?;
    });
    check_that_all_were_met(&met);
}

#[test]
fn program_and_model_do_the_same() {
    let met = Met::default();
    proptest!(at_length(400), |(steps in steps())| go_through(World::standard(), &steps, &met)?);
}

#[test]
fn the_tracing_program_tells_the_same() {
    let met = Met::default();
    proptest!(at_length(100), |(steps in steps())| {
        go_through(World::standard_traced(), &steps, &met)?;
    });
}

#[test]
fn program_and_model_do_the_same_to_any_bytes() {
    let met = Met::default();
    let frames = prop::collection::vec(raw().prop_map(Step::Frame), 1..40);
    proptest!(at_length(100), |(steps in frames)| go_through(World::standard(), &steps, &met)?);
}
