//! The OPEN message (RFC 4271 section 4.2).

use std::net::Ipv4Addr;

use super::Family;
use super::capability::Capability;

/// Stands in two octets for an AS number that needs four (RFC 6793).
pub const AS_TRANS: u16 = 23456;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Open {
    /// Protocol version, 4.
    pub version: u8,
    /// The My Autonomous System field. A value above 65535 is written as [`AS_TRANS`]; the true one
    /// is in the 4-octet capability, see [`Open::effective_as`].
    pub my_as: u32,
    /// Proposed hold time in seconds: 0, or 3 to 65535.
    pub hold_time: u16,
    /// BGP identifier, not 0.0.0.0 (RFC 6286).
    pub identifier: Ipv4Addr,
    /// Capabilities in the order of the message, repetitions included.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// A version 4 OPEN of AS `my_as`; announces the AS in both forms.
    #[must_use]
    pub fn new(my_as: u32, hold_time: u16, identifier: Ipv4Addr, families: &[Family]) -> Self {
        let mut capabilities: Vec<_> =
            families.iter().copied().map(Capability::Multiprotocol).collect();
        capabilities.push(Capability::RouteRefresh);
        capabilities.push(Capability::FourOctetAs(my_as));
        let my_as = u16::try_from(my_as).unwrap_or(AS_TRANS).into();
        Self { version: 4, my_as, hold_time, identifier, capabilities }
    }

    /// The speaker's AS: the 4-octet one where announced, else the field (RFC 6793 section 4.1).
    #[must_use]
    pub fn effective_as(&self) -> u32 {
        self.four_octet_as().unwrap_or(self.my_as)
    }

    /// The AS of the 4-octet capability; of several, the last counts.
    #[must_use]
    pub fn four_octet_as(&self) -> Option<u32> {
        self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::FourOctetAs(number) => Some(*number),
            _ => None,
        })
    }

    /// The families the speaker can carry: IPv4 unicast alone if it announces none (RFC 4760
    /// section 8).
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let mut families = Vec::new();
        for capability in &self.capabilities {
            if let Capability::Multiprotocol(family) = capability
                && !families.contains(family)
            {
                families.push(*family);
            }
        }
        if families.is_empty() {
            families.push(Family::IPV4_UNICAST);
        }
        families
    }
}
