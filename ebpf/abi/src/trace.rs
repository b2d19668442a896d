//! What the program tells user space about single packets.

use crate::{Address, ServiceKey};

/// What a program loaded with [`Settings::trace`](crate::Settings::trace) found out about the last
/// packet that it was given: the one element of `TRACE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Hash of the flow, 0 if the packet belongs to none.
    pub hash: u64,
    /// Flow record that was found, 0 if none.
    pub flow: u64,
    /// Embryonic record that was found, 0 if none or not looked for.
    pub embryonic: u64,
    /// A [`Reason`](crate::Reason).
    pub reason: u32,
    /// Real id chosen, or [`NO_REAL`](crate::NO_REAL).
    pub real: u32,
    /// Ring that was asked, or [`NO_RING`](crate::NO_RING).
    pub ring: u32,
    /// Slot of that ring.
    pub slot: u16,
    /// Member that the slot names, or [`NO_MEMBER`](crate::NO_MEMBER).
    pub member: u16,
    /// The service that the packet is for, as found: of a range, its first port. All zero if none.
    pub service: ServiceKey,
    /// Zero.
    pub pad: u32,
}

/// A new flow, as told through `SAMPLES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The client.
    pub source: Address,
    /// The VIP.
    pub destination: Address,
    /// Source port, destination port, both in network byte order.
    pub ports: [u8; 4],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
    /// Real id.
    pub real: u32,
    /// The [`Reason`](crate::Reason) for the choice.
    pub reason: u32,
}

const _: () = {
    assert!(size_of::<Trace>() == 64);
    assert!(size_of::<Sample>() == 48);
};
