//! The frame of a packet without payload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Error, L4, Mac, TcpKind, Tuple};

/// Where the frame says that it comes from: a locally administered address of nobody.
const FROM: Mac = Mac([0x02, 0, 0, 0, 0, 0x01]);
const TTL: u8 = 64;

const IPV4_HEADER: u16 = 20;
const TCP_HEADER: u16 = 20;
const UDP_HEADER: u16 = 8;

/// A packet of a flow as it comes in, to `to`, in a VLAN perhaps.
///
/// # Errors
/// [`Error::Question`] for addresses of two families, or no VLAN.
pub(super) fn of_tuple(
    tuple: &Tuple,
    kind: TcpKind,
    vlan: Option<u16>,
    to: Mac,
) -> Result<Vec<u8>, Error> {
    check_families(tuple.source, tuple.destination)?;
    let mut frame = [to.0, FROM.0].concat();
    if let Some(id) = vlan {
        if !(1..=4094).contains(&id) {
            return Err(Error::Question(format!("{id} is no VLAN; they are 1 to 4094")));
        }
        frame.extend([[0x81, 0x00], id.to_be_bytes()].as_flattened());
    }
    let mut segment = match tuple.protocol {
        L4::Tcp => tcp(tuple, kind),
        L4::Udp => udp(tuple),
    };
    let place = match tuple.protocol {
        L4::Tcp => 16,
        L4::Udp => 6,
    };
    match (tuple.source, tuple.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = IPV4_HEADER + segment.len() as u16;
            frame.extend([0x08, 0x00]);
            frame.extend(ipv4(source, destination, tuple.protocol, length));
            fill_in(&mut segment, place, &source.octets(), &destination.octets(), tuple.protocol);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd]);
            frame.extend(ipv6(source, destination, tuple.protocol, segment.len() as u16));
            fill_in(&mut segment, place, &source.octets(), &destination.octets(), tuple.protocol);
        }
        _ => {}
    }
    frame.extend(segment);
    Ok(frame)
}

/// # Errors
/// [`Error::Question`] when they are not of one family.
pub(super) fn check_families(source: IpAddr, destination: IpAddr) -> Result<(), Error> {
    if source.is_ipv4() == destination.is_ipv4() {
        return Ok(());
    }
    Err(Error::Question(format!("{source} and {destination} are not of one address family")))
}

/// RFC 791 section 3.1.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: L4, length: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0x40, 0, TTL, protocol.number(), 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    let checksum = checksum([&header[..]]);
    put(&mut header, 10, checksum);
    header
}

/// RFC 8200 section 3.
fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: L4, length: u16) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([protocol.number(), TTL]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header
}

/// RFC 9293 section 3.1.
fn tcp(tuple: &Tuple, kind: TcpKind) -> Vec<u8> {
    let (fin, syn, rst, ack) = (1, 2, 4, 16);
    let flags = match kind {
        TcpKind::Syn => syn,
        TcpKind::Data => ack,
        TcpKind::Fin => fin | ack,
        TcpKind::Rst => rst,
    };
    let mut header = [tuple.source_port.to_be_bytes(), tuple.port.to_be_bytes()].concat();
    header.extend([0, 0, 0, 1, 0, 0, 0, 0, (TCP_HEADER / 4) as u8 * 16, flags, 0xff, 0xff]);
    header.extend([0; 4]);
    header
}

/// RFC 768.
fn udp(tuple: &Tuple) -> Vec<u8> {
    let [source, port] = [tuple.source_port, tuple.port].map(u16::to_be_bytes);
    [source, port, UDP_HEADER.to_be_bytes(), [0, 0]].concat()
}

/// Puts the checksum over a segment and its pseudo header into it.
fn fill_in(segment: &mut [u8], place: usize, source: &[u8], destination: &[u8], protocol: L4) {
    let length = (segment.len() as u32).to_be_bytes();
    let sum = checksum([source, destination, &length, &[0, 0, 0, protocol.number()], segment]);
    // A UDP datagram with checksum 0 would have none.
    put(segment, place, if sum == 0 { 0xffff } else { sum });
}

fn put(bytes: &mut [u8], place: usize, value: u16) {
    for (byte, new) in bytes.iter_mut().skip(place).zip(value.to_be_bytes()) {
        *byte = new;
    }
}

/// RFC 1071, over parts of even length.
fn checksum<const N: usize>(parts: [&[u8]; N]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words.map(|word| word.iter().fold(0, |w, b| w << 8 | u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str, protocol: L4) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            source_port: 40_000,
            destination: destination.parse().unwrap(),
            port: 443,
            protocol,
        }
    }

    #[test]
    fn checksums_come_out_even() {
        let to = Mac([2, 0, 0, 0, 0, 9]);
        let v4 = tuple("192.0.2.1", "198.51.100.1", L4::Udp);
        let frame = of_tuple(&v4, TcpKind::Syn, Some(10), to).unwrap();
        assert_eq!(frame.len(), 14 + 4 + 20 + 8);
        assert_eq!(frame[12..18], [0x81, 0, 0, 10, 0x08, 0]);
        assert_eq!(checksum([&frame[18..38]]), 0);
        let pseudo = [0, 17, 0, 8];
        assert_eq!(checksum([&frame[30..38], &pseudo, &frame[38..]]), 0);

        let v6 = tuple("2001:db8::1", "2001:db8:1::1", L4::Tcp);
        let frame = of_tuple(&v6, TcpKind::Fin, None, to).unwrap();
        assert_eq!(frame.len(), 14 + 40 + 20);
        assert_eq!(frame[14 + 40 + 13], 0x11);
        let pseudo = [0, 0, 0, 20, 0, 0, 0, 6];
        assert_eq!(checksum([&frame[22..54], &pseudo, &frame[54..]]), 0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mixed = tuple("2001:db8::1", "198.51.100.1", L4::Tcp);
        assert!(of_tuple(&mixed, TcpKind::Syn, None, Mac::default()).is_err());
        let v4 = tuple("192.0.2.1", "198.51.100.1", L4::Tcp);
        for id in [0, 4095] {
            assert!(of_tuple(&v4, TcpKind::Syn, Some(id), Mac::default()).is_err());
        }
    }
}
