//! The flow hash against vectors that another implementation wrote: the fleet's wire contract.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::IpAddr;

use vc5_ebpf_abi::mapped;
use vc5_ebpf_path::{flow_hash, siphash13, slot};

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(' ').collect())
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

/// The two words of a key that is written as its 16 bytes in order.
fn key(text: &str) -> [u64; 2] {
    [hex(&text[..16]).swap_bytes(), hex(&text[16..]).swap_bytes()]
}

#[test]
fn siphash_of_bytes() {
    let key = key("000102030405060708090a0b0c0d0e0f");
    let mut vectors = 0;
    for line in lines(include_str!("../golden/siphash13.txt")) {
        let length: usize = line[0].parse().unwrap();
        let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
        assert_eq!(siphash13(key, &bytes), hex(line[1]), "{length} bytes");
        vectors += 1;
    }
    assert_eq!(vectors, 26);
}

/// One line of the vectors of flows.
fn check(line: &[&str]) {
    let address = |i: usize| line[i].parse::<IpAddr>().unwrap();
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(a) => (mapped(a.octets()), a.octets().to_vec(), 4),
        IpAddr::V6(a) => (a.octets(), a.octets().to_vec(), 6),
    };
    let port = |i: usize| line[i].parse::<u16>().unwrap().to_be_bytes();
    let (source, source_bytes, version) = bytes(address(1));
    let (destination, destination_bytes, _) = bytes(address(3));
    let ports = [port(2), port(4)].concat();
    let protocol: u8 = line[5].parse().unwrap();

    let array = ports.as_slice().try_into().unwrap();
    let hash = flow_hash(key(line[0]), &source, &destination, array, protocol);
    assert_eq!(hash, hex(line[6]), "{line:?}");
    assert_eq!(slot(hash), line[7].parse::<u16>().unwrap(), "{line:?}");

    // The words of the fast form are those of the encoding that the contract describes.
    let encoded = [source_bytes, destination_bytes, ports, vec![protocol, version]].concat();
    assert_eq!(siphash13(key(line[0]), &encoded), hash, "{line:?}");
}

#[test]
fn slots_of_flows() {
    let vectors: Vec<_> = lines(include_str!("../golden/flow-slot.txt")).collect();
    assert_eq!(vectors.len(), 60);
    vectors.iter().for_each(|line| check(line));
}

#[test]
fn slots_of_ipv6_flows() {
    let vectors: Vec<_> = lines(include_str!("../golden/flow-slot-v6.txt")).collect();
    assert_eq!(vectors.len(), 40);
    vectors.iter().for_each(|line| check(line));
}
