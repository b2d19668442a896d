//! The gRPC check: a server says that a service is well.
//!
//! The call is `grpc.health.v1.Health/Check` of the gRPC health checking protocol: one message each
//! way, in the framing of gRPC over HTTP/2.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use prost::Message;

use super::http::{self, Stream};
use super::{Clock, Finished, Target};
use crate::check::grpc::GrpcCheck;
use crate::check::tls::Protocol;

const METHOD: &str = "/grpc.health.v1.Health/Check";

const CONTENT_TYPE: &str = "application/grpc";

/// The flag of compression and the length, before each message.
const PREFIX: usize = 5;

/// The most that is read of an answer, in bytes: a message of this service has two.
const ANSWER_MAX: usize = 4096;

const NO_STATUS: &str = "the answer has no grpc-status";

/// The most that is shown of a server's own words, in characters.
const SHOWN: usize = 120;

/// `HealthCheckRequest` of grpc.health.v1.
#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse` of grpc.health.v1.
#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus` of grpc.health.v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// The status codes of gRPC, by number.
const STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Calls on a fresh connection, which is closed by RST, and judges the answer.
pub(super) async fn probe(
    target: Target,
    clock: Clock,
    check: &GrpcCheck,
    vip: IpAddr,
) -> Finished {
    let (host, tls) = (check.host.as_deref(), check.tls.as_ref());
    let authority = http::authority(host, vip, target.address.port(), tls.is_some());
    let request = match request(&authority, tls.is_some(), clock.timeout) {
        Ok(request) => request,
        Err(error) => return clock.failed(format!("cannot make the request: {error}")),
    };
    let question = frame(&Question { service: check.service.clone() });
    let read = |response| clock.stage("reading the answer", read(response));
    let tls = tls.map(|tls| (tls, Protocol::Http2));
    let answer = match http::connect(target, clock, host, vip, tls).await {
        Ok(Stream::Plain(stream)) => http::exchange(clock, stream, request, question, read).await,
        Ok(Stream::Tls(stream)) => http::exchange(clock, *stream, request, question, read).await,
        Err(diagnostic) => Err(diagnostic),
    };
    match answer.and_then(judge) {
        Ok(seen) => clock.finished(true, seen),
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

fn request(authority: &str, tls: bool, timeout: Duration) -> Result<Request<()>, String> {
    let request = Request::builder()
        .method("POST")
        .uri(http::absolute(authority, Uri::from_static(METHOD), tls)?)
        .header(header::TE, "trailers")
        .header("grpc-timeout", time(timeout))
        .header(header::CONTENT_TYPE, CONTENT_TYPE)
        .header(header::USER_AGENT, http::USER_AGENT);
    request.body(()).map_err(|error| error.to_string())
}

/// A time in at most eight digits and a unit.
fn time(timeout: Duration) -> String {
    match timeout.as_millis().max(1) {
        millis @ ..=99_999_999 => format!("{millis}m"),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    // The name in it is at most a thousand bytes.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.freeze()
}

/// The body of an answer whose status is OK.
async fn read(response: Response<RecvStream>) -> Result<Vec<u8>, String> {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("got HTTP status {}, expected 200", head.status.as_u16()));
    }
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !kind.is_some_and(|kind| kind.starts_with(CONTENT_TYPE.as_bytes())) {
        return Err("not a gRPC response".into());
    }
    let mut read = Vec::new();
    while let Some(data) = http::next(&mut body).await {
        read.extend_from_slice(&data?);
        if read.len() > ANSWER_MAX {
            return Err(format!("the answer has more than {ANSWER_MAX} bytes"));
        }
    }
    let trailers = body.trailers().await.map_err(|error| http::describe(&error))?;
    // Without a message, the headers are the trailers.
    let alone = Some(&head.headers).filter(|_| read.is_empty());
    match trailers.as_ref().or(alone) {
        Some(trailers) => status(trailers).map(|()| read),
        None => Err(NO_STATUS.into()),
    }
}

/// Says what the status is unless it is OK.
fn status(trailers: &HeaderMap) -> Result<(), String> {
    let Some(value) = trailers.get("grpc-status") else {
        return Err(NO_STATUS.into());
    };
    let code = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    let name = match code {
        Some(0) => return Ok(()),
        Some(code) => STATUS.get(code).copied().unwrap_or("an unknown code"),
        None => return Err("grpc-status is not a number".into()),
    };
    let said = trailers.get("grpc-message").map(|said| plain(said.as_bytes()));
    let said = said.filter(|said| !said.is_empty()).map(|said| format!(": {said}"));
    Err(format!("grpc-status {} ({name}){}", code.unwrap_or(0), said.unwrap_or_default()))
}

/// A server's words without their percent-encoding, in one short line.
fn plain(encoded: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = encoded;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.filter(|_| *first == b'%');
        match escaped.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}

fn judge(body: Vec<u8>) -> Result<String, String> {
    let Some((prefix, message)) = body.split_first_chunk::<PREFIX>() else {
        return Err("the answer has no message".into());
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return Err("the answer is not one plain message".into());
    }
    let Ok(answer) = Answer::decode(message) else {
        return Err("the answer is not that of a health check".into());
    };
    match ServingStatus::try_from(answer.status) {
        Ok(ServingStatus::Serving) => Ok("SERVING".into()),
        Ok(ServingStatus::NotServing) => Err("NOT_SERVING".into()),
        Ok(ServingStatus::Unknown) => Err("UNKNOWN".into()),
        Ok(ServingStatus::ServiceUnknown) => Err("SERVICE_UNKNOWN".into()),
        Err(_) => Err(format!("unknown serving status {}", answer.status)),
    }
}

#[cfg(test)]
mod tests;
