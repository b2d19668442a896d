//! An HTTP service that does as little as it can, on one thread.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 4096;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nalive\n";

/// Answers every request alike, for ever.
pub(super) fn serve(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v6()?;
        socket.bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let listener = socket.listen(BACKLOG)?;
        loop {
            // A check that only connects resets, perhaps before it is taken here.
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        }
    })
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 2048];
    let mut read = 0;
    while !request.get(..read).unwrap_or_default().ends_with(b"\r\n\r\n") {
        match stream.read(request.get_mut(read..).unwrap_or_default()).await? {
            0 => return Ok(()),
            count => read += count,
        }
    }
    stream.write_all(ANSWER).await?;
    stream.shutdown().await
}
