//! One TCP connection of a neighbour: what is being written, and the farewell.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The buffer is filled up to here; what is in it cannot be overtaken by a withdrawal.
pub(super) const HIGH_WATER: usize = 16 * 1024;
/// How long a closing connection may take to deliver what is left.
const LINGER: Duration = Duration::from_secs(1);

/// A TCP connection that stands.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    buffer: BytesMut,
    /// Octets ever put into the buffer.
    pub(super) queued: u64,
    /// Octets ever taken by the kernel.
    pub(super) written: u64,
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::new(), queued: 0, written: 0 }
    }

    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.queued += bytes.len() as u64;
    }

    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() < HIGH_WATER
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Writes what the kernel takes now; true if it took something.
    pub(super) fn write(&mut self) -> io::Result<bool> {
        match self.stream.try_write(&self.buffer) {
            Ok(count) => {
                self.buffer.advance(count);
                self.written += count as u64;
                Ok(count > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Delivers what is left and waits for the neighbour to close, for a bounded time. Closing at once
    /// could take a NOTIFICATION back from the neighbour's socket: with octets of its own unread, the
    /// kernel answers by a reset.
    pub(super) async fn farewell(mut self) {
        let last_words = async {
            self.stream.write_all(&self.buffer).await?;
            self.stream.shutdown().await?;
            let mut sink = [0; 1024];
            while self.stream.read(&mut sink).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether they were heard makes no difference any more.
        let _ = tokio::time::timeout(LINGER, last_words).await;
    }
}
