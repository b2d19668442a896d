//! The packer: everything arrives once, and messages are as full as can be.

use ipnet::IpNet;
use proptest::prelude::*;

use super::strategies::{attributes, ipv4_nets, ipv6_nets};
use super::*;

/// Announcements and withdrawals of all `messages`, in order.
fn unpack(messages: &[bytes::Bytes]) -> (Vec<(IpNet, NextHop)>, Vec<IpNet>) {
    let (mut announced, mut withdrawn) = (Vec::new(), Vec::new());
    for octets in messages {
        assert!(octets.len() <= MAX_LEN);
        let Ok(Decoded::Update(decoded)) = read(octets, &context(false)) else { panic!() };
        assert_eq!(decoded.errors, []);
        announced.extend(decoded.update.announcements().map(|(nlri, hop)| (nlri.prefix, hop)));
        withdrawn.extend(decoded.update.withdrawals().map(|nlri| nlri.prefix));
    }
    (announced, withdrawn)
}

#[test]
fn a_thousand_hosts_take_two_messages() {
    let hosts: Vec<IpNet> =
        (0..1000_u32).map(|host| IpNet::V4((0x0A00_0000 + host).into_net())).collect();
    let attributes = Attributes { as_path: AsPath::sequence([65001]), ..Attributes::default() };
    let next_hop = NextHop::Ipv4([192, 0, 2, 1].into());
    let mut out = Vec::new();
    let ctx = EncodeContext::default();
    encode_announce(&attributes, Family::IPV4_UNICAST, next_hop, &hosts, &ctx, &mut out).unwrap();
    assert_eq!(out.len(), 2);
    assert!(out[0].len() > MAX_LEN - 5);
    let expected: Vec<_> = hosts.iter().map(|host| (*host, next_hop)).collect();
    assert_eq!(unpack(&out).0, expected);

    let mut out = Vec::new();
    encode_withdraw(Family::IPV4_UNICAST, &hosts, &ctx, &mut out).unwrap();
    assert_eq!((out.len(), unpack(&out).1), (2, hosts));
}

trait IntoNet {
    fn into_net(self) -> ipnet::Ipv4Net;
}

impl IntoNet for u32 {
    fn into_net(self) -> ipnet::Ipv4Net {
        ipnet::Ipv4Net::new(self.into(), 32).unwrap()
    }
}

#[test]
fn ipv4_routes_use_the_plain_fields() {
    let nets: [IpNet; 1] = ["192.0.2.0/24".parse().unwrap()];
    let next_hop = NextHop::Ipv4([10, 0, 0, 1].into());
    let mut out = Vec::new();
    encode_announce(
        &Attributes { med: Some(10), ..Attributes::default() },
        Family::IPV4_UNICAST,
        next_hop,
        &nets,
        &EncodeContext::default(),
        &mut out,
    )
    .unwrap();
    let attributes = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 0],
        &[0x40, 3, 4, 10, 0, 0, 1],
        &[0x80, 4, 4, 0, 0, 0, 10],
    ]
    .concat();
    let body = [&[0, 0, 0, 21][..], &attributes, &[24, 192, 0, 2]].concat();
    assert_eq!(out, [message(2, &body)]);
}

#[test]
fn ipv6_routes_come_first_among_the_attributes() {
    let nets: [IpNet; 1] = ["2001:db8::/32".parse().unwrap()];
    let next_hop = NextHop::Ipv6("2001:db8::1".parse().unwrap());
    let mut out = Vec::new();
    let ctx = EncodeContext::default();
    let attributes = Attributes::default();
    encode_announce(&attributes, Family::IPV6_UNICAST, next_hop, &nets, &ctx, &mut out).unwrap();
    assert_eq!(out[0][23..31], [0x80, 14, 26, 0, 2, 1, 16, 0x20]);
    encode_withdraw(Family::IPV6_UNICAST, &nets, &ctx, &mut out).unwrap();
    assert_eq!(out[1][19..], [0, 0, 0, 11, 0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0x0D, 0xB8]);
}

#[test]
fn mismatches_are_refused_and_leave_nothing_behind() {
    let v4: [IpNet; 1] = ["192.0.2.0/24".parse().unwrap()];
    let v6: [IpNet; 1] = ["2001:db8::/32".parse().unwrap()];
    let hop4 = NextHop::Ipv4([10, 0, 0, 1].into());
    let hop6 = NextHop::Ipv6("2001:db8::1".parse().unwrap());
    let ctx = EncodeContext::default();
    let mut out = Vec::new();
    let attributes = Attributes::default();
    let mut announce = |family, hop, nets: &[IpNet], ctx: &EncodeContext| {
        let refused = encode_announce(&attributes, family, hop, nets, ctx, &mut out);
        assert_eq!(out.len(), 0);
        refused.unwrap_err()
    };
    let is_mismatch = |error| matches!(error, EncodeError::WrongFamily { .. });
    assert!(is_mismatch(announce(Family::IPV4_UNICAST, hop4, &v6, &ctx)));
    assert!(is_mismatch(announce(Family::IPV4_UNICAST, hop6, &v4, &ctx)));
    assert!(is_mismatch(announce(Family::IPV6_UNICAST, hop4, &v6, &ctx)));
    assert!(is_mismatch(announce(Family::IPV6_UNICAST, hop6, &v4, &ctx)));
    let tiny = EncodeContext { max_len: 40, ..ctx };
    let refused = announce(Family::IPV4_UNICAST, hop4, &v4, &tiny);
    assert_eq!(refused, EncodeError::MessageTooLong { length: 41, max: 40 });
}

#[test]
fn path_identifiers_and_long_messages_are_packed() {
    let routes: Vec<Nlri> = (0..10_000_u32)
        .map(|id| Nlri { prefix: IpNet::V4((0x0A00_0000 + id).into_net()), path_id: Some(id) })
        .collect();
    let ctx = EncodeContext {
        max_len: EXTENDED_MAX_LEN,
        add_path: Family::IPV4_UNICAST.into(),
        ..EncodeContext::default()
    };
    let attributes = Attributes { as_path: AsPath::sequence([65001]), ..Attributes::default() };
    let next_hop = NextHop::Ipv4([192, 0, 2, 1].into());
    let mut out = Vec::new();
    encode_announce(&attributes, Family::IPV4_UNICAST, next_hop, &routes, &ctx, &mut out).unwrap();
    encode_withdraw(Family::IPV4_UNICAST, &routes, &ctx, &mut out).unwrap();
    assert_eq!(out.len(), 4);
    let ctx = DecodeContext { add_path: FamilySet::ALL, ..context(true) };
    let (mut announced, mut withdrawn) = (Vec::new(), Vec::new());
    for octets in &out {
        let Ok(Decoded::Update(decoded)) = read(octets, &ctx) else { panic!() };
        announced.extend(decoded.update.announcements().map(|(nlri, _)| nlri));
        withdrawn.extend(decoded.update.withdrawals());
    }
    assert_eq!((&announced, &withdrawn), (&routes, &routes));
}

#[test]
fn ipv4_routes_with_an_ipv6_next_hop_use_mp_reach() {
    let nets: [IpNet; 1] = ["192.0.2.0/24".parse().unwrap()];
    let next_hop = NextHop::Ipv6("2001:db8::1".parse().unwrap());
    let ctx = EncodeContext { extended_next_hop: true, ..EncodeContext::default() };
    let mut out = Vec::new();
    let attributes = Attributes::default();
    encode_announce(&attributes, Family::IPV4_UNICAST, next_hop, &nets, &ctx, &mut out).unwrap();
    assert_eq!(out[0][23..31], [0x80, 14, 25, 0, 1, 1, 16, 0x20]);
    let ctx = DecodeContext { extended_next_hop: true, ..context(false) };
    let Ok(Decoded::Update(decoded)) = read(&out[0], &ctx) else { panic!() };
    assert_eq!(decoded.update.announcements().collect::<Vec<_>>(), [(nets[0].into(), next_hop)]);
}

proptest! {
    #[test]
    fn every_ipv4_route_arrives_once(attributes in attributes(), nets in ipv4_nets(0..2000)) {
        let nets: Vec<IpNet> = nets.into_iter().map(IpNet::V4).collect();
        let next_hop = NextHop::Ipv4([192, 0, 2, 1].into());
        check(&attributes, Family::IPV4_UNICAST, next_hop, &nets);
    }

    #[test]
    fn every_ipv6_route_arrives_once(attributes in attributes(), nets in ipv6_nets(0..600)) {
        let next_hop = NextHop::Ipv6("2001:db8::1".parse().unwrap());
        check(&attributes, Family::IPV6_UNICAST, next_hop, &nets);
    }
}

fn check(attributes: &Attributes, family: Family, next_hop: NextHop, nets: &[IpNet]) {
    let ctx = EncodeContext::default();
    let mut out = Vec::new();
    encode_announce(attributes, family, next_hop, nets, &ctx, &mut out).unwrap();
    let expected: Vec<_> = nets.iter().map(|net| (*net, next_hop)).collect();
    assert_eq!(unpack(&out), (expected, Vec::new()));
    // Only the last message has room for another route.
    let longest = 17;
    assert!(out.iter().rev().skip(1).all(|octets| octets.len() + longest > MAX_LEN));
    let mut out = Vec::new();
    encode_withdraw(family, nets, &ctx, &mut out).unwrap();
    assert_eq!(unpack(&out), (Vec::new(), nets.to_vec()));
}
