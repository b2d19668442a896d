//! TLS and HTTPS checks against a server with a certificate for `www.example`.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::check::{
    Check, CheckKind, GrpcCheck, HttpCheck, HttpVersion, Identity, Tls, TlsSettings, Verify,
};
use crate::probe::{Outcome, Target, run};

/// A self-signed certificate for a name and its key, in PEM.
fn issue(name: &str) -> Identity {
    let words = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
         -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE \
         -keyout /dev/stdout"
    );
    let output = Command::new("openssl").args(words.split_whitespace()).output();
    let output = output.expect("this test needs openssl: apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Identity { certificates: output.stdout.clone(), key: output.stdout }
}

fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&identity.certificates).unwrap()
}

/// Serves HTTPS for ever; clients must show a certificate that `client` issued, if given.
async fn serve(host: &str, own: &Identity, client: Option<&Identity>) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(client)).unwrap();
            let provider = Arc::new(provider::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&own.key).unwrap();
    let config = builder.with_single_cert(vec![der(own)], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let sni = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsni={sni}\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn tls(server_name: Option<&str>, verify: Verify, identity: Option<Identity>) -> Tls {
    Tls::new(TlsSettings { server_name: server_name.map(Into::into), verify, identity }).unwrap()
}

fn https(tls: Tls, host: Option<&str>, body: &str) -> CheckKind {
    let host = host.map(Into::into);
    CheckKind::Https(HttpCheck { host, body: Some(body.into()), ..HttpCheck::default() }, tls)
}

async fn ask(address: SocketAddr, kind: CheckKind, timeout: u64) -> Outcome {
    let timeout = Duration::from_millis(timeout);
    let check = Check { timeout, ..Check::new(kind) };
    let target = Target { address, source: None, mark: None, ttl: None };
    let finished = run(target, &check, address.ip()).await;
    let outcome = finished.outcome.clone();
    finished.close().await;
    outcome
}

const LONG: u64 = 20_000;

async fn says(address: SocketAddr, kind: CheckKind, ok: bool, diagnostic: &str) {
    let outcome = ask(address, kind, LONG).await;
    assert_eq!(outcome.ok, ok, "{outcome:?}");
    assert!(outcome.diagnostic.contains(diagnostic), "{outcome:?}, not {diagnostic}");
}

#[tokio::test]
async fn certificates_pass_as_the_settings_say() {
    let (own, other) = (issue("www.example"), issue("other.example"));
    let pin = |of: &Identity| {
        Verify::Pinned(vec![digest(&SHA256, &der(of)).as_ref().try_into().unwrap()])
    };
    let ca = |of: &Identity| Verify::Authorities(of.certificates.clone());
    for host in ["127.0.0.1", "::1"] {
        let address = serve(host, &own, None).await;
        let done = "TLSv1.3 handshake done";
        says(address, CheckKind::Tls(tls(None, Verify::Off, None)), true, done).await;
        says(address, CheckKind::Tls(tls(None, pin(&own), None)), true, done).await;
        let unknown = tls(None, pin(&other), None);
        says(address, CheckKind::Tls(unknown), false, " is not pinned").await;
        let named = tls(Some("www.example"), ca(&own), None);
        says(address, CheckKind::Tls(named), true, done).await;
        for wrong in [tls(Some("ftp.example"), ca(&own), None), tls(None, ca(&own), None)] {
            says(address, CheckKind::Tls(wrong), false, "invalid peer certificate").await;
        }
        let stranger = tls(Some("www.example"), ca(&other), None);
        says(address, CheckKind::Tls(stranger), false, "UnknownIssuer").await;
    }
}

#[tokio::test]
async fn the_name_is_the_given_one_or_that_of_the_request() {
    let address = serve("127.0.0.1", &issue("www.example"), None).await;
    for (name, host, seen) in [
        (Some("a.example"), Some("b.example"), "sni=a.example\n"),
        (None, Some("b.example:444"), "sni=b.example\n"),
        (None, Some("192.0.2.1"), "sni=none\n"),
        (None, None, "sni=none\n"),
    ] {
        let kind = https(tls(name, Verify::Off, None), host, seen);
        says(address, kind, true, "200 OK").await;
    }
    let kind = https(tls(None, Verify::Off, None), None, "absent");
    says(address, kind, false, "\"absent\" is not in the 9 bytes of the body").await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (own, client) = (issue("www.example"), issue("probe.example"));
    let address = serve("127.0.0.1", &own, Some(&client)).await;
    let with = tls(None, Verify::Off, Some(client));
    says(address, https(with, None, "sni"), true, "200 OK").await;
    let without = tls(None, Verify::Off, None);
    says(address, https(without, None, "sni"), false, "CertificateRequired").await;
}

#[tokio::test]
async fn servers_that_do_not_speak_tls_fail_with_the_reason() {
    for (answer, diagnostic) in
        [(&b""[..], "connection closed too early"), (b"SSH-2.0-x\r\n", "corrupt message")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        says(address, CheckKind::Tls(tls(None, Verify::Off, None)), false, diagnostic).await;
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let outcome = ask(address, CheckKind::Tls(tls(None, Verify::Off, None)), 200).await;
    let expected = "timed out after 200 ms while waiting for the TLS handshake";
    assert_eq!(outcome.diagnostic, expected);
    drop(silent);
    let outcome = ask(address, CheckKind::Tls(tls(None, Verify::Off, None)), LONG).await;
    assert_eq!(outcome.diagnostic, "connection refused");
}

#[test]
fn settings_that_cannot_be_used_say_so() {
    let new = |name: Option<&str>, verify, identity| {
        let server_name = name.map(Into::into);
        Tls::new(TlsSettings { server_name, verify, identity }).unwrap_err()
    };
    assert!(new(Some("a b"), Verify::Off, None).contains("\"a b\" is neither"));
    let empty = Verify::Authorities(b"x".to_vec());
    assert_eq!(new(None, empty, None), "there is no certificate in PEM");
    let (one, two) = (issue("one.example"), issue("two.example"));
    let mixed = Identity { key: two.key, ..one.clone() };
    assert!(new(None, Verify::Off, Some(mixed)).starts_with("certificate and key cannot be used"));
    let without = Identity { key: Vec::new(), ..one };
    assert_eq!(new(None, Verify::Off, Some(without)), "there is no private key in PEM");
}

/// Serves HTTP/2 and gRPC over TLS for ever, and agrees to these protocols by ALPN.
async fn serve_http2(own: &Identity, protocols: &[&[u8]]) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::from_pem_slice(&own.key).unwrap();
    let mut config = builder.with_single_cert(vec![der(own)], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async |request: Request<Incoming>| {
        assert_eq!(request.uri().scheme_str(), Some("https"));
        let status =
            HeaderMap::from_iter([("grpc-status", "0")].map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            }));
        let message = Full::new(Bytes::from_static(b"\0\0\0\0\x02\x08\x01"));
        let mut response = Response::new(message.with_trailers(async { Some(Ok(status)) }));
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        Ok::<_, std::convert::Infallible>(response)
    };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn() {
    let own = issue("www.example");
    let unverified = || tls(None, Verify::Off, None);
    let two = || {
        let http = HttpCheck { version: HttpVersion::Two, ..HttpCheck::default() };
        CheckKind::Https(http, unverified())
    };
    let grpc = || CheckKind::Grpc(GrpcCheck { tls: Some(unverified()), ..GrpcCheck::default() });
    let address = serve_http2(&own, &[b"http/1.1", b"h2"]).await;
    says(address, two(), true, "200 OK").await;
    says(address, grpc(), true, "SERVING").await;
    let address = serve_http2(&own, &[]).await;
    for kind in [two(), grpc()] {
        says(address, kind, false, "the server did not agree to HTTP/2").await;
    }
    let address = serve_http2(&own, &[b"http/1.1"]).await;
    says(address, two(), false, "NoApplicationProtocol").await;
}
