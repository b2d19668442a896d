//! The driver: a Unix socket and a task for each client. Whatever a client does, only its own task waits.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::command::{Command, Request, Shared};
use super::follow::Follow;
use super::lines::Lines;
use super::question::Question;
use super::reply::{Reply, code};
use super::session::{Session, Step};
use super::show;

/// Bounds on what clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at a time; further ones are told so and closed.
    pub connections: usize,
    /// How long a client may take to read a reply before it is dropped.
    pub write: Duration,
    /// How long the core may take over a command before the client is told to look again later.
    pub answer: Duration,
    /// How often a client that waits for new flows is shown that the daemon lives.
    pub life: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            write: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            life: Duration::from_secs(30),
        }
    }
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon answers there.
    #[error(
        "{0}: another daemon is running and answers on this control socket; stop it, or give this one its own \
         path by [control] socket"
    )]
    InUse(PathBuf),
    /// Something that is not a socket lies there.
    #[error(
        "{0}: this is a file that is not a socket; remove it, or choose another [control] socket"
    )]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("{path}: {action} the control socket: {source}")]
    System {
        /// The path of the socket or of its directory.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the control socket at `path`, for its owner and group (mode 0660), and its directory if need be. A socket
/// that a dead daemon left behind is replaced. Call this inside a tokio runtime.
///
/// # Errors
/// See [`Error`]: another daemon answers, the path is taken by something else, or the system refuses.
pub fn bind(path: &Path) -> Result<UnixListener, Error> {
    let failed = |action| move |source| Error::System { path: path.to_owned(), action, source };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed("making the directory of"))?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("looking at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(Error::NotASocket(path.to_owned()));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(Error::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed("removing what was left of"))?;
            }
            Err(error) => return Err(failed("trying")(error)),
        },
    }
    let listener = UnixListener::bind(path).map_err(failed("making"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .map_err(failed("setting the mode of"))?;
    Ok(listener)
}

/// Serves clients until `stopped` holds true or its sender has gone; then removes the socket and lets commands under
/// way be answered.
pub async fn serve(listener: UnixListener, shared: Shared, stopped: watch::Receiver<bool>) {
    serve_with(listener, shared, Limits::default(), stopped).await;
}

/// [`serve`] with other bounds.
pub async fn serve_with(
    listener: UnixListener,
    shared: Shared,
    limits: Limits,
    stopped: watch::Receiver<bool>,
) {
    let mut clients = JoinSet::new();
    let mut own = stopped.clone();
    loop {
        tokio::select! {
            () = until(&mut own) => break,
            _ = clients.join_next(), if !clients.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < limits.connections => {
                    clients.spawn(client(stream, shared.clone(), limits, stopped.clone()));
                }
                Ok((stream, _)) => refuse(&stream),
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    // Out of descriptors, most likely: time for others to close some.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    remove(&listener);
    drop(listener);
    let all = async { while clients.join_next().await.is_some() {} };
    if timeout(limits.write.min(Duration::from_secs(1)), all).await.is_err() {
        tracing::info!("control clients that did not read were dropped");
    }
}

/// Waits until `stopped` holds true or its sender has gone.
pub(crate) async fn until(stopped: &mut watch::Receiver<bool>) {
    // What comes back is a lock on the value or that the sender has gone; neither may outlive this.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Removes the socket's file, so that nobody takes it for a daemon.
fn remove(listener: &UnixListener) {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    if let Some(Err(error)) = path.map(std::fs::remove_file) {
        tracing::warn!(%error, "the control socket cannot be removed");
    }
}

/// Tells a client that there are too many. A fresh socket has room for one line, so this never waits.
fn refuse(stream: &UnixStream) {
    let reply = Reply::one(code::FAILED, "Too many control connections; close some and try again");
    if let Err(error) = stream.try_write(&reply.encode()) {
        tracing::debug!(%error, "a refused control client had gone already");
    }
}

/// Serves one client until it leaves, quits, does not read, or the daemon stops.
async fn client(
    stream: UnixStream,
    shared: Shared,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = talk(stream, &shared, limits, &mut stopped).await {
        tracing::debug!(%error, "a control client was dropped");
    }
}

async fn talk(
    mut stream: UnixStream,
    shared: &Shared,
    limits: Limits,
    stopped: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let mut session = Session::default();
    let mut lines = Lines::default();
    let mut bytes = Vec::new();
    send(&mut stream, &Session::greeting(&shared.snapshot.load()), limits).await?;
    loop {
        // Some may be there already, read while new flows were followed.
        if bytes.is_empty() {
            tokio::select! {
                () = until(stopped) => return Ok(()),
                count = stream.read_buf(&mut bytes) => if count? == 0 { return Ok(()) },
            }
        }
        let taken = std::mem::take(&mut bytes);
        let mut input = taken.as_slice();
        while let Some(line) = lines.next(&mut input) {
            let step = session.handle(&line, &shared.snapshot.load(), now(), zone);
            let reply = match step {
                Step::Nothing => continue,
                Step::Reply(reply) => reply,
                Step::Close(reply) => return send(&mut stream, &reply, limits).await,
                Step::Command(command) => carry_out(shared, command, limits).await,
                Step::Ask { question, json } => ask(shared, question, json, limits).await,
                Step::Follow { count, json } => {
                    let Some(samples) = shared.dataplane.samples() else {
                        send(&mut stream, &no_dataplane(), limits).await?;
                        continue;
                    };
                    let mut follow = Follow { samples, left: count.unwrap_or(u64::MAX), json };
                    tokio::select! {
                        () = until(stopped) => return Ok(()),
                        reply = follow.run(&mut stream, &mut bytes, limits) => match reply? {
                            Some(reply) => reply,
                            None => return Ok(()),
                        },
                    }
                }
            };
            send(&mut stream, &reply, limits).await?;
        }
    }
}

async fn send(stream: &mut UnixStream, reply: &Reply, limits: Limits) -> io::Result<()> {
    write(stream, &reply.encode(), limits).await
}

pub(super) async fn write(stream: &mut UnixStream, bytes: &[u8], limits: Limits) -> io::Result<()> {
    timeout(limits.write, stream.write_all(bytes))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not read its replies"))?
}

/// Hands a command to the core and waits for what becomes of it.
async fn carry_out(shared: &Shared, command: Command, limits: Limits) -> Reply {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        shared.commands.send(Request { command, reply }).await.ok()?;
        answer.await.ok()
    };
    match timeout(limits.answer, asked).await {
        Ok(Some(Ok(outcome))) => outcome.into_reply(),
        Ok(Some(Err(failure))) => failure.into_reply(),
        Ok(None) => Reply::one(code::FAILED, "The daemon is stopping"),
        Err(_) => no_answer(limits),
    }
}

fn no_answer(limits: Limits) -> Reply {
    let seconds = limits.answer.as_secs();
    Reply::one(code::FAILED, format!("There was no answer within {seconds} s; see the log"))
}

/// Also for clients that follow new flows while the dataplane stops.
pub(super) fn no_dataplane() -> Reply {
    Reply::one(code::FAILED, "The dataplane is off")
}

/// Asks the dataplane, which blocks, on a thread of its own.
async fn ask(shared: &Shared, question: Question, json: bool, limits: Limits) -> Reply {
    let dataplane = Arc::clone(&shared.dataplane);
    let asked = tokio::task::spawn_blocking(move || dataplane.answer(&question));
    match timeout(limits.answer, asked).await {
        Ok(Ok(Some(Ok(answer)))) => show::answer(&answer, json),
        Ok(Ok(Some(Err(error @ vc5_xdp::Error::NotFound(_))))) => {
            Reply::one(code::NOT_FOUND, error.to_string())
        }
        Ok(Ok(Some(Err(error)))) => Reply::one(code::FAILED, error.to_string()),
        Ok(Ok(None)) => no_dataplane(),
        Ok(Err(error)) => {
            Reply::one(code::FAILED, format!("The dataplane did not answer: {error}"))
        }
        Err(_) => no_answer(limits),
    }
}

/// Unix seconds.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Seconds east of Greenwich here at a Unix time; 0 where the system does not know.
fn zone(at: i64) -> i64 {
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live values of the types that localtime_r wants, and a zeroed `tm` is valid,
    // so it may be read whether or not the call filled it in.
    let broken_down = unsafe {
        libc::localtime_r(&at, broken_down.as_mut_ptr());
        broken_down.assume_init()
    };
    broken_down.tm_gmtoff
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
