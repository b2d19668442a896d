//! What is left of an UPDATE, with and without errors.

use bytes::Bytes;

use super::malformed::{AS_PATH, NET, NEXT_HOP, ORIGIN, REACH, update, with};
use super::*;

fn decoded(octets: &[u8], ctx: &DecodeContext) -> DecodedUpdate {
    match read(octets, ctx) {
        Ok(Decoded::Update(decoded)) => decoded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_is_read() {
    let more: &[&[u8]] = &[
        &[0x80, 4, 4, 0, 0, 0, 10],
        &[0x40, 5, 4, 0, 0, 0, 200],
        &[0x40, 6, 0],
        &[0xC0, 7, 8, 0, 1, 0, 0, 192, 0, 2, 9],
        &[0xC0, 8, 8, 0xFD, 0xE8, 0, 100, 0xFF, 0xFF, 0xFF, 1],
        &[0xC0, 99, 1, 7],
        &[0xC0, 32, 24, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
    ];
    let octets = update(&[16, 172, 16], &[ORIGIN, AS_PATH, NEXT_HOP, &more.concat()].concat(), NET);
    let update = decoded(&octets, &context(false)).update;
    assert_eq!(update.withdrawn, ["172.16.0.0/16".parse().unwrap()]);
    assert_eq!(update.nlri, ["203.0.113.0/24".parse().unwrap()]);
    let expected = Attributes {
        origin: Origin::Igp,
        as_path: AsPath::sequence([65001]),
        next_hop: Some([192, 0, 2, 1].into()),
        med: Some(10),
        local_pref: Some(200),
        atomic_aggregate: true,
        aggregator: Some(Aggregator { asn: 65536, address: [192, 0, 2, 9].into() }),
        communities: vec![Community::new(65000, 100), Community::NO_EXPORT],
        large_communities: vec![LargeCommunity::new(1, 2, 3)],
        opaque: vec![OpaqueAttribute { flags: 0xE0, code: 99, value: Bytes::from_static(&[7]) }],
        ..Attributes::default()
    };
    assert_eq!(update.attributes, expected);
}

#[test]
fn the_first_of_two_stands() {
    let octets = with(&[0x40, 1, 1, 2]);
    assert_eq!(decoded(&octets, &context(true)).update.attributes.origin, Origin::Igp);
}

#[test]
fn a_bad_attribute_does_not_shift_the_next() {
    let octets = with(&[0xC0, 7, 3, 9, 9, 9, 0x80, 4, 4, 0, 0, 0, 10]);
    let decoded = decoded(&octets, &context(true));
    assert_eq!(decoded.update.attributes.aggregator, None);
    assert_eq!(decoded.update.attributes.med, Some(10));
    assert_eq!(decoded.errors[0].field, Field::Attribute(7));
    assert_eq!(decoded.errors[0].to_string(), "AGGREGATOR at octet 43: Invalid attribute length");
}

#[test]
fn treating_as_withdraw_names_every_route() {
    let bad = &[0x80, 4, 1, 0];
    let unreach = &[0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0x0D, 0xB9];
    let octets =
        update(&[16, 172, 16], &[ORIGIN, AS_PATH, NEXT_HOP, bad, REACH, unreach].concat(), NET);
    let update = decoded(&octets, &context(true)).update;
    let withdrawn: Vec<_> = update.withdrawals().map(|prefix| prefix.to_string()).collect();
    let expected = ["172.16.0.0/16", "203.0.113.0/24", "2001:db9::/32", "2001:db8::/32"];
    assert_eq!(withdrawn, expected);
}

#[test]
fn treating_as_withdraw_keeps_two_families_apart() {
    let bad = &[0x80, 4, 1, 0];
    let unreach4 = &[0x80, 15, 5, 0, 1, 1, 8, 10];
    let octets = update(&[], &[ORIGIN, AS_PATH, bad, REACH, unreach4].concat(), &[]);
    let update = decoded(&octets, &context(true)).update;
    assert_eq!(update.withdrawn, ["10.0.0.0/8".parse().unwrap()]);
    let unreach = update.mp_unreach.unwrap();
    assert_eq!(unreach.family, Family::IPV6_UNICAST);
    assert_eq!(unreach.nlri, ["2001:db8::/32".parse().unwrap()]);
}

#[test]
fn a_prefix_withdrawn_and_announced_is_announced() {
    let octets = update(&[NET, &[8, 10]].concat(), &[ORIGIN, AS_PATH, NEXT_HOP].concat(), NET);
    let update = decoded(&octets, &context(true)).update;
    assert_eq!(update.withdrawn, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(update.nlri, ["203.0.113.0/24".parse().unwrap()]);
}

#[test]
fn routes_of_a_family_not_negotiated_are_ignored() {
    let ctx = DecodeContext { families: Family::IPV6_UNICAST.into(), ..context(true) };
    let octets = update(&[8, 10], &[ORIGIN, AS_PATH, NEXT_HOP].concat(), NET);
    let decoded = decoded(&octets, &ctx);
    assert_eq!(decoded.update, Update::default());
    assert_eq!(decoded.end_of_rib, None);
    let fields: Vec<_> = decoded.errors.iter().map(|error| error.field).collect();
    assert_eq!(fields, [Field::Withdrawn, Field::Nlri]);
}

#[test]
fn end_of_rib_is_only_what_it_says() {
    let end = |octets: &[u8]| decoded(octets, &context(true)).end_of_rib;
    assert_eq!(end(&update(&[], &[], &[])), Some(Family::IPV4_UNICAST));
    assert_eq!(end(&update(&[], &[0x80, 15, 3, 0, 2, 1], &[])), Some(Family::IPV6_UNICAST));
    assert_eq!(end(&update(&[], &[0x80, 15, 4, 0, 2, 1, 0], &[])), None);
    assert_eq!(end(&update(&[8, 10], &[], &[])), None);
    assert_eq!(end(&update(&[], ORIGIN, &[])), None);
    // Nothing is left of these, and yet they are no marker.
    assert_eq!(end(&update(&[], &[0x80, 15, 3, 0, 25, 65], &[])), None);
    assert_eq!(end(&update(&[], &[0x80, 99, 1, 0], &[])), None);
    for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
        let octets = Update::end_of_rib(family);
        let octets = encode(&Message::Update(octets), &EncodeContext::default()).unwrap();
        assert_eq!(end(&octets), Some(family));
    }
}

#[test]
fn short_as_numbers_are_completed() {
    let ctx = DecodeContext { as4: false, ..context(true) };
    let as_path = [0x40, 2, 8, 2, 3, 0, 10, 0x5B, 0xA0, 0x5B, 0xA0];
    let as4_path = [0xC0, 17, 10, 2, 2, 0, 1, 0, 0, 0, 2, 0, 0];
    let aggregator = [0xC0, 7, 6, 0x5B, 0xA0, 1, 2, 3, 4];
    let as4_aggregator = [0xC0, 18, 8, 0, 2, 0, 0, 1, 2, 3, 5];
    let all = [ORIGIN, &as_path, NEXT_HOP, &aggregator, &as4_path, &as4_aggregator].concat();
    let attributes = decoded(&update(&[], &all, NET), &ctx).update.attributes;
    assert_eq!(attributes.as_path, AsPath::sequence([10, 65536, 131_072]));
    let expected = Aggregator { asn: 131_072, address: [1, 2, 3, 5].into() };
    assert_eq!(attributes.aggregator, Some(expected));

    // An aggregator of a short AS has formed the path anew.
    let aggregator = [0xC0, 7, 6, 0, 10, 1, 2, 3, 4];
    let all = [ORIGIN, &as_path, NEXT_HOP, &aggregator, &as4_path, &as4_aggregator].concat();
    let attributes = decoded(&update(&[], &all, NET), &ctx).update.attributes;
    assert_eq!(attributes.as_path, AsPath::sequence([10, 23456, 23456]));
    assert_eq!(attributes.aggregator.map(|value| value.asn), Some(10));
}
