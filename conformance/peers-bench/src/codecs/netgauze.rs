//! netgauze-bgp-pkt.

use anyhow::Result;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::path_attribute::{AsPath, PathAttributeValue};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;

use super::Run;
use crate::feed::{Feed, Tally};

pub(crate) fn owned(feed: &Feed) -> Run<'_> {
    Box::new(|| {
        let mut tally = Tally::default();
        each(feed, |message| {
            count(&mut tally, &message);
        })?;
        Ok(tally)
    })
}

pub(crate) fn encode(feed: &Feed) -> Result<Run<'_>> {
    let mut messages = Vec::with_capacity(feed.tally.messages);
    let mut found = Tally::default();
    each(feed, |message| {
        count(&mut found, &message);
        messages.push(message);
    })?;
    let mut out = Vec::new();
    Ok(Box::new(move || {
        let mut octets = 0;
        for message in &messages {
            out.clear();
            message.write(&mut out)?;
            octets += out.len();
        }
        Ok(Tally { octets, ..found })
    }))
}

fn each(feed: &Feed, mut take: impl FnMut(BgpMessage)) -> Result<()> {
    let mut reader = SliceReader::new(&feed.octets);
    let mut context = BgpParsingContext::default();
    while !reader.is_empty() {
        take(BgpMessage::parse(&mut reader, &mut context)?);
    }
    Ok(())
}

fn count(tally: &mut Tally, message: &BgpMessage) {
    let BgpMessage::Update(update) = message else { return };
    tally.messages += 1;
    tally.prefixes += update.nlri().len();
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
                tally.as_numbers += segments.iter().map(|s| s.as_numbers().len()).sum::<usize>();
            }
            PathAttributeValue::Communities(list) => tally.communities += list.communities().len(),
            _ => {}
        }
    }
}
