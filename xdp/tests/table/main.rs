//! The packet table: a frame, the state that it meets, and what must come of it: verdict and reason,
//! frame out, counters, records.
//!
//! Every row goes through the committed object in the running kernel (BPF_PROG_TEST_RUN) and through
//! the model, both with the same tables, and afterwards all tables and counters of both must be
//! equal. Needs root. What is expected comes from the RFCs and is built from scratch by the tests'
//! own frames, checksums and hash.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;

mod addressing;
mod decisions;
mod echo;
mod extensions;
mod fragments;
mod icmp;
mod options;
mod reject;
mod row;
mod sticky;
mod topology;
mod truncation;
mod ttl;
mod vlan;

use std::collections::HashSet;

use common::world::World;
use row::Row;

/// Tries all rows of a theme, and tells of all that fail.
fn try_all(theme: &str, least: usize, rows: &[Row]) {
    try_in(World::standard, theme, least, rows);
}

/// The same through a tracing program too, which must tell all and write nothing.
fn try_and_trace(theme: &str, least: usize, rows: &[Row]) {
    try_in(World::standard_traced, theme, least, rows);
}

fn try_in(world: fn() -> World, theme: &str, least: usize, rows: &[Row]) {
    assert!(rows.len() >= least, "{theme}: {} rows", rows.len());
    let names: HashSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "{theme}: two rows have one name");
    let wrong: Vec<String> = rows.iter().flat_map(|row| row.check(world())).collect();
    println!("{theme}: {} rows", rows.len());
    assert!(wrong.is_empty(), "{theme}, {} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn ipv4_options_and_header_lengths() {
    try_all("IPv4 options and header lengths", 30, &options::rows());
}

#[test]
fn fragments() {
    try_and_trace("fragments", 100, &fragments::rows());
}

#[test]
fn icmp_errors() {
    try_and_trace("ICMP and ICMPv6 errors", 150, &icmp::rows());
}

#[test]
fn echo() {
    try_all("echo", 70, &echo::rows());
}

#[test]
fn vlan_tags() {
    try_all("VLAN tags", 120, &vlan::rows());
}

#[test]
fn ipv6_extension_headers() {
    try_all("IPv6 extension headers", 60, &extensions::rows());
    assert_eq!(extensions::longest(World::standard_model()), [""; 0]);
}

#[test]
fn truncations() {
    try_all("truncations", 500, &truncation::rows());
    assert_eq!(truncation::below(&mut World::standard_model()), [""; 0]);
}

#[test]
fn addresses_and_ports() {
    try_all("addresses and ports", 140, &addressing::rows());
}

#[test]
fn rejected_packets() {
    try_all("rejected packets", 90, &reject::rows());
}

#[test]
fn every_cell_of_the_decision_table() {
    try_and_trace("decision table", 150, &decisions::rows());
}

#[test]
fn ttl_and_hop_limit() {
    try_all("TTL and hop limit", 60, &ttl::rows());
}

#[test]
fn sticky_services() {
    try_and_trace("sticky services", 90, &sticky::rows());
}

#[test]
fn topologies() {
    try_all("topologies", 50, &topology::rows());
    assert_eq!(topology::unknown_interface(World::with_kernel()), [""; 0]);
}
