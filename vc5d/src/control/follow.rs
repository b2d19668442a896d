//! `show new-flows`: lines that come when there is something to tell, until the client has enough.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use vc5_xdp::NewFlow;

use super::reply::{Reply, SIGN_OF_LIFE};
use super::server::{Limits, no_dataplane, write};
use super::show;

/// What a client is sent.
pub(super) struct Follow {
    pub(super) samples: Receiver<NewFlow>,
    /// The end comes after so many.
    pub(super) left: u64,
    /// As JSON, one document a line.
    pub(super) json: bool,
}

impl Follow {
    /// Sends flows as they come, until there were enough or the client sends something, which is left in `bytes`.
    /// Returns the end of the reply; nothing when the client has gone.
    pub(super) async fn run(
        &mut self,
        stream: &mut UnixStream,
        bytes: &mut Vec<u8>,
        limits: Limits,
    ) -> io::Result<Option<Reply>> {
        let mut life = tokio::time::interval(limits.life);
        while self.left > 0 {
            let line = tokio::select! {
                count = stream.read_buf(bytes) => {
                    return Ok((count? > 0).then(|| Reply::new().done()));
                }
                sample = self.samples.recv() => match sample {
                    Ok(flow) => {
                        self.left -= 1;
                        show::new_flow(&flow, self.json).encode_part()
                    }
                    Err(RecvError::Lagged(lost)) => {
                        show::lost_flows(lost, self.json).encode_part()
                    }
                    Err(RecvError::Closed) => return Ok(Some(no_dataplane())),
                },
                _ = life.tick() => SIGN_OF_LIFE.to_vec(),
            };
            write(stream, &line, limits).await?;
        }
        Ok(Some(Reply::new().done()))
    }
}
