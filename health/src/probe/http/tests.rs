//! The HTTP check against a server that answers with given bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::check::http::Pattern;
use crate::check::{Check, CheckKind};
use crate::probe::{Outcome, run};

/// How the server goes on after its answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    StayOpen,
}

/// What the server saw: the request, and how the connection ended.
struct Served {
    request: String,
    end: io::Result<usize>,
}

/// Serves one connection with `answer`.
async fn serve(answer: Vec<u8>, then: Then) -> (SocketAddr, JoinHandle<Served>) {
    serve_on("127.0.0.1", answer, then).await
}

async fn serve_on(host: &str, answer: Vec<u8>, then: Then) -> (SocketAddr, JoinHandle<Served>) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        // The client may have seen enough before all is written.
        let _ = stream.write_all(&answer).await;
        if then == Then::Close {
            let _ = stream.shutdown().await;
        }
        let end = stream.read(&mut [0]).await;
        Served { request: String::from_utf8(request).unwrap(), end }
    });
    (address, task)
}

fn check(expect: &[(u16, u16)], timeout: Duration) -> Check {
    let expect = expect.to_vec();
    check_of(HttpCheck { path: "/alive".into(), expect, ..HttpCheck::default() }, timeout)
}

fn check_of(http: HttpCheck, timeout: Duration) -> Check {
    Check { timeout, ..Check::new(CheckKind::Http(http)) }
}

async fn see(answer: impl Into<Vec<u8>>, then: Then, check: &Check) -> (Outcome, Served) {
    let (address, task) = serve(answer.into(), then).await;
    let target = Target { address, source: None, mark: None, ttl: None };
    let finished = run(target, check, "192.0.2.1".parse().unwrap()).await;
    let outcome = finished.outcome.clone();
    finished.close().await;
    (outcome, task.await.unwrap())
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn passes_and_closes_by_fin_after_the_server() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (outcome, seen) = see(answer, Then::Close, &check(&[], LONG)).await;
    assert!(outcome.ok);
    assert_eq!(outcome.diagnostic, "200 OK");
    assert_eq!(seen.end.unwrap(), 0, "closed by FIN");
    let port = seen.request.split("192.0.2.1:").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(port.parse::<u16>().is_ok());
    assert!(seen.request.starts_with("GET /alive HTTP/1.1\r\n"), "{}", seen.request);
    assert!(seen.request.contains("connection: close\r\n"), "{}", seen.request);
}

#[tokio::test]
async fn resets_a_server_that_does_not_close() {
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    let check = check(&[(200, 299)], Duration::from_millis(300));
    let (outcome, seen) = see(answer, Then::StayOpen, &check).await;
    assert_eq!(outcome.diagnostic, "204 No Content");
    assert!(outcome.ok, "the outcome does not wait for the close");
    assert_eq!(seen.end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let (outcome, seen) = see("HTTP/1.0 200 OK\r\n\r\nold", Then::Close, &check(&[], LONG)).await;
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (true, "200 OK"));
    assert_eq!(seen.end.unwrap(), 0);
}

#[tokio::test]
async fn head_has_no_body_and_the_host_is_sent_as_given() {
    let http = HttpCheck {
        host: Some("www.example".into()),
        path: "alive?deep=1".into(),
        method: "HEAD".into(),
        ..HttpCheck::default()
    };
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let (outcome, seen) = see(answer, Then::Close, &check_of(http, LONG)).await;
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (true, "200 OK"));
    assert!(seen.request.starts_with("HEAD /alive?deep=1 HTTP/1.1\r\n"), "{}", seen.request);
    assert!(seen.request.contains("host: www.example\r\n"), "{}", seen.request);
    assert_eq!(seen.end.unwrap(), 0);
}

#[tokio::test]
async fn other_statuses_fail_and_redirects_are_not_followed() {
    for (answer, expect, diagnostic) in [
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", &[][..], "got 503, expected 200"),
        (
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            &[(200, 200), (204, 206)],
            "got 302, expected 200, 204-206",
        ),
    ] {
        let (outcome, _) = see(answer, Then::Close, &check(expect, LONG)).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, diagnostic));
    }
}

#[tokio::test]
async fn broken_answers_fail_with_the_reason() {
    for (answer, diagnostic) in [
        ("", "connection closed too early"),
        ("SSH-2.0-x\r\n", "not an HTTP response"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "connection closed too early while reading the body",
        ),
    ] {
        let (outcome, _) = see(answer, Then::Close, &check(&[], LONG)).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, diagnostic));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_times_out_by_stage() {
    let time = Duration::from_millis(200);
    for (answer, diagnostic) in [
        ("", "timed out after 200 ms while waiting for the response"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "timed out after 200 ms while reading the body",
        ),
    ] {
        let (outcome, _) = see(answer, Then::StayOpen, &check(&[], time)).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, diagnostic));
    }
}

#[tokio::test]
async fn a_large_body_is_not_read_to_its_end() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 2 * HttpCheck::default().body_limit, b'x');
    let (outcome, _) = see(answer, Then::StayOpen, &check(&[], LONG)).await;
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (true, "200 OK"));
}

/// Asks with this text wanted in the body, up to this limit.
async fn ask_for_body(answer: impl Into<Vec<u8>>, wanted: &str, limit: usize) -> (bool, String) {
    let http = HttpCheck { body: Some(wanted.into()), body_limit: limit, ..HttpCheck::default() };
    let (outcome, _) = see(answer, Then::Close, &check_of(http, LONG)).await;
    (outcome.ok, outcome.diagnostic)
}

#[tokio::test]
async fn the_body_must_hold_what_is_wanted() {
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nstatus: up\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   8\r\nstatus: \r\n3\r\nup\n\r\n0\r\n\r\n";
    let to_the_end = "HTTP/1.0 200 OK\r\n\r\nstatus: up\n";
    for answer in [plain, chunked, to_the_end] {
        assert_eq!(ask_for_body(answer, ": up", 100).await, (true, "200 OK".into()));
        assert_eq!(
            ask_for_body(answer, "down", 100).await,
            (false, "\"down\" is not in the 11 bytes of the body".into())
        );
        assert_eq!(ask_for_body(answer, "up\n", 11).await, (true, "200 OK".into()));
        assert_eq!(
            ask_for_body(answer, "up\n", 10).await,
            (false, "\"up\\n\" is not in the first 10 bytes of the body".into())
        );
    }
    assert_eq!(
        ask_for_body("HTTP/1.1 204 No Content\r\n\r\n", "up", 10).await,
        (false, "got 204, expected 200".into())
    );
}

/// A server that never stops sending: the limit ends it, not the timeout.
#[tokio::test]
async fn an_endless_body_is_given_up_at_the_limit() {
    for host in ["127.0.0.1", "::1"] {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        let target = Target { address, source: None, mark: None, ttl: None };
        let http = HttpCheck { body: Some("y".into()), ..HttpCheck::default() };
        let finished = run(target, &check_of(http, LONG), address.ip()).await;
        assert_eq!(
            finished.outcome.diagnostic,
            "\"y\" is not in the first 65536 bytes of the body"
        );
        drop(finished);
        server.await.unwrap();
    }
}

/// The server ends its direction at once but still reads.
#[tokio::test]
async fn a_half_closed_server_without_an_answer_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.shutdown().await.unwrap();
        let mut request = Vec::new();
        let _ = stream.read_to_end(&mut request).await;
    });
    let target = Target { address, source: None, mark: None, ttl: None };
    let finished = run(target, &check(&[], LONG), address.ip()).await;
    assert_eq!(finished.outcome.diagnostic, "connection closed too early");
    finished.close().await;
    server.await.unwrap();
}

#[tokio::test]
async fn headers_are_sent_as_given() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let http = HttpCheck {
        headers: vec![
            field("X-Probe", "1"),
            field("x-probe", "2"),
            field("User-Agent", "mine"),
            field("Authorization", "Bearer abc"),
        ],
        ..HttpCheck::default()
    };
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (outcome, seen) = see(answer, Then::Close, &check_of(http, LONG)).await;
    assert!(outcome.ok, "{outcome:?}");
    let request = seen.request.to_ascii_lowercase();
    for line in ["x-probe: 1", "x-probe: 2", "user-agent: mine", "authorization: bearer abc"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
    }
    assert!(!request.contains("vc5/"), "{request}");
}

#[tokio::test]
async fn an_ipv6_service_is_asked_by_its_address_in_brackets() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (address, task) = serve_on("::1", answer.into(), Then::Close).await;
    let target = Target { address, source: None, mark: None, ttl: None };
    let finished = run(target, &check(&[], LONG), "2001:db8::1".parse().unwrap()).await;
    assert_eq!(finished.outcome.diagnostic, "200 OK");
    finished.close().await;
    let seen = task.await.unwrap();
    let host = format!("\r\nhost: [2001:db8::1]:{}\r\n", address.port());
    assert!(seen.request.contains(&host), "{}", seen.request);
    assert_eq!(seen.end.unwrap(), 0, "closed by FIN");
}

/// A server that speaks or ends before it is asked: the connection says why, by whichever of its
/// directions that is noticed first.
#[tokio::test]
async fn a_server_that_does_not_wait_for_the_request_fails_with_the_reason() {
    for (answer, diagnostic) in
        [(&b""[..], "connection closed too early"), (b"SSH-2.0-x\r\n", "not an HTTP response")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(answer).await.unwrap();
        server.shutdown().await.unwrap();
        client.readable().await.unwrap();
        let clock = Clock { begun: tokio::time::Instant::now(), timeout: LONG };
        let http = HttpCheck::default();
        let request = request(&http, "www.example", false).unwrap();
        let seen = ask(clock, client, request, &http).await;
        assert_eq!(seen.err().as_deref(), Some(diagnostic));
    }
}

#[tokio::test]
async fn a_pattern_must_match_within_the_limit() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nstatus: up\n";
    let ask_for = async |pattern: &str, limit| {
        let body_pattern = Some(Pattern::new(pattern).unwrap());
        let http = HttpCheck { body_pattern, body_limit: limit, ..HttpCheck::default() };
        let (outcome, _) = see(answer, Then::Close, &check_of(http, LONG)).await;
        (outcome.ok, outcome.diagnostic)
    };
    assert!(!ask_for("^status: (up|ready)$", 11).await.0, "$ is the end of all that was read");
    assert_eq!(ask_for("(?m)^status: (up|ready)$", 11).await, (true, "200 OK".into()));
    assert_eq!(
        ask_for("u[pq]", 9).await,
        (false, "/u[pq]/ is not in the first 9 bytes of the body".into())
    );
}

#[test]
fn the_default_host_is_the_vip() {
    let host = |vip: &str, port, tls| authority(None, vip.parse().unwrap(), port, tls);
    assert_eq!(host("192.0.2.1", 80, false), "192.0.2.1");
    assert_eq!(host("2001:db8::1", 443, true), "[2001:db8::1]");
    assert_eq!(host("2001:db8::1", 8080, false), "[2001:db8::1]:8080");
    assert_eq!(host("192.0.2.1", 443, false), "192.0.2.1:443");
}
