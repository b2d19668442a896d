//! Each probe is a connection of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use vc5_health::verdict::Rule;
use vc5_health::{
    Check, CheckKind, HttpCheck, Probe, ProbeKey, ProbePath, Prober, ProberConfig, Verdict,
};

/// A server that keeps its connection for more requests, but takes no other.
#[test]
fn a_service_that_takes_no_new_connections_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        keep_alive(stream)
    });
    let probe = Probe {
        key: ProbeKey {
            vip: address.ip(),
            backend: address.ip(),
            port: address.port(),
            service: String::new(),
            check: String::new(),
        },
        path: ProbePath::Direct,
        ttl: None,
        check: Check {
            interval: Duration::from_millis(50),
            rule: Rule::runs(1, 2),
            ..Check::new(CheckKind::Http(HttpCheck::default()))
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (prober, mut events) = Prober::start(ProberConfig::default()).await.unwrap();
        prober.set(vec![probe]).await.unwrap();
        let first = events.recv().await.unwrap();
        assert_eq!(first.verdict, Verdict::Up, "{first:?}");
        let mut last = first;
        while last.verdict == Verdict::Up {
            last = events.recv().await.unwrap();
        }
        assert_eq!(last.outcome.diagnostic, "connection refused");
        prober.shutdown().await;
    });
    assert_eq!(server.join().unwrap(), 1, "requests on the connection that was there");
}

/// Answers every request on a connection until the other side ends it; how many there were.
fn keep_alive(mut stream: TcpStream) -> usize {
    let mut requests = 0;
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        request.extend_from_slice(&chunk[..count]);
        if request.ends_with(b"\r\n\r\n") {
            requests += 1;
            request.clear();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    }
    requests
}
