//! TLS and HTTPS through the VIP.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use vc5_health::{CheckKind, HttpCheck, ProbePath, Tls, TlsSettings, Verdict, Verify};

use crate::lab::{Lab, Server};
use crate::probes::{FAMILIES, assert_lacking, outcomes, probe};

/// A certificate for a name and its key, in PEM.
fn issue(name: &str) -> Vec<u8> {
    let words = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name} \
         -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE \
         -keyout /dev/stdout"
    );
    let output = Command::new("openssl").args(words.split_whitespace()).output();
    let output = output.expect("this test needs openssl: apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Serves HTTPS on port 80 with the server's name as the body.
fn serve(lab: &Lab, name: &'static str, pem: &[u8]) -> Server {
    let certificate = CertificateDer::from_pem_slice(pem).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    lab.serve_by(name, TcpListener::bind(("::", 80)), move |listener| async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{name}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    })
}

#[test]
fn handshakes_and_requests_reach_the_chosen_backend() {
    let lab = Lab::new();
    let (one, two) = (issue("one.example"), issue("two.example"));
    let _servers = (serve(&lab, "b1", &one), serve(&lab, "b2", &two));
    let tls = |name: &str, pem: &[u8]| {
        let verify = Verify::Authorities(pem.to_vec());
        let server_name = Some(name.to_owned());
        Tls::new(TlsSettings { server_name, verify, identity: None }).unwrap()
    };
    let (one, two) = (tls("one.example", &one), tls("two.example", &two));
    let https = |tls: &Tls, body: &str| {
        let http = HttpCheck { body: Some(body.into()), ..HttpCheck::default() };
        CheckKind::Https(http, tls.clone())
    };
    for (vip, b1, b2) in FAMILIES {
        let dsr = |label, to, kind| probe(label, ProbePath::Dsr, vip, to, kind);
        let found = outcomes(
            &lab,
            vec![
                dsr("1", b1, CheckKind::Tls(one.clone())),
                dsr("2", b2, CheckKind::Tls(two.clone())),
                dsr("2 for 1", b2, CheckKind::Tls(one.clone())),
                dsr("https 1", b1, https(&one, "b1")),
                dsr("https 2", b2, https(&two, "b1")),
            ],
        );
        let of = |label: &str| (found[label].0, found[label].1.as_str());
        assert_eq!(of("1"), (Verdict::Up, "TLSv1.3 handshake done"), "{vip}");
        assert_eq!(of("2"), (Verdict::Up, "TLSv1.3 handshake done"), "{vip}");
        assert_eq!(of("https 1"), (Verdict::Up, "200 OK"), "{vip}");
        assert_eq!(of("2 for 1").0, Verdict::Down, "{vip}");
        assert!(of("2 for 1").1.contains("UnknownIssuer"), "{found:?}");
        let other = "\"b1\" is not in the 2 bytes of the body";
        assert_eq!(of("https 2"), (Verdict::Down, other), "{vip}");
    }
}

#[test]
fn a_backend_without_the_vip_is_down() {
    let lab = Lab::new();
    let _server = serve(&lab, "b2", &issue("two.example"));
    let settings = TlsSettings { server_name: None, verify: Verify::Off, identity: None };
    let tls = Tls::new(settings).unwrap();
    for (vip, _, b2) in FAMILIES {
        lab.ip("b2", &format!("addr del {vip} dev lo"));
        let lacking = |label, kind| {
            let mut one = probe(label, ProbePath::Dsr, vip, b2, kind);
            one.check.timeout = Duration::from_millis(400);
            one
        };
        let found = outcomes(
            &lab,
            vec![
                lacking("tls", CheckKind::Tls(tls.clone())),
                lacking("https", CheckKind::Https(HttpCheck::default(), tls.clone())),
                probe("direct", ProbePath::Direct, vip, b2, CheckKind::Tls(tls.clone())),
            ],
        );
        assert_lacking(&found["tls"], vip, "connecting");
        assert_lacking(&found["https"], vip, "connecting");
        let direct = (found["direct"].0, found["direct"].1.as_str());
        assert_eq!(direct, (Verdict::Up, "TLSv1.3 handshake done"), "{vip}");
    }
}
