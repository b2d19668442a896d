//! The HTTP/2 check against hand-made servers.

use std::net::SocketAddr;
use std::time::Duration;

use h2::{Reason, server};
use hyper::{StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::check::http::{HttpVersion, Pattern};
use crate::check::{Check, CheckKind};
use crate::probe::{Outcome, Target, run};

const LONG: Duration = Duration::from_secs(20);

async fn see(address: SocketAddr, http: HttpCheck, timeout: Duration) -> Outcome {
    let kind = CheckKind::Http(HttpCheck { version: HttpVersion::Two, ..http });
    let check = Check { timeout, ..Check::new(kind) };
    let target = Target { address, source: None, mark: None, ttl: None };
    let finished = run(target, &check, address.ip()).await;
    let outcome = finished.outcome.clone();
    finished.close().await;
    outcome
}

/// Serves one connection with what `serve` makes of it.
async fn serve<F: Future<Output = T> + Send, T: Send + 'static>(
    host: &str,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    (address, task)
}

/// Answers one request; returns it, and how the connection ended.
async fn answer(
    stream: TcpStream,
    status: StatusCode,
    body: &'static [u8],
) -> (Request<RecvStream>, std::io::ErrorKind) {
    let mut connection = server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let response = Response::builder().status(status).header("location", "/other").body(());
    let mut send = respond.send_response(response.unwrap(), false).unwrap();
    send.send_data(Bytes::from_static(body), true).unwrap();
    let end = connection.accept().await;
    let kind = end.unwrap().err().unwrap().get_io().unwrap().kind();
    (request, kind)
}

#[tokio::test]
async fn passes_and_closes_by_rst() {
    for host in ["127.0.0.1", "::1"] {
        let (address, task) = serve(host, |s| answer(s, StatusCode::OK, b"status: up\n")).await;
        let http = HttpCheck {
            path: "/alive?deep=1".into(),
            headers: vec![("X-Probe".into(), "1".into())],
            body: Some(": up".into()),
            body_pattern: Some(Pattern::new("^status: ").unwrap()),
            ..HttpCheck::default()
        };
        let outcome = see(address, http, LONG).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (true, "200 OK"));
        let (request, end) = task.await.unwrap();
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.uri().to_string(), format!("http://{address}/alive?deep=1"));
        assert_eq!(request.headers()["x-probe"], "1");
        assert_eq!(request.headers()["user-agent"], super::super::USER_AGENT);
        // A FIN of this end would leave TIME_WAIT here.
        assert_eq!(end, std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn other_answers_fail_and_redirects_are_not_followed() {
    for (status, body, diagnostic) in [
        (StatusCode::SERVICE_UNAVAILABLE, "", "got 503, expected 200"),
        (StatusCode::FOUND, "", "got 302, expected 200"),
        (StatusCode::OK, "down", "\"up\" is not in the 4 bytes of the body"),
        (StatusCode::OK, "12345678up", "\"up\" is not in the first 9 bytes of the body"),
    ] {
        let (address, task) = serve("127.0.0.1", move |s| answer(s, status, body.as_bytes())).await;
        let body = Some("up".into());
        let http = HttpCheck { body, body_limit: 9, ..HttpCheck::default() };
        let outcome = see(address, http, LONG).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, diagnostic));
        task.await.unwrap();
    }
}

/// A server that never stops sending: the limit ends it, not the timeout.
#[tokio::test]
async fn an_endless_body_is_given_up_at_the_limit() {
    let endless = async |stream| {
        let mut connection = server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        let sending = async move {
            while send.send_data(Bytes::from_static(&[b'x'; 1024]), false).is_ok() {
                send.reserve_capacity(1024);
                if std::future::poll_fn(|context| send.poll_capacity(context)).await.is_none() {
                    break;
                }
            }
        };
        tokio::join!(sending, async {
            while connection.accept().await.is_some_and(|r| r.is_ok()) {}
        });
    };
    let (address, task) = serve("127.0.0.1", endless).await;
    let http = HttpCheck { body: Some("y".into()), ..HttpCheck::default() };
    let outcome = see(address, http, LONG).await;
    assert_eq!(outcome.diagnostic, "\"y\" is not in the first 65536 bytes of the body");
    task.await.unwrap();
}

#[tokio::test]
async fn what_is_no_answer_fails_with_the_reason() {
    let said = async |said: &'static [u8], diagnostic: &str| {
        let speak = async move |mut stream: TcpStream| {
            stream.write_all(said).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let (address, _) = serve("127.0.0.1", speak).await;
        let outcome = see(address, HttpCheck::default(), LONG).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, diagnostic));
    };
    said(b"", "connection closed too early").await;
    let old = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    said(old, "not an HTTP/2 response: frame with invalid size").await;
}

/// A server that promises more than it sends, of the header and of the body.
#[tokio::test]
async fn a_frame_that_is_cut_is_said_plainly() {
    const SETTINGS: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    const CUT_HEADERS: &[u8] = b"\x00\x00\x64\x01\x04\x00\x00\x00\x01\x88";
    // `:status: 200`, and 3 bytes of 100.
    const CUT_DATA: &[u8] =
        b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88\x00\x00\x64\x00\x00\x00\x00\x00\x01abc";
    for cut in [CUT_HEADERS, CUT_DATA] {
        let speak = async move |mut stream: TcpStream| {
            // Not before the request: an answer to none would be refused as such.
            let mut asked = Vec::new();
            // A HEADERS frame that ends header and stream, on stream 1.
            while !asked.windows(6).any(|bytes| bytes == b"\x01\x05\x00\x00\x00\x01") {
                assert!(stream.read_buf(&mut asked).await.unwrap() > 0, "{asked:?}");
            }
            stream.write_all(&[SETTINGS, cut].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let (address, _) = serve("127.0.0.1", speak).await;
        let outcome = see(address, HttpCheck::default(), LONG).await;
        let diagnostic = outcome.diagnostic.as_str();
        assert!(!outcome.ok);
        assert!(
            diagnostic.starts_with("connection closed in the middle of the response"),
            "{diagnostic}"
        );
    }
}

#[tokio::test]
async fn a_server_that_refuses_says_why() {
    let reset = async |stream| {
        let mut connection = server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_reset(Reason::REFUSED_STREAM);
        let _ = connection.accept().await;
    };
    let (address, _) = serve("127.0.0.1", reset).await;
    let outcome = see(address, HttpCheck::default(), LONG).await;
    assert!(outcome.diagnostic.starts_with("the server reset the stream: refused"), "{outcome:?}");
    let away = async |stream| {
        let mut connection = server::handshake(stream).await.unwrap();
        let _request = connection.accept().await;
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        while connection.accept().await.is_some_and(|request| request.is_ok()) {}
    };
    let (address, _) = serve("127.0.0.1", away).await;
    let outcome = see(address, HttpCheck::default(), LONG).await;
    assert!(outcome.diagnostic.starts_with("the server ended the connection"), "{outcome:?}");
}

#[tokio::test]
async fn silence_times_out_by_stage() {
    let time = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outcome = see(listener.local_addr().unwrap(), HttpCheck::default(), time).await;
    let expected = "timed out after 200 ms while waiting for the response";
    assert_eq!(outcome.diagnostic, expected);
    let stall = async |stream| {
        let mut connection = server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let _send = respond.send_response(Response::new(()), false).unwrap();
        let _ = connection.accept().await;
    };
    let (address, _) = serve("127.0.0.1", stall).await;
    let outcome = see(address, HttpCheck::default(), time).await;
    assert_eq!(outcome.diagnostic, "timed out after 200 ms while reading the body");
}
