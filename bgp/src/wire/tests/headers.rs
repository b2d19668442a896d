//! Message headers, framing, and the messages without structure (RFC 4271 section 6.1).

use super::*;

#[track_caller]
fn refused(octets: &[u8], expected: (u8, u8, &[u8])) -> WireError {
    let error = read(octets, &context(true)).expect_err("an error");
    assert_eq!(error.action, Action::SessionReset);
    assert_eq!(triple(&error), (expected.0, expected.1, expected.2.to_vec()));
    error
}

#[test]
fn marker_of_other_than_ones() {
    let mut octets = message(4, &[]);
    octets[15] = 0xFE;
    assert_eq!(refused(&octets, (1, 1, &[])).field, Field::Marker);
}

#[test]
fn length_out_of_range() {
    for length in [0, 18, 4097, 65535_u16] {
        let mut octets = message(2, &[0; 4]);
        octets[16..18].copy_from_slice(&length.to_be_bytes());
        let error = frame(&octets, MAX_LEN).unwrap_err();
        assert_eq!(triple(&error), (1, 2, length.to_be_bytes().to_vec()));
        assert_eq!((error.field, error.offset), (Field::Length, 16));
    }
}

#[test]
fn length_wrong_for_the_type() {
    refused(&message(1, &[0; 9]), (1, 2, &[0, 28]));
    refused(&message(2, &[0; 3]), (1, 2, &[0, 22]));
    refused(&message(3, &[0; 1]), (1, 2, &[0, 20]));
    refused(&message(4, &[0; 1]), (1, 2, &[0, 20]));
    // Also with extended messages, an OPEN keeps to the old limit (RFC 8654 section 4).
    refused(&message(1, &[0; 4078]), (1, 2, &[0x10, 0x01]));
}

#[test]
fn unknown_type() {
    for kind in [0, 6, 255] {
        let error = refused(&message(kind, &[]), (1, 3, &[kind]));
        assert_eq!((error.field, error.offset), (Field::Type, 18));
    }
}

#[test]
fn errors_say_where() {
    let error = refused(&message(6, &[]), (1, 3, &[6]));
    assert_eq!(error.to_string(), "message type at octet 18: Bad message type");
}

#[test]
fn a_bad_header_is_found_before_its_body_arrives() {
    let mut octets = message(2, &[0; 4]);
    octets[16] = 0xFF;
    assert!(frame(&octets[..18], MAX_LEN).unwrap().is_none());
    assert!(frame(&octets[..19], MAX_LEN).is_err());
}

#[test]
fn frames_are_cut_from_a_stream() {
    let stream = [message(4, &[]), message(3, &[6, 2]), message(4, &[])].concat();
    for end in 0..stream.len() {
        let whole = frame(&stream[..end], MAX_LEN).unwrap();
        assert_eq!(whole.is_some(), end >= HEADER_LEN);
    }
    let first = frame(&stream, MAX_LEN).unwrap().unwrap();
    assert_eq!((first.kind, first.bytes.len()), (MessageType::Keepalive, 19));
    let second = frame(&stream[19..], MAX_LEN).unwrap().unwrap();
    assert_eq!((second.kind, second.bytes.len()), (MessageType::Notification, 21));
}

#[test]
fn notification_is_read() {
    let decoded = read(&message(3, &[6, 2, 3, b'b', b'y', b'e']), &context(true)).unwrap();
    let Decoded::Notification(notification) = decoded else { panic!("{decoded:?}") };
    assert_eq!(notification, Notification::cease_with_text(2, "bye"));
}

#[test]
fn route_refresh_of_any_family_and_subtype_is_read() {
    let decoded = read(&message(5, &[0, 25, 7, 65]), &context(true));
    let family = Family { afi: 25, safi: 65 };
    assert_eq!(
        decoded,
        Ok(Decoded::RouteRefresh(RouteRefresh { family, subtype: RefreshSubtype::Unknown(7) }))
    );
}

#[test]
fn route_refresh_of_wrong_length() {
    for body in [&[][..], &[0, 1, 0], &[0, 1, 0, 1, 0]] {
        let octets = message(5, body);
        refused(&octets, (7, 1, &octets));
    }
}

#[test]
fn notification_data_are_cut_to_what_fits() {
    let octets = message(5, &[0; MAX_LEN - HEADER_LEN]);
    let notification = read(&octets, &context(true)).unwrap_err().to_notification();
    assert_eq!(notification.data, octets[..MAX_LEN - 21]);
    for notification in [Notification::hard_reset(&notification), notification] {
        let message = Message::Notification(notification);
        let written = encode(&message, &EncodeContext::default()).unwrap();
        assert_eq!(written.len(), MAX_LEN);
    }
}
