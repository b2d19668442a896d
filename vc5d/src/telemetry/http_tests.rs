use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::control::fixture;
use crate::http::HEADERS;

/// Sends `request` to a fresh server and returns all it answers until it closes.
async fn exchange(request: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let snapshot = Arc::new(ArcSwap::from_pointee(fixture::snapshot()));
    let metrics = Arc::new(Metrics::new().unwrap());
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, metrics, snapshot, stopped));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    stop.send(true).unwrap();
    server.await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn ask(line: &str) -> String {
    exchange(format!("{line} HTTP/1.1\r\nHost: vc5\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn a_scrape_over_http() {
    let answer = ask("GET /metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.contains("\nvc5_peer_established{peer=\"tor1\"} 1\n"), "{body}");
    assert!(ask("GET /metrics?x=1").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn head_has_no_body() {
    let answer = ask("HEAD /metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn the_rest_is_refused_in_few_words() {
    for (line, status) in [
        ("GET /", "200 OK"),
        ("GET /nothing", "404 Not Found"),
        ("POST /nothing", "404 Not Found"),
        ("POST /metrics", "405 Method Not Allowed"),
        ("DELETE /", "405 Method Not Allowed"),
    ] {
        let answer = ask(line).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
        assert_eq!(answer.contains("allow: GET, HEAD"), status.starts_with("405"), "{line}");
    }
}

#[tokio::test]
async fn nonsense_and_excess_are_refused() {
    assert!(exchange(b"\x16\x03\x01\x02\x00\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let mut many = b"GET / HTTP/1.1\r\n".to_vec();
    for index in 0..HEADERS + 1 {
        many.extend_from_slice(format!("x-{index}: 1\r\n").as_bytes());
    }
    many.extend_from_slice(b"\r\n");
    assert!(exchange(&many).await.starts_with("HTTP/1.1 431"));
}
