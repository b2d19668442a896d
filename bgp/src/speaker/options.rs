//! Socket options that `socket2` does not have: TTL security and TCP MD5 signatures.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use crate::session::Password;

/// The key of one neighbour, in the layout of the kernel's `struct tcp_md5sig`.
#[repr(C, align(8))]
struct Md5Signature {
    /// A socket address in a `sockaddr_storage`.
    address: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: i32,
    key: [u8; 80],
}

/// Signs what goes to a neighbour, and takes nothing from it that is not signed by the same key (RFC
/// 2385); without a key that ends. Of a listening socket it is about connections yet to come.
pub(super) fn set_password(
    socket: &impl AsFd,
    neighbor: IpAddr,
    password: Option<&Password>,
) -> io::Result<()> {
    let key = password.map(Password::octets).unwrap_or_default();
    let mut option = Md5Signature {
        address: socket_address(neighbor),
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(key.len()).unwrap_or(0),
        interface: 0,
        key: [0; 80],
    };
    option.key.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    match set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &option) {
        // There was no key to forget.
        Err(error) if key.is_empty() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Takes no packet with a smaller TTL or hop limit (RFC 5082 section 3).
pub(super) fn set_least_ttl(socket: &impl AsFd, neighbor: IpAddr, ttl: u8) -> io::Result<()> {
    let (level, name) = match neighbor {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MINTTL),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
    };
    set(socket, level, name, &libc::c_int::from(ttl))
}

fn set<T>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let socket = socket.as_fd();
    // SAFETY: the descriptor is open while it is borrowed, and `value` is `size` octets that the
    // kernel only reads.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `sockaddr_in` or `sockaddr_in6` of port 0.
fn socket_address(address: IpAddr) -> [u8; 128] {
    let mut octets = [0; 128];
    let (family, at, address) = match address {
        IpAddr::V4(address) => (libc::AF_INET, 4, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, 8, address.octets().to_vec()),
    };
    let family = u16::try_from(family).unwrap_or(0).to_ne_bytes();
    octets.iter_mut().zip(family).for_each(|(to, from)| *to = from);
    octets.iter_mut().skip(at).zip(address).for_each(|(to, from)| *to = from);
    octets
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use socket2::SockAddr;

    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Md5Signature>(), 128 + 1 + 1 + 2 + 4 + 80);
        for address in ["192.0.2.1", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            let expected = SockAddr::from(SocketAddr::new(address, 0));
            let length = usize::try_from(expected.len()).unwrap();
            let octets = socket_address(address);
            // SAFETY: the address is valid for its own length.
            let expected =
                unsafe { std::slice::from_raw_parts(expected.as_ptr().cast::<u8>(), length) };
            assert_eq!(&octets[..length], expected, "{address}");
            assert!(octets[length..].iter().all(|octet| *octet == 0));
        }
    }
}
