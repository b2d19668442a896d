//! TCP sockets with what BGP wants of them, and the addresses of interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::session::{LocalSpeaker, PeerConfig};

/// DSCP CS6, network control (RFC 4594 section 3.1), in its place in the octet.
const CS6: u32 = 0xC0;
/// Pending connections; the kernel's default is a handful, and a rack of routers comes back at once.
const BACKLOG: i32 = 1024;
/// Octets that the kernel may hold unsent: what lies there can no longer be replaced by newer state.
const UNSENT: u32 = 16 * 1024;

/// Listens on `address`; an IPv6 socket takes IPv6 only.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(CS6)?;
    } else {
        socket.set_tos_v4(CS6)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Connects to a neighbour.
pub(super) async fn dial(local: LocalSpeaker, config: &PeerConfig) -> io::Result<TcpStream> {
    let remote = SocketAddr::new(config.neighbor, config.port);
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    prepare(SockRef::from(&socket), &local, config)?;
    if let Some(source) = config.source_address {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(remote).await
}

/// Options of either kind of connection.
pub(super) fn prepare(
    socket: SockRef<'_>,
    local: &LocalSpeaker,
    config: &PeerConfig,
) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let direct = config.neighbor_as != local.local_as && !config.multihop;
    if config.neighbor.is_ipv4() {
        socket.set_tos_v4(CS6)?;
        if direct {
            socket.set_ttl_v4(1)?;
        }
    } else {
        socket.set_tclass_v6(CS6)?;
        if direct {
            socket.set_unicast_hops_v6(1)?;
        }
    }
    Ok(())
}

/// An address of the other family on the interface that has `local`: what goes into next hops when
/// routes of one family travel over a session of the other. The lowest one, so that it does not
/// depend on the order in which the kernel lists them.
pub(super) fn companion(local: IpAddr) -> Option<IpAddr> {
    let addresses = interface_addresses();
    let here =
        |name: &String| addresses.iter().any(|(known, address)| known == name && *address == local);
    addresses
        .iter()
        .filter(|(name, address)| {
            address.is_ipv4() != local.is_ipv4() && is_global(*address) && here(name)
        })
        .map(|(_, address)| *address)
        .min()
}

fn is_global(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified()
}

/// All addresses of all interfaces, by interface name; empty if the kernel does not tell.
fn interface_addresses() -> Vec<(String, IpAddr)> {
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
        let name = unsafe { std::ffi::CStr::from_ptr(node.ifa_name) };
        // SAFETY: `ifa_addr` is null or the address of that node, of the size its family says.
        if let Some(address) = unsafe { address_of(node.ifa_addr) } {
            found.push((name.to_string_lossy().into_owned(), address));
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

/// An error without its number: `Connection refused`.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_listed() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(interface_addresses().iter().any(|(_, address)| *address == loopback));
        assert_eq!(
            companion(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77))),
            None,
            "no interface has it"
        );
    }

    #[test]
    fn only_global_addresses_are_next_hops() {
        for (address, expected) in [
            ("fe80::1", false),
            ("::1", false),
            ("::", false),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("169.254.1.1", false),
            ("10.0.0.1", true),
        ] {
            assert_eq!(is_global(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn errors_in_words() {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(describe(&error), "Connection refused");
    }
}
