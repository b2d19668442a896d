//! The flow hash against vectors that another implementation wrote: the fleet's wire contract.

// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;

use vc5_ebpf_path::{flow_hash_v4, siphash13, slot};

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

#[test]
fn slots_of_flows() {
    let mut vectors = 0;
    for line in lines(include_str!("../golden/flow-slot.txt")) {
        let address = |i: usize| line[i].parse::<Ipv4Addr>().unwrap().octets();
        let port = |i: usize| line[i].parse::<u16>().unwrap().to_be_bytes();
        let addresses = [address(1), address(3)].concat();
        let ports = [port(2), port(4)].concat();
        let protocol: u8 = line[5].parse().unwrap();

        let hash = flow_hash_v4(
            key(line[0]),
            addresses.as_slice().try_into().unwrap(),
            ports.as_slice().try_into().unwrap(),
            protocol,
        );
        assert_eq!(hash, hex(line[6]), "{line:?}");
        assert_eq!(slot(hash), line[7].parse::<u16>().unwrap(), "{line:?}");

        // The words of the fast form are those of the encoding that the contract describes.
        let encoded = [addresses, ports, vec![protocol, 4]].concat();
        assert_eq!(siphash13(key(line[0]), &encoded), hash, "{line:?}");
        vectors += 1;
    }
    assert_eq!(vectors, 60);
}
