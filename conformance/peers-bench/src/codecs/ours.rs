//! vc5-bgp.

use anyhow::{Result, bail};
use vc5_bgp::wire::{
    DecodeContext, Decoded, EncodeContext, Family, MAX_LEN, Message, Update, decode, encode, frame,
};

use super::Run;
use crate::feed::{Feed, Tally};

fn context() -> DecodeContext {
    DecodeContext {
        as4: true,
        ebgp: true,
        allow_as_sets: false,
        families: vec![Family::IPV4_UNICAST],
    }
}

pub(crate) fn owned(feed: &Feed) -> Run<'_> {
    Box::new(|| {
        let mut tally = Tally::default();
        each(feed, |update| count(&mut tally, &update))?;
        Ok(tally)
    })
}

pub(crate) fn encode_feed(feed: &Feed) -> Result<Run<'_>> {
    let mut messages = Vec::with_capacity(feed.tally.messages);
    let mut found = Tally::default();
    each(feed, |update| {
        count(&mut found, &update);
        messages.push(Message::Update(update));
    })?;
    let ctx = EncodeContext::default();
    let again: Vec<_> =
        messages.iter().map(|message| encode(message, &ctx)).collect::<Result<_, _>>()?;
    if again.concat() != feed.octets {
        bail!("the feed does not come out as it went in");
    }
    Ok(Box::new(move || {
        let mut octets = 0;
        for message in &messages {
            octets += encode(message, &ctx)?.len();
        }
        Ok(Tally { octets, ..found })
    }))
}

fn each(feed: &Feed, mut take: impl FnMut(Update)) -> Result<()> {
    let ctx = context();
    let mut rest = &feed.octets[..];
    while let Some(frame) = frame(rest, MAX_LEN)? {
        match decode(frame, &ctx)? {
            Decoded::Update(decoded) if decoded.errors.is_empty() => take(decoded.update),
            other => bail!("not a good UPDATE: {other:?}"),
        }
        rest = &rest[frame.bytes.len()..];
    }
    Ok(())
}

fn count(tally: &mut Tally, update: &Update) {
    tally.messages += 1;
    tally.prefixes += update.nlri.len();
    let segments = &update.attributes.as_path.segments;
    tally.as_numbers += segments.iter().map(|segment| segment.asns.len()).sum::<usize>();
    tally.communities += update.attributes.communities.len();
}
