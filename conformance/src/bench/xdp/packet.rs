//! The packets to measure with. Checksums are left out, as nothing on the path looks at them.

use vc5_ebpf_abi::{mapped, vip_filter_bit, vip_filter_bit_v6};

use super::subject::{OUR_MAC, Vip};

pub(super) const SYN: u8 = 0x02;
pub(super) const ACK: u8 = 0x10;

const VIP_V4: [u8; 4] = [192, 0, 2, 1];
const ELSEWHERE: [u8; 4] = [192, 0, 2, 77];
const VIP_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 TCP, not to a VIP.
    Elsewhere,
    /// IPv4 TCP with these flags.
    TcpV4(u8),
    /// IPv4 UDP.
    UdpV4,
    /// IPv6 TCP with these flags.
    TcpV6(u8),
}

/// The VIPs that packets go to.
pub(super) fn vips() -> [Vip; 2] {
    let [upper, lower] =
        [VIP_V6.first_chunk(), VIP_V6.last_chunk()].map(|half| half.copied().unwrap_or_default());
    [
        Vip { address: mapped(VIP_V4), filter_bit: vip_filter_bit(VIP_V4) },
        Vip { address: VIP_V6, filter_bit: vip_filter_bit_v6([upper, lower]) },
    ]
}

impl Kind {
    /// A frame of 60 bytes, of IPv6 74.
    pub(super) fn frame(self) -> Vec<u8> {
        let mut frame = [&OUR_MAC[..], &[2, 0, 0, 0, 0, 9]].concat();
        let protocol = if self == Self::UdpV4 { 17 } else { 6 };
        if let Self::TcpV6(_) = self {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64]);
            frame.extend([CLIENT_V6, VIP_V6].concat());
        } else {
            frame.extend([8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 0]);
            frame.extend(if self == Self::Elsewhere { ELSEWHERE } else { VIP_V4 });
        }
        frame.extend([0x9c, 0x40, 0, 80]);
        match self {
            Self::UdpV4 => frame.extend([0, 26, 0, 0]),
            Self::Elsewhere => frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, ACK]),
            Self::TcpV4(flags) | Self::TcpV6(flags) => {
                frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags]);
            }
        }
        frame.resize(if let Self::TcpV6(_) = self { 74 } else { 60 }, 0);
        frame
    }

    /// Offset of the last four bytes of the source address.
    pub(super) const fn source_at(self) -> usize {
        if let Self::TcpV6(_) = self { 34 } else { 26 }
    }
}
