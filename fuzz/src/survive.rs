//! What holds of every message, whatever its octets.

use std::collections::BTreeSet;

use vc5_bgp::wire::{
    Action, DecodeContext, Decoded, Frame, Message, UpdateView, WireError, decode, encode, frame,
};

use crate::{LONGEST, context};

/// Reads a message, and checks that its errors add up and that what was read is written and read
/// again as the same. `None` if the octets are not framed.
pub fn survive(octets: &[u8], ctx: &DecodeContext) -> Option<Result<Decoded, WireError>> {
    let frame = frame(octets, LONGEST).ok().flatten()?;
    let result = decode(frame, ctx);
    match &result {
        Err(error) => {
            assert_eq!(error.action, Action::SessionReset);
            assert!(error.offset <= frame.bytes.len());
        }
        Ok(decoded) => {
            add_up(decoded);
            looks_alike(frame, decoded, ctx);
            comes_back(&decoded.clone().into_message(), octets.len(), ctx);
        }
    }
    Some(result)
}

/// The action of an UPDATE is that of its worst error, and it is carried out.
fn add_up(decoded: &Decoded) {
    let Decoded::Update(update) = decoded else { return };
    let worst = update.errors.iter().map(|error| error.action).max().unwrap_or_default();
    assert_eq!(update.action, worst);
    assert!(worst < Action::SessionReset);
    assert!(worst < Action::TreatAsWithdraw || update.update.announcements().count() == 0);
}

/// What is read where it lies is what is read for keeping.
fn looks_alike(frame: Frame<'_>, decoded: &Decoded, ctx: &DecodeContext) {
    let Decoded::Update(decoded) = decoded else { return };
    let view = UpdateView::new(frame, ctx).unwrap();
    let (update, attributes) = (&decoded.update, view.attributes());
    assert_eq!(view.errors(), decoded.errors);
    assert_eq!(view.end_of_rib(), decoded.end_of_rib);
    assert_eq!(view.action(), decoded.action);
    assert!(view.announcements().eq(update.announcements()));
    // A view leaves in what is announced as well.
    let announced: BTreeSet<_> = view.announcements().map(|(nlri, _)| nlri).collect();
    let withdrawn: BTreeSet<_> = view.withdrawals().filter(|it| !announced.contains(it)).collect();
    assert_eq!(withdrawn, update.withdrawals().collect());
    if !announced.is_empty() {
        let kept = &update.attributes;
        assert_eq!(attributes.origin(), kept.origin);
        assert_eq!(attributes.med(), kept.med);
        assert_eq!(attributes.local_pref(), kept.local_pref);
        assert!(attributes.communities().eq(kept.communities.iter().copied()));
        assert!(
            attributes.large_communities().collect::<BTreeSet<_>>().iter().eq(kept
                .large_communities
                .iter()
                .copied()
                .collect::<BTreeSet<_>>()
                .iter())
        );
        // AS4_PATH is merged in for keeping alone.
        assert!(!ctx.as4 || attributes.as_path().to_path() == kept.as_path);
    }
}

fn comes_back(message: &Message, length: usize, ctx: &DecodeContext) {
    // Written in 4 octets even if it was read in 2, so that nothing depends on AS4_PATH.
    let ctx = DecodeContext { as4: true, ..ctx.clone() };
    let writing = context::encode(&ctx);
    let again = match encode(message, &writing) {
        Ok(again) => again,
        // The same in another form may be longer: AS numbers double, withdrawals change their field.
        Err(_) if length > LONGEST / 2 => return,
        Err(error) => panic!("{message:?} cannot be written: {error}"),
    };
    let frame = frame(&again, LONGEST).unwrap().unwrap();
    let twice = decode(frame, &ctx).unwrap().into_message();
    assert_eq!(&twice, message);
    assert_eq!(encode(&twice, &writing).unwrap(), again);
}
