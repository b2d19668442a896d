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
fn faults_say_where_they_are() {
    let list = |parameters: &[u8]| open_with(parameters);
    let rows = [
        (list(&[1]), Field::OptionalParameters, 29),
        (list(&[0, 2, 0]), Field::OptionalParameters, 29),
        (list(&[1, 2]), Field::OptionalParameters, 30),
        (list(&[2, 2, 1]), Field::OptionalParameters, 31),
        (list(&[2, 9, 0]), Field::OptionalParameters, 29),
        (list(&[3, 2, 1, 73]), Field::Capability(73), 32),
        (list(&[4, 2, 2, 73, 1]), Field::Capability(73), 33),
        (list(&[7, 2, 5, 1, 3, 0, 1, 0]), Field::Capability(1), 36),
        (list(&[5, 2, 3, 2, 1, 0]), Field::Capability(2), 33),
        (list(&[8, 2, 6, 65, 4, 0, 0, 0, 0]), Field::MyAs, 31),
        (list(&[255, 255, 0, 9]), Field::OptionalParameters, 32),
    ];
    for (body, field, offset) in rows {
        let error = read(&message(1, &body), &context(true)).expect_err("an error");
        assert_eq!((error.field, error.offset), (field, offset), "{body:?}");
    }
}

/// A plain OPEN with one capability parameter of these octets.
fn open_of(capabilities: &[u8]) -> Vec<u8> {
    let length = u8::try_from(capabilities.len()).unwrap();
    open_with(&[&[length + 2, 2, length][..], capabilities].concat())
}

#[test]
fn capabilities_are_read_into_fields() {
    let [v4, v6] = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
    let seconds = std::time::Duration::from_secs;
    let rows: [(&[u8], Capability); 10] = [
        (
            &[5, 6, 0, 1, 0, 1, 0, 2],
            Capability::ExtendedNextHop(vec![ExtendedNextHop { family: v4, next_hop_afi: 2 }]),
        ),
        (&[6, 0], Capability::ExtendedMessage),
        (&[9, 1, 3], Capability::Role(BgpRole::Customer)),
        (
            &[64, 6, 0xC0, 120, 0, 1, 1, 0x80],
            Capability::GracefulRestart(GracefulRestart {
                restart_state: true,
                notification: true,
                restart_time: seconds(120),
                families: vec![RestartFamily { family: v4, forwarding: true }],
            }),
        ),
        (
            &[64, 2, 0x0F, 0xFF],
            Capability::GracefulRestart(GracefulRestart {
                restart_time: seconds(4095),
                ..GracefulRestart::default()
            }),
        ),
        (
            &[69, 8, 0, 1, 1, 1, 0, 2, 1, 2],
            Capability::AddPath(vec![
                AddPath { family: v4, receive: true, send: false },
                AddPath { family: v6, receive: false, send: true },
            ]),
        ),
        (&[70, 0], Capability::EnhancedRouteRefresh),
        (
            &[71, 7, 0, 2, 1, 0x80, 0, 14, 16],
            Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                family: v6,
                forwarding: true,
                stale_time: seconds(3600),
            }]),
        ),
        (&[73, 4, 2, b'l', b'b', 0], Capability::Fqdn { host: "lb".into(), domain: "".into() }),
        (&[75, 3, 2, b'v', b'5'], Capability::SoftwareVersion("v5".into())),
    ];
    for (octets, capability) in rows {
        let body = open_of(octets);
        assert_eq!(accepted(&body).capabilities.first(), Some(&capability));
        let open = Open { capabilities: vec![capability], ..accepted(&open_with(&[0])) };
        let written = encode(&Message::Open(open), &EncodeContext::default()).unwrap();
        assert_eq!(written[HEADER_LEN..], body);
    }
}

#[test]
fn tuples_and_values_without_a_meaning_are_passed_over() {
    let only = |octets: &[u8]| accepted(&open_of(octets)).capabilities.remove(0);
    // ADD-PATH modes 0 and 4; a SAFI of two octets.
    assert_eq!(only(&[69, 8, 0, 1, 1, 0, 0, 2, 1, 4]), Capability::AddPath(vec![]));
    assert_eq!(only(&[5, 6, 0, 1, 1, 1, 0, 2]), Capability::ExtendedNextHop(vec![]));
    for octets in [&[9, 1, 5][..], &[73, 2, 5, 1], &[73, 3, 1, 0xFF, 0], &[75, 1, 9], &[200, 0]] {
        let value = Bytes::copy_from_slice(&octets[2..]);
        assert_eq!(only(octets), Capability::Unknown { code: octets[0], value });
    }
}

#[test]
fn times_that_do_not_fit_are_not_written() {
    let written = |capability| {
        let open = Open { capabilities: vec![capability], ..accepted(&open_with(&[0])) };
        encode(&Message::Open(open), &EncodeContext::default())
    };
    let restart_time = std::time::Duration::from_secs(4096);
    let restart = GracefulRestart { restart_time, ..GracefulRestart::default() };
    let refused = written(Capability::GracefulRestart(restart));
    assert!(matches!(refused, Err(EncodeError::TimeTooLong { max: 4095, .. })));
    let stale_time = std::time::Duration::from_secs(1 << 24);
    let family = LongLivedFamily { family: Family::IPV4_UNICAST, forwarding: false, stale_time };
    let refused = written(Capability::LongLivedGracefulRestart(vec![family]));
    assert!(matches!(refused, Err(EncodeError::TimeTooLong { max: 0xFF_FFFF, .. })));
    let refused = written(Capability::SoftwareVersion("v".repeat(255)));
    assert!(matches!(refused, Err(EncodeError::FieldTooLong { length: 256, .. })));
    let refused = written(Capability::SoftwareVersion("v".repeat(256)));
    assert!(matches!(refused, Err(EncodeError::FieldTooLong { length: 256, .. })));
}

#[test]
fn roles_have_a_counterpart_and_a_name() {
    let rows = [
        (BgpRole::Provider, BgpRole::Customer, "provider"),
        (BgpRole::RouteServer, BgpRole::RouteServerClient, "rs_server"),
        (BgpRole::RouteServerClient, BgpRole::RouteServer, "rs_client"),
        (BgpRole::Customer, BgpRole::Provider, "customer"),
        (BgpRole::Peer, BgpRole::Peer, "peer"),
    ];
    for (role, counterpart, name) in rows {
        assert_eq!((role.counterpart(), role.to_string().as_str()), (counterpart, name));
    }
}

#[test]
fn an_open_keeps_to_the_old_limit() {
    let value = Bytes::from(vec![0; 255]);
    let capabilities = vec![Capability::Unknown { code: 200, value }; 16];
    let open = Open { capabilities, ..accepted(&open_with(&[0])) };
    let roomy = EncodeContext { max_len: EXTENDED_MAX_LEN, ..EncodeContext::default() };
    let refused = encode(&Message::Open(open), &roomy);
    assert!(matches!(refused, Err(EncodeError::MessageTooLong { max: 4096, .. })));
}
