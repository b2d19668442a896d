//! routecore.

use anyhow::{Result, anyhow, bail};
use routecore::bgp::ParseError;
use routecore::bgp::aspath::{AsPath, Hop};
use routecore::bgp::message::UpdateMessage;
use routecore::bgp::message::update::SessionConfig;
use routecore::bgp::nlri::afisafi::{IsPrefix, Nlri};
use routecore::bgp::path_attributes::{PathAttribute, WireformatPathAttribute};

use super::Run;
use crate::feed::{Feed, Tally};

/// Views of octets; what is not asked for is not read.
pub(crate) fn lazy(feed: &Feed) -> Run<'_> {
    Box::new(|| {
        let mut tally = Tally::default();
        each(feed, |update| {
            for nlri in update.announcements()? {
                if let Nlri::Ipv4Unicast(nlri) = nlri? {
                    tally.prefix(nlri.prefix().addr());
                }
            }
            for attribute in update.path_attributes()? {
                match attribute? {
                    WireformatPathAttribute::AsPath(path) => {
                        let mut value = path.value_into_parser();
                        let path = AsPath::new(value.parse_octets(value.remaining())?, true)?;
                        for hop in path.hops() {
                            if let Hop::Asn(asn) = hop {
                                tally.as_number(asn.into_u32());
                            }
                        }
                    }
                    WireformatPathAttribute::StandardCommunities(list) => {
                        let mut value = list.value_into_parser();
                        while value.remaining() > 0 {
                            tally.community(value.parse_u32_be()?);
                        }
                    }
                    _ => {}
                }
            }
            tally.messages += 1;
            Ok(())
        })?;
        Ok(tally)
    })
}

/// As [`lazy`], and then owned values of it all.
pub(crate) fn owned(feed: &Feed) -> Run<'_> {
    Box::new(|| {
        let mut tally = Tally::default();
        each(feed, |update| {
            let prefixes = update.announcements()?.collect::<Result<Vec<_>, _>>()?;
            let attributes = update
                .path_attributes()?
                .map(|attribute| attribute?.to_owned())
                .collect::<Result<Vec<_>, _>>()?;
            tally.messages += 1;
            tally.prefixes += prefixes.len();
            for attribute in &attributes {
                match attribute {
                    PathAttribute::AsPath(path) => tally.as_numbers += path.hop_count(),
                    PathAttribute::StandardCommunities(list) => {
                        tally.communities += list.communities().len();
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(tally)
    })
}

fn each(
    feed: &Feed,
    mut take: impl FnMut(UpdateMessage<&[u8]>) -> Result<(), ParseError>,
) -> Result<()> {
    let config = SessionConfig::modern();
    let mut rest = &feed.octets[..];
    while let Some(length) = rest.get(16..18) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let Some((message, behind)) = rest.split_at_checked(length) else {
            bail!("the feed is cut off");
        };
        UpdateMessage::from_octets(message, &config)
            .and_then(&mut take)
            .map_err(|error| anyhow!("{error}"))?;
        rest = behind;
    }
    Ok(())
}
