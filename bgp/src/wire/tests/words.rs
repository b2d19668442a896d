//! What operators read, and the forms that a next hop has on the wire.

use ipnet::IpNet;

use super::malformed::{AS_PATH, NET, NEXT_HOP, ORIGIN, update};
use super::*;

#[test]
fn fields_have_the_names_of_the_rfcs() {
    let rows = [
        (Field::Marker, "marker"),
        (Field::Length, "message length"),
        (Field::Type, "message type"),
        (Field::Version, "version"),
        (Field::MyAs, "AS number"),
        (Field::HoldTime, "hold time"),
        (Field::Identifier, "BGP identifier"),
        (Field::OptionalParameters, "optional parameters"),
        (Field::Capability(64), "capability 64"),
        (Field::Withdrawn, "withdrawn routes"),
        (Field::Attributes, "path attributes"),
        (Field::Attribute(1), "ORIGIN"),
        (Field::Attribute(35), "ONLY_TO_CUSTOMER"),
        (Field::Attribute(99), "attribute 99"),
        (Field::Nlri, "NLRI"),
        (Field::Notification, "notification"),
        (Field::RouteRefresh, "route refresh"),
    ];
    for (field, name) in rows {
        assert_eq!(field.to_string(), name);
    }
}

#[test]
fn values_are_written_as_operators_write_them() {
    let origins = [Origin::Igp, Origin::Egp, Origin::Incomplete].map(|origin| origin.to_string());
    assert_eq!(origins, ["IGP", "EGP", "Incomplete"]);
    for (family, name) in [
        (Family::IPV4_UNICAST, "ipv4"),
        (Family::IPV6_UNICAST, "ipv6"),
        (Family { afi: 25, safi: 65 }, "afi 25 safi 65"),
    ] {
        assert_eq!(family.to_string(), name);
    }
    let pair = |global: &str| NextHop::Ipv6LinkLocal {
        global: global.parse().unwrap(),
        link_local: "fe80::1".parse().unwrap(),
    };
    for (next_hop, text, address) in [
        (NextHop::Ipv4([192, 0, 2, 1].into()), "192.0.2.1", "192.0.2.1"),
        (NextHop::Ipv6("2001:db8::1".parse().unwrap()), "2001:db8::1", "2001:db8::1"),
        (pair("2001:db8::1"), "2001:db8::1 fe80::1", "2001:db8::1"),
        (pair("::"), ":: fe80::1", "fe80::1"),
    ] {
        assert_eq!(next_hop.to_string(), text);
        assert_eq!(next_hop.address().to_string(), address);
    }
}

/// Each form of a next hop in MP_REACH_NLRI, whole and packed, comes back as it was.
#[test]
fn next_hops_of_every_form_go_both_ways() {
    let v6 = |text: &str| NextHop::Ipv6(text.parse().unwrap());
    let pair = NextHop::Ipv6LinkLocal {
        global: "2001:db8::1".parse().unwrap(),
        link_local: "fe80::1".parse().unwrap(),
    };
    let four: IpNet = "203.0.113.0/24".parse().unwrap();
    let six: IpNet = "2001:db8:203::/48".parse().unwrap();
    let writing = EncodeContext { extended_next_hop: true, ..EncodeContext::default() };
    let reading = DecodeContext { extended_next_hop: true, ..context(true) };
    for (family, prefix, next_hop) in [
        (Family::IPV4_UNICAST, four, NextHop::Ipv4([192, 0, 2, 1].into())),
        (Family::IPV4_UNICAST, four, v6("2001:db8::1")),
        (Family::IPV4_UNICAST, four, pair),
        (Family::IPV6_UNICAST, six, v6("2001:db8::1")),
        (Family::IPV6_UNICAST, six, v6("fe80::1")),
        (Family::IPV6_UNICAST, six, pair),
    ] {
        let attributes = Attributes { as_path: AsPath::sequence([65001]), ..Attributes::default() };
        let reach = MpReach { family, next_hop, nlri: vec![prefix.into()] };
        let whole =
            Update { attributes: attributes.clone(), mp_reach: Some(reach), ..Update::default() };
        let mut messages = vec![encode(&Message::Update(whole), &writing).unwrap()];
        encode_announce(&attributes, family, next_hop, &[prefix], &writing, &mut messages).unwrap();
        assert_eq!(messages.len(), 2);
        for octets in messages {
            let Ok(Decoded::Update(decoded)) = read(&octets, &reading) else {
                panic!("{next_hop}")
            };
            assert_eq!(decoded.errors, []);
            let routes: Vec<_> = decoded.update.announcements().collect();
            assert_eq!(routes, [(prefix.into(), next_hop)]);
        }
    }
}

#[test]
fn a_view_says_the_same_as_the_message() {
    let octets = update(&[8, 10], &[ORIGIN, AS_PATH, NEXT_HOP].concat(), NET);
    let whole = frame(&octets, MAX_LEN).unwrap().unwrap();
    let view = UpdateView::new(whole, &context(true)).unwrap();
    let Ok(Decoded::Update(decoded)) = read(&octets, &context(true)) else { panic!() };
    assert_eq!(view.into_decoded(), decoded);
    // Withdrawn routes beyond the message.
    let octets = message(2, &[0, 9, 0, 0]);
    let whole = frame(&octets, MAX_LEN).unwrap().unwrap();
    let error = UpdateView::new(whole, &context(true)).expect_err("an error");
    assert_eq!(Err(error), read(&octets, &context(true)).map(|_| ()));
}

#[test]
fn what_cannot_be_encoded_says_why() {
    let six: [IpNet; 1] = ["2001:db8::/32".parse().unwrap()];
    let hop = NextHop::Ipv4([192, 0, 2, 1].into());
    let mut out = Vec::new();
    let ctx = EncodeContext::default();
    let refused =
        encode_announce(&Attributes::default(), Family::IPV6_UNICAST, hop, &six, &ctx, &mut out);
    let words = refused.unwrap_err().to_string();
    assert_eq!(words, "address 192.0.2.1 does not belong to family ipv6");
    let routes = vec!["192.0.2.0/24".parse().unwrap(); 2000];
    let long = Update { withdrawn: routes, ..Update::default() };
    let words = encode(&Message::Update(long), &ctx).unwrap_err().to_string();
    assert_eq!(words, "message of 8023 octets, the limit is 4096");
}

/// What is built is asked as what is received.
#[test]
fn an_update_knows_whether_it_is_a_marker() {
    for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
        assert_eq!(Update::end_of_rib(family).is_end_of_rib(), Some(family));
    }
    let unreach = |nlri| MpUnreach { family: Family::IPV6_UNICAST, nlri };
    let reach = MpReach {
        family: Family::IPV6_UNICAST,
        next_hop: NextHop::Ipv6("2001:db8::1".parse().unwrap()),
        nlri: Vec::new(),
    };
    for other in [
        Update { withdrawn: vec!["192.0.2.0/24".parse().unwrap()], ..Update::default() },
        Update { nlri: vec!["192.0.2.0/24".parse().unwrap()], ..Update::default() },
        Update { mp_reach: Some(reach), ..Update::default() },
        Update {
            mp_unreach: Some(unreach(vec!["2001:db8::/32".parse().unwrap()])),
            ..Update::default()
        },
        Update {
            attributes: Attributes { med: Some(1), ..Attributes::default() },
            ..Update::default()
        },
    ] {
        assert_eq!(other.is_end_of_rib(), None, "{other:?}");
    }
}
