//! HTTP/2 (RFC 9113) on a connection of its own.
//!
//! Servers keep such a connection open, so there is no FIN to wait for: it is closed by RST.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Error, RecvStream};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{CLOSED_EARLY, Clock, tls};
use super::{HEADER_CAP, Reading, Seen, judge_status};
use crate::check::http::HttpCheck;

pub(super) async fn ask<S>(clock: Clock, stream: S, request: Request<()>, check: &HttpCheck) -> Seen
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let work = |response: Response<RecvStream>| async move {
        let diagnostic = judge_status(check, response.status())?;
        clock.stage("reading the body", read_body(response, check)).await?;
        Ok((diagnostic, None))
    };
    exchange(clock, stream, request, Bytes::new(), work).await
}

/// Sends a request with its body, and has its answer read.
pub(in super::super) async fn exchange<S, T, F>(
    clock: Clock,
    stream: S,
    request: Request<()>,
    body: Bytes,
    read: impl FnOnce(Response<RecvStream>) -> F,
) -> Result<T, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<T, String>>,
{
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(HEADER_CAP);
    let opening =
        async { builder.handshake(Unended(stream)).await.map_err(|error| describe(&error)) };
    let (sender, connection) = clock.stage("waiting for the response", opening).await?;
    drive(connection, async {
        let response = clock.stage("waiting for the response", send(sender, request, body)).await?;
        read(response).await
    })
    .await
}

async fn send(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Response<RecvStream>, String> {
    let sending = async {
        let mut sender = sender.ready().await?;
        let (response, mut stream): (ResponseFuture, _) =
            sender.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        response.await
    };
    sending.await.map_err(|error: Error| describe(&error))
}

/// Runs `work` to its end while the connection is driven beside it.
async fn drive<S, T>(
    mut connection: Connection<S>,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        ended = &mut connection => match ended {
            // What has come may be enough.
            Ok(()) => work.await,
            Err(error) => Err(describe(&error)),
        },
    }
}

async fn read_body(response: Response<RecvStream>, check: &HttpCheck) -> Result<(), String> {
    let mut body = response.into_body();
    let mut reading = Reading::new(check);
    let whole = loop {
        if reading.is_full() {
            break body.is_end_stream();
        }
        match next(&mut body).await {
            Some(Ok(data)) => reading.push(&data),
            Some(Err(why)) => return Err(format!("{why} while reading the body")),
            None => break true,
        }
    };
    reading.judge(whole)
}

/// The next part of a body; the server may send as much again.
pub(in super::super) async fn next(body: &mut RecvStream) -> Option<Result<Bytes, String>> {
    let data = match body.data().await? {
        Ok(data) => data,
        Err(error) => return Some(Err(describe(&error))),
    };
    // An error means that the stream has ended, which the next call tells.
    let _ = body.flow_control().release_capacity(data.len());
    Some(Ok(data))
}

/// A stream that is never ended from here. h2 would do so by FIN when the server breaks the protocol,
/// and TIME_WAIT would stay on this host.
struct Unended<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Unended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unended<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Words for an error, with the reason that the server gives if it does.
pub(in super::super) fn describe(error: &Error) -> String {
    if let Some(io) = error.get_io() {
        return match io.kind() {
            // The second is how a stream tells that the first has met its connection.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => CLOSED_EARLY.into(),
            // The framing's own words for a FIN within a frame, `bytes remaining on stream`, say little.
            // Errors of the system and of TLS are never of this kind.
            io::ErrorKind::Other => "connection closed in the middle of the response".into(),
            _ => tls::describe(io),
        };
    }
    match error.reason() {
        Some(reason) if error.is_remote() && error.is_go_away() => {
            format!("the server ended the connection: {reason}")
        }
        Some(reason) if error.is_remote() => format!("the server reset the stream: {reason}"),
        Some(reason) => format!("not an HTTP/2 response: {reason}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
#[path = "two_tests.rs"]
mod tests;
