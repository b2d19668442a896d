//! Prefixes on the wire: a length in bits and as many octets as that needs (RFC 4271 section 4.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::be_u8;

use super::Family;
use super::error::EncodeError;
use super::parse::{Complete, Parsed, fault};

/// One IPv4 prefix; bits beyond its length are cleared.
pub(crate) fn ipv4(input: &[u8]) -> Parsed<'_, Ipv4Net> {
    let (rest, (length, address)) = octets::<4>(input)?;
    let net = Ipv4Net::new(Ipv4Addr::from(address), length).map_err(|_| fault(input))?;
    Ok((rest, net.trunc()))
}

/// One IPv6 prefix; bits beyond its length are cleared.
pub(crate) fn ipv6(input: &[u8]) -> Parsed<'_, Ipv6Net> {
    let (rest, (length, address)) = octets::<16>(input)?;
    let net = Ipv6Net::new(Ipv6Addr::from(address), length).map_err(|_| fault(input))?;
    Ok((rest, net.trunc()))
}

/// Length and address of a prefix whose address has `N` octets.
fn octets<const N: usize>(input: &[u8]) -> Parsed<'_, (u8, [u8; N])> {
    let (rest, length) = be_u8(input)?;
    let mut address = [0; N];
    let (rest, significant) = take(usize::from(length).div_ceil(8)).parse(rest)?;
    let room = address.get_mut(..significant.len()).ok_or_else(|| fault(input))?;
    room.copy_from_slice(significant);
    Ok((rest, (length, address)))
}

/// Prefixes to the end of `input`; an error points at the prefix that it is in.
pub(crate) fn list<'a, T>(
    mut input: &'a [u8],
    prefix: impl Fn(&'a [u8]) -> Parsed<'a, T>,
) -> Complete<'a, Vec<T>> {
    // Four octets is what most prefixes take, and the octets are here: no length is believed.
    let mut prefixes = Vec::with_capacity(input.len() / 4);
    while !input.is_empty() {
        let (rest, one) = prefix(input).map_err(|_| fault(input))?;
        prefixes.push(one);
        input = rest;
    }
    Ok(prefixes)
}

/// Whether a route to this prefix makes sense: multicast and loopback do not (RFC 4271 section 6.3).
pub(crate) fn is_routable(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => !net.addr().is_multicast() && !net.addr().is_loopback(),
        IpNet::V6(net) => !net.addr().is_multicast() && !net.addr().is_loopback(),
    }
}

/// Octets that a prefix takes.
pub(crate) fn wire_len(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len()).div_ceil(8)
}

/// Writes a prefix; bits beyond its length are written as zero.
pub(crate) fn put(prefix: &IpNet, out: &mut Vec<u8>) {
    let octets = wire_len(prefix) - 1;
    out.push(prefix.prefix_len());
    match prefix.trunc() {
        IpNet::V4(net) => out.extend(net.addr().octets().iter().take(octets)),
        IpNet::V6(net) => out.extend(net.addr().octets().iter().take(octets)),
    }
}

/// Refuses a prefix that cannot be announced under `family`.
pub(crate) fn check_family(prefix: &IpNet, family: Family) -> Result<(), EncodeError> {
    if Family::of(prefix) == family {
        return Ok(());
    }
    Err(EncodeError::WrongFamily { family, address: prefix.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(ipv4(&[9, 10, 0xFF, 7]).unwrap(), (&[7][..], "10.128.0.0/9".parse().unwrap()));
        assert_eq!(ipv6(&[3, 0xFF]).unwrap().1, "e000::/3".parse().unwrap());
    }

    #[test]
    fn the_ends_of_the_range_are_read() {
        assert_eq!(ipv4(&[0]).unwrap().1, "0.0.0.0/0".parse().unwrap());
        assert_eq!(ipv4(&[32, 1, 2, 3, 4]).unwrap().1, "1.2.3.4/32".parse().unwrap());
        assert!(ipv4(&[33, 1, 2, 3, 4, 5]).is_err());
        assert!(ipv6(&[&[129][..], &[0; 17]].concat()).is_err());
        assert!(ipv4(&[24, 1, 2]).is_err());
    }

    #[test]
    fn an_empty_list_is_no_error_and_a_bad_one_is() {
        assert_eq!(list(&[], ipv4).unwrap(), []);
        assert_eq!(list(&[0, 8, 10], ipv4).unwrap().len(), 2);
        assert!(list(&[8, 10, 16, 10], ipv4).is_err());
    }

    #[test]
    fn multicast_and_loopback_are_not_routable() {
        for text in ["224.0.0.0/4", "239.1.2.3/32", "127.0.0.0/8", "ff02::/16", "::1/128"] {
            assert!(!is_routable(&text.parse().unwrap()), "{text}");
        }
        for text in ["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:db8::/32"] {
            assert!(is_routable(&text.parse().unwrap()), "{text}");
        }
    }
}
