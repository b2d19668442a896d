//! vc5-bgp.

use anyhow::{Result, bail, ensure};
use vc5_bgp::wire::{
    DecodeContext, Decoded, EncodeContext, Frame, MAX_LEN, Message, Update, UpdateView, decode,
    encode_into, frame,
};

use super::Run;
use crate::feed::{Feed, Tally};

/// What is read is what is left after all checks; nothing is copied.
pub(crate) fn view(feed: &Feed) -> Run<'_> {
    let ctx = DecodeContext::default();
    Box::new(move || {
        let mut tally = Tally::default();
        each_frame(feed, |frame| {
            let view = UpdateView::new(frame, &ctx)?;
            ensure!(view.errors().is_empty(), "not a good UPDATE: {view:?}");
            tally.messages += 1;
            view.announcements().for_each(|(nlri, _)| tally.prefix(nlri.prefix.addr()));
            view.attributes().as_path().asns().for_each(|asn| tally.as_number(asn));
            view.attributes().communities().for_each(|community| tally.community(community.0));
            Ok(())
        })?;
        Ok(tally)
    })
}

pub(crate) fn owned(feed: &Feed) -> Run<'_> {
    Box::new(|| {
        let mut tally = Tally::default();
        each(feed, |update| count(&mut tally, &update))?;
        Ok(tally)
    })
}

pub(crate) fn encode(feed: &Feed) -> Result<Run<'_>> {
    let mut messages = Vec::with_capacity(feed.tally.messages);
    let mut found = Tally::default();
    each(feed, |update| {
        count(&mut found, &update);
        messages.push(Message::Update(update));
    })?;
    let ctx = EncodeContext::default();
    let mut again = Vec::with_capacity(feed.octets.len());
    messages.iter().try_for_each(|message| encode_into(message, &ctx, &mut again))?;
    ensure!(again == feed.octets, "the feed does not come out as it went in");
    let mut out = Vec::new();
    Ok(Box::new(move || {
        let mut octets = 0;
        for message in &messages {
            out.clear();
            encode_into(message, &ctx, &mut out)?;
            octets += out.len();
        }
        Ok(Tally { octets, ..found })
    }))
}

fn each(feed: &Feed, mut take: impl FnMut(Update)) -> Result<()> {
    let ctx = DecodeContext::default();
    each_frame(feed, |frame| {
        match decode(frame, &ctx) {
            Ok(Decoded::Update(decoded)) if decoded.errors.is_empty() => take(decoded.update),
            other => bail!("not a good UPDATE: {other:?}"),
        }
        Ok(())
    })
}

fn each_frame(feed: &Feed, mut take: impl FnMut(Frame<'_>) -> Result<()>) -> Result<()> {
    let mut rest = &feed.octets[..];
    while let Some(frame) = frame(rest, MAX_LEN)? {
        take(frame)?;
        rest = &rest[frame.bytes.len()..];
    }
    Ok(())
}

fn count(tally: &mut Tally, update: &Update) {
    tally.messages += 1;
    tally.prefixes += update.nlri.len();
    tally.as_numbers += update.attributes.as_path.asns().count();
    tally.communities += update.attributes.communities.len();
}
