//! The HTTP door: `PUT`, `GET` and `DELETE` of `/agent/v1/backend/POOL/ADDRESS`.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::driver::Counter;
use super::{Ask, Refused, What, json};
use crate::config::model::Config;
use crate::http::{self, Limits, Reply};

const LIMITS: Limits =
    Limits { name: "agent's HTTP server", connections: 256, whole: Duration::from_secs(10) };
/// Largest body in bytes.
const BODY_SIZE: usize = 4096;

type Configs = watch::Receiver<Arc<Config>>;

/// Serves clients until `stopped` holds true.
pub(super) async fn serve(
    listener: TcpListener,
    counter: Counter,
    configs: Configs,
    stopped: watch::Receiver<bool>,
) {
    let respond = move |request| {
        let (counter, configs) = (counter.clone(), configs.clone());
        async move { respond(request, &counter, &configs).await }
    };
    http::serve(listener, LIMITS, respond, stopped).await;
}

async fn respond(request: Request<Incoming>, counter: &Counter, configs: &Configs) -> Reply {
    let token = configs.borrow().agent.token.clone();
    if !admitted(&request, token.as_deref()) {
        let text = "Authorization: a bearer token is needed, and this is not the one\n";
        let challenge = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return with(text_reply(StatusCode::UNAUTHORIZED, text.to_owned()), challenge);
    }
    let Some(at) = json::backend(request.uri().path()) else {
        let text = "not found; reports go to /agent/v1/backend/POOL/ADDRESS\n";
        return text_reply(StatusCode::NOT_FOUND, text.to_owned());
    };
    let what = match *request.method() {
        Method::PUT => match body(request).await {
            Ok(body) => json::report(&body),
            Err(reply) => return *reply,
        },
        Method::GET => Ok(What::Look),
        Method::DELETE => Ok(What::Clear),
        _ => {
            let reply =
                text_reply(StatusCode::METHOD_NOT_ALLOWED, "PUT, GET or DELETE\n".to_owned());
            return with(reply, (ALLOW, HeaderValue::from_static("PUT, GET, DELETE")));
        }
    };
    let ask = at.and_then(|at| what.map(|what| Ask { at, what }));
    match counter.ask(ask).await {
        Ok(Some(standing)) => {
            let reply = Response::new(Full::from(json::answer(&standing)));
            with(reply, (CONTENT_TYPE, HeaderValue::from_static("application/json")))
        }
        Ok(None) => text_reply(StatusCode::OK, "ok\n".to_owned()),
        Err(refused) => text_reply(status(&refused), format!("{refused}\n")),
    }
}

/// The body, or the reply to one that is too long or does not come.
async fn body(request: Request<Incoming>) -> Result<Bytes, Box<Reply>> {
    let read = Limited::new(request.into_body(), BODY_SIZE).collect().await;
    read.map(|body| body.to_bytes()).map_err(|error| {
        Box::new(match error.is::<http_body_util::LengthLimitError>() {
            true => {
                let text = format!("the body is longer than {BODY_SIZE} bytes\n");
                text_reply(StatusCode::PAYLOAD_TOO_LARGE, text)
            }
            false => {
                text_reply(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}\n"))
            }
        })
    })
}

fn status(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Bad(_) => StatusCode::BAD_REQUEST,
        Refused::Unknown(_) | Refused::Silent(_) => StatusCode::NOT_FOUND,
        Refused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Whether a client knows the token, if there is one (RFC 6750 section 2.1).
fn admitted(request: &Request<Incoming>, token: Option<&str>) -> bool {
    let Some(token) = token else { return true };
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case("bearer") && same(given.trim().as_bytes(), token.as_bytes())
    })
}

/// Compares without telling by its time how much is right.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differing = given.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == wanted.len() && differing == 0
}

fn text_reply(status: StatusCode, text: String) -> Reply {
    let mut reply = Response::new(Full::from(text));
    *reply.status_mut() = status;
    with(reply, (CONTENT_TYPE, HeaderValue::from_static("text/plain")))
}

fn with(mut reply: Reply, (name, value): (HeaderName, HeaderValue)) -> Reply {
    reply.headers_mut().insert(name, value);
    reply
}
