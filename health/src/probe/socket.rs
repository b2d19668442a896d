//! The socket under every probe.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::Target;

/// Connects to the target. The stream closes by RST until [`close_orderly`] is called on it.
pub(super) async fn connect(target: Target) -> Result<TcpStream, String> {
    let socket = stream(target)?;
    socket.connect(target.address).await.map_err(|error| describe(&error))
}

/// As [`connect`], but nothing is sent after the peer's SYN-ACK for 200 ms. A stream that is dropped
/// before has made no connection.
pub(super) async fn half_open(target: Target) -> Result<TcpStream, String> {
    let socket = stream(target)?;
    let hold = SockRef::from(&socket).set_tcp_quickack(false);
    hold.map_err(step("hold back the ACK"))?;
    socket.connect(target.address).await.map_err(|error| describe(&error))
}

/// A UDP socket that talks to the target only.
pub(super) async fn udp(target: Target) -> Result<UdpSocket, String> {
    let socket = open(target, Type::DGRAM, Protocol::UDP)?;
    report_errors(&socket, target.address).map_err(step("ask for ICMP errors"))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(|error| describe(&error))?;
    socket.connect(target.address).await.map_err(|error| describe(&error))?;
    Ok(socket)
}

/// Has every ICMP error fail the socket at once. Without this UDP takes notice of closed ports
/// only, and neither of unreachable hosts nor of neighbours that do not answer, and a TCP
/// connection that stands goes on until the time is over.
fn report_errors(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, name) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    set_option(socket.as_raw_fd(), level, name, &on)
}

/// Sets an option of a socket whose value is plain numbers.
pub(super) fn set_option<T: Copy>(
    socket: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of_val(value) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes from the value, which lives through the call.
    let set =
        unsafe { libc::setsockopt(socket, level, name, std::ptr::from_ref(value).cast(), length) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn step(doing: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("cannot {doing}: {}", describe(&error))
}

fn stream(target: Target) -> Result<TcpSocket, String> {
    let socket = open(target, Type::STREAM, Protocol::TCP)?;
    socket.set_linger(Some(Duration::ZERO)).map_err(step("set SO_LINGER"))?;
    report_errors(&socket, target.address).map_err(step("ask for ICMP errors"))?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// A socket that is marked and bound as the target says, not connected yet.
fn open(target: Target, kind: Type, protocol: Protocol) -> Result<Socket, String> {
    let kind = kind.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(target.address), kind, Some(protocol))
        .map_err(step("open a socket"))?;
    if let Some(mark) = target.mark {
        socket.set_mark(mark).map_err(step("mark the socket"))?;
    }
    if let Some(ttl) = target.ttl {
        // Before the connect, so that the first packet has it.
        let set = match target.address {
            SocketAddr::V4(_) => socket.set_ttl_v4(ttl.into()),
            SocketAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()),
        };
        set.map_err(step("set the TTL"))?;
    }
    bind(&socket, target)?;
    Ok(socket)
}

/// Binds the socket to the source of the target, if that has one.
fn bind(socket: &Socket, target: Target) -> Result<(), String> {
    let Some(source) = target.source else { return Ok(()) };
    let bound = socket.bind(&SocketAddr::new(source, 0).into());
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => format!("{source} is not an address of this host"),
        _ => format!("cannot bind to {source}: {}", describe(&error)),
    })
}

/// Says if the source of the target, where it has one, is not an address of this host.
pub(super) fn can_be_source(target: Target) -> Result<(), String> {
    if target.source.is_none() {
        return Ok(());
    }
    let domain = Domain::for_address(target.address);
    let socket = Socket::new(domain, Type::DGRAM.cloexec(), None).map_err(step("open a socket"))?;
    bind(&socket, target)
}

/// Lets the stream close by FIN. Only for one whose peer has closed already: then this end goes
/// through LAST_ACK, and it is the peer that keeps TIME_WAIT.
pub(super) fn close_orderly(stream: &TcpStream) {
    // Failure leaves the RST, which is harmless.
    let _ = SockRef::from(stream).set_linger(None);
}

/// The system's words for an error, without its number.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_has_the_ttl_of_its_target() {
        for (address, ttl) in [("127.0.0.1:1", Some(1)), ("[::1]:1", Some(255)), ("[::1]:1", None)]
        {
            let address: SocketAddr = address.parse().unwrap();
            let socket = stream(Target { address, source: None, mark: None, ttl }).unwrap();
            let socket = SockRef::from(&socket);
            let found = if address.is_ipv4() { socket.ttl_v4() } else { socket.unicast_hops_v6() };
            let fresh = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap().unicast_hops_v6();
            assert_eq!(found.unwrap(), ttl.map_or(fresh.unwrap(), u32::from));
        }
    }

    #[test]
    fn errors_read_as_short_lines() {
        let text = |code| describe(&io::Error::from_raw_os_error(code));
        assert_eq!(text(libc::ECONNREFUSED), "connection refused");
        assert_eq!(text(libc::EHOSTUNREACH), "no route to host");
        assert_eq!(text(libc::ENETUNREACH), "network is unreachable");
        assert_eq!(text(libc::ECONNRESET), "connection reset by peer");
    }
}
