//! The gRPC check against a server of hyper's HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;
use crate::check::{Check, CheckKind};
use crate::probe::{Outcome, run};

type Body = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

const WHAT: [&str; 9] =
    ["", "down", "lost", "odd", "more", "short", "compressed", "silent", "html"];

/// A whole answer with its trailers, by the name of the service that is asked for.
fn answer(service: &str) -> Response<Body> {
    let trailers = |fields: &[(&'static str, &'static str)]| {
        let fields = fields.iter().map(|(name, value)| (*name, *value));
        fields.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.insert(name, HeaderValue::from_static(value));
            map
        })
    };
    let status = match service {
        "down" => ServingStatus::NotServing as i32,
        "odd" => 77,
        _ => ServingStatus::Serving as i32,
    };
    let mut message = frame(&Answer { status }).to_vec();
    let mut ended = trailers(&[("grpc-status", "0")]);
    match service {
        "more" => message.extend([0; 9000]),
        "short" => drop(message.pop()),
        "compressed" => message[0] = 1,
        "silent" => ended = HeaderMap::new(),
        _ => {}
    }
    let mut frames = vec![Ok(Frame::data(Bytes::from(message))), Ok(Frame::trailers(ended))];
    let mut head = trailers(&[("content-type", "application/grpc+proto")]);
    match service {
        // Trailers alone, which are headers then.
        "lost" => {
            frames.clear();
            head.extend(trailers(&[
                ("grpc-status", "5"),
                ("grpc-message", "no%20such%20service %E2%82%AC 100%"),
            ]));
        }
        "html" => head = trailers(&[("content-type", "text/html")]),
        _ => {}
    }
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    *response.headers_mut() = head;
    response
}

async fn respond(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", METHOD));
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["grpc-timeout"], "20000m");
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(body[0], 0);
    assert_eq!(body[1..PREFIX], u32::to_be_bytes((body.len() - PREFIX) as u32));
    Ok(answer(&Question::decode(&body[PREFIX..]).unwrap().service))
}

async fn serve(host: &str) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(respond)));
        }
    });
    address
}

async fn see(address: SocketAddr, service: &str) -> Outcome {
    let kind = CheckKind::Grpc(GrpcCheck { service: service.into(), ..GrpcCheck::default() });
    let check = Check { timeout: Duration::from_secs(20), ..Check::new(kind) };
    let target = Target { address, source: None, mark: None, ttl: None };
    run(target, &check, address.ip()).await.outcome
}

#[tokio::test]
async fn only_serving_passes() {
    for host in ["127.0.0.1", "::1"] {
        let address = serve(host).await;
        let mut seen = Vec::new();
        for service in WHAT {
            let outcome = see(address, service).await;
            assert_eq!(outcome.ok, service.is_empty(), "{outcome:?}");
            seen.push(outcome.diagnostic);
        }
        let expected = [
            "SERVING",
            "NOT_SERVING",
            "grpc-status 5 (NOT_FOUND): no such service \u{20ac} 100%",
            "unknown serving status 77",
            "the answer has more than 4096 bytes",
            "the answer is not one plain message",
            "the answer is not one plain message",
            "the answer has no grpc-status",
            "not a gRPC response",
        ];
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_speaks_something_else_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(see(address, "").await.diagnostic, "connection refused");
}

#[test]
fn times_have_at_most_eight_digits() {
    assert_eq!(time(Duration::from_millis(250)), "250m");
    assert_eq!(time(Duration::from_micros(1)), "1m");
    assert_eq!(time(Duration::from_millis(99_999_999)), "99999999m");
    assert_eq!(time(Duration::from_millis(100_000_000)), "100000S");
    assert_eq!(time(Duration::MAX), "99999999S");
}

proptest! {
    /// Whatever a server says is judged, and shown in one short line.
    #[test]
    fn any_answer_is_judged(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = judge(body.clone());
        let said = plain(&body);
        prop_assert!(said.chars().count() <= SHOWN && !said.contains(char::is_control));
    }
}
