//! `[agent]`: where services report the state of backends themselves.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::read::{Field, Table};
use super::daemon::{socket_address, socket_path};
use super::seconds;
use crate::agent::{Expired, MAX_LIFETIME, Settings};

/// The words of `expired`.
const EXPIRED: [(&str, Expired); 2] = [("ignore", Expired::Ignore), ("down", Expired::Down)];

/// A token shorter than this is guessed too easily.
const TOKEN_MIN: usize = 16;

pub(super) fn agent(mut table: Table<'_>) -> Settings {
    let socket = table.get("socket").and_then(|field| socket(&field));
    let listen = table.get("listen").and_then(|field| Some((listen(&field)?, field)));
    let token_file = table.get("token-file");
    let token = token_file.as_ref().and_then(token);
    if let (Some((Some(address), field)), None) = (&listen, &token_file)
        && !address.ip().is_loopback()
    {
        field.fail::<()>(&format!("{address} is not a loopback address: set `token-file` as well"));
    }
    let lifetime =
        table.get("lifetime").and_then(|field| field.duration(seconds(1)..=MAX_LIFETIME));
    let expired = table.get("expired").and_then(|field| field.word(&EXPIRED));
    table.end();
    Settings {
        socket: socket.flatten(),
        listen: listen.and_then(|(address, _)| address),
        token,
        lifetime: lifetime.unwrap_or(seconds(30)),
        expired: expired.unwrap_or(Expired::Ignore),
    }
}

fn socket(field: &Field<'_>) -> Option<Option<PathBuf>> {
    match field.text()? {
        "off" => Some(None),
        _ => socket_path(field).map(Some),
    }
}

fn listen(field: &Field<'_>) -> Option<Option<SocketAddr>> {
    match field.text()? {
        "off" => Some(None),
        _ => socket_address(field).map(Some),
    }
}

/// The first line of the file.
fn token(field: &Field<'_>) -> Option<String> {
    let path = field.directory().join(field.text()?);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return field.fail(&format!("{}: {error}", path.display())),
    };
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < TOKEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return field.fail(&format!(
            "{}: the first line has to be {TOKEN_MIN} or more printable characters without spaces",
            path.display()
        ));
    }
    Some(token.to_owned())
}
