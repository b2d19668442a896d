//! Decoding undoes encoding, encoding is canonical, and no octets make decoding panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies::{
    any_context, any_message, as_path, attributes, ipv4_nets, nearly_an_update, next_hop, update,
};
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
        agrees(&UpdateView::new(frame, ctx).unwrap(), decoded, ctx);
    }
    let message = decoded.into_message();
    let (add_path, extended_next_hop) = (ctx.add_path, ctx.extended_next_hop);
    let roomy = EncodeContext { add_path, extended_next_hop, ..ROOMY };
    let again = encode(&message, &roomy).expect("what was decoded can be encoded");
    let ctx = DecodeContext { as4: true, ..*ctx };
    assert_eq!(read(&again, &ctx).map(Decoded::into_message), Ok(message));
}

/// What is read in place is what is read for keeping.
fn agrees(view: &UpdateView<'_>, decoded: &DecodedUpdate, ctx: &DecodeContext) {
    let update = &decoded.update;
    assert_eq!((view.action(), view.end_of_rib()), (decoded.action, decoded.end_of_rib));
    assert_eq!(view.errors(), decoded.errors);
    let announced: Vec<_> = view.announcements().collect();
    assert_eq!(announced, update.announcements().collect::<Vec<_>>());
    let is_gone = |nlri: &Nlri| announced.iter().all(|(other, _)| other != nlri);
    let mut withdrawn: Vec<_> = view.withdrawals().filter(is_gone).collect();
    let mut expected: Vec<_> = update.withdrawals().collect();
    withdrawn.sort_unstable();
    expected.sort_unstable();
    assert_eq!(withdrawn, expected);
    let (view, kept) = (view.attributes(), &update.attributes);
    assert_eq!((view.origin(), view.med()), (kept.origin, kept.med));
    assert_eq!(view.local_pref(), kept.local_pref);
    assert_eq!(view.atomic_aggregate(), kept.atomic_aggregate);
    assert!(update.nlri.is_empty() || view.next_hop() == kept.next_hop);
    assert!(view.communities().eq(kept.communities.iter().copied()));
    assert_eq!(view.originator_id(), kept.originator_id);
    assert!(view.cluster_list().eq(kept.cluster_list.iter().copied()));
    assert!(view.extended_communities().eq(kept.extended_communities.iter().copied()));
    assert_eq!((view.aigp(), view.only_to_customer()), (kept.aigp, kept.only_to_customer));
    assert!(
        kept.large_communities.iter().all(|kept| view.large_communities().any(|one| one == *kept))
    );
    if ctx.as4 {
        assert_eq!(view.as_path().to_path(), kept.as_path);
        assert_eq!(view.aggregator(), kept.aggregator);
    }
}

/// The same update with a path identifier on every route.
fn numbered(mut update: Update, mut id: u32) -> Update {
    let mut next = || {
        id = id.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(id)
    };
    update.withdrawn.iter_mut().chain(&mut update.nlri).for_each(|nlri| nlri.path_id = next());
    let reach = update.mp_reach.iter_mut().flat_map(|reach| &mut reach.nlri);
    let unreach = update.mp_unreach.iter_mut().flat_map(|unreach| &mut unreach.nlri);
    reach.chain(unreach).for_each(|nlri| nlri.path_id = next());
    update
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
    fn path_identifiers_survive(update in update(), id: u32) {
        let update = Message::Update(numbered(update, id));
        let ctx = EncodeContext { add_path: FamilySet::ALL, ..ROOMY };
        let octets = encode(&update, &ctx).unwrap();
        let ctx = DecodeContext { add_path: FamilySet::ALL, ..lenient(true) };
        prop_assert_eq!(read(&octets, &ctx).unwrap().into_message(), update);
        survive(&octets, &ctx);
    }

    #[test]
    fn ipv4_routes_with_ipv6_next_hops_survive(
        next_hop in next_hop(),
        nets in ipv4_nets(0..20),
        attributes in attributes(),
    ) {
        let nlri = nets.into_iter().map(Nlri::from).collect();
        let mp_reach = Some(MpReach { family: Family::IPV4_UNICAST, next_hop, nlri });
        let update = Message::Update(Update { attributes, mp_reach, ..Update::default() });
        let refused = matches!(encode(&update, &ROOMY), Err(EncodeError::WrongFamily { .. }));
        prop_assert!(refused);
        let octets = encode(&update, &EncodeContext { extended_next_hop: true, ..ROOMY }).unwrap();
        let ctx = DecodeContext { extended_next_hop: true, ..lenient(true) };
        prop_assert_eq!(read(&octets, &ctx).unwrap().into_message(), update);
        let error = read(&octets, &lenient(true)).unwrap_err();
        prop_assert_eq!((error.field, error.subcode), (Field::Attribute(14), 9));
    }

    #[test]
    fn arbitrary_octets_do_no_harm(octets in vec(any::<u8>(), 0..200), ctx in any_context()) {
        survive(&octets, &ctx);
    }

    #[test]
    fn arbitrary_bodies_do_no_harm(
        kind in 1..=5_u8,
        body in vec(any::<u8>(), 0..200),
        ctx in any_context(),
    ) {
        survive(&message(kind, &body), &ctx);
    }

    #[test]
    fn nearly_right_updates_do_no_harm(body in nearly_an_update(), ctx in any_context()) {
        survive(&message(2, &body), &ctx);
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
