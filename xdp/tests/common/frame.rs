//! Frames to test with.

/// Our hardware address.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The router's hardware address.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// The client.
pub const CLIENT: [u8; 4] = [198, 51, 100, 7];
/// The VIP.
pub const VIP: [u8; 4] = [192, 0, 2, 1];
/// The port that has a service, TCP and UDP.
pub const PORT: u16 = 80;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// An IPv4 packet in the making. The defaults are a TCP ACK from the client to the service.
#[derive(Clone, Debug)]
pub struct Frame {
    pub destination_mac: [u8; 6],
    pub ether_type: u16,
    pub source: [u8; 4],
    pub destination: [u8; 4],
    pub source_port: u16,
    pub port: u16,
    pub protocol: u8,
    pub tcp_flags: u8,
    pub ttl: u8,
    /// Flags and fragment offset of the IPv4 header.
    pub fragment: u16,
    /// Bytes of IPv4 options, a multiple of four.
    pub options: usize,
    pub payload: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            destination_mac: OUR_MAC,
            ether_type: 0x0800,
            source: CLIENT,
            destination: VIP,
            source_port: 40000,
            port: PORT,
            protocol: TCP,
            tcp_flags: ACK,
            ttl: 57,
            fragment: 0x4000,
            options: 0,
            payload: 5,
        }
    }
}

impl Frame {
    pub fn tcp(flags: u8) -> Self {
        Self { tcp_flags: flags, ..Self::default() }
    }

    pub fn udp() -> Self {
        Self { protocol: UDP, ..Self::default() }
    }

    /// The flow hash of the packet under a key.
    pub fn hash(&self, key: [u64; 2]) -> u64 {
        let mut addresses = [0; 8];
        addresses[..4].copy_from_slice(&self.source);
        addresses[4..].copy_from_slice(&self.destination);
        let [s0, s1] = self.source_port.to_be_bytes();
        let [d0, d1] = self.port.to_be_bytes();
        vc5_ebpf_path::flow_hash_v4(key, addresses, [s0, s1, d0, d1], self.protocol)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let transport = self.transport();
        let header = 20 + self.options;
        let mut ip = vec![0; header];
        ip[0] = 0x40 | (header / 4) as u8;
        ip[1] = 0x10;
        ip[2..4].copy_from_slice(&((header + transport.len()) as u16).to_be_bytes());
        ip[4..6].copy_from_slice(&0x1d2fu16.to_be_bytes());
        ip[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        ip[8] = self.ttl;
        ip[9] = self.protocol;
        ip[12..16].copy_from_slice(&self.source);
        ip[16..20].copy_from_slice(&self.destination);
        ip[20..].fill(1);
        let checksum = checksum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());

        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(ROUTER_MAC);
        frame.extend(self.ether_type.to_be_bytes());
        frame.extend(ip);
        frame.extend(transport);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let length = if self.protocol == TCP { 20 } else { 8 } + self.payload;
        let mut transport = vec![0xa5; length];
        transport[..2].copy_from_slice(&self.source_port.to_be_bytes());
        transport[2..4].copy_from_slice(&self.port.to_be_bytes());
        if self.protocol == TCP {
            transport[12] = 5 << 4;
            transport[13] = self.tcp_flags;
        }
        transport
    }
}

/// The Internet checksum, from scratch; zero over a header that holds its own.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
