//! OPEN messages (RFC 4271 section 6.2, RFC 5492, RFC 6286, RFC 6793, RFC 7607, RFC 9072).

use std::net::Ipv4Addr;

use bytes::Bytes;

use super::*;

/// An OPEN with good fixed fields and the given optional parameters, length octet included.
fn open_with(parameters: &[u8]) -> Vec<u8> {
    [&[4, 0xFD, 0xE8, 0, 9, 192, 0, 2, 1][..], parameters].concat()
}

#[track_caller]
fn accepted(body: &[u8]) -> Open {
    match read(&message(1, body), &context(true)) {
        Ok(Decoded::Open(open)) => open,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plain_open_is_read() {
    let open = accepted(&open_with(&[0]));
    assert_eq!((open.version, open.my_as, open.hold_time), (4, 65000, 9));
    assert_eq!(open.identifier, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(open.effective_as(), 65000);
    assert_eq!(open.families(), [Family::IPV4_UNICAST]);
}

#[test]
fn capabilities_may_be_spread_over_parameters_at_will() {
    let one = [2, 6, 1, 4, 0, 1, 0, 1];
    let three = [2, 10, 2, 0, 65, 4, 0, 1, 0, 0, 73, 0];
    let body = open_with(&[&[20][..], &one, &three].concat());
    assert_eq!(
        accepted(&body).capabilities,
        [
            Capability::Multiprotocol(Family::IPV4_UNICAST),
            Capability::RouteRefresh,
            Capability::FourOctetAs(65536),
            Capability::Unknown { code: 73, value: Bytes::new() },
        ]
    );
    assert_eq!(accepted(&body).effective_as(), 65536);
}

#[test]
fn repeated_capabilities_are_kept_and_the_last_as_counts() {
    let open = accepted(&open_with(&[
        26, 2, 12, 65, 4, 0, 0, 0, 1, 65, 4, 0, 0, 0, 2, 2, 10, 2, 0, 2, 0, 1, 4, 0, 2, 0, 1,
    ]));
    assert_eq!(open.capabilities.len(), 5);
    assert_eq!(open.effective_as(), 2);
    assert_eq!(open.families(), [Family::IPV6_UNICAST]);
}

#[test]
fn extended_optional_parameters_are_read() {
    let list = [2, 0, 2, 2, 0].as_slice();
    let open = accepted(&open_with(&[&[255, 255, 0, 5][..], list].concat()));
    assert_eq!(open.capabilities, [Capability::RouteRefresh]);
    // The first length octet is to be ignored unless it is zero (RFC 9072 section 2).
    let open = accepted(&open_with(&[&[7, 255, 0, 5][..], list].concat()));
    assert_eq!(open.capabilities, [Capability::RouteRefresh]);
}

#[test]
fn many_capabilities_are_written_in_the_extended_form() {
    let value = Bytes::from(vec![7; 255]);
    let capabilities = vec![Capability::Unknown { code: 200, value }; 2];
    let identifier = Ipv4Addr::new(192, 0, 2, 1);
    let open = Open { version: 4, my_as: 1, hold_time: 0, identifier, capabilities };
    let octets = encode(&Message::Open(open.clone()), &EncodeContext::default()).unwrap();
    assert_eq!(octets[28..35], [255, 255, 2, 5, 2, 2, 2]);
    assert_eq!(read(&octets, &context(true)), Ok(Decoded::Open(open)));
}

#[test]
fn what_does_not_fit_is_not_written() {
    let identifier = Ipv4Addr::new(192, 0, 2, 1);
    let long = Capability::Unknown { code: 200, value: Bytes::from(vec![0; 256]) };
    let full = Capability::Unknown { code: 200, value: Bytes::from(vec![0; 255]) };
    let mut open = Open::new(1, 9, identifier, &[]);
    open.capabilities = vec![long];
    let refused = encode(&Message::Open(open.clone()), &EncodeContext::default());
    assert!(matches!(refused, Err(EncodeError::FieldTooLong { length: 256, max: 255, .. })));
    open.capabilities = vec![full; 16];
    let refused = encode(&Message::Open(open), &EncodeContext::default());
    assert!(matches!(refused, Err(EncodeError::MessageTooLong { max: 4096, .. })));
}

#[test]
fn our_own_open_says_both_forms_of_the_as() {
    let identifier = Ipv4Addr::new(192, 0, 2, 1);
    let open = Open::new(70000, 9, identifier, &[Family::IPV6_UNICAST]);
    assert_eq!((open.my_as, open.effective_as()), (u32::from(AS_TRANS), 70000));
    assert_eq!(open.families(), [Family::IPV6_UNICAST]);
}

#[test]
fn faults_and_their_notifications() {
    let good = open_with(&[0]);
    let with = |place: usize, octets: &[u8]| {
        let mut body = good.clone();
        body[place..place + octets.len()].copy_from_slice(octets);
        body
    };
    let list = |parameters: &[u8]| open_with(parameters);
    type Row<'a> = (&'a str, Vec<u8>, u8, &'a [u8], Field, usize);
    let rows: [Row<'_>; 19] = [
        ("version 3", with(0, &[3]), 1, &[0, 4], Field::Version, 19),
        ("version 5", with(0, &[5]), 1, &[0, 4], Field::Version, 19),
        ("AS 0", with(1, &[0, 0]), 2, &[], Field::MyAs, 20),
        ("hold time 1", with(3, &[0, 1]), 6, &[], Field::HoldTime, 22),
        ("hold time 2", with(3, &[0, 2]), 6, &[], Field::HoldTime, 22),
        ("identifier 0", with(5, &[0, 0, 0, 0]), 3, &[], Field::Identifier, 24),
        ("list overruns", list(&[1]), 0, &[], Field::OptionalParameters, 29),
        ("list too short", list(&[0, 2, 0]), 0, &[], Field::OptionalParameters, 29),
        ("stray octet", list(&[1, 2]), 0, &[], Field::OptionalParameters, 30),
        ("parameter overruns", list(&[2, 2, 1]), 0, &[], Field::OptionalParameters, 31),
        ("authentication", list(&[2, 1, 0]), 4, &[], Field::OptionalParameters, 29),
        ("unknown parameter", list(&[2, 9, 0]), 4, &[], Field::OptionalParameters, 29),
        ("stray in capabilities", list(&[3, 2, 1, 73]), 0, &[], Field::Capability(73), 32),
        ("capability overruns", list(&[4, 2, 2, 73, 1]), 0, &[], Field::Capability(73), 33),
        ("short family", list(&[7, 2, 5, 1, 3, 0, 1, 0]), 0, &[], Field::Capability(1), 36),
        ("long refresh", list(&[5, 2, 3, 2, 1, 0]), 0, &[], Field::Capability(2), 33),
        ("short AS", list(&[6, 2, 4, 65, 2, 0, 1]), 0, &[], Field::Capability(65), 33),
        ("AS 0 wide", list(&[8, 2, 6, 65, 4, 0, 0, 0, 0]), 2, &[], Field::MyAs, 31),
        ("extended overruns", list(&[255, 255, 0, 9]), 0, &[], Field::OptionalParameters, 32),
    ];
    for (name, body, subcode, data, field, offset) in rows {
        let error = read(&message(1, &body), &context(true)).expect_err(name);
        assert_eq!(error.action, Action::SessionReset, "{name}");
        assert_eq!(triple(&error), (2, subcode, data.to_vec()), "{name}");
        assert_eq!((error.field, error.offset), (field, offset), "{name}");
    }
}
