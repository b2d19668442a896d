//! Values of attributes from octets. All are total; where octets can be wrong in a way that the
//! length rule of the table does not find, `None` says so.

use std::net::Ipv4Addr;

use super::{Aggregator, Origin};
use crate::wire::community::{Community, ExtendedCommunity, LargeCommunity};

/// Type of the only TLV of AIGP that has a meaning (RFC 7311 section 3).
pub(super) const AIGP_METRIC: u8 = 1;

pub(super) fn number(octets: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(octets.try_into().ok()?))
}

pub(super) fn ipv4(octets: &[u8]) -> Option<Ipv4Addr> {
    number(octets).map(Ipv4Addr::from)
}

pub(super) fn origin(octets: &[u8]) -> Option<Origin> {
    match octets {
        [0] => Some(Origin::Igp),
        [1] => Some(Origin::Egp),
        [2] => Some(Origin::Incomplete),
        _ => None,
    }
}

/// Whether an address can be a neighbour's: not of this network, loopback, multicast or reserved.
pub(super) fn is_next_hop(octets: &[u8]) -> bool {
    !matches!(octets, [0 | 127 | 224.., ..])
}

/// An aggregator; AS 0 is malformed (RFC 7607).
pub(super) fn aggregator(octets: &[u8], as4: bool) -> Option<Aggregator> {
    let (asn, address) = if as4 {
        let (asn, address) = octets.split_first_chunk()?;
        (u32::from_be_bytes(*asn), address)
    } else {
        let (asn, address) = octets.split_first_chunk()?;
        (u16::from_be_bytes(*asn).into(), address)
    };
    (asn != 0).then_some(Aggregator { asn, address: ipv4(address)? })
}

pub(super) fn communities(octets: &[u8]) -> impl ExactSizeIterator<Item = Community> + '_ {
    octets.as_chunks().0.iter().map(|octets| Community(u32::from_be_bytes(*octets)))
}

pub(super) fn cluster_list(octets: &[u8]) -> impl ExactSizeIterator<Item = Ipv4Addr> + '_ {
    octets.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets))
}

pub(super) fn extended_communities(
    octets: &[u8],
) -> impl ExactSizeIterator<Item = ExtendedCommunity> + '_ {
    octets.as_chunks().0.iter().copied().map(ExtendedCommunity)
}

pub(super) fn large_communities(
    octets: &[u8],
) -> impl ExactSizeIterator<Item = LargeCommunity> + '_ {
    octets.as_chunks().0.iter().copied().map(LargeCommunity::from_octets)
}

/// The first metric, if there is one; `None` if the TLVs are malformed. TLVs of other types and
/// further metrics are passed over (RFC 7311 section 3).
pub(super) fn aigp(mut octets: &[u8]) -> Option<Option<u64>> {
    let mut metric = None;
    while !octets.is_empty() {
        let (&[kind, high, low], rest) = octets.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(3)?;
        let (value, behind) = rest.split_at_checked(length)?;
        if kind == AIGP_METRIC {
            let one = u64::from_be_bytes(value.try_into().ok()?);
            metric = metric.or(Some(one));
        }
        octets = behind;
    }
    Some(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_aigp_metric_counts() {
        let metric = |value: u8| [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, value];
        let other: &[u8] = &[7, 0, 4, 9];
        assert_eq!(aigp(&[]), Some(None));
        assert_eq!(aigp(other), Some(None));
        assert_eq!(aigp(&[other, &metric(5), &metric(6)].concat()), Some(Some(5)));
        for bad in [&[1][..], &[1, 0], &[1, 0, 2], &[7, 0, 5, 1], &[1, 0, 4, 0], &metric(5)[..10]] {
            assert_eq!(aigp(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn aggregators_of_both_widths() {
        let address = Ipv4Addr::new(1, 2, 3, 4);
        assert_eq!(aggregator(&[0, 7, 1, 2, 3, 4], false), Some(Aggregator { asn: 7, address }));
        let wide = Some(Aggregator { asn: 0x10000, address });
        assert_eq!(aggregator(&[0, 1, 0, 0, 1, 2, 3, 4], true), wide);
        assert_eq!(aggregator(&[0, 0, 0, 0, 1, 2, 3, 4], true), None);
        assert_eq!(aggregator(&[0, 0, 1, 2, 3, 4], false), None);
    }
}
