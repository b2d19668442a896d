//! What decodes can be encoded again and then decodes to the same.
//!
//! The first octet chooses what the session has negotiated and whether the rest is a whole message
//! or only a type and a body, to which a good header is added.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vc5_bgp::wire::{
    Action, DecodeContext, Decoded, EncodeContext, Family, HEADER_LEN, decode, encode, frame,
};

/// The longest message that the length field can express.
const LONGEST: usize = 65535;

fuzz_target!(|data: &[u8]| {
    if let Some((choice, rest)) = data.split_first() {
        survive(&octets(*choice, rest), context(*choice));
    }
});

fn context(choice: u8) -> DecodeContext {
    let mut families = Vec::new();
    if choice & 0x08 == 0 {
        families.push(Family::IPV4_UNICAST);
    }
    if choice & 0x10 == 0 {
        families.push(Family::IPV6_UNICAST);
    }
    let [as4, ebgp, allow_as_sets] = [0x01, 0x02, 0x04].map(|bit| choice & bit != 0);
    DecodeContext { as4, ebgp, allow_as_sets, families }
}

fn octets(choice: u8, rest: &[u8]) -> Vec<u8> {
    match rest.split_first() {
        Some((kind, body)) if choice & 0x80 == 0 => {
            let length = u16::try_from(HEADER_LEN + body.len()).unwrap_or(u16::MAX);
            [&[0xFF; 16][..], &length.to_be_bytes(), &[*kind], body].concat()
        }
        _ => rest.to_vec(),
    }
}

fn survive(octets: &[u8], ctx: DecodeContext) {
    let Ok(Some(frame)) = frame(octets, LONGEST) else { return };
    let decoded = match decode(frame, &ctx) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert_eq!(error.action, Action::SessionReset);
            assert!(error.offset <= frame.bytes.len());
            return;
        }
    };
    if let Decoded::Update(update) = &decoded {
        let worst = update.errors.iter().map(|error| error.action).max().unwrap_or_default();
        assert_eq!(update.action, worst);
        assert!(worst < Action::SessionReset);
        assert!(worst < Action::TreatAsWithdraw || update.update.announcements().count() == 0);
    }
    let message = decoded.into_message();
    let roomy = EncodeContext { as4: true, max_len: LONGEST };
    let again = match encode(&message, &roomy) {
        Ok(again) => again,
        // A path of 2-octet AS numbers doubles when it is written in 4.
        Err(_) if !ctx.as4 && octets.len() > LONGEST / 2 => return,
        Err(error) => panic!("{message:?} cannot be encoded: {error}"),
    };
    let frame = vc5_bgp::wire::frame(&again, LONGEST).unwrap().unwrap();
    let twice = decode(frame, &DecodeContext { as4: true, ..ctx }).unwrap().into_message();
    assert_eq!(twice, message);
    assert_eq!(encode(&twice, &roomy).unwrap(), again);
}
