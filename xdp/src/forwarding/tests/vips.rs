//! VIPs, their flags, ports and filter, and what is refused.

use std::collections::BTreeMap;

use vc5_ebpf_abi::{RangeKey, ServiceValue, VipKey, VipValue};

use super::*;
use crate::{BackendSpec, OnDown, Unknown};

fn ports(ports: Ports, numbers: &[u8]) -> ServiceSpec {
    ServiceSpec { ports, ..of(numbers) }
}

/// The first port of the service that has a port, as the program finds it.
fn finds(world: &World, port: u16) -> Option<u16> {
    let tables = &world.forwarding.tables;
    let addr = octets(IpAddr::from([198, 51, 100, 1]));
    if tables.services.contains_key(&ServiceKey::new(addr, port, 6)) {
        return Some(port);
    }
    if tables.vips[&VipKey(addr)].flags & VipValue::RANGES == 0 {
        return None;
    }
    let matches = |key: &&RangeKey| {
        let bits = key.prefix_len - RangeKey::PREFIX;
        key.protocol == 6 && u32::from(u16::from_be_bytes(key.port) ^ port) >> (16 - bits) == 0
    };
    let best = tables.ranges.keys().filter(matches).max_by_key(|key| key.prefix_len)?;
    Some(u16::from_be_bytes(tables.ranges[best].port))
}

#[test]
fn the_narrowest_service_has_a_port() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    let mut services =
        vec![ports(Ports::One(8010), &[1]), ports(Ports::Range(8000, 8099), &[1, 2])];
    world.apply(&Desired { vips: vec![vip(1, services.clone())] }).unwrap();
    let found = [8010, 8000, 8011, 8099, 8100, 7999].map(|port| finds(&world, port));
    assert_eq!(found, [Some(8010), Some(8000), Some(8000), Some(8000), None, None]);

    services.push(ports(Ports::All, &[2]));
    world.apply(&Desired { vips: vec![vip(1, services.clone())] }).unwrap();
    let found = [8010, 8011, 8100, 1, 65535].map(|port| finds(&world, port));
    assert_eq!(found, [Some(8010), Some(8000), Some(0), Some(0), Some(0)]);

    services.remove(1);
    world.apply(&Desired { vips: vec![vip(1, services.clone())] }).unwrap();
    assert_eq!([8010, 8011].map(|port| finds(&world, port)), [Some(8010), Some(0)]);
    services.remove(1);
    world.apply(&Desired { vips: vec![vip(1, services)] }).unwrap();
    assert_eq!([8010, 8011].map(|port| finds(&world, port)), [Some(8010), None]);
    assert!(world.tables().ranges.is_empty());
}

#[test]
fn a_range_that_grows_keeps_its_flows() {
    let mut world = World::new(64, Hops::all(&[1, 2]));
    let of = |range| Desired { vips: vec![vip(1, vec![ports(range, &[1, 2])])] };
    world.apply(&of(Ports::One(8000))).unwrap();
    let before = world.real(1);
    for range in [Ports::Range(8000, 8001), Ports::Range(8000, 8999), Ports::One(8000)] {
        world.apply(&of(range)).unwrap();
        assert_eq!(world.real(1), before);
        assert_eq!(world.forwarding.services.values().next().unwrap().ports(), range);
    }
}

#[test]
fn what_is_specified_is_in_the_flags() {
    let mut world = World::new(64, Hops::all(&[1]));
    let spec = |up, unknown, sticky, on_down, ports| {
        let service = ServiceSpec { sticky, on_down, ports, ..of(&[1]) };
        Desired { vips: vec![VipSpec { up, unknown, ..vip(1, vec![service]) }] }
    };
    let flags = |world: &World| {
        (world.forwarding.tables.vips.values().next().unwrap().flags, world.service().flags)
    };
    world.apply(&spec(false, Unknown::Drop, false, OnDown::Reselect, Ports::One(1))).unwrap();
    assert_eq!(flags(&world), (0, 0));
    world.apply(&spec(true, Unknown::Pass, true, OnDown::Reselect, Ports::One(1))).unwrap();
    let vip = VipValue::UP | VipValue::UNKNOWN_PASS;
    assert_eq!(flags(&world), (vip, ServiceValue::BY_ADDRESS));
    world.apply(&spec(true, Unknown::Reject, false, OnDown::Stick, Ports::Range(1, 2))).unwrap();
    let vip = VipValue::UP | VipValue::UNKNOWN_REJECT | VipValue::RANGES;
    assert_eq!(flags(&world), (vip, ServiceValue::STICK));
}

#[test]
fn vips_of_both_families_come_and_go() {
    let mut world = World::new(64, Hops::all(&[1]));
    let mut desired = one(&[1]);
    let v6: IpAddr = "2001:db8:1::1".parse().unwrap();
    desired.vips.push(VipSpec { address: v6, ..vip(1, vec![of(&[1])]) });
    world.apply(&desired).unwrap();
    assert_eq!(world.forwarding.vips().collect::<Vec<_>>(), [desired.vips[0].address, v6]);
    assert_eq!(world.tables().filter.0.iter().map(|w| w.count_ones()).sum::<u32>(), 2);
    desired.vips.remove(0);
    world.apply(&desired).unwrap();
    assert_eq!(world.tables().vips.keys().copied().collect::<Vec<_>>(), [VipKey(octets(v6))]);
    assert_eq!(world.forwarding.services_of(v6).count(), 1);
}

#[test]
fn only_what_has_changed_is_told_of() {
    let mut world = World::new(64, Hops::all(&[1, 2, 3]));
    let mut desired = Desired { vips: (1..=3).map(|n| vip(n, vec![of(&[n])])).collect() };
    world.apply(&desired).unwrap();
    let news = world.forwarding.take_news();
    assert_eq!((news.vips.len(), news.reals.len()), (3, 3));
    world.apply(&desired).unwrap();
    assert!(world.forwarding.take_news().vips.is_empty());
    desired.vips[1].services[0].backends.push(live(3));
    world.apply(&desired).unwrap();
    let news = world.forwarding.take_news();
    assert_eq!((news.vips, news.reals.len()), (BTreeSet::from([desired.vips[1].address]), 1));
    world.refresh(3);
    let both = desired.vips[1..].iter().map(|vip| vip.address).collect();
    assert_eq!(world.forwarding.take_news().vips, both);
}

#[test]
fn impossible_states_are_refused_before_anything_changes() {
    let mut world = World::new(64, Hops::all(&[1]));
    world.apply(&one(&[1])).unwrap();
    let web = || of(&[1]);
    let many = (0..4096u32).map(|n| BackendSpec {
        address: std::net::Ipv4Addr::from(0x0a00_0000 + n).into(),
        ..live(1)
    });
    let mapped = BackendSpec { address: "::ffff:192.0.2.1".parse().unwrap(), ..live(1) };
    let ranges = [(1, 10), (10, 20)].map(|(a, b)| ports(Ports::Range(a, b), &[1])).to_vec();
    let lots = (1..=65).map(|port| ports(Ports::One(port), &[1]));
    for (services, complaint) in [
        (vec![web(), web()], "two services begin with 198.51.100.2:80/tcp"),
        (vec![web(), ports(Ports::Range(80, 90), &[1])], "two services begin with"),
        (vec![ports(Ports::All, &[1]), ports(Ports::All, &[1])], "2:all/tcp appears twice"),
        (vec![service(vec![live(1), live(1)])], "appears twice"),
        (vec![service(vec![mapped])], "is an IPv4 address"),
        (vec![ports(Ports::One(0), &[])], "port 0"),
        (vec![ports(Ports::Range(0, 5), &[])], "port 0"),
        (vec![ports(Ports::Range(5, 5), &[])], "must end after it begins"),
        (ranges, "the tcp ranges 1-10 and 10-20 overlap"),
        (vec![ServiceSpec { ttl: Some(0), ..web() }], "TTL 0"),
        (vec![service(many.collect())], "at most 4095"),
        (lots.collect(), "65 services; at most 64"),
    ] {
        let error = world.apply(&Desired { vips: vec![vip(2, services)] }).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
    let twice = Desired { vips: vec![vip(2, vec![web()]), vip(2, vec![])] };
    assert!(world.apply(&twice).unwrap_err().to_string().contains("appears twice"));
    let vips = Desired { vips: (1..=17).map(|n| vip(n, vec![])).collect() };
    assert!(world.apply(&vips).unwrap_err().to_string().contains("17 VIPs; at most 16"));
    assert_eq!(world.in_ring(), [1]);
    let vips: BTreeMap<_, _> = world.tables().vips.clone();
    assert_eq!(vips.into_keys().collect::<Vec<_>>(), [VipKey(octets([198, 51, 100, 1].into()))]);
}
