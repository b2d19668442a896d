//! TTL security of connections that nobody has accepted yet (RFC 5082 section 3).
//!
//! The option for the least TTL can be set on a connection once it is accepted, and on a listening socket
//! only for all neighbours alike. What comes before that a filter looks at: a program of classic BPF on the
//! listening socket, which knows the least TTL of each neighbour and which connections inherit from their
//! first packet on. It drops too low ones without an answer.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use socket2::{SockFilter, SockRef};

/// Load a word or an octet at a fixed place into the accumulator (linux/bpf_common.h).
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_OCTET: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
/// Compare the accumulator with a constant and skip as many instructions as said for either outcome.
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
/// End with a constant: how many octets of the packet may pass.
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Places are counted from the IP header (linux/filter.h).
const IP_HEADER: u32 = libc::SKF_NET_OFF.cast_unsigned();

/// Lets the packets of each of these neighbours, all of one family, pass only with that TTL or hop limit or
/// a greater one.
///
/// # Errors
/// The kernel takes programs of a few hundred neighbours, as far as `net.core.optmem_max` reaches.
pub(super) fn attach(socket: &impl AsFd, neighbors: &[(IpAddr, u8)]) -> io::Result<()> {
    match neighbors {
        [] => detach(socket),
        _ => SockRef::from(socket).attach_filter(&program(neighbors)),
    }
}

/// Lets everything pass.
pub(super) fn detach(socket: &impl AsFd) -> io::Result<()> {
    match SockRef::from(socket).detach_filter() {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

fn program(neighbors: &[(IpAddr, u8)]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for (address, least) in neighbors {
        drop_below(&mut program, *address, *least);
    }
    program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    program
}

/// Instructions that end with a drop if the packet is from `address` and its TTL too low, else go on.
fn drop_below(program: &mut Vec<SockFilter>, address: IpAddr, least: u8) {
    // Where the headers have the TTL and the source (RFC 791 section 3.1, RFC 8200 section 3).
    let (ttl, source, words) = match address {
        IpAddr::V4(address) => (8, 12, vec![address.to_bits()]),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (7, 8, [96, 64, 32, 0].map(|shift| (bits >> shift) as u32).to_vec())
        }
    };
    // Two instructions for each word, two for the TTL, one for the end.
    let mut left = u8::try_from(2 * words.len() + 3).unwrap_or(u8::MAX);
    let mut add = |load, place, test, skip_if, value| {
        left -= 2;
        program.push(SockFilter::new(load, 0, 0, IP_HEADER.wrapping_add(place)));
        let (if_true, if_false) = if skip_if { (left, 0) } else { (0, left) };
        program.push(SockFilter::new(test, if_true, if_false, value));
    };
    for (place, word) in (source..).step_by(4).zip(words) {
        add(LOAD_WORD, place, IF_EQUAL, false, word);
    }
    add(LOAD_OCTET, ttl, IF_AT_LEAST, true, least.into());
    program.push(SockFilter::new(RETURN, 0, 0, 0));
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn set_ttl(socket: &impl AsFd, address: IpAddr, ttl: u32) {
        let socket = SockRef::from(socket);
        match address {
            IpAddr::V4(_) => socket.set_ttl_v4(ttl).unwrap(),
            IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl).unwrap(),
        }
    }

    /// Begins to connect from `address`. On the loopback interface the SYN has been looked at on return.
    fn dial(listener: &TcpListener, address: IpAddr, ttl: u32) -> Socket {
        let to = listener.local_addr().unwrap();
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(address, 0).into()).unwrap();
        set_ttl(&socket, address, ttl);
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&to.into());
        socket.set_nonblocking(false).unwrap();
        socket
    }

    fn is_connected(socket: &Socket) -> bool {
        socket.peer_addr().is_ok()
    }

    /// Neither the first packet nor one of a connection that is not accepted yet passes from too far.
    fn refuses(address: IpAddr, others: &[IpAddr]) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let rules: Vec<(IpAddr, u8)> = others.iter().map(|other| (*other, 255)).collect();
        attach(&listener, &rules).unwrap();
        assert!(is_connected(&dial(&listener, address, 1)), "no rule of ours is about it");
        drop(listener.accept().unwrap());

        let rules = [&rules[..], &[(address, 254)]].concat();
        attach(&listener, &rules).unwrap();
        assert!(!is_connected(&dial(&listener, address, 253)), "too far");
        let mut near: TcpStream = dial(&listener, address, 254).into();
        assert!(near.peer_addr().is_ok());
        set_ttl(&near, address, 253);
        near.write_all(b"far").unwrap();

        let (mut accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let mut heard = [0; 3];
        assert_eq!(accepted.read(&mut heard).unwrap_err().kind(), ErrorKind::WouldBlock);
        detach(&accepted).unwrap();
        accepted.set_nonblocking(false).unwrap();
        accepted.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"far", "sent once more by TCP, and there is no filter any more");

        attach(&listener, &[]).unwrap();
        assert!(is_connected(&dial(&listener, address, 1)), "no rule is left");
    }

    #[test]
    fn packets_from_too_far_do_not_pass() {
        let others = [9, 10].map(|last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last)));
        refuses(Ipv4Addr::new(127, 0, 0, 141).into(), &others);
        let others = ["2001:db8::1", "::2", "1::1", "0:0:0:1::1"].map(|one| one.parse().unwrap());
        refuses(Ipv6Addr::LOCALHOST.into(), &others);
    }

    #[test]
    fn hundreds_of_neighbours_fit() {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let neighbor = |last: u16| (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into(), 255);
        let neighbors: Vec<_> = (0..200).map(neighbor).collect();
        attach(&listener, &neighbors).unwrap();
    }
}
