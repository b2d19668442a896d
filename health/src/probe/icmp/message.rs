//! Echo requests as bytes, and bytes as what they say about an echo request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of ICMP (RFC 792) and of ICMPv6 (RFC 4443).
const REQUEST4: u8 = 8;
const REPLY4: u8 = 0;
const REQUEST6: u8 = 128;
const REPLY6: u8 = 129;

/// The types that are of use here: replies, and errors that quote a request.
pub(super) const TYPES4: [u8; 4] = [REPLY4, 3, 11, 12];
pub(super) const TYPES6: [u8; 5] = [REPLY6, 1, 2, 3, 4];

/// Protocol numbers in the header of a quoted packet.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Identifier and sequence number of a request, in one.
pub(super) type Key = u32;

/// What a message says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    /// It is the answer, with this payload.
    Reply(&'a [u8]),
    /// It did not reach the address that it was for.
    Error { to: IpAddr, words: &'static str },
}

/// An echo request to IPv4, with its checksum, or to IPv6, whose checksum is the kernel's work.
pub(super) fn request(v4: bool, key: Key, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![if v4 { REQUEST4 } else { REQUEST6 }, 0, 0, 0];
    message.extend_from_slice(&key.to_be_bytes());
    message.extend_from_slice(payload);
    if v4 {
        let sum = checksum(&message).to_be_bytes();
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
    }
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(data: &[u8]) -> u16 {
    let word = |pair: &[u8]| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    };
    // At most 4,500 words: the sum fits.
    let sum: u32 = data.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Reads what a raw IPv4 socket gives: a packet with its header.
pub(super) fn read4(packet: &[u8]) -> Option<(Key, Seen<'_>)> {
    let (_, message) = split4(packet)?;
    let (kind, code, rest) = split(message)?;
    if kind == REPLY4 {
        return echo(rest);
    }
    let (_, quoted) = rest.split_at_checked(4)?;
    let (header, inner) = split4(quoted)?;
    let to: [u8; 4] = header.get(16..20)?.try_into().ok()?;
    let (REQUEST4, _, rest) = split(inner)? else { return None };
    let (key, _) = echo(rest)?;
    let words = words4(kind, code)?;
    let error = Seen::Error { to: Ipv4Addr::from(to).into(), words };
    (header.get(9) == Some(&ICMP)).then_some((key, error))
}

/// Reads what a raw IPv6 socket gives: a message without the header before it.
pub(super) fn read6(message: &[u8]) -> Option<(Key, Seen<'_>)> {
    let (kind, code, rest) = split(message)?;
    if kind == REPLY6 {
        return echo(rest);
    }
    let (_, quoted) = rest.split_at_checked(4)?;
    let (header, inner) = quoted.split_at_checked(40)?;
    let to: [u8; 16] = header.get(24..40)?.try_into().ok()?;
    let (REQUEST6, _, rest) = split(inner)? else { return None };
    let (key, _) = echo(rest)?;
    let words = words6(kind, code)?;
    let error = Seen::Error { to: Ipv6Addr::from(to).into(), words };
    (header.get(6) == Some(&ICMPV6)).then_some((key, error))
}

/// Header and payload of an IPv4 packet.
fn split4(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(packet.first()? & 0x0f) * 4;
    if length < 20 {
        return None;
    }
    packet.split_at_checked(length)
}

/// Type, code, and what is after the checksum.
fn split(message: &[u8]) -> Option<(u8, u8, &[u8])> {
    let [kind, code, _, _, rest @ ..] = message else { return None };
    Some((*kind, *code, rest))
}

/// Identifier, sequence number and payload.
fn echo(rest: &[u8]) -> Option<(Key, Seen<'_>)> {
    let (key, payload) = rest.split_first_chunk::<4>()?;
    Some((Key::from_be_bytes(*key), Seen::Reply(payload)))
}

fn words4(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (3, 0 | 6 | 11) => "network is unreachable",
        (3, 1 | 7 | 12) => "no route to host",
        (3, 4) => "message too long",
        (3, 9 | 10 | 13) => "prohibited by a filter",
        (3, _) => "destination is unreachable",
        (11, 0) => "TTL exceeded",
        (11, _) => "reassembly timed out",
        (12, _) => "parameter problem",
        _ => return None,
    })
}

fn words6(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (1, 0) => "network is unreachable",
        (1, 3) => "no route to host",
        (1, 1 | 5 | 6) => "prohibited by a filter",
        (1, _) => "destination is unreachable",
        (2, _) => "message too long",
        (3, 0) => "hop limit exceeded",
        (3, _) => "reassembly timed out",
        (4, _) => "parameter problem",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header4(protocol: u8, to: [u8; 4]) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 1, protocol, 0, 0, 0, 0, 0, 0];
        header.extend(to);
        header
    }

    fn header6(next: u8, to: [u8; 16]) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 1];
        header.extend([0; 16]);
        header.extend(to);
        header
    }

    #[test]
    fn a_request_to_ipv4_has_its_checksum() {
        let message = request(true, 0x0102_0304, b"odd");
        assert_eq!(message, b"\x08\0\x20\x95\x01\x02\x03\x04odd");
        assert_eq!(checksum(&message), 0);
        assert_eq!(request(false, 1, b"x"), b"\x80\0\0\0\0\0\0\x01x");
    }

    #[test]
    fn replies_and_quoted_requests_are_told_apart() {
        let packet = [header4(ICMP, [0; 4]), b"\0\0..\0\x01\0\x02payload".to_vec()].concat();
        assert_eq!(read4(&packet), Some((0x1_0002, Seen::Reply(b"payload"))));
        let of = |protocol, kind: &[u8]| {
            let quoted = header4(protocol, [192, 0, 2, 1]);
            [header4(ICMP, [0; 4]), kind.to_vec(), quoted, request(true, 7, b"")].concat()
        };
        let to = "192.0.2.1".parse().unwrap();
        for (kind, words) in [
            (b"\x03\x01......", "no route to host"),
            (b"\x03\x03......", "destination is unreachable"),
            (b"\x0b\0......", "TTL exceeded"),
        ] {
            assert_eq!(read4(&of(ICMP, kind)), Some((7, Seen::Error { to, words })));
        }
        assert_eq!(read4(&of(17, b"\x03\x01......")), None, "the quoted packet is none of ICMP");
        assert_eq!(read4(&of(ICMP, b"\x05\x01......")), None, "a redirect is no error");

        let message = b"\x81\0..\0\x01\0\x02payload";
        assert_eq!(read6(message), Some((0x1_0002, Seen::Reply(b"payload"))));
        let to: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let quoted = [header6(ICMPV6, to.octets()), request(false, 7, b"")].concat();
        let message = [b"\x01\x03......".to_vec(), quoted].concat();
        let error = Seen::Error { to: to.into(), words: "no route to host" };
        assert_eq!(read6(&message), Some((7, error)));
    }

    #[test]
    fn a_quoted_reply_is_not_about_a_request() {
        let inner = b"\0\0..\0\0\0\x07".to_vec();
        let packet =
            [header4(ICMP, [0; 4]), b"\x03\x01......".to_vec(), header4(ICMP, [0; 4]), inner];
        assert_eq!(read4(&packet.concat()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..128), cut in 0usize..64
        ) {
            let _ = (read4(&bytes), read6(&bytes));
            let quoted = [header6(ICMPV6, [1; 16]), request(false, 7, b"")].concat();
            let message = [b"\x01\x03......".to_vec(), quoted].concat();
            let whole = message.len();
            let part = &message[..whole.saturating_sub(cut)];
            prop_assert_eq!(read6(part).is_some(), cut == 0);
        }
    }
}
