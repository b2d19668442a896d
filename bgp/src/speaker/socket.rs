//! TCP sockets with what BGP wants of them.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{interface, options};
use crate::session::{LocalSpeaker, PeerConfig};

/// DSCP CS6, network control (RFC 4594 section 3.1), in its place in the octet.
const CS6: u32 = 0xC0;
/// Pending connections; the kernel's default is a handful, and a rack of routers comes back at once.
const BACKLOG: i32 = 1024;
/// The greatest TTL there is.
const MAX_TTL: u32 = 255;
/// The TTL towards internal neighbours, which need not be on a connected subnet.
const DEFAULT_TTL: u32 = 64;
/// Octets that the kernel may hold unsent: what lies there can no longer be replaced by newer state.
const UNSENT: u32 = 16 * 1024;

/// Listens on `address`; an IPv6 socket takes IPv6 only.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // The answer to a SYN comes from this socket, and neighbours with TTL security look at it.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(CS6)?;
        socket.set_unicast_hops_v6(MAX_TTL)?;
    } else {
        socket.set_tos_v4(CS6)?;
        socket.set_ttl_v4(MAX_TTL)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Connects to a neighbour.
pub(super) async fn dial(local: LocalSpeaker, config: &PeerConfig) -> io::Result<TcpStream> {
    let remote = remote(config)?;
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    prepare(&socket, &local, config)?;
    if config.password.is_some() {
        options::set_password(&socket, config.neighbor, config.password.as_ref())?;
    }
    if let Some(source) = config.source_address {
        let scope = scope_of(&remote).filter(|_| is_link_local(source)).unwrap_or(0);
        socket.bind(with_scope(source, 0, scope))?;
    }
    socket.connect(remote).await
}

/// Where a neighbour is dialled.
fn remote(config: &PeerConfig) -> io::Result<SocketAddr> {
    let scope = match &config.interface {
        Some(name) if is_link_local(config.neighbor) => interface::index(name)?,
        _ => 0,
    };
    Ok(with_scope(config.neighbor, config.port, scope))
}

fn with_scope(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => SocketAddr::new(address.into(), port),
        IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, scope).into(),
    }
}

fn scope_of(address: &SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V4(_) => None,
        SocketAddr::V6(address) => Some(address.scope_id()),
    }
}

/// Whether an address means something on one interface only.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Whether a connection from `remote` is the neighbour's.
pub(super) fn is_from(config: &PeerConfig, remote: &SocketAddr) -> bool {
    if remote.ip().to_canonical() != config.neighbor {
        return false;
    }
    let scoped = config.interface.as_ref().filter(|_| is_link_local(config.neighbor));
    scoped.is_none_or(|name| interface::index(name).ok() == scope_of(remote))
}

/// Options of either kind of connection.
pub(super) fn prepare(
    socket: &impl AsFd,
    local: &LocalSpeaker,
    config: &PeerConfig,
) -> io::Result<()> {
    let options = SockRef::from(socket);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_notsent_lowat(UNSENT)?;
    options.set_tcp_user_timeout(Some(user_timeout(config)).filter(|time| !time.is_zero()))?;
    let ttl = ttl(local, config);
    if config.neighbor.is_ipv4() {
        options.set_tos_v4(CS6)?;
        options.set_ttl_v4(ttl)?;
    } else {
        options.set_tclass_v6(CS6)?;
        options.set_unicast_hops_v6(ttl)?;
    }
    if let Some(least) = least_ttl(config) {
        options::set_least_ttl(socket, config.neighbor, least)?;
    }
    if let Some(name) = config.interface.as_ref().filter(|_| !is_link_local(config.neighbor)) {
        options.bind_device(Some(name.as_bytes()))?;
    }
    Ok(())
}

/// The least TTL or hop limit that what the neighbour sends may have, if TTL security asks for one.
pub(super) fn least_ttl(config: &PeerConfig) -> Option<u8> {
    let hops = config.multihop.unwrap_or(1).max(1);
    config.ttl_security.then_some(u8::MAX - (hops - 1))
}

/// The TTL or hop limit of what we send: just as far as the neighbour may be.
fn ttl(local: &LocalSpeaker, config: &PeerConfig) -> u32 {
    match config.multihop {
        _ if config.ttl_security => MAX_TTL,
        Some(hops) => hops.into(),
        None if config.neighbor_as == local.local_as => DEFAULT_TTL,
        None => 1,
    }
}

/// How long the kernel waits for an acknowledgement: as long as the session does for room in the
/// socket (RFC 9687 section 5), so that what is left of a closed session does not linger either.
fn user_timeout(config: &PeerConfig) -> Duration {
    config.send_hold_time.unwrap_or(2 * config.hold_time)
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
