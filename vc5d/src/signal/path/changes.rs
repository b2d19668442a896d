//! Word from the kernel that interfaces, addresses or routes have changed.

use std::io;

use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use tokio::io::unix::AsyncFd;

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE` of linux/rtnetlink.h.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// Only that something has come matters, so messages are cut off.
const BUFFER: usize = 64;

/// A netlink socket that is told of changes.
pub(super) struct Changes {
    socket: AsyncFd<Socket>,
}

impl Changes {
    /// Listens from now on.
    pub(super) fn listen() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        // SAFETY: a netlink socket owns its descriptor and never replaces or closes it before it is dropped.
        let socket = unsafe { AsyncFd::register(socket)? };
        Ok(Self { socket })
    }

    /// Returns when something has changed; all that has come is one change.
    pub(super) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(done) = ready.try_io(|socket| drain(socket.get_ref())) {
                return done;
            }
        }
    }
}

/// Reads until there is nothing more. `WouldBlock` if there was nothing at all.
fn drain(socket: &Socket) -> io::Result<()> {
    let mut any = false;
    loop {
        match socket.recv(&mut Vec::with_capacity(BUFFER), 0) {
            Ok(_) => any = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && any => return Ok(()),
            // More has happened than the socket could hold.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => any = true,
            Err(error) => return Err(error),
        }
    }
}
