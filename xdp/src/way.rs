//! Ways to backends as the owner of a dataplane gives them.

use crate::{Error, Mac};

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
    const MAX_VLAN: u16 = 4094;

    /// Whether it can be one of a dataplane whose interfaces have these names, though they need not
    /// all exist yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] for another interface, [`Error::Question`] for a VLAN or an address that
    /// no single host can have.
    pub(crate) fn check(&self, interfaces: &[String]) -> Result<(), Error> {
        let Self { interface, vlan, mac } = self;
        if !interfaces.contains(interface) {
            let reason = format!("{interface} is none of the dataplane's interfaces");
            return Err(Error::NotFound(reason));
        }
        if *vlan > Self::MAX_VLAN {
            let reason = format!("VLAN {vlan}: ids are 1 to {}", Self::MAX_VLAN);
            return Err(Error::Question(reason));
        }
        let [first, ..] = mac.0;
        if *mac == Mac::default() || first & 1 != 0 {
            return Err(Error::Question(format!("{mac} is no host's hardware address")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_by_an_interface_and_a_vlan_to_a_host() {
        let interfaces = ["a".to_owned(), "b".to_owned()];
        let check = |interface: &str, vlan, mac| {
            Way { interface: interface.into(), vlan, mac: Mac(mac) }.check(&interfaces)
        };
        let mac = [2, 0, 0, 0, 0, 1];
        check("a", 0, mac).unwrap();
        check("b", 4094, mac).unwrap();
        assert!(matches!(check("c", 0, mac), Err(Error::NotFound(_))));
        assert!(matches!(check("a", 4095, mac), Err(Error::Question(_))));
        for no_host in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
            assert!(matches!(check("a", 0, no_host), Err(Error::Question(_))), "{no_host:x?}");
        }
    }
}
