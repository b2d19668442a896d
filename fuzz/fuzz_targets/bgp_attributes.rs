//! Whatever is wrong with one attribute does to its UPDATE what RFC 7606 says, and no more.
//!
//! The first octet chooses what the session has negotiated, the second the attribute's type, the
//! third its flags; the rest is its value. It stands in an UPDATE that is good without it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vc5_bgp::wire::{Action, Decoded, Family, Nlri};
use vc5_fuzz::survive::survive;
use vc5_fuzz::{context, message};

/// The route of the UPDATE.
const NLRI: [u8; 4] = [24, 203, 0, 113];
/// Its path identifier, where it has one.
const PATH_ID: u32 = 7;
const ORIGIN: u8 = 1;
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
const OPTIONAL: u8 = 0x80;
const EXTENDED_LENGTH: u8 = 0x10;
/// The types with rules of their own; the rest of the octet's range are types as they are.
const KNOWN: [u8; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 25, 26, 32, 35];

fuzz_target!(|data: &[u8]| {
    let [choice, kind, flags, value @ ..] = data else { return };
    let code = KNOWN.get(usize::from(kind % 64)).copied().unwrap_or(*kind);
    let ctx = context::decode(choice & 0x7F);
    let octets = update(code, *flags, value, &ctx);
    let result = survive(&octets, &ctx).expect("a good header");
    let decoded = match result {
        Ok(Decoded::Update(decoded)) => decoded,
        Ok(other) => panic!("{other:?} out of an UPDATE"),
        // Attributes whose routes cannot be told, and those that nobody may ignore.
        Err(error) => {
            let unknown = !KNOWN.contains(&code) && flags & OPTIONAL == 0;
            let multiprotocol = matches!(code, MP_REACH_NLRI | MP_UNREACH_NLRI);
            assert!(multiprotocol || unknown, "attribute {code} reset the session: {error:?}");
            return;
        }
    };
    if !ctx.families.contains(Family::IPV4_UNICAST) {
        return;
    }
    // Another path to the same prefix is another route.
    let path_id = ctx.add_path.contains(Family::IPV4_UNICAST).then_some(PATH_ID);
    let ours = |nlri: &Nlri| nlri.prefix.to_string() == "203.0.113.0/24" && nlri.path_id == path_id;
    let announced = decoded.update.announcements().any(|(nlri, _)| ours(&nlri));
    let withdrawn = decoded.update.withdrawals().any(|nlri| ours(&nlri));
    assert_eq!(announced, decoded.action < Action::TreatAsWithdraw, "{decoded:?}");
    assert_eq!(withdrawn, !announced, "the route is announced or withdrawn: {decoded:?}");
});

fn update(code: u8, flags: u8, value: &[u8], ctx: &vc5_bgp::wire::DecodeContext) -> Vec<u8> {
    let path: &[u8] = match ctx.as4 {
        true => &[2, 1, 0, 0, 0xFD, 0xE8],
        false => &[2, 1, 0xFD, 0xE8],
    };
    let mut list = Vec::new();
    for (base, value) in [(ORIGIN, &[0][..]), (2, path), (3, &[192, 0, 2, 1])] {
        if base != code {
            put(base, 0x40, value, &mut list);
        }
    }
    put(code, flags, value, &mut list);
    let length = u16::try_from(list.len()).unwrap_or(u16::MAX).to_be_bytes();
    let path_id = ctx.add_path.contains(Family::IPV4_UNICAST).then_some(PATH_ID.to_be_bytes());
    let path_id = path_id.as_ref().map_or(&[][..], |octets| octets);
    message(2, &[&[0, 0][..], &length, &list, path_id, &NLRI].concat())
}

fn put(code: u8, flags: u8, value: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(length) if flags & EXTENDED_LENGTH == 0 => out.extend([flags, code, length]),
        _ => {
            out.extend([flags | EXTENDED_LENGTH, code]);
            out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend(value);
}
