//! What holds of every message, whatever its octets.

use vc5_bgp::wire::{Action, DecodeContext, Decoded, Message, WireError, decode, encode, frame};

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
