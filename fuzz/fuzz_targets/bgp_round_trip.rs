//! What is encoded decodes to the same; routes that are packed come out in their order.
//!
//! The octets are the choices of a generator of values, see `generate`.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use vc5_bgp::wire::{
    Attributes, DecodeContext, Decoded, EncodeContext, Nlri, Update, decode, encode,
    encode_announce, encode_withdraw, frame,
};
use vc5_fuzz::{LONGEST, context, generate};

fuzz_target!(|data: &[u8]| {
    // Octets that run out end a value early, which is no finding.
    let _ = round_trip(&mut Unstructured::new(data));
});

fn round_trip(u: &mut Unstructured<'_>) -> Result<()> {
    let ctx = context::decode(u.arbitrary::<u8>()? & 0x7F);
    let packed = u.ratio(1, 4)?;
    if packed { pack(u, &ctx) } else { one(u, &ctx) }
}

fn one(u: &mut Unstructured<'_>, ctx: &DecodeContext) -> Result<()> {
    let message = generate::message(u, ctx)?;
    // A capability may be longer than its length can say; all else fits.
    let Ok(octets) = encode(&message, &context::encode(ctx)) else {
        assert!(matches!(message, vc5_bgp::wire::Message::Open(_)), "{message:?}");
        return Ok(());
    };
    let again = read(&octets, ctx);
    if let Decoded::Update(update) = &again {
        assert_eq!(update.errors, [], "{message:?}");
    }
    assert_eq!(again.into_message(), message);
    Ok(())
}

fn pack(u: &mut Unstructured<'_>, ctx: &DecodeContext) -> Result<()> {
    let families: Vec<_> = ctx.families.iter().collect();
    let family = *u.choose(&families)?;
    let attributes = generate::attributes(u, ctx)?;
    let next_hop = generate::next_hop(u, family, ctx)?;
    let routes = generate::some(u, 120, |u| generate::nlri(u, family, ctx))?;
    let max_len = u.int_in_range(100..=700)?;
    let writing = EncodeContext { max_len, ..context::encode(ctx) };
    let mut messages = Vec::new();
    encode_withdraw(family, &routes, &writing, &mut messages).expect("any prefix fits");
    let withdrawn = messages.iter().flat_map(|octets| {
        assert!(octets.len() <= max_len);
        update(octets, ctx).withdrawals().collect::<Vec<_>>()
    });
    assert!(withdrawn.eq(routes.iter().copied()));
    messages.clear();
    if encode_announce(&attributes, family, next_hop, &routes, &writing, &mut messages).is_err() {
        assert!(messages.is_empty(), "nothing is left of what does not fit");
        return Ok(());
    }
    let mut announced: Vec<Nlri> = Vec::new();
    for octets in &messages {
        assert!(octets.len() <= max_len);
        let update = update(octets, ctx);
        assert_eq!(Attributes { next_hop: None, ..update.attributes.clone() }, attributes);
        for (nlri, hop) in update.announcements() {
            assert_eq!(hop, next_hop);
            announced.push(nlri);
        }
    }
    assert_eq!(announced, routes);
    Ok(())
}

fn update(octets: &[u8], ctx: &DecodeContext) -> Update {
    match read(octets, ctx) {
        Decoded::Update(decoded) => {
            assert_eq!(decoded.errors, []);
            decoded.update
        }
        other => panic!("{other:?} out of an UPDATE"),
    }
}

fn read(octets: &[u8], ctx: &DecodeContext) -> Decoded {
    let frame = frame(octets, LONGEST).unwrap().expect("a whole message");
    assert_eq!(frame.bytes.len(), octets.len());
    decode(frame, ctx).unwrap()
}
