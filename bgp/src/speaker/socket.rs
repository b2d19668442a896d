//! TCP sockets with what BGP wants of them.

use std::io;
use std::net::SocketAddr;

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
    let direct = config.neighbor_as != local.local_as && config.multihop.is_none();
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

/// An error without its number: `Connection refused`.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_words() {
        let error = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(describe(&error), "Connection refused");
    }
}
