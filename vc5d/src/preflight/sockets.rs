//! The daemon's own sockets: whether somebody else has them.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use tokio::net::{TcpListener, UnixStream};

use crate::config::model::Config;

/// What keeps the sockets from being opened.
pub(super) async fn examine(config: &Config) -> Vec<String> {
    let mut errors = Vec::new();
    errors.extend(control(&config.control.socket).await);
    if let Some(address) = config.metrics.listen
        && let Err(error) = TcpListener::bind(address).await
    {
        errors.push(format!(
            "metrics.listen: cannot listen on {address}: {error}; choose another address or \"off\""
        ));
    }
    errors
}

/// A socket that nobody answers on is left alone: it is replaced when the daemon opens its own.
async fn control(path: &Path) -> Option<String> {
    let shown = path.display();
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("control.socket: {shown}: {error}")),
    };
    if !found.file_type().is_socket() {
        return Some(format!(
            "control.socket: {shown} exists and is not a socket; move it away or choose another path"
        ));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Some(format!(
            "control.socket: another daemon answers on {shown}; stop it or choose another path"
        )),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
        Err(error) => Some(format!("control.socket: {shown}: {error}")),
    }
}
