//! Packet sockets: frames out by many at a time, and in by a ring in common memory.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use super::frame::LONGEST;

/// Bytes of a ring for one frame: header, address and the frame.
const SLOT: u32 = 256;
const SLOTS: u32 = 1 << 15;
const BLOCK: u32 = 1 << 18;
/// The bits of a tag's control information that are the VLAN's id.
const VLAN_ID: u16 = 0xfff;
/// Frames sent by one call.
pub(super) const BATCH: usize = 32;

/// Both directions of one interface.
#[derive(Debug)]
pub(super) struct Port {
    socket: OwnedFd,
    ring: *mut u8,
    next: u32,
}

/// Frames to be sent together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) frames: [([u8; LONGEST], usize); BATCH],
    pub(super) len: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { frames: [([0; LONGEST], 0); BATCH], len: 0 }
    }
}

impl Port {
    /// Opens an interface of this thread's namespace.
    pub(super) fn open(interface: &str) -> Result<Self> {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: the call takes integers only.
        let socket = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol))
        };
        ensure!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just returned this descriptor; nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let fd = socket.as_raw_fd();
        option(fd, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        option(fd, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as i32))?;
        let size = SLOT * SLOTS;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK,
            tp_block_nr: size / BLOCK,
            tp_frame_size: SLOT,
            tp_frame_nr: SLOTS,
        };
        option(fd, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping of the ring just made, of its size.
        let ring = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), size as usize, protection, libc::MAP_SHARED, fd, 0)
        };
        ensure!(ring != libc::MAP_FAILED, "ring: {}", io::Error::last_os_error());
        let port = Self { socket, ring: ring.cast(), next: 0 };
        port.bind(interface, protocol)?;
        Ok(port)
    }

    fn bind(&self, interface: &str, protocol: u16) -> Result<()> {
        let name = std::ffi::CString::new(interface)?;
        // SAFETY: all zeroes is a value of the structure; the name ends with a zero byte.
        let (mut address, index) =
            unsafe { (zeroed::<libc::sockaddr_ll>(), libc::if_nametoindex(name.as_ptr())) };
        ensure!(index > 0, "no interface {interface}");
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(index)?;
        // SAFETY: the address is of the size given.
        let bound = unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        ensure!(bound == 0, "binding to {interface}: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Sends all frames of a batch.
    pub(super) fn send(&self, batch: &mut Batch) -> Result<()> {
        // SAFETY: all zeroes is a value of these structures.
        let (mut parts, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        let frames = batch.frames.iter_mut().take(batch.len);
        for ((part, message), (frame, len)) in parts.iter_mut().zip(&mut messages).zip(frames) {
            *part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: *len };
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
        }
        let mut done = 0;
        while let Some(rest) = messages.get_mut(done..batch.len).filter(|rest| !rest.is_empty()) {
            // SAFETY: the messages point to frames and parts that outlive the call.
            let sent = unsafe {
                let count = rest.len() as u32;
                libc::sendmmsg(self.socket.as_raw_fd(), rest.as_mut_ptr(), count, 0)
            };
            match usize::try_from(sent) {
                Ok(sent) => done += sent,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    let again = matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR));
                    ensure!(again, "sending: {error}");
                }
            }
        }
        batch.len = 0;
        Ok(())
    }

    /// Gives the frames that have come to a function, each with its VLAN, of which the kernel has
    /// taken the tag off; 0 if it had none.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8], u16)) {
        loop {
            // SAFETY: the slot lies within the ring, which is mapped as long as `self` lives, and begins with a
            // header; its status is read and written atomically, and the rest is ours while the kernel has given
            // it to user space.
            unsafe {
                let slot = self.ring.add((self.next * SLOT) as usize);
                let status = AtomicU32::from_ptr(slot.cast());
                if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                    return;
                }
                let header = &*slot.cast::<libc::tpacket2_hdr>();
                let (at, len) =
                    (header.tp_mac, header.tp_snaplen.min(SLOT - u32::from(header.tp_mac)));
                let is_tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
                let vlan = if is_tagged { header.tp_vlan_tci & VLAN_ID } else { 0 };
                each(std::slice::from_raw_parts(slot.add(usize::from(at)), len as usize), vlan);
                status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            }
            self.next = (self.next + 1) % SLOTS;
        }
    }

    /// Frames for which the ring had no room.
    pub(super) fn dropped(&self) -> Result<u32> {
        // SAFETY: all zeroes is a value of the structure, and the call gets its size.
        let (result, stats) = unsafe {
            let mut stats: libc::tpacket_stats = zeroed();
            let mut len = size_of::<libc::tpacket_stats>() as u32;
            let result = libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut len,
            );
            (result, stats)
        };
        ensure!(result == 0, "statistics: {}", io::Error::last_os_error());
        Ok(stats.tp_drops)
    }

    /// The descriptor, to wait for frames.
    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`, of its size, which nobody uses any more.
        unsafe { libc::munmap(self.ring.cast(), (SLOT * SLOTS) as usize) };
    }
}

fn option<T>(fd: RawFd, name: i32, value: &T) -> Result<()> {
    // SAFETY: the value is of the size given.
    let result = unsafe {
        let value = std::ptr::from_ref(value).cast();
        libc::setsockopt(fd, libc::SOL_PACKET, name, value, size_of::<T>() as u32)
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error()).with_context(|| format!("packet socket option {name}"))
}
