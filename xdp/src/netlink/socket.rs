//! The two sockets: one to ask and to tell, one to listen.

use std::io;
use std::os::fd::AsRawFd;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

use super::NetEvent;

/// Room for events that come faster than they are read. Overruns are survived all the same.
const LISTEN_BUFFER: libc::c_int = 16 << 20;

/// Messages in one datagram; the answers to all of them fit into the receive buffer.
const BATCH: usize = 64;

/// A socket for requests; each call blocks until the kernel has answered, which it does at once.
pub(crate) struct Requests {
    socket: Socket,
    sequence: u32,
}

impl Requests {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All links, then all addresses, then all neighbours.
    pub(crate) fn dump(&mut self) -> io::Result<Vec<NetEvent>> {
        let mut events = self.links()?;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = AddressMessage::default();
            message.header.family = family;
            events.extend(self.ask(RouteNetlinkMessage::GetAddress(message))?);
        }
        let neighbours = self.neighbours()?.into_iter().map(RouteNetlinkMessage::NewNeighbour);
        events.extend(neighbours.filter_map(NetEvent::of));
        Ok(events)
    }

    /// All links.
    pub(crate) fn links(&mut self) -> io::Result<Vec<NetEvent>> {
        self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()))
    }

    /// All neighbours, as they come.
    pub(crate) fn neighbours(&mut self) -> io::Result<Vec<NeighbourMessage>> {
        let mut neighbours = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = NeighbourMessage::default();
            message.header.family = family;
            let request = RouteNetlinkMessage::GetNeighbour(message);
            let answers = self.exchange(request, NLM_F_REQUEST | NLM_F_DUMP)?;
            neighbours.extend(answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(m) => Some(m),
                _ => None,
            }));
        }
        Ok(neighbours)
    }

    /// Tells the kernel many things in a row, none of them held up by the failure of another. The
    /// outcomes are in the order of the messages.
    ///
    /// # Errors
    /// When the kernel does not answer at all.
    pub(crate) fn tell_all(
        &mut self,
        messages: Vec<RouteNetlinkMessage>,
        flags: u16,
    ) -> io::Result<Vec<io::Result<()>>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut rest = messages.into_iter();
        loop {
            let batch: Vec<_> = rest.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(outcomes);
            }
            outcomes.append(&mut self.tell_batch(batch, flags)?);
        }
    }

    /// One datagram. What fails is answered in any case; that the last is asked to be acknowledged
    /// tells when all have been dealt with.
    fn tell_batch(
        &mut self,
        batch: Vec<RouteNetlinkMessage>,
        flags: u16,
    ) -> io::Result<Vec<io::Result<()>>> {
        let first = self.sequence.wrapping_add(1);
        let mut outcomes: Vec<io::Result<()>> = batch.iter().map(|_| Ok(())).collect();
        let mut datagram = Vec::new();
        let last = batch.len() - 1;
        for (place, message) in batch.into_iter().enumerate() {
            let acknowledge = if place == last { NLM_F_ACK } else { 0 };
            datagram.extend(self.request(message, NLM_F_REQUEST | acknowledge | flags));
        }
        self.socket.send(&datagram, 0)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram) {
                let place = message.header.sequence_number.wrapping_sub(first) as usize;
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let Some(outcome) = outcomes.get_mut(place) else { continue };
                if error.code.is_some() {
                    *outcome = Err(error.to_io());
                }
                if place == last {
                    return Ok(outcomes);
                }
            }
        }
    }

    /// The bytes of a request with the next sequence number.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len().next_multiple_of(4)];
        request.serialize(&mut bytes);
        bytes
    }

    fn ask(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<NetEvent>> {
        let answers = self.exchange(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        Ok(answers.into_iter().filter_map(NetEvent::of).collect())
    }

    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let request = self.request(message, flags);
        self.socket.send(&request, 0)?;

        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for message in messages(&datagram) {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(answers),
                        Some(_) => return Err(error.to_io()),
                    },
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    _ => {}
                }
            }
        }
    }
}

/// A socket that hears of changes to links, addresses and neighbours.
pub(crate) struct Listener {
    socket: AsyncFd<Socket>,
}

impl Listener {
    /// Must be called within a tokio runtime.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Less room only means an overrun earlier.
        if let Err(error) = make_room(&socket, LISTEN_BUFFER) {
            tracing::debug!(%error, "netlink receive buffer stays at its default");
        }
        for group in [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Neigh,
        ] {
            socket.add_membership(group as u32)?;
        }
        socket.set_non_blocking(true)?;
        // SAFETY: the descriptor is the socket's own and stays open until the socket is dropped.
        let socket = unsafe { AsyncFd::register(socket)? };
        Ok(Self { socket })
    }

    /// The next events; an overrun of the buffer is [`NetEvent::Lost`]. What was queued before the
    /// overrun is discarded then: a dump asked for from here on is newer than all of it.
    pub(crate) async fn next(&self) -> io::Result<Vec<NetEvent>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| socket.get_ref().recv_from_full()) {
                Ok(Ok((datagram, _))) => {
                    let events = messages(&datagram).filter_map(|m| match m.payload {
                        NetlinkPayload::InnerMessage(message) => NetEvent::of(message),
                        _ => None,
                    });
                    return Ok(events.collect());
                }
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.discard()?;
                    return Ok(vec![NetEvent::Lost]);
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }

    /// Reads until nothing is left.
    fn discard(&self) -> io::Result<()> {
        loop {
            match self.socket.get_ref().recv_from_full() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() != Some(libc::ENOBUFS) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Sets the size of a socket's receive buffer, beyond `net.core.rmem_max` where that is allowed:
/// the default limit holds less than one event for each of a thousand backends.
fn make_room(socket: &Socket, bytes: libc::c_int) -> io::Result<()> {
    // SAFETY: the option's value is an int that outlives the call, and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    // In a user namespace even root may not.
    if result == 0 { Ok(()) } else { socket.set_rx_buf_sz(bytes) }
}

/// The messages in a datagram, up to the first that is not one. Messages of a kind or with an
/// attribute that cannot be read are left out: the kernel has more of them than this code knows.
pub(super) fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = NetlinkBuffer::new_checked(&rest).ok()?.length() as usize;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message).ok())
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
    use rtnetlink::packet_route::address::AddressAttribute;

    use super::*;
    use crate::netlink::namespace::Namespace;

    fn on_loopback(number: u32) -> RouteNetlinkMessage {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = 1;
        message.header.prefix_len = 32;
        message.attributes =
            vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        RouteNetlinkMessage::NewAddress(message)
    }

    /// Needs root, for a network namespace of its own.
    #[test]
    fn an_overrun_is_heard_of_and_a_dump_has_what_was_lost() {
        let events = Namespace::new().block_on(async || {
            let listener = Listener::open().unwrap();
            listener.socket.get_ref().set_rx_buf_sz(4096 as libc::c_int).unwrap();
            let mut requests = Requests::open().unwrap();
            requests.tell_all((0..200).map(on_loopback).collect(), NLM_F_CREATE).unwrap();
            let mut heard = Vec::new();
            while !heard.contains(&NetEvent::Lost) {
                heard.extend(listener.next().await.unwrap());
            }
            assert!(heard.len() < 200);
            let dump = requests.dump().unwrap();
            // Nothing from before the dump comes after it.
            requests.tell_all(vec![on_loopback(200)], NLM_F_CREATE).unwrap();
            let next = listener.next().await.unwrap();
            let last = Ipv4Addr::from(0x0a00_0000 + 200);
            let is_new = |e: &NetEvent| matches!(e, NetEvent::Address(_, s) if s.own == last);
            assert!(next.iter().all(is_new) && next.len() == 1, "{next:?}");
            dump
        });
        let addresses = events.iter().filter(|e| matches!(e, NetEvent::Address(..))).count();
        assert_eq!(addresses, 200);
    }

    /// Needs root, for a network namespace of its own.
    #[test]
    fn of_many_requests_each_has_its_outcome() {
        Namespace::new().within(|| {
            let mut requests = Requests::open().unwrap();
            let count = 2 * BATCH as u32 + 1;
            let flags = NLM_F_CREATE | NLM_F_EXCL;
            let even = (0..count).step_by(2).map(on_loopback).collect();
            let outcomes = requests.tell_all(even, flags).unwrap();
            assert_eq!(outcomes.len(), BATCH + 1);
            assert!(outcomes.iter().all(Result::is_ok));

            let outcomes = requests.tell_all((0..count).map(on_loopback).collect(), flags).unwrap();
            assert_eq!(outcomes.len(), count as usize);
            for (number, outcome) in outcomes.into_iter().enumerate() {
                let code = outcome.err().and_then(|error| error.raw_os_error());
                assert_eq!(code, (number % 2 == 0).then_some(libc::EEXIST), "{number}");
            }
            assert!(requests.tell_all(Vec::new(), 0).unwrap().is_empty());
            // What comes next is not taken for an answer to something earlier.
            assert_eq!(requests.dump().unwrap().len(), 1 + count as usize);
        });
    }

    #[test]
    fn datagrams_are_read_up_to_what_is_no_message() {
        assert_eq!(messages(&[]).count(), 0);
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        let mut done = NetlinkMessage::new(
            NetlinkHeader::default(),
            NetlinkPayload::<RouteNetlinkMessage>::Noop,
        );
        done.finalize();
        let mut bytes = vec![0; done.buffer_len()];
        done.serialize(&mut bytes);
        let twice = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(messages(&twice).count(), 2);
        assert_eq!(messages(&[&twice[..], &[0; 20]].concat()).count(), 2);
        assert_eq!(messages(&twice[..twice.len() - 1]).count(), 1);
    }
}
