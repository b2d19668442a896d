//! Ways to backends as the owner of a dataplane gives them.

use crate::Mac;

/// How a backend is reached, where that is not for the kernel to say: one in a VLAN for which this
/// host has no interface, or one whose hardware address is known from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Name of the dataplane's interface to send by.
    pub interface: String,
    /// VLAN on it, 1 to 4094, or 0 for untagged.
    pub vlan: u16,
    /// The backend's hardware address.
    pub mac: Mac,
}

impl Way {
    /// The greatest VLAN id (IEEE 802.1Q: 4095 is reserved).
    pub(crate) const MAX_VLAN: u16 = 4094;
}
