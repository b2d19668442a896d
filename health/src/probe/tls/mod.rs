//! The TLS check: a handshake is completed. Also the way that HTTPS takes.

use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Clock, Finished, Target, socket};
use crate::check::tls::{ALPN_HTTP2, Protocol, Tls};

/// Completes a handshake (RFC 8446, RFC 5246), and closes by RST at once.
pub(super) async fn probe(target: Target, clock: Clock, tls: &Tls, vip: IpAddr) -> Finished {
    match connect(target, clock, tls, Protocol::Any, None, vip).await {
        Ok(stream) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.map_or("TLS", |version| version.as_str().unwrap_or("TLS"));
            clock.finished(true, format!("{version} handshake done").replace('_', "."))
        }
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

/// Connects and completes the handshake. `host` is what a request on this connection is for.
pub(super) async fn connect(
    target: Target,
    clock: Clock,
    tls: &Tls,
    protocol: Protocol,
    host: Option<&str>,
    vip: IpAddr,
) -> Result<TlsStream<TcpStream>, String> {
    let name = server_name(tls, host, vip)?;
    let stream = clock.stage("connecting", socket::connect(target)).await?;
    let handshake = async {
        let connector = TlsConnector::from(tls.config(protocol));
        connector.connect(name, stream).await.map_err(|error| describe(&error))
    };
    let stream = clock.stage("waiting for the TLS handshake", handshake).await?;
    if protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
        return Err("the server did not agree to HTTP/2".into());
    }
    Ok(stream)
}

fn server_name(tls: &Tls, host: Option<&str>, vip: IpAddr) -> Result<ServerName<'static>, String> {
    if let Some(name) = &tls.settings().server_name {
        return ServerName::try_from(name.clone()).map_err(|error| error.to_string());
    }
    let named = host.and_then(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        ServerName::try_from(name.to_owned()).ok()
    });
    Ok(named.unwrap_or_else(|| vip.into()))
}

/// Words for an error of the transport or of TLS in it.
pub(super) fn describe(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::General(text)) => text.clone(),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => super::CLOSED_EARLY.into(),
        None => socket::describe(error),
    }
}

#[cfg(test)]
mod tests;
