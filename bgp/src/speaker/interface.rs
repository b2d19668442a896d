//! The addresses of network interfaces, from the kernel.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// One address of an interface.
struct Assigned {
    interface: String,
    /// It is the loopback interface.
    loopback: bool,
    /// The address with the length of its subnet.
    net: IpNet,
}

/// All addresses of the interface that has `local`, each with the length of its subnet. Empty for a
/// loopback interface, on which subnets mean nothing, and if the kernel does not tell.
pub(super) fn of(local: IpAddr) -> Vec<IpNet> {
    let assigned = assigned();
    let Some(here) = assigned.iter().find(|one| one.net.addr() == local && !one.loopback) else {
        return Vec::new();
    };
    let same = assigned.iter().filter(|one| one.interface == here.interface);
    same.map(|one| one.net).collect()
}

/// The index of an interface: the scope of link-local addresses on it.
pub(super) fn index(name: &str) -> io::Result<u32> {
    let c_name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: the call only reads the string, which outlives it.
    match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
        0 => Err(io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}"))),
        index => Ok(index),
    }
}

/// All addresses of all interfaces.
fn assigned() -> Vec<Assigned> {
    let mut head = std::ptr::null_mut();
    // SAFETY: `head` is a valid place for the list that the call allocates.
    if unsafe { libc::getifaddrs(&mut head) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: `next` is a node of the list, which is not freed before the end of the loop.
        let node = unsafe { &*next };
        // SAFETY: `ifa_name` is a C string that lives as long as the list.
        let name = unsafe { CStr::from_ptr(node.ifa_name) };
        // SAFETY: both are null or socket addresses of that node, of the size their family says.
        let addresses = unsafe { (address_of(node.ifa_addr), address_of(node.ifa_netmask)) };
        if let (Some(address), Some(mask)) = addresses
            && let Ok(net) = IpNet::with_netmask(address, mask)
        {
            let loopback = node.ifa_flags & libc::IFF_LOOPBACK.cast_unsigned() != 0;
            let interface = name.to_string_lossy().into_owned();
            found.push(Assigned { interface, loopback, net });
        }
        next = node.ifa_next;
    }
    // SAFETY: `head` came from `getifaddrs` and is freed once; nothing borrowed from it is left.
    unsafe { libc::freeifaddrs(head) };
    found
}

/// # Safety
/// `address` is null or points to a socket address of the size its family says.
unsafe fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: not null, and every socket address starts with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says what it is; the read does not ask for alignment.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says what it is; the read does not ask for alignment.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_with_their_subnets() {
        let found = assigned();
        let loopback = found.iter().find(|one| one.net.addr() == IpAddr::V4(Ipv4Addr::LOCALHOST));
        let loopback = loopback.expect("127.0.0.1");
        assert!(loopback.loopback);
        assert_eq!(loopback.net.prefix_len(), 8);
        for one in found.iter().filter(|one| !one.loopback) {
            assert!(of(one.net.addr()).contains(&one.net));
        }
    }

    #[test]
    fn interfaces_have_indices() {
        assert_ne!(index("lo").unwrap(), 0);
        assert_eq!(index("nosuch0").unwrap_err().to_string(), "no interface nosuch0");
        assert!(index("a\0b").is_err());
    }

    #[test]
    fn nothing_is_known_of_loopback_and_of_others_addresses() {
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 77)] {
            assert!(of(IpAddr::V4(address)).is_empty());
        }
    }
}
