//! The Unix socket: a report a line, each answered by `ok` or `error: ` and what is wrong.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::driver::Counter;
use super::{Answer, Refused, line};
use crate::control::lines::Lines;
use crate::control::server::until;

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS: usize = 256;

/// How long a client may take over reading an answer.
const WRITE: Duration = Duration::from_secs(5);

/// Serves clients until `stopped` holds true; then removes the socket's file.
pub(super) async fn serve(
    listener: UnixListener,
    counter: Counter,
    mut stopped: watch::Receiver<bool>,
) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            () = until(&mut stopped) => break,
            _ = clients.join_next(), if !clients.is_empty() => {}
            accepted = listener.accept(), if clients.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, counter.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the agent's socket cannot accept");
                    // Out of descriptors, most likely: time for others to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    if let Some(Err(error)) = path.map(std::fs::remove_file) {
        tracing::warn!(%error, "the agent's socket cannot be removed");
    }
}

async fn client(stream: UnixStream, counter: Counter) {
    if let Err(error) = talk(stream, &counter).await {
        tracing::debug!(%error, "a client of the agent's socket was dropped");
    }
}

async fn talk(mut stream: UnixStream, counter: &Counter) -> io::Result<()> {
    let (mut lines, mut buffer) = (Lines::default(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).await?;
        let mut input = buffer.get(..length).unwrap_or_default();
        if input.is_empty() {
            return Ok(());
        }
        while let Some(line) = lines.next(&mut input) {
            let ask = match line {
                Ok(line) => line::parse(&line),
                Err(error) => Err(Refused::Bad(error.to_string())),
            };
            let answer = match ask.transpose() {
                Some(ask) => reply(&counter.ask(ask).await),
                None => continue,
            };
            timeout(WRITE, stream.write_all(answer.as_bytes())).await??;
        }
    }
}

fn reply(answer: &Answer) -> String {
    match answer {
        Ok(_) => "ok\n".to_owned(),
        Err(refused) => format!("error: {refused}\n"),
    }
}
