//! The host's interfaces and addresses, and which of them leads to a backend.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::error::Error;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) loopback: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) interface: u32,
    /// The host's own address.
    pub(super) local: IpAddr,
    /// An address in the subnet: the peer's on a point-to-point link, else the same as `local`.
    pub(super) subnet: IpAddr,
    pub(super) prefix_len: u8,
    /// Whether packets can be sent from it already: false while duplicates are being looked for.
    pub(super) usable: bool,
    /// Whether it is meant to stay: neither deprecated nor temporary (RFC 8981), nor secondary.
    pub(super) lasting: bool,
}

/// A snapshot of the host's interfaces and addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) interfaces: BTreeMap<u32, Interface>,
    pub(super) addresses: Vec<Address>,
}

/// How to reach a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NextHop {
    pub(super) interface: u32,
    pub(super) name: String,
    pub(super) up: bool,
    /// The address to send from.
    pub(super) source: Option<IpAddr>,
}

impl Host {
    /// The interface whose connected subnet holds the backend: the longest prefix, and of equal
    /// ones an interface that is up.
    pub(super) fn next_hop(&self, vip: IpAddr, backend: IpAddr) -> Result<NextHop, Error> {
        if vip.is_ipv4() != backend.is_ipv4() {
            return Err(Error::FamilyMismatch { backend, vip });
        }
        if let Some(interface) = self.holder(vip) {
            return Err(Error::VipIsLocal { vip, interface, backend });
        }
        if let Some(interface) = self.holder(backend) {
            return Err(Error::BackendIsLocal { backend, vip, interface });
        }
        self.addresses
            .iter()
            .filter(|address| !link_local(address.subnet))
            .filter(|address| contains(address.subnet, address.prefix_len, backend))
            .filter_map(|address| Some((address, self.interfaces.get(&address.interface)?)))
            .filter(|(_, interface)| !interface.loopback)
            .max_by_key(|(address, interface)| {
                (address.prefix_len, interface.up, address.usable, address.lasting)
            })
            .map(|(address, interface)| NextHop {
                interface: address.interface,
                name: interface.name.clone(),
                up: interface.up,
                source: address.usable.then_some(address.local),
            })
            .ok_or(Error::NotConnected { backend, vip })
    }

    /// The name of the interface that holds this address.
    fn holder(&self, ip: IpAddr) -> Option<String> {
        let address = self.addresses.iter().find(|address| address.local == ip)?;
        let interface = self.interfaces.get(&address.interface)?;
        Some(interface.name.clone())
    }
}

/// Whether the address is from fe80::/10, whose subnet is connected to every interface.
fn link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn contains(subnet: IpAddr, prefix_len: u8, ip: IpAddr) -> bool {
    let (differing, bits) = match (subnet, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(u32::from(a) ^ u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b), 128),
        _ => return false,
    };
    let host_bits = bits - u32::from(prefix_len).min(bits);
    differing.checked_shr(host_bits).unwrap_or(0) == 0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host from lines of `index name up|down address/length`.
    pub(in crate::path) fn host(lines: &[&str]) -> Host {
        let mut host = Host::default();
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            let [index, name, state, prefix] = words[..] else { panic!("{line}") };
            let interface: u32 = index.parse().unwrap();
            host.interfaces.insert(
                interface,
                Interface { name: name.into(), up: state == "up", loopback: name == "lo" },
            );
            let (ip, length) = prefix.split_once('/').unwrap();
            let local = ip.parse().unwrap();
            let prefix_len = length.parse().unwrap();
            host.addresses.push(Address {
                interface,
                local,
                subnet: local,
                prefix_len,
                usable: true,
                lasting: true,
            });
        }
        host
    }

    fn hop(host: &Host, vip: &str, backend: &str) -> Result<NextHop, String> {
        host.next_hop(vip.parse().unwrap(), backend.parse().unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_most_specific_connected_subnet_wins() {
        let host = host(&[
            "1 lo up 127.0.0.1/8",
            "2 e0 up 10.0.0.1/8",
            "3 e1 up 10.1.0.1/16",
            "3 e1 up 2001:db8:1::1/64",
            "4 e2 down 10.1.0.2/16",
        ]);
        let found = hop(&host, "192.0.2.1", "10.1.0.9").unwrap();
        assert_eq!((found.interface, found.source), (3, Some("10.1.0.1".parse().unwrap())));
        assert_eq!(hop(&host, "192.0.2.1", "10.2.0.9").unwrap().interface, 2);
        assert_eq!(hop(&host, "2001:db8::1", "2001:db8:1::9").unwrap().name, "e1");
    }

    #[test]
    fn errors_name_the_backend_and_what_to_do() {
        let host = host(&["1 lo up 127.0.0.1/8", "2 e0 up 10.0.0.1/24", "2 e0 up 192.0.2.9/32"]);
        let error = |vip, backend| hop(&host, vip, backend).unwrap_err();
        assert_eq!(
            error("192.0.2.1", "10.0.1.5"),
            "backend 10.0.1.5 (VIP 192.0.2.1) is outside every connected subnet: give this host \
             an address in its subnet, or use probe = \"direct\""
        );
        assert!(
            error("192.0.2.9", "10.0.0.5").contains("VIP 192.0.2.9 is an address of this host")
        );
        assert!(
            error("192.0.2.1", "10.0.0.1").contains("backend 10.0.0.1 (VIP 192.0.2.1) is this")
        );
        assert!(error("192.0.2.1", "2001:db8::1").contains("families differ"));
        assert!(error("2001:db8::1", "10.0.0.5").contains("families differ"));
        assert!(error("192.0.2.1", "127.0.0.5").contains("outside every connected subnet"));
    }

    #[test]
    fn ipv6_errors_are_the_same() {
        let host = host(&[
            "1 lo up ::1/128",
            "1 lo up 2001:db8:ffff::9/128",
            "2 e0 up fe80::1/64",
            "2 e0 up 2001:db8:1::1/64",
        ]);
        let error = |vip, backend| hop(&host, vip, backend).unwrap_err();
        assert_eq!(
            error("2001:db8:ffff::1", "2001:db8:2::5"),
            "backend 2001:db8:2::5 (VIP 2001:db8:ffff::1) is outside every connected subnet: give \
             this host an address in its subnet, or use probe = \"direct\""
        );
        assert_eq!(
            error("2001:db8:ffff::9", "2001:db8:1::5"),
            "VIP 2001:db8:ffff::9 is an address of this host on lo, so probes cannot reach backend \
             2001:db8:1::5: remove it from lo, or use probe = \"local\""
        );
        assert!(error("2001:db8:ffff::1", "2001:db8:1::1").contains("is this host's own address"));
        // Its subnet is on every interface, and on none in particular.
        assert!(error("2001:db8:ffff::1", "fe80::5").contains("outside every connected subnet"));
    }

    #[test]
    fn backends_in_vlans_are_found_by_the_subnets_of_their_interfaces() {
        let host = host(&[
            "2 e0 up 10.0.0.1/24",
            "2 e0 up 2001:db8:1::1/64",
            "3 e0.100 up 10.0.100.1/24",
            "3 e0.100 up 2001:db8:1:100::1/64",
            "4 e0.200 down 2001:db8:1:200::1/64",
        ]);
        let name = |vip, backend| hop(&host, vip, backend).map(|hop| (hop.name, hop.up));
        assert_eq!(name("192.0.2.1", "10.0.100.9"), Ok(("e0.100".into(), true)));
        assert_eq!(name("2001:db8::1", "2001:db8:1::9"), Ok(("e0".into(), true)));
        assert_eq!(name("2001:db8::1", "2001:db8:1:100::9"), Ok(("e0.100".into(), true)));
        assert_eq!(name("2001:db8::1", "2001:db8:1:200::9"), Ok(("e0.200".into(), false)));
        assert!(name("2001:db8::1", "2001:db8:1:300::9").is_err());
    }

    #[test]
    fn an_address_that_stays_is_the_better_source() {
        let lines = ["2 e0 up 2001:db8:1::1/64", "2 e0 up 2001:db8:1::2/64"];
        for passing in [0, 1] {
            let mut host = host(&lines);
            host.addresses[passing].lasting = false;
            let source = hop(&host, "2001:db8::1", "2001:db8:1::9").unwrap().source;
            assert_eq!(source, Some(host.addresses[1 - passing].local));
            // One that is not ready is worse still.
            host.addresses[1 - passing].usable = false;
            let source = hop(&host, "2001:db8::1", "2001:db8:1::9").unwrap().source;
            assert_eq!(source, Some(host.addresses[passing].local));
        }
    }

    #[test]
    fn an_address_that_is_not_ready_is_not_a_source() {
        let mut host = host(&["2 e0 up 2001:db8:1::1/64"]);
        host.addresses[0].usable = false;
        assert_eq!(hop(&host, "2001:db8::1", "2001:db8:1::9").unwrap().source, None);
    }

    #[test]
    fn containment_at_the_edges() {
        let inside = |net: &str, length, ip: &str| {
            contains(net.parse().unwrap(), length, ip.parse().unwrap())
        };
        assert!(inside("10.0.0.1", 0, "203.0.113.1"));
        assert!(inside("10.0.0.1", 32, "10.0.0.1") && !inside("10.0.0.1", 32, "10.0.0.2"));
        assert!(inside("10.0.0.1", 31, "10.0.0.0") && !inside("10.0.0.1", 31, "10.0.0.2"));
        assert!(inside("2001:db8::1", 0, "::1") && !inside("2001:db8::1", 128, "2001:db8::2"));
        assert!(!inside("10.0.0.1", 0, "::1"));
    }
}
