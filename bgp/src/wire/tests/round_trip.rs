//! Decoding undoes encoding, encoding is canonical, and no octets make decoding panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies::{any_message, as_path, nearly_an_update, update};
use super::*;

/// As negotiated with an internal peer that sends sets.
fn lenient(as4: bool) -> DecodeContext {
    DecodeContext { as4, allow_as_sets: true, ..context(false) }
}

/// Long enough for every message that decoding can return.
const ROOMY: EncodeContext = EncodeContext {
    as4: true,
    max_len: EXTENDED_MAX_LEN,
    add_path: FamilySet::NONE,
    extended_next_hop: false,
};

/// Decodes octets that need not make sense; what comes out has to survive another round trip.
fn survive(octets: &[u8], ctx: &DecodeContext) {
    let Ok(Some(frame)) = frame(octets, 65535) else { return };
    let Ok(decoded) = decode(frame, ctx) else { return };
    if let Decoded::Update(decoded) = &decoded {
        let worst = decoded.errors.iter().map(|error| error.action).max().unwrap_or_default();
        assert_eq!(decoded.action, worst);
        assert!(decoded.action < Action::SessionReset);
        assert!(decoded.errors.iter().all(|error| error.offset <= octets.len()));
    }
    let message = decoded.into_message();
    let again = encode(&message, &ROOMY).expect("what was decoded can be encoded");
    let ctx = DecodeContext { as4: true, ..*ctx };
    assert_eq!(read(&again, &ctx).map(Decoded::into_message), Ok(message));
}

proptest! {
    #[test]
    fn messages_survive(message in any_message()) {
        let octets = encode(&message, &ROOMY).unwrap();
        let decoded = read(&octets, &lenient(true)).unwrap();
        if let Decoded::Update(update) = &decoded {
            prop_assert_eq!(&update.errors, &[]);
            prop_assert_eq!(update.end_of_rib, update.update.is_end_of_rib());
        }
        let decoded = decoded.into_message();
        prop_assert_eq!(&decoded, &message);
        prop_assert_eq!(encode(&decoded, &ROOMY).unwrap(), octets);
    }

    #[test]
    fn updates_survive_a_speaker_of_short_as_numbers(mut update in update(), path in as_path()) {
        if update.mp_reach.is_some() || !update.nlri.is_empty() {
            update.attributes.as_path = path;
        }
        let ctx = EncodeContext { as4: false, ..ROOMY };
        let octets = encode(&Message::Update(update.clone()), &ctx).unwrap();
        let decoded = read(&octets, &lenient(false)).unwrap().into_message();
        prop_assert_eq!(decoded, Message::Update(update));
    }

    #[test]
    fn arbitrary_octets_do_no_harm(octets in vec(any::<u8>(), 0..200), as4: bool, ebgp: bool) {
        survive(&octets, &DecodeContext { as4, ..context(ebgp) });
    }

    #[test]
    fn arbitrary_bodies_do_no_harm(
        kind in 1..=5_u8,
        body in vec(any::<u8>(), 0..200),
        as4: bool,
        ebgp: bool,
    ) {
        survive(&message(kind, &body), &DecodeContext { as4, ..context(ebgp) });
    }

    #[test]
    fn nearly_right_updates_do_no_harm(body in nearly_an_update(), as4: bool, ebgp: bool) {
        survive(&message(2, &body), &DecodeContext { as4, ..context(ebgp) });
    }

    #[test]
    fn a_flipped_octet_does_no_harm(
        message in any_message(),
        place: proptest::sample::Index,
        value: u8,
    ) {
        let mut octets = encode(&message, &ROOMY).unwrap().to_vec();
        let place = place.index(octets.len());
        octets[place] = value;
        survive(&octets, &lenient(true));
        survive(&octets, &context(true));
    }

    #[test]
    fn splits_do_not_matter(messages in vec(any_message(), 0..6), cut in 1..50_usize) {
        let octets: Vec<_> = messages.iter().map(|one| encode(one, &ROOMY).unwrap()).collect();
        let (mut buffer, mut frames) = (Vec::new(), Vec::new());
        for chunk in octets.concat().chunks(cut) {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = frame(&buffer, 65535).unwrap() {
                let length = frame.bytes.len();
                frames.push(bytes::Bytes::copy_from_slice(frame.bytes));
                buffer.drain(..length);
            }
        }
        prop_assert_eq!(frames, octets);
        prop_assert_eq!(buffer, []);
    }
}
