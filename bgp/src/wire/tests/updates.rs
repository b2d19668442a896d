//! UPDATE errors as data: octets on the left, what RFC 7606 and its relatives demand on the right.

use bytes::Bytes;

use super::*;

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const NET: &[u8] = &[24, 203, 0, 113];

/// An UPDATE message of its three parts.
fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
    let parts = [&length(withdrawn), withdrawn, &length(attributes), attributes, nlri];
    message(2, &parts.concat())
}

/// What an UPDATE leads to: the strongest action with code, subcode and data.
#[derive(Debug, PartialEq)]
enum Outcome {
    Accept,
    Discard(u8, Vec<u8>),
    Withdraw(u8, Vec<u8>),
    Reset(u8, Vec<u8>),
}
use Outcome::{Accept, Discard, Reset, Withdraw};

fn outcome(octets: &[u8], ctx: &DecodeContext) -> Outcome {
    let decoded = match read(octets, ctx) {
        Ok(Decoded::Update(decoded)) => decoded,
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert_eq!((error.action, error.code.0), (Action::SessionReset, 3));
            return Reset(error.subcode, error.data.to_vec());
        }
    };
    let Some(worst) = decoded.errors.iter().find(|error| error.action == decoded.action) else {
        assert_eq!((decoded.action, decoded.errors.len()), (Action::None, 0));
        return Accept;
    };
    assert_eq!(worst.code, ErrorCode::UPDATE_MESSAGE);
    match worst.action {
        Action::AttributeDiscard => Discard(worst.subcode, worst.data.to_vec()),
        Action::TreatAsWithdraw => {
            assert_eq!(decoded.update.announcements().count(), 0);
            assert_eq!(decoded.update.attributes, Attributes::default());
            Withdraw(worst.subcode, worst.data.to_vec())
        }
        other => panic!("{other:?}"),
    }
}

/// A rule and its test: octets, then what they lead to from an external and an internal peer.
struct Row(&'static str, Vec<u8>, Outcome, Outcome);

fn same(
    name: &'static str,
    octets: Vec<u8>,
    both: fn(u8, Vec<u8>) -> Outcome,
    sub: u8,
    data: &[u8],
) -> Row {
    Row(name, octets, both(sub, data.to_vec()), both(sub, data.to_vec()))
}

fn fine(name: &'static str, octets: Vec<u8>) -> Row {
    Row(name, octets, Accept, Accept)
}

/// A valid announcement with one more attribute.
fn with(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[ORIGIN, AS_PATH, NEXT_HOP, attribute].concat(), NET)
}

/// An announcement with another ORIGIN, AS_PATH or NEXT_HOP.
fn origin(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[attribute, AS_PATH, NEXT_HOP].concat(), NET)
}

fn path(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[ORIGIN, attribute, NEXT_HOP].concat(), NET)
}

fn hop(attribute: &[u8]) -> Vec<u8> {
    update(&[], &[ORIGIN, AS_PATH, attribute].concat(), NET)
}

#[track_caller]
fn check(rows: Vec<Row>) {
    for Row(name, octets, external, internal) in rows {
        assert_eq!(outcome(&octets, &context(true)), external, "{name}, eBGP");
        assert_eq!(outcome(&octets, &context(false)), internal, "{name}, iBGP");
    }
}

#[test]
fn lengths_and_prefixes() {
    let good = [ORIGIN, AS_PATH, NEXT_HOP].concat();
    check(vec![
        fine("a plain announcement", with(&[])),
        same("withdrawn length overruns", message(2, &[0, 9, 0, 0]), Reset, 1, &[]),
        same("attribute length overruns", message(2, &[0, 0, 0, 9]), Reset, 1, &[]),
        same("attribute length missing", message(2, &[0, 2, 8, 10]), Reset, 1, &[]),
        same("withdrawn /33", update(&[33, 1, 2, 3, 4, 5], &[], &[]), Reset, 10, &[]),
        same("withdrawn cut off", update(&[24, 1], &[], &[]), Reset, 10, &[]),
        same("NLRI /33", update(&[], &good, &[33, 1, 2, 3, 4, 5]), Reset, 10, &[]),
        same("NLRI cut off", update(&[], &good, &[24, 1]), Reset, 10, &[]),
        fine("host bits are masked", update(&[], &good, &[8, 10])),
        same("multicast is ignored", update(&[], &good, &[4, 0xE0]), Discard, 10, &[]),
        same("loopback is ignored", update(&[], &good, &[8, 127]), Discard, 10, &[]),
    ]);
}

#[test]
fn the_attribute_list() {
    let tail = |stray: &[u8]| with(stray);
    let well_known: &[u8] = &[0x40, 99, 1, 7];
    let wide: &[u8] = &[0x50, 99, 0, 1, 7];
    let reach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    check(vec![
        same("last attribute overruns", tail(&[0x80, 4, 5, 0, 0, 0, 0]), Withdraw, 1, &[]),
        same("one stray octet", tail(&[0x80]), Withdraw, 1, &[]),
        same("two stray octets", tail(&[0x80, 4]), Withdraw, 1, &[]),
        same("three stray octets", tail(&[0x90, 4, 0]), Withdraw, 1, &[]),
        same("no attributes at all", update(&[], &[], NET), Withdraw, 3, &[1]),
        same("no ORIGIN", origin(&[]), Withdraw, 3, &[1]),
        same("no AS_PATH", path(&[]), Withdraw, 3, &[2]),
        same("no NEXT_HOP", hop(&[]), Withdraw, 3, &[3]),
        same("ORIGIN twice", with(&[0x40, 1, 1, 2]), Discard, 1, &[]),
        same("MED twice", with(&[0x80, 4, 4, 0, 0, 0, 1, 0x80, 4, 4, 0, 0, 0, 2]), Discard, 1, &[]),
        same("MP_UNREACH twice", with(&[reach, reach].concat()), Reset, 1, &[]),
        same("MP_REACH twice", with(&[REACH, REACH].concat()), Reset, 1, &[]),
        same("unknown well-known", with(well_known), Reset, 2, well_known),
        same("the same, two-octet length", with(wide), Reset, 2, wide),
        fine("unknown optional", with(&[0x80, 99, 1, 7])),
        fine("unknown optional transitive", with(&[0xC0, 99, 1, 7])),
        fine("low flag bits", origin(&[0x4F & !0x10, 1, 1, 0])),
        fine("two-octet length where one would do", origin(&[0x50, 1, 0, 1, 0])),
    ]);
}

#[test]
fn attributes_without_routes() {
    let med: &[u8] = &[0x80, 4, 3, 0, 0, 0];
    let aggregator: &[u8] = &[0xC0, 7, 1, 0];
    let nothing = |attributes: &[&[u8]]| update(&[], &attributes.concat(), &[]);
    check(vec![
        fine("well-formed", nothing(&[ORIGIN, AS_PATH])),
        same("one to discard", nothing(&[ORIGIN, AS_PATH, aggregator]), Discard, 5, aggregator),
        same("one to withdraw", nothing(&[ORIGIN, AS_PATH, med]), Reset, 5, med),
        same("the list itself", nothing(&[ORIGIN, AS_PATH, &[0x40]]), Reset, 1, &[]),
        same("routes lost with the list", nothing(&[&[0x80, 14, 99, 0, 2, 1]]), Reset, 1, &[]),
        same(
            "flags of MP_UNREACH alone",
            nothing(&[&[0xC0, 15, 3, 0, 2, 1]]),
            Withdraw,
            4,
            &[0xC0, 15, 3, 0, 2, 1],
        ),
    ]);
}

#[test]
fn origin_and_next_hop() {
    let row = |name, octets: fn(&[u8]) -> Vec<u8>, attribute: &'static [u8], subcode| {
        same(name, octets(attribute), Withdraw, subcode, attribute)
    };
    check(vec![
        row("ORIGIN too long", origin, &[0x40, 1, 2, 0, 0], 5),
        row("ORIGIN too short", origin, &[0x40, 1, 0], 5),
        row("ORIGIN 3", origin, &[0x40, 1, 1, 3], 6),
        row("ORIGIN optional", origin, &[0xC0, 1, 1, 0], 4),
        row("ORIGIN not transitive", origin, &[0, 1, 1, 0], 4),
        row("ORIGIN partial", origin, &[0x60, 1, 1, 0], 4),
        row("NEXT_HOP too short", hop, &[0x40, 3, 3, 1, 2, 3], 5),
        row("NEXT_HOP too long", hop, &[0x40, 3, 5, 1, 2, 3, 4, 5], 5),
        row("NEXT_HOP in 0/8", hop, &[0x40, 3, 4, 0, 1, 2, 3], 8),
        row("NEXT_HOP loopback", hop, &[0x40, 3, 4, 127, 0, 0, 1], 8),
        row("NEXT_HOP multicast", hop, &[0x40, 3, 4, 224, 0, 0, 1], 8),
        row("NEXT_HOP class E", hop, &[0x40, 3, 4, 255, 255, 255, 255], 8),
    ]);
}

#[test]
fn as_paths() {
    let bad = |name, attribute: &'static [u8]| same(name, path(attribute), Withdraw, 11, attribute);
    let external_only = |name, attribute: &'static [u8]| {
        Row(name, path(attribute), Withdraw(11, attribute.to_vec()), Accept)
    };
    let long = [&[0x50, 2, 4, 4, 2, 255][..], &[1; 1020], &[2, 1, 0, 0, 0, 1]].concat();
    let flags: &[u8] = &[0x80, 2, 0];
    check(vec![
        bad("segment type 0", &[0x40, 2, 6, 0, 1, 0, 0, 0, 1]),
        bad("segment type 5", &[0x40, 2, 6, 5, 1, 0, 0, 0, 1]),
        bad("empty segment", &[0x40, 2, 2, 2, 0]),
        bad("segment overruns", &[0x40, 2, 6, 2, 2, 0, 0, 0, 1]),
        bad("stray octet", &[0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2]),
        bad("AS 0", &[0x40, 2, 6, 2, 1, 0, 0, 0, 0]),
        bad("AS_SET", &[0x40, 2, 6, 1, 1, 0, 0, 0, 1]),
        bad("AS_CONFED_SET", &[0x40, 2, 6, 4, 1, 0, 0, 0, 1]),
        external_only("AS_CONFED_SEQUENCE", &[0x40, 2, 6, 3, 1, 0, 0, 0, 1]),
        external_only("empty path", &[0x40, 2, 0]),
        same("flags", path(flags), Withdraw, 4, flags),
        fine("256 numbers in two segments", path(&long)),
    ]);
}

#[test]
fn sets_are_accepted_on_demand() {
    let ctx = DecodeContext { allow_as_sets: true, ..context(true) };
    assert_eq!(outcome(&path(&[0x40, 2, 6, 1, 1, 0, 0, 0, 1]), &ctx), Accept);
}

#[test]
fn other_attributes_with_a_field() {
    let row = |name, attribute: &'static [u8], outcome: fn(u8, Vec<u8>) -> Outcome, subcode| {
        same(name, with(attribute), outcome, subcode, attribute)
    };
    let internal = |name, attribute: &'static [u8], internal| {
        Row(name, with(attribute), Discard(0, attribute.to_vec()), internal)
    };
    check(vec![
        row("MED too short", &[0x80, 4, 3, 0, 0, 0], Withdraw, 5),
        row("MED flags", &[0xC0, 4, 4, 0, 0, 0, 0], Withdraw, 4),
        internal("LOCAL_PREF", &[0x40, 5, 4, 0, 0, 0, 100], Accept),
        internal(
            "LOCAL_PREF too short",
            &[0x40, 5, 3, 0, 0, 0],
            Withdraw(5, vec![0x40, 5, 3, 0, 0, 0]),
        ),
        fine("ATOMIC_AGGREGATE", with(&[0x40, 6, 0])),
        row("ATOMIC_AGGREGATE with a value", &[0x40, 6, 1, 0], Discard, 5),
        fine("AGGREGATOR", with(&[0xC0, 7, 8, 0, 0, 0, 1, 1, 2, 3, 4])),
        row("AGGREGATOR of two-octet AS", &[0xC0, 7, 6, 0, 1, 1, 2, 3, 4], Discard, 5),
        row("AGGREGATOR AS 0", &[0xC0, 7, 8, 0, 0, 0, 0, 1, 2, 3, 4], Discard, 9),
        fine("COMMUNITIES", with(&[0xC0, 8, 4, 0xFD, 0xE8, 0, 100])),
        row("COMMUNITIES empty", &[0xC0, 8, 0], Withdraw, 5),
        row("COMMUNITIES not times 4", &[0xC0, 8, 5, 0, 0, 0, 0, 0], Withdraw, 5),
        row("COMMUNITIES flags", &[0x80, 8, 4, 0, 0, 0, 0], Withdraw, 4),
        row("AS4_PATH between new speakers", &[0xC0, 17, 6, 2, 1, 0, 0, 0, 1], Discard, 9),
        row("AS4_AGGREGATOR alike", &[0xC0, 18, 8, 0, 0, 0, 1, 1, 2, 3, 4], Discard, 9),
    ]);
}

#[test]
fn attributes_kept_opaque() {
    let row = |name, attribute: &'static [u8]| same(name, with(attribute), Withdraw, 5, attribute);
    let internal = |name, attribute: &'static [u8], internal| {
        Row(name, with(attribute), Discard(9, attribute.to_vec()), internal)
    };
    check(vec![
        internal("ORIGINATOR_ID", &[0x80, 9, 4, 1, 2, 3, 4], Accept),
        internal("ORIGINATOR_ID short", &[0x80, 9, 1, 1], Withdraw(5, vec![0x80, 9, 1, 1])),
        internal("CLUSTER_LIST", &[0x80, 10, 4, 1, 2, 3, 4], Accept),
        internal("CLUSTER_LIST empty", &[0x80, 10, 0], Withdraw(5, vec![0x80, 10, 0])),
        row("EXTENDED COMMUNITIES empty", &[0xC0, 16, 0]),
        row("EXTENDED COMMUNITIES short", &[0xC0, 16, 4, 0, 0, 0, 0]),
        row("IPv6 EXTENDED COMMUNITIES", &[0xC0, 25, 1, 0]),
        row("LARGE_COMMUNITY", &[0xC0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        row("ONLY_TO_CUSTOMER", &[0xC0, 35, 3, 0, 0, 0]),
        fine("ONLY_TO_CUSTOMER well", with(&[0xC0, 35, 4, 0, 0, 0, 1])),
    ]);
}

/// IPv6 unicast, next hop 2001:db8::1, prefix 2001:db8::/32.
const REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32,
    0x20, 1, 0x0D, 0xB8,
];

#[test]
fn multiprotocol() {
    let reach = |value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap();
        let attribute = [&[0x80, 14, length][..], value].concat();
        (update(&[], &[&attribute, ORIGIN, AS_PATH].concat(), &[]), attribute)
    };
    let unreach = |value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap();
        let attribute = [&[0x80, 15, length][..], value].concat();
        (update(&[], &attribute, &[]), attribute)
    };
    let bad =
        |name, (octets, attribute): (Vec<u8>, Vec<u8>)| same(name, octets, Reset, 9, &attribute);
    let ignored =
        |name, (octets, attribute): (Vec<u8>, Vec<u8>)| same(name, octets, Discard, 9, &attribute);
    let hop16 = [&[0, 2, 1, 16][..], &[0x20; 16], &[0]].concat();
    let hop32 = [&[0, 2, 1, 32][..], &[0x20; 32], &[0]].concat();
    let hop15 = [&[0, 2, 1, 15][..], &[0x20; 15], &[0]].concat();
    let v4_by_v6 = [&[0, 1, 1, 16][..], &[0x20; 16], &[0]].concat();
    let flagged = [&[0xC0][..], &REACH[1..]].concat();
    check(vec![
        fine("16-octet next hop", reach(&hop16).0),
        fine("32-octet next hop", reach(&hop32).0),
        fine("no NEXT_HOP beside MP_REACH", update(&[], &[ORIGIN, AS_PATH, REACH].concat(), &[])),
        bad("15-octet next hop", reach(&hop15)),
        bad("IPv6 next hop of IPv4", reach(&v4_by_v6)),
        bad("next hop cut off", reach(&[0, 2, 1, 16, 1])),
        bad("reserved octet missing", reach(&hop16[..20])),
        bad("family cut off", reach(&[0, 2])),
        bad("prefix /129", reach(&[&hop16[..], &[129], &[0; 17]].concat())),
        bad("prefix cut off", reach(&[&hop16[..], &[32, 1]].concat())),
        bad("MP_UNREACH family cut off", unreach(&[0, 2])),
        bad("MP_UNREACH prefix cut off", unreach(&[0, 2, 1, 32, 1])),
        bad("MP_UNREACH prefix /129", unreach(&[&[0, 2, 1, 129][..], &[0; 17]].concat())),
        ignored("family not negotiated", reach(&[0, 25, 65, 1, 1])),
        ignored("the same in MP_UNREACH", unreach(&[0, 25, 65, 9])),
        same(
            "wrong flags withdraw the routes",
            update(&[], &[ORIGIN, AS_PATH, &flagged].concat(), &[]),
            Withdraw,
            4,
            &flagged,
        ),
        same(
            "no AS_PATH beside it",
            update(&[], &[ORIGIN, REACH].concat(), &[]),
            Withdraw,
            3,
            &[2],
        ),
    ]);
}

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

    // A malformed AS4_PATH is discarded (RFC 6793 section 6), one with a set is not (RFC 9774).
    let as_path = [ORIGIN, &as_path, NEXT_HOP].concat();
    let malformed = [0xC0, 17, 1, 2];
    let octets = update(&[], &[&as_path[..], &malformed].concat(), NET);
    assert_eq!(outcome(&octets, &ctx), Discard(9, malformed.to_vec()));
    let set = [0xC0, 17, 6, 1, 1, 0, 0, 0, 1];
    let octets = update(&[], &[&as_path[..], &set].concat(), NET);
    assert_eq!(outcome(&octets, &ctx), Withdraw(11, set.to_vec()));
}
