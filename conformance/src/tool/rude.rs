//! A server that misbehaves, in another way on each port. Behind a real server it is the origin that does so.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use socket2::SockRef;

/// How long a connection that nobody ends is kept.
const KEEP: Duration = Duration::from_secs(10);

/// Options of the helper.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Address that datagrams are taken at; a VIP, so that answers come from it
    #[arg(long = "address")]
    addresses: Vec<IpAddr>,
}

/// What is done with a connection. Each has a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Manner {
    /// Reads, and never says a word.
    Silent = 7000,
    /// Ends its half at once, and goes on reading.
    HalfClosed,
    /// Answers in HTTP, ends its half then, and goes on reading.
    HalfClosedAfterwards,
    /// Resets the connection once it has been spoken to.
    Reset,
    /// Speaks another protocol.
    Foreign,
    /// HTTP: promises 100 bytes, sends 10 and closes.
    TruncatedBody,
    /// HTTP: a body without end, as fast as it is taken.
    EndlessBody,
    /// HTTP: a body without end, a byte every 50 ms.
    Dripping,
    /// HTTP: a header without end.
    EndlessHeader,
    /// Begins a TLS record, which is also the length of a DNS message, and closes in the middle of it.
    TruncatedFrame,
    /// HTTP/2: begins a SETTINGS frame and ends its half in the middle of it.
    TruncatedSettings,
    /// Bytes of no meaning without end, as fast as they are taken.
    Noise,
    /// Takes none: one waits for ever, and there is no room for more, as with a service that hangs.
    Full,
}

impl Manner {
    const ALL: [Self; 13] = [
        Self::Silent,
        Self::HalfClosed,
        Self::HalfClosedAfterwards,
        Self::Reset,
        Self::Foreign,
        Self::TruncatedBody,
        Self::EndlessBody,
        Self::Dripping,
        Self::EndlessHeader,
        Self::TruncatedFrame,
        Self::TruncatedSettings,
        Self::Noise,
        Self::Full,
    ];

    /// Where connections get this.
    #[must_use]
    pub const fn port(self) -> u16 {
        self as u16
    }

    fn treat(self, mut stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(KEEP))?;
        stream.set_write_timeout(Some(KEEP))?;
        match self {
            Self::Silent | Self::Full => drain(&mut stream),
            Self::HalfClosed => {
                stream.shutdown(Shutdown::Write)?;
                drain(&mut stream)
            }
            Self::HalfClosedAfterwards => {
                answer(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nalive\n")?;
                stream.shutdown(Shutdown::Write)?;
                drain(&mut stream)
            }
            Self::Reset => {
                // Closing with bytes unread resets.
                stream.peek(&mut [0])?;
                Ok(())
            }
            Self::Foreign => {
                stream.write_all(b"SSH-2.0-lab\r\n")?;
                drain(&mut stream)
            }
            Self::TruncatedBody => {
                answer(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
            }
            Self::EndlessBody => {
                answer(&mut stream, b"HTTP/1.1 200 OK\r\n\r\nalive\n")?;
                endless(&mut stream, &[b'.'; 4096])
            }
            Self::Dripping => {
                answer(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    stream.write_all(b".")?;
                    thread::sleep(Duration::from_millis(50));
                }
            }
            Self::EndlessHeader => {
                answer(&mut stream, b"HTTP/1.1 200 OK\r\n")?;
                endless(&mut stream, &b"X-Filler: filler\r\n".repeat(100))
            }
            Self::TruncatedFrame => broken_off(&mut stream, &[0x16, 3, 3, 2, 0, 2, 0]),
            Self::TruncatedSettings => broken_off(&mut stream, &[0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3]),
            Self::Noise => endless(&mut stream, &[0xa5; 4096]),
        }
    }
}

/// What is done with a datagram. Each has a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Reply {
    /// Sends it back.
    Echo = 7100,
    /// Nothing comes.
    Silence,
    /// An empty datagram comes.
    Empty,
    /// Its first half comes back.
    Half,
    /// DNS: an answer to a question with another number comes.
    OtherId,
    /// DNS: an answer comes that says it is truncated (RFC 1035 section 4.1.1, TC).
    Truncated,
    /// DNS: answers to a question with another number come, one after the other, for longer than anybody waits.
    Flood,
}

impl Reply {
    const ALL: [Self; 7] = [
        Self::Echo,
        Self::Silence,
        Self::Empty,
        Self::Half,
        Self::OtherId,
        Self::Truncated,
        Self::Flood,
    ];

    /// Where datagrams get this.
    #[must_use]
    pub const fn port(self) -> u16 {
        self as u16
    }

    /// How often it is sent, a millisecond apart.
    const fn times(self) -> u32 {
        if matches!(self, Self::Flood) { 3000 } else { 1 }
    }

    fn to(self, question: &[u8]) -> Option<Vec<u8>> {
        let mut answer = question.to_vec();
        match self {
            Self::Echo => {}
            Self::Silence => return None,
            Self::Empty => answer.clear(),
            Self::Half => answer.truncate(question.len() / 2),
            Self::OtherId | Self::Flood => {
                *answer.first_mut()? ^= 0xff;
                *answer.get_mut(2)? |= 0x80;
            }
            Self::Truncated => *answer.get_mut(2)? |= 0x82,
        }
        Some(answer)
    }
}

/// Listens for ever.
pub(super) fn run(arguments: &Arguments) -> Result<()> {
    for manner in Manner::ALL {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, manner.port()))
            .with_context(|| format!("cannot listen for {manner:?}"))?;
        if manner == Manner::Full {
            fill(listener)?;
            continue;
        }
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                thread::spawn(move || manner.treat(stream));
            }
        });
    }
    for address in &arguments.addresses {
        for reply in Reply::ALL {
            let socket = UdpSocket::bind((*address, reply.port()))
                .with_context(|| format!("cannot take datagrams for {reply:?} at {address}"))?;
            thread::spawn(move || serve(&socket, reply));
        }
    }
    loop {
        thread::park();
    }
}

/// Leaves no room for a connection. One more than the backlog may wait.
fn fill(listener: TcpListener) -> Result<()> {
    SockRef::from(&listener).listen(0)?;
    let port = listener.local_addr()?.port();
    let waiting = TcpStream::connect((Ipv6Addr::LOCALHOST, port))?;
    thread::spawn(move || {
        let _held = (listener, waiting);
        loop {
            thread::park();
        }
    });
    Ok(())
}

fn serve(socket: &UdpSocket, reply: Reply) {
    let mut buffer = [0; 2048];
    loop {
        // An error here is the ICMP answer to an earlier reply.
        let Ok((count, client)) = socket.recv_from(&mut buffer) else { continue };
        let Some(answer) = reply.to(buffer.get(..count).unwrap_or_default()) else { continue };
        let _ = socket.send_to(&answer, client);
        for _ in 1..reply.times() {
            thread::sleep(Duration::from_millis(1));
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// Reads up to the end of a request's header, then answers.
fn answer(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.extend_from_slice(&byte);
    }
    Ok(stream.write_all(text)?)
}

/// Waits until it is spoken to, says this and ends its half.
fn broken_off(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    stream.peek(&mut [0])?;
    stream.write_all(text)?;
    stream.shutdown(Shutdown::Write)?;
    drain(stream)
}

fn endless(stream: &mut TcpStream, piece: &[u8]) -> Result<()> {
    loop {
        stream.write_all(piece)?;
    }
}

fn drain(stream: &mut TcpStream) -> Result<()> {
    let mut chunk = [0; 4096];
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}
