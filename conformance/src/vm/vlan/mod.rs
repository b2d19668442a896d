//! The lab of VLANs, which runs inside the virtual machine: a balancer on a trunk, by one interface or by a bond.
//!
//! ```text
//!                                   +-- trunk 10, 20, 30, untagged: the balancer (e0, or bond0 over s0 and s1)
//!   client --- router --- trunk --- bridge --- VLAN 10: b10    VLAN 20: b20    untagged: b1
//!                                   +-- trunk 10, 20: mover
//! ```
//! The router hands packets for one pair of VIPs to the balancer in VLAN 30, those for the other pair untagged. Each
//! VIP has backends in VLANs 10 and 20 and untagged, so tags are rewritten, added and taken off.

mod balancer;
mod network;
mod scenario;
mod stream;

pub use self::balancer::Mode;
pub use self::network::Uplink;
pub use self::scenario::play;
