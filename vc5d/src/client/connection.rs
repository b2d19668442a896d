//! A connection to the daemon: a command out, a reply in.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decode::{self, Decoder, Received};

/// The daemon answers every command within a minute; it is stuck if it takes longer than this.
const PATIENCE: Duration = Duration::from_secs(90);

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("{0}: no daemon answers on this control socket; start vc5d, or name its socket by -s")]
    NoDaemon(PathBuf),
    /// The socket's mode keeps this user out.
    #[error("{0}: this user may not use the control socket; be root, or in the socket's group")]
    Denied(PathBuf),
    /// Connecting failed in another way.
    #[error("{path}: connecting to the control socket: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon refused the connection in its own words.
    #[error("{0}")]
    Refused(String),
    /// The connection ended before the reply did.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon is stuck.
    #[error("the daemon has not answered for {} s; see its log", PATIENCE.as_secs())]
    Stuck,
    /// Something else answers on the socket.
    #[error(transparent)]
    Protocol(#[from] decode::Error),
    /// Talking failed in another way.
    #[error("talking to the daemon: {0}")]
    Talk(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Stuck,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Talk(error),
        }
    }
}

/// A connection that has been greeted.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    greeting: String,
}

impl Connection {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// Nobody answers, or not in the control protocol.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Error::NoDaemon(path.to_owned())
            }
            io::ErrorKind::PermissionDenied => Error::Denied(path.to_owned()),
            _ => Error::Connect { path: path.to_owned(), source },
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream: BufReader::new(stream), greeting: String::new() };
        let mut greeting = String::new();
        let code = connection.reply(|_, text| {
            greeting = text.to_owned();
            Ok(())
        })?;
        if code >= crate::control::reply::FIRST_ERROR {
            return Err(Error::Refused(greeting));
        }
        connection.greeting = greeting;
        Ok(connection)
    }

    /// The daemon's greeting: name and version.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sends `command` and hands each line of the reply to `line` as code and text. Returns the code of the last.
    ///
    /// # Errors
    /// The connection failed, or `line` did.
    pub fn command(
        &mut self,
        command: &str,
        line: impl FnMut(u16, &str) -> io::Result<()>,
    ) -> Result<u16, Error> {
        let command = command.replace(['\n', '\r'], " ");
        self.stream.get_mut().write_all(format!("{command}\n").as_bytes())?;
        self.reply(line)
    }

    fn reply(&mut self, mut line: impl FnMut(u16, &str) -> io::Result<()>) -> Result<u16, Error> {
        let mut decoder = Decoder::default();
        loop {
            let mut text = String::new();
            self.stream.read_line(&mut text)?;
            let Some(received) = text.strip_suffix('\n') else { return Err(Error::Closed) };
            if let Received::Line { code, text, last } = decoder.line(received)? {
                line(code, &text).map_err(Error::Talk)?;
                if last {
                    return Ok(code);
                }
            }
        }
    }
}
