//! Prefixes on the wire: a length in bits and as many octets as that needs (RFC 4271 section 4.3),
//! with ADD-PATH behind a path identifier (RFC 7911 section 3).

use std::fmt;
use std::iter::from_fn;
use std::marker::PhantomData;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::EncodeError;
use super::parse::{Complete, fault};
use super::{Family, FamilySet};

/// What a route leads to: a prefix, and with ADD-PATH the identifier that tells one path to it from
/// another (RFC 7911). Made from a prefix by `into` where there is no ADD-PATH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nlri<P = IpNet> {
    /// The prefix.
    pub prefix: P,
    /// The path identifier; present exactly if ADD-PATH was negotiated for the family and direction.
    pub path_id: Option<u32>,
}

impl<P> From<P> for Nlri<P> {
    fn from(prefix: P) -> Self {
        Self { prefix, path_id: None }
    }
}

impl From<Nlri<Ipv4Net>> for Nlri {
    fn from(nlri: Nlri<Ipv4Net>) -> Self {
        Self { prefix: IpNet::V4(nlri.prefix), path_id: nlri.path_id }
    }
}

impl From<Nlri<Ipv6Net>> for Nlri {
    fn from(nlri: Nlri<Ipv6Net>) -> Self {
        Self { prefix: IpNet::V6(nlri.prefix), path_id: nlri.path_id }
    }
}

impl From<Ipv4Net> for Nlri {
    fn from(prefix: Ipv4Net) -> Self {
        IpNet::V4(prefix).into()
    }
}

impl<P: FromStr> FromStr for Nlri<P> {
    type Err = P::Err;

    /// A prefix without a path identifier.
    fn from_str(text: &str) -> Result<Self, P::Err> {
        text.parse::<P>().map(Self::from)
    }
}

impl<P: fmt::Display> fmt::Display for Nlri<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path_id {
            None => self.prefix.fmt(f),
            Some(id) => write!(f, "{} path {id}", self.prefix),
        }
    }
}

/// A kind of prefix, by its wire form.
pub(crate) trait Prefix: Copy {
    /// The first prefix in `input` and the octets behind it; bits beyond its length are cleared.
    fn take(input: &[u8]) -> Option<(Self, &[u8])>;

    /// Whether a route to this prefix makes sense: multicast and loopback do not (RFC 4271 section
    /// 6.3).
    fn is_routable(self) -> bool;
}

impl Prefix for Ipv4Net {
    #[inline]
    fn take(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&length, rest) = input.split_first()?;
        let octets = usize::from(length).div_ceil(8);
        // All but the last prefix of a list have four octets behind them, their own or not.
        let address = match rest.first_chunk() {
            Some(address) => *address,
            None => match *rest.get(..octets)? {
                [a, b, c] => [a, b, c, 0],
                [a, b] => [a, b, 0, 0],
                [a] => [a, 0, 0, 0],
                _ => [0; 4],
            },
        };
        let beyond = 32_u32.checked_sub(length.into())?;
        // The cast keeps the low 32 bits.
        let mask = (u64::from(u32::MAX) << beyond) as u32;
        let net = Self::new((u32::from_be_bytes(address) & mask).into(), length).ok()?;
        Some((net, rest.get(octets..)?))
    }

    #[inline]
    fn is_routable(self) -> bool {
        !self.addr().is_multicast() && !self.addr().is_loopback()
    }
}

impl Prefix for Ipv6Net {
    #[inline]
    fn take(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&length, rest) = input.split_first()?;
        let (octets, rest) = rest.split_at_checked(usize::from(length).div_ceil(8))?;
        let mut address = [0; 16];
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(length.into())?).unwrap_or(0);
        Some((Self::new((u128::from_be_bytes(address) & mask).into(), length).ok()?, rest))
    }

    fn is_routable(self) -> bool {
        !self.addr().is_multicast() && !self.addr().is_loopback()
    }
}

/// The prefixes of a list, up to its end or to the first octets that are none.
#[derive(Debug, Clone)]
pub(crate) struct Prefixes<'a, P> {
    rest: &'a [u8],
    add_path: bool,
    kind: PhantomData<P>,
}

impl<'a, P> Prefixes<'a, P> {
    /// The list in `octets`, with path identifiers if `add_path`.
    #[inline]
    pub(crate) fn new(octets: &'a [u8], add_path: bool) -> Self {
        Self { rest: octets, add_path, kind: PhantomData }
    }
}

impl<P: Prefix> Iterator for Prefixes<'_, P> {
    type Item = Nlri<P>;

    #[inline]
    fn next(&mut self) -> Option<Nlri<P>> {
        let (path_id, rest) = match self.add_path {
            false => (None, self.rest),
            true => {
                let (id, rest) = self.rest.split_first_chunk()?;
                (Some(u32::from_be_bytes(*id)), rest)
            }
        };
        let (prefix, rest) = P::take(rest)?;
        self.rest = rest;
        Some(Nlri { prefix, path_id })
    }
}

/// A list of prefixes that was found good, as it lies in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Routes<'a> {
    octets: &'a [u8],
    ipv6: bool,
    add_path: bool,
    count: u32,
    /// How many of them make no sense as a route.
    unroutable: u32,
}

impl<'a> Routes<'a> {
    /// No prefixes.
    pub(crate) const EMPTY: Self =
        Self { octets: &[], ipv6: false, add_path: false, count: 0, unroutable: 0 };

    /// The prefixes of `family` that `octets` are; an error points at the one that it is in.
    #[inline]
    pub(crate) fn check(
        octets: &'a [u8],
        family: Family,
        add_path: FamilySet,
    ) -> Complete<'a, Self> {
        if octets.is_empty() {
            return Ok(Self::EMPTY);
        }
        let (ipv6, add_path) = (family == Family::IPV6_UNICAST, add_path.contains(family));
        let (count, unroutable) = match ipv6 {
            false => count::<Ipv4Net>(octets, add_path)?,
            true => count::<Ipv6Net>(octets, add_path)?,
        };
        Ok(Self { octets, ipv6, add_path, count, unroutable })
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.octets.is_empty()
    }

    pub(crate) const fn has_unroutable(self) -> bool {
        self.unroutable > 0
    }

    pub(crate) const fn has_routable(self) -> bool {
        self.count > self.unroutable
    }

    /// All of them.
    #[inline]
    pub(crate) fn iter(self) -> RoutesIter<'a> {
        RoutesIter { octets: self.octets, ipv6: self.ipv6, add_path: self.add_path, all: true }
    }

    /// Those that make sense as a route.
    #[inline]
    pub(crate) fn routable(self) -> RoutesIter<'a> {
        RoutesIter { all: self.unroutable == 0, ..self.iter() }
    }

    /// Those that make sense as a route, in a list of their own.
    pub(crate) fn to_vec(self, routable: bool) -> Vec<Nlri> {
        let mut all = Vec::with_capacity(self.count as usize);
        match routable {
            true => all.extend(self.routable()),
            false => all.extend(self.iter()),
        }
        all
    }

    /// Those of a list of IPv4 prefixes, either all or those that make sense as a route.
    #[inline]
    pub(crate) fn to_ipv4_vec(self, routable: bool) -> Vec<Nlri<Ipv4Net>> {
        let mut list = Prefixes::<Ipv4Net>::new(self.octets, self.add_path);
        if routable && self.has_unroutable() {
            return list.filter(|nlri| nlri.prefix.is_routable()).collect();
        }
        // Of known length, so that no push has to look for room. There are as many as were counted.
        (0..self.count).map(|_| list.next().unwrap_or(Ipv4Net::default().into())).collect()
    }
}

/// The prefixes of [`Routes`].
#[derive(Debug, Clone)]
pub(crate) struct RoutesIter<'a> {
    octets: &'a [u8],
    ipv6: bool,
    add_path: bool,
    /// Also those that make no sense as a route.
    all: bool,
}

impl RoutesIter<'_> {
    #[inline]
    fn prefix<P: Prefix>(&mut self) -> Option<Nlri<P>> {
        let mut list = Prefixes::<P>::new(self.octets, self.add_path);
        let next = match self.all {
            true => list.next(),
            false => list.find(|nlri| nlri.prefix.is_routable()),
        };
        self.octets = list.rest;
        next
    }
}

impl Iterator for RoutesIter<'_> {
    type Item = Nlri;

    #[inline]
    fn next(&mut self) -> Option<Nlri> {
        match self.ipv6 {
            false => self.prefix::<Ipv4Net>().map(Nlri::from),
            true => self.prefix::<Ipv6Net>().map(Nlri::from),
        }
    }

    /// As by `next`, but of which family the prefixes are is asked once.
    #[inline]
    fn fold<B, F: FnMut(B, Nlri) -> B>(mut self, start: B, fold: F) -> B {
        match self.ipv6 {
            false => from_fn(|| self.prefix::<Ipv4Net>()).map(Nlri::from).fold(start, fold),
            true => from_fn(|| self.prefix::<Ipv6Net>()).map(Nlri::from).fold(start, fold),
        }
    }
}

/// How many prefixes a list has, and how many of them make no sense as a route.
#[inline]
fn count<P: Prefix>(octets: &[u8], add_path: bool) -> Complete<'_, (u32, u32)> {
    let mut list = Prefixes::<P>::new(octets, add_path);
    // A message has no room for so many that a count could overflow.
    let (mut all, mut unroutable) = (0_u32, 0_u32);
    for nlri in list.by_ref() {
        all = all.saturating_add(1);
        unroutable = unroutable.saturating_add((!nlri.prefix.is_routable()).into());
    }
    if list.rest.is_empty() { Ok((all, unroutable)) } else { Err(fault(list.rest)) }
}

/// Octets that a prefix takes.
pub(crate) fn wire_len(nlri: &Nlri, add_path: bool) -> usize {
    1 + usize::from(nlri.prefix.prefix_len()).div_ceil(8) + if add_path { 4 } else { 0 }
}

/// Octets that no prefix of `family` exceeds.
pub(crate) fn longest(family: Family, add_path: bool) -> usize {
    let prefix = if family == Family::IPV4_UNICAST { 5 } else { 17 };
    prefix + if add_path { 4 } else { 0 }
}

/// Writes a prefix; bits beyond its length are written as zero. With ADD-PATH one without a path
/// identifier gets 0.
#[inline]
pub(crate) fn put(nlri: Nlri, add_path: bool, out: &mut Vec<u8>) {
    if add_path {
        out.extend(nlri.path_id.unwrap_or(0).to_be_bytes());
    }
    match nlri.prefix.trunc() {
        IpNet::V4(net) => put_prefix(net.prefix_len(), net.addr().octets(), out),
        IpNet::V6(net) => put_prefix(net.prefix_len(), net.addr().octets(), out),
    }
}

/// Writes the whole address, which takes no call to copy, and then cuts off what is not needed.
#[inline]
fn put_prefix<const N: usize>(length: u8, address: [u8; N], out: &mut Vec<u8>) {
    out.push(length);
    let start = out.len();
    out.extend_from_slice(&address);
    out.truncate(start + usize::from(length).div_ceil(8));
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

    fn ipv4(octets: &[u8]) -> Option<String> {
        Some(Ipv4Net::take(octets)?.0.to_string())
    }

    fn ipv6(octets: &[u8]) -> Option<String> {
        Some(Ipv6Net::take(octets)?.0.to_string())
    }

    #[test]
    fn host_bits_are_cleared() {
        let (net, rest) = Ipv4Net::take(&[9, 10, 0xFF, 7]).unwrap();
        assert_eq!((net.to_string().as_str(), rest), ("10.128.0.0/9", &[7][..]));
        assert_eq!(ipv6(&[3, 0xFF]).as_deref(), Some("e000::/3"));
    }

    #[test]
    fn every_length_is_read_and_none_beyond() {
        for length in 0..=32_u8 {
            let octets = [&[length][..], &[1; 4][..usize::from(length).div_ceil(8)]].concat();
            assert_eq!(Ipv4Net::take(&octets).unwrap().0.prefix_len(), length);
            assert!(length == 0 || Ipv4Net::take(&octets[..octets.len() - 1]).is_none());
        }
        for length in 0..=128_u8 {
            let octets = [&[length][..], &[1; 16][..usize::from(length).div_ceil(8)]].concat();
            assert_eq!(Ipv6Net::take(&octets).unwrap().0.prefix_len(), length);
            assert!(length == 0 || Ipv6Net::take(&octets[..octets.len() - 1]).is_none());
        }
        assert_eq!(ipv4(&[32, 1, 2, 3, 4]).as_deref(), Some("1.2.3.4/32"));
        assert_eq!(ipv4(&[0]).as_deref(), Some("0.0.0.0/0"));
        assert_eq!(ipv4(&[33, 1, 2, 3, 4, 5]), None);
        assert_eq!(ipv6(&[&[129][..], &[0; 17]].concat()), None);
        assert_eq!((ipv4(&[255]), ipv6(&[])), (None, None));
    }

    #[test]
    fn an_empty_list_is_no_error_and_a_bad_one_is() {
        let check = |octets| Routes::check(octets, Family::IPV4_UNICAST, FamilySet::NONE);
        assert_eq!(check(&[]).unwrap().to_vec(false), []);
        assert!(check(&[]).unwrap().is_empty());
        assert_eq!(check(&[0, 8, 10]).unwrap().to_vec(false).len(), 2);
        assert!(check(&[8, 10, 16, 10]).is_err());
    }

    #[test]
    fn folding_reads_what_stepping_reads() {
        let ipv4: &[u8] = &[8, 10, 8, 127, 4, 0xE0, 24, 192, 0, 2];
        let ipv6: &[u8] = &[16, 0x20, 1, 8, 0xFF, 0];
        for (octets, family) in [(ipv4, Family::IPV4_UNICAST), (ipv6, Family::IPV6_UNICAST)] {
            let routes = Routes::check(octets, family, FamilySet::NONE).unwrap();
            for mut list in [routes.iter(), routes.routable()] {
                let mut folded = Vec::new();
                list.clone().for_each(|nlri| folded.push(nlri));
                let stepped: Vec<_> = from_fn(|| list.next()).collect();
                assert_eq!(folded, stepped);
            }
            assert_eq!(routes.routable().count(), 2);
            assert_eq!(routes.iter().count(), routes.to_vec(false).len());
        }
        let routes = Routes::check(ipv4, Family::IPV4_UNICAST, FamilySet::NONE).unwrap();
        assert_eq!((routes.to_ipv4_vec(false).len(), routes.to_ipv4_vec(true).len()), (4, 2));
    }

    #[test]
    fn path_identifiers_are_read_and_written() {
        let octets = [0, 0, 0, 7, 8, 10, 0, 0, 1, 0, 0];
        let check = |octets| Routes::check(octets, Family::IPV4_UNICAST, FamilySet::ALL);
        let both = check(&octets).unwrap().to_vec(true);
        let text: Vec<_> = both.iter().map(Nlri::to_string).collect();
        assert_eq!(text, ["10.0.0.0/8 path 7", "0.0.0.0/0 path 256"]);
        let mut out = Vec::new();
        both.iter().for_each(|nlri| put(*nlri, true, &mut out));
        assert_eq!(out, octets);
        assert_eq!(both.iter().map(|nlri| wire_len(nlri, true)).sum::<usize>(), octets.len());
        assert!(check(&octets[..10]).is_err());
        assert!(check(&octets[..3]).is_err());
    }

    #[test]
    fn multicast_and_loopback_are_not_routable() {
        let is_routable = |text: &str| match text.parse().unwrap() {
            IpNet::V4(net) => net.is_routable(),
            IpNet::V6(net) => net.is_routable(),
        };
        for text in ["224.0.0.0/4", "239.1.2.3/32", "127.0.0.0/8", "ff02::/16", "::1/128"] {
            assert!(!is_routable(text), "{text}");
        }
        for text in ["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:db8::/32"] {
            assert!(is_routable(text), "{text}");
        }
    }
}
