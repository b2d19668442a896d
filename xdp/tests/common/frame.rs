//! Frames, built field by field: lengths and checksums are right unless a field says otherwise.

use std::net::IpAddr;

use super::{
    checksum::{checksum, ones_sum, pseudo_header},
    extension::Extension,
};

/// Our hardware address.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The router's hardware address.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// The client's port.
pub const CLIENT_PORT: u16 = 40000;
/// The port that has a service of its own, TCP and UDP.
pub const PORT: u16 = 80;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// More fragments, in IPv4's word of flags and offset.
pub const MORE: u16 = 0x2000;

/// IPv4 or IPv6: most rows are there for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn address(self, v4: &str, v6: &str) -> IpAddr {
        let text = match self {
            Self::V4 => v4,
            Self::V6 => v6,
        };
        text.parse().expect("an address")
    }

    /// A client, on an address that differs from others in its last byte.
    pub fn client(self, last: u8) -> IpAddr {
        self.address(&format!("198.51.100.{last}"), &format!("2001:db8:c::{last:x}"))
    }

    /// The VIPs of `World::standard`, by the last byte.
    pub fn vip(self, last: u8) -> IpAddr {
        self.address(&format!("192.0.2.{last}"), &format!("2001:db8::{last:x}"))
    }

    /// A router on the way.
    pub fn router(self) -> IpAddr {
        self.address("203.0.113.1", "2001:db8:a::1")
    }

    pub fn icmp(self) -> u8 {
        match self {
            Self::V4 => ICMP,
            Self::V6 => ICMPV6,
        }
    }
}

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// A TCP segment with these flags and `Frame::data`.
    Tcp { flags: u8, seq: u32, ack: u32, window: u16 },
    /// A UDP datagram with `Frame::data`.
    Udp,
    /// ICMP or ICMPv6: type, code, the second word, `Frame::data`.
    Icmp { kind: u8, code: u8, word: [u8; 4] },
    /// Nothing but `Frame::data`.
    Raw,
}

/// An Ethernet frame with an IP packet, in the making.
#[derive(Clone, Debug)]
pub struct Frame {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    /// VLAN tags from the outside in: TPID and TCI.
    pub tags: Vec<(u16, u16)>,
    /// Instead of the EtherType of the family.
    pub ether_type: Option<u16>,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub source_port: u16,
    pub port: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    pub traffic_class: u8,
    pub flow_label: u16,
    pub identification: u16,
    /// Flags and fragment offset of the IPv4 header.
    pub fragment: u16,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers.
    pub extensions: Vec<Extension>,
    /// IP protocol number of the body.
    pub protocol: u8,
    pub body: Body,
    pub data: Vec<u8>,
    /// The byte of a TCP header that tells its length, in words of four bytes in the upper half.
    pub data_offset: u8,
    /// What is left of the body, with honest lengths.
    pub cut: Option<usize>,
    /// Instead of IPv4's total length or IPv6's payload length.
    pub length: Option<u16>,
    /// Added to the right IPv4 header checksum.
    pub ip_checksum_error: u16,
    /// Added to the right checksum of the body.
    pub checksum_error: u16,
    /// Bytes of padding behind the IP packet.
    pub padding: usize,
}

impl Frame {
    fn new(family: Family, protocol: u8, body: Body) -> Self {
        Self {
            destination_mac: OUR_MAC,
            source_mac: ROUTER_MAC,
            tags: Vec::new(),
            ether_type: None,
            source: family.client(7),
            destination: family.vip(1),
            source_port: CLIENT_PORT,
            port: PORT,
            ttl: 57,
            traffic_class: 0x10,
            flow_label: 0x1234,
            identification: 0x1d2f,
            fragment: 0x4000,
            options: Vec::new(),
            extensions: Vec::new(),
            protocol,
            body,
            data: b"hello".to_vec(),
            data_offset: 5 << 4,
            cut: None,
            length: None,
            ip_checksum_error: 0,
            checksum_error: 0,
            padding: 0,
        }
    }

    /// From the client to the service on the first VIP.
    pub fn tcp(family: Family, flags: u8) -> Self {
        Self::new(
            family,
            TCP,
            Body::Tcp { flags, seq: 0x1234_5678, ack: 0x9abc_def0, window: 8192 },
        )
    }

    /// From the client to the service on the first VIP.
    pub fn udp(family: Family) -> Self {
        Self::new(family, UDP, Body::Udp)
    }

    /// From a router to the first VIP.
    pub fn icmp(family: Family, kind: u8, code: u8, word: [u8; 4], data: &[u8]) -> Self {
        let frame = Self::new(family, family.icmp(), Body::Icmp { kind, code, word });
        Self { source: family.router(), data: data.to_vec(), ..frame }
    }

    /// An echo request of the client to the first VIP.
    pub fn echo(family: Family, identifier: u16, sequence: u16, data: &[u8]) -> Self {
        let kind = if family == Family::V4 { 8 } else { 128 };
        let [i0, i1] = identifier.to_be_bytes();
        let [s0, s1] = sequence.to_be_bytes();
        let frame = Self::icmp(family, kind, 0, [i0, i1, s0, s1], data);
        Self { source: family.client(7), ..frame }
    }

    /// An IP packet of some protocol from the client to the first VIP.
    pub fn raw(family: Family, protocol: u8, data: &[u8]) -> Self {
        Self { data: data.to_vec(), ..Self::new(family, protocol, Body::Raw) }
    }

    pub fn family(&self) -> Family {
        if self.source.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    pub fn to(self, destination: IpAddr, port: u16) -> Self {
        Self { destination, port, ..self }
    }

    pub fn from(self, source: IpAddr, source_port: u16) -> Self {
        Self { source, source_port, ..self }
    }

    /// With a VLAN tag more, inside those that are there.
    pub fn tagged(mut self, tpid: u16, tci: u16) -> Self {
        self.tags.push((tpid, tci));
        self
    }

    pub fn with_extensions(self, extensions: impl Into<Vec<Extension>>) -> Self {
        Self { extensions: extensions.into(), ..self }
    }

    /// Flags, if it is TCP.
    pub fn flags(&self) -> Option<u8> {
        match self.body {
            Body::Tcp { flags, .. } => Some(flags),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        for (tpid, tci) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(tci.to_be_bytes());
        }
        let ether_type = if self.family() == Family::V4 { 0x0800 } else { 0x86dd };
        frame.extend(self.ether_type.unwrap_or(ether_type).to_be_bytes());
        frame.extend(self.packet());
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// The IP packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut body = self.body();
        body.truncate(self.cut.unwrap_or(usize::MAX));
        let mut packet = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.v4_header(source.octets(), destination.octets(), body.len())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.v6_headers(source.octets(), destination.octets(), body.len())
            }
            mixed => panic!("addresses of two families: {mixed:?}"),
        };
        packet.extend(body);
        packet
    }

    fn v4_header(&self, source: [u8; 4], destination: [u8; 4], body: usize) -> Vec<u8> {
        let length = 20 + self.options.len();
        let total = self.length.unwrap_or((length + body) as u16);
        let mut header = vec![0x40 | (length / 4) as u8, self.traffic_class];
        header.extend(total.to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        header.extend(&self.options);
        let checksum = ones_sum(checksum(&header), self.ip_checksum_error);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn v6_headers(&self, source: [u8; 16], destination: [u8; 16], body: usize) -> Vec<u8> {
        let kinds: Vec<u8> =
            self.extensions.iter().map(|e| e.kind).chain([self.protocol]).collect();
        let extensions: Vec<u8> =
            self.extensions.iter().zip(&kinds[1..]).flat_map(|(e, &next)| e.bytes(next)).collect();
        let length = self.length.unwrap_or((extensions.len() + body) as u16);
        let mut header = vec![0x60 | self.traffic_class >> 4, self.traffic_class << 4];
        header.extend(self.flow_label.to_be_bytes());
        header.extend(length.to_be_bytes());
        header.extend([kinds[0], self.ttl]);
        header.extend(source);
        header.extend(destination);
        header.extend(extensions);
        header
    }

    /// The body with its checksum, whole.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let at = match self.body {
            Body::Tcp { flags, seq, ack, window } => {
                body.extend(self.source_port.to_be_bytes());
                body.extend(self.port.to_be_bytes());
                body.extend(seq.to_be_bytes());
                body.extend(ack.to_be_bytes());
                body.extend([self.data_offset, flags]);
                body.extend(window.to_be_bytes());
                body.extend([0, 0, 0, 0]);
                16
            }
            Body::Udp => {
                body.extend(self.source_port.to_be_bytes());
                body.extend(self.port.to_be_bytes());
                body.extend((8 + self.data.len() as u16).to_be_bytes());
                body.extend([0, 0]);
                6
            }
            Body::Icmp { kind, code, word } => {
                body.extend([kind, code, 0, 0]);
                body.extend(word);
                2
            }
            Body::Raw => return self.data.clone(),
        };
        body.extend(&self.data);
        let mut covered = match self.protocol {
            ICMP => Vec::new(),
            _ => pseudo_header(self.source, self.destination, self.protocol, body.len()),
        };
        covered.extend(&body);
        let sum = ones_sum(checksum(&covered), self.checksum_error);
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        body
    }
}

impl From<&Frame> for Vec<u8> {
    fn from(frame: &Frame) -> Self {
        frame.bytes()
    }
}
