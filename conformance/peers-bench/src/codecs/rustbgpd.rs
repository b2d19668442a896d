//! rustbgpd-wire.

use anyhow::{Result, bail};
use bytes::Bytes;
use rustbgpd_wire::message::{Message, decode_message};
use rustbgpd_wire::{AsPathSegment, Ipv4UnicastMode, ParsedUpdate, PathAttribute, UpdateMessage};

use super::Run;
use crate::feed::{Feed, Tally};

/// The codec reads from [`Bytes`]; the copy into it is not part of the time.
pub(crate) fn owned(feed: &Feed) -> Run<'_> {
    let octets = Bytes::copy_from_slice(&feed.octets);
    Box::new(move || {
        let mut tally = Tally::default();
        each(octets.clone(), |update| count(&mut tally, &update))?;
        Ok(tally)
    })
}

pub(crate) fn encode(feed: &Feed) -> Result<Run<'_>> {
    let mut updates = Vec::with_capacity(feed.tally.messages);
    let mut found = Tally::default();
    each(Bytes::copy_from_slice(&feed.octets), |update| {
        count(&mut found, &update);
        updates.push(update);
    })?;
    let mut out = Vec::new();
    Ok(Box::new(move || {
        let mut octets = 0;
        for update in &updates {
            let message = UpdateMessage::try_build(
                &update.announced,
                &update.withdrawn,
                &update.attributes,
                true,
                false,
                Ipv4UnicastMode::Body,
            )?;
            out.clear();
            message.encode(&mut out)?;
            octets += out.len();
        }
        Ok(Tally { octets, ..found })
    }))
}

fn each(mut octets: Bytes, mut take: impl FnMut(ParsedUpdate)) -> Result<()> {
    while !octets.is_empty() {
        let Message::Update(update) = decode_message(&mut octets, 4096)? else {
            bail!("not an UPDATE");
        };
        let parsed = update.parse_revised(true, false, false, &[])?;
        if !parsed.malformed.is_empty() {
            bail!("not a good UPDATE: {:?}", parsed.malformed);
        }
        take(parsed.update);
    }
    Ok(())
}

fn count(tally: &mut Tally, update: &ParsedUpdate) {
    tally.messages += 1;
    tally.prefixes += update.announced.len();
    for attribute in &update.attributes {
        match attribute {
            PathAttribute::AsPath(path) => {
                tally.as_numbers += path.segments.iter().map(length).sum::<usize>();
            }
            PathAttribute::Communities(communities) => tally.communities += communities.len(),
            _ => {}
        }
    }
}

fn length(segment: &AsPathSegment) -> usize {
    match segment {
        AsPathSegment::AsSet(asns) | AsPathSegment::AsSequence(asns) => asns.len(),
    }
}
