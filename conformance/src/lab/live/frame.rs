//! The frames of connections, with a stamp that tells them apart.

use std::net::IpAddr;

use super::Transport;

/// What the MAC addresses of backends begin with; then come the backend's number and that of its address.
const BACKEND: [u8; 2] = [0x02, 0xb0];
/// What the payload begins with.
const MAGIC: u32 = 0x7663_3521;
/// Bytes of a stamp: mark, incarnation, number of the packet, when it was sent (ns).
const STAMP: usize = 24;
/// Bytes of a VLAN tag, and where it lies.
const TAG: usize = 4;
const TAG_AT: usize = 12;
/// The longest frame: tagged, IPv6 and TCP.
pub const LONGEST: usize = 14 + TAG + 40 + 20 + STAMP;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// What clients send their packets with.
const TTL: u8 = 64;

/// TCP flags.
pub mod flags {
    /// Finishes.
    pub const FIN: u8 = 0x01;
    /// Opens.
    pub const SYN: u8 = 0x02;
    /// With data.
    pub const PUSH_ACK: u8 = 0x18;
    /// Without.
    pub const ACK: u8 = 0x10;
}

/// What tells one frame from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Incarnation of a connection.
    pub incarnation: u32,
    /// Number of the packet in it.
    pub number: u32,
    /// When it was sent (ns).
    pub sent: u64,
}

/// The MAC address of a backend; it can have several, one after another.
#[must_use]
pub fn backend_mac(backend: u16, address: u16) -> [u8; 6] {
    let ([a, b], [c, d]) = (backend.to_be_bytes(), address.to_be_bytes());
    [BACKEND[0], BACKEND[1], a, b, c, d]
}

/// The frames of one connection, from a template.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: [u8; LONGEST],
    len: usize,
    /// Where the transport header begins.
    transport_at: usize,
    transport: Transport,
    /// Sum of all 16-bit words that a transport checksum covers, with what changes as zero.
    sum: u32,
}

impl Template {
    /// The frames between two ends, to a MAC address.
    #[must_use]
    pub fn new(
        mac: [u8; 6],
        (source, source_port): (IpAddr, u16),
        (destination, port): (IpAddr, u16),
        transport: Transport,
    ) -> Self {
        let header = match transport {
            Transport::Tcp => 20,
            Transport::Udp => 8,
        };
        let payload = header + STAMP;
        let (mut frame, pseudo) = network(mac, source, destination, transport, payload);
        let transport_at = frame.len();
        frame.extend(source_port.to_be_bytes());
        frame.extend(port.to_be_bytes());
        match transport {
            Transport::Tcp => {
                frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
            }
            Transport::Udp => {
                frame.extend((payload as u16).to_be_bytes());
                frame.extend([0, 0]);
            }
        }
        frame.extend(MAGIC.to_be_bytes());
        frame.resize(transport_at + payload, 0);
        let sum = pseudo + sum(frame.get(transport_at..).unwrap_or_default());
        let mut bytes = [0; LONGEST];
        bytes.iter_mut().zip(&frame).for_each(|(to, from)| *to = *from);
        Self { bytes, len: frame.len(), transport_at, transport, sum }
    }

    /// The same, which is untagged, in a VLAN (1 to 4094).
    #[must_use]
    pub fn tagged(&self, vlan: u16) -> Self {
        let mut other = self.clone();
        let [hi, lo] = vlan.to_be_bytes();
        let tagged = [0x81, 0, hi, lo].into_iter().chain(self.bytes.into_iter().skip(TAG_AT));
        other.bytes.iter_mut().skip(TAG_AT).zip(tagged).for_each(|(to, from)| *to = from);
        (other.len, other.transport_at) = (self.len + TAG, self.transport_at + TAG);
        other
    }

    /// The same, from another port.
    #[must_use]
    pub fn with_source_port(&self, port: u16) -> Self {
        let mut other = self.clone();
        let Some(place) = other.bytes.get_mut(self.transport_at..self.transport_at + 2) else {
            return other;
        };
        let before: u32 = sum(place);
        place.copy_from_slice(&port.to_be_bytes());
        other.sum = self.sum - before + u32::from(port);
        other
    }

    /// Writes a frame, complete with checksums, and returns its length. `flags` are those of TCP.
    pub fn write(&self, stamp: Stamp, flags: u8, into: &mut [u8; LONGEST]) -> usize {
        *into = self.bytes;
        let mut sum = self.sum;
        let mut put = |at: usize, value: u16| {
            if let Some(place) = into.get_mut(at..at + 2) {
                place.copy_from_slice(&value.to_be_bytes());
            }
            sum += u32::from(value);
        };
        let (at, stamp_at) = (self.transport_at, self.len - STAMP);
        if self.transport == Transport::Tcp {
            put(at + 6, stamp.number as u16);
            put(at + 12, 0x5000 | u16::from(flags));
        }
        put(stamp_at + 4, (stamp.incarnation >> 16) as u16);
        put(stamp_at + 6, stamp.incarnation as u16);
        put(stamp_at + 10, stamp.number as u16);
        put(stamp_at + 16, (stamp.sent >> 48) as u16);
        put(stamp_at + 18, (stamp.sent >> 32) as u16);
        put(stamp_at + 20, (stamp.sent >> 16) as u16);
        put(stamp_at + 22, stamp.sent as u16);
        let checksum_at = match self.transport {
            Transport::Tcp => at + 16,
            Transport::Udp => at + 6,
        };
        if let Some(place) = into.get_mut(checksum_at..checksum_at + 2) {
            place.copy_from_slice(&(!fold(sum)).to_be_bytes());
        }
        self.len
    }
}

/// Ethernet and IP headers, and the sum of the pseudo-header.
fn network(
    mac: [u8; 6],
    source: IpAddr,
    destination: IpAddr,
    transport: Transport,
    payload: usize,
) -> (Vec<u8>, u32) {
    let protocol = match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    };
    let mut frame = [&mac[..], &[2, 0, 0, 0, 0, 9]].concat();
    let (header_len, addresses) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + payload as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, TTL, protocol, 0, 0]);
            (20, [source.octets(), destination.octets()].concat())
        }
        (source, destination) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((payload as u16).to_be_bytes());
            frame.extend([protocol, TTL]);
            (40, [octets(source), octets(destination)].concat())
        }
    };
    frame.extend(&addresses);
    if header_len == 20 {
        let checksum = !fold(sum(frame.get(14..).unwrap_or_default()));
        if let Some(place) = frame.get_mut(24..26) {
            place.copy_from_slice(&checksum.to_be_bytes());
        }
    }
    (frame, sum(&addresses) + u32::from(protocol) + payload as u32)
}

fn sum(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A frame that arrived, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The backend, and which of its MAC addresses; none if it is no backend's.
    pub backend: Option<(u16, u16)>,
    /// MAC address that it came from.
    pub source: [u8; 6],
    /// VLAN that it came in, 0 for untagged.
    pub vlan: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Its stamp.
    pub stamp: Stamp,
}

/// Reads a frame; none if it is not one of ours. The kernel has taken its tag off.
#[must_use]
pub fn read(frame: &[u8], vlan: u16) -> Option<Arrival> {
    let (ttl, protocol, transport_at) = match frame.get(12..14)? {
        [8, 0] => (*frame.get(22)?, *frame.get(23)?, 34),
        [0x86, 0xdd] => (*frame.get(21)?, *frame.get(20)?, 54),
        _ => return None,
    };
    let stamp_at = transport_at + if protocol == TCP { 20 } else { 8 };
    let stamp: &[u8; STAMP] = frame.get(stamp_at..)?.first_chunk()?;
    let word = |at: usize| {
        let bytes = stamp.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
        u32::from_be_bytes(bytes.copied().unwrap_or_default())
    };
    if word(0) != MAGIC {
        return None;
    }
    let sent = u64::from(word(16)) << 32 | u64::from(word(20));
    let [m0, m1, a, b, c, d]: [u8; 6] = *frame.first_chunk()?;
    let backend = [m0, m1] == BACKEND;
    Some(Arrival {
        backend: backend.then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        source: *frame.get(6..)?.first_chunk()?,
        vlan,
        ttl,
        stamp: Stamp { incarnation: word(4), number: word(8), sent },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_right_checksums_and_are_read_again() {
        let v4 = ["198.51.100.7", "203.0.113.1"].map(|a| a.parse::<IpAddr>().unwrap());
        let v6 = ["2001:db8::7", "2001:db8:1::1"].map(|a| a.parse::<IpAddr>().unwrap());
        for ([source, destination], transport) in
            [(v4, Transport::Tcp), (v4, Transport::Udp), (v6, Transport::Tcp), (v6, Transport::Udp)]
        {
            let mac = backend_mac(300, 7);
            let template = Template::new(mac, (source, 4000), (destination, 80), transport);
            let template = template.with_source_port(50_000);
            let stamp = Stamp { incarnation: 0x1_ffff, number: 3, sent: u64::MAX - 5 };
            let mut frame = [0; LONGEST];
            let len = template.write(stamp, flags::PUSH_ACK, &mut frame);
            let arrival = read(&frame[..len], 7).unwrap();
            assert_eq!((arrival.backend, arrival.ttl), (Some((300, 7)), TTL));
            assert_eq!((arrival.stamp, arrival.vlan), (stamp, 7));
            let mut tagged = [0; LONGEST];
            let tagged_len = template.tagged(0x123).write(stamp, flags::PUSH_ACK, &mut tagged);
            assert_eq!(tagged[12..16], [0x81, 0, 1, 0x23]);
            let untagged = [&tagged[..12], &tagged[16..tagged_len]].concat();
            assert_eq!(untagged, frame[..len]);
            let (_, pseudo) =
                network(mac, source, destination, transport, len - template.transport_at);
            assert_eq!(fold(pseudo + sum(&frame[template.transport_at..len])), 0xffff);
            if source.is_ipv4() {
                assert_eq!(fold(sum(&frame[14..34])), 0xffff);
            }
        }
        assert_eq!(read(&[0; 60], 0), None);
    }
}
