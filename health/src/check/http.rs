//! What an HTTP check asks for, and which answers it takes.

use std::net::Ipv6Addr;

use hyper::Uri;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use regex::bytes::Regex;

/// The methods that a check may use; none of them changes anything on the server.
pub const METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// The largest [`HttpCheck::body_limit`], in bytes.
pub const BODY_LIMIT_MAX: usize = 16 * 1024 * 1024;

/// Fields that say how the message itself is carried, and `Host`, which has its own setting.
const OWN_HEADERS: [HeaderName; 7] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
];

/// The version that a request is sent by; a server of another one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersion {
    /// HTTP/1.1 (RFC 9112).
    #[default]
    One,
    /// HTTP/2 (RFC 9113): agreed on by ALPN over TLS, else with prior knowledge.
    Two,
}

/// A regular expression to look for. Compares by its text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern in the syntax of the crate `regex`, which finds in time that is linear in
    /// the length of what it looks into.
    ///
    /// # Errors
    /// Says what is wrong with it, in one line.
    pub fn new(text: &str) -> Result<Self, String> {
        let last = |error: regex::Error| {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        };
        Regex::new(text).map(Self).map_err(last)
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// One HTTP request and the answers that pass. Redirects are answers like any other:
/// they are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// The version of HTTP.
    pub version: HttpVersion,
    /// The Host header, sent as given; an IPv6 address stands in brackets (RFC 3986 section
    /// 3.2.2). `None` sends the VIP (and the port unless it is the scheme's own).
    pub host: Option<String>,
    /// Path and query; a missing leading `/` is added.
    pub path: String,
    /// One of [`METHODS`].
    pub method: String,
    /// Further header fields, in this order. They may replace `User-Agent`, but none that says how
    /// the message is carried.
    pub headers: Vec<(String, String)>,
    /// Accepted status codes as inclusive ranges. Empty accepts 200 only.
    pub expect: Vec<(u16, u16)>,
    /// Bytes that must occur in the body, within [`body_limit`](Self::body_limit).
    pub body: Option<String>,
    /// A pattern that must match somewhere in the body, within the same limit.
    pub body_pattern: Option<Pattern>,
    /// A body is read up to here and no further, in bytes: 1 to [`BODY_LIMIT_MAX`]. A longer one
    /// passes if what was read of it does.
    pub body_limit: usize,
}

impl Default for HttpCheck {
    /// `GET /` of the VIP, answered by 200.
    fn default() -> Self {
        Self {
            version: HttpVersion::One,
            host: None,
            path: "/".into(),
            method: "GET".into(),
            headers: Vec::new(),
            expect: Vec::new(),
            body: None,
            body_pattern: None,
            body_limit: 64 * 1024,
        }
    }
}

impl HttpCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        let Self { host, path, method, headers, body, body_pattern, body_limit, .. } = self;
        if !METHODS.contains(&method.as_str()) {
            return Err(format!("method {method} is not supported, use GET, HEAD or OPTIONS"));
        }
        if request_target(path).is_none() {
            return Err(format!("path {path:?} is not a valid request target"));
        }
        if let Some(why) = host.as_deref().and_then(bad_host) {
            return Err(why);
        }
        if let Some(why) = headers.iter().find_map(|(name, value)| bad_header(name, value)) {
            return Err(why);
        }
        if body.as_deref() == Some("") {
            return Err("body must not be empty".into());
        }
        if method == "HEAD" && (body.is_some() || body_pattern.is_some()) {
            return Err("an answer to HEAD has no body to look into".into());
        }
        if *body_limit == 0 || *body_limit > BODY_LIMIT_MAX {
            return Err(format!("body limit must be 1 to {BODY_LIMIT_MAX} bytes"));
        }
        Ok(())
    }
}

/// Why a host cannot be what a request is for, if so.
#[must_use]
pub fn bad_host(host: &str) -> Option<String> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some(format!("host {host:?} must be in brackets: \"[{host}]\""));
    }
    // RFC 9110 section 7.2: a host and perhaps a port, which HTTP/2 sends as `:authority`.
    let valid = host.parse::<Authority>().is_ok_and(|name| !name.as_str().contains('@'));
    (!valid).then(|| format!("host {host:?} is not a valid Host header"))
}

/// Why a header field cannot be sent by a check, if so.
#[must_use]
pub fn bad_header(name: &str, value: &str) -> Option<String> {
    let Ok(parsed) = name.parse::<HeaderName>() else {
        return Some(format!("{name:?} is not the name of a header field"));
    };
    if OWN_HEADERS.contains(&parsed) {
        return Some(format!("the header field {parsed} is set by the check itself"));
    }
    HeaderValue::from_str(value)
        .is_err()
        .then(|| format!("{value:?} cannot be the value of a header field"))
}

/// The origin-form request target (RFC 9112 section 3.2.1) for a configured path.
pub(crate) fn request_target(path: &str) -> Option<Uri> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{path}").parse::<Uri>().ok().filter(|uri| uri.authority().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut HttpCheck)) -> String {
        let mut check = HttpCheck::default();
        change(&mut check);
        check.validate().unwrap_err()
    }

    #[test]
    fn accepts_what_can_be_asked() {
        for (host, path, method) in [
            (None, "alive?x=1", "GET"),
            (Some("www.example:8080"), "/", "HEAD"),
            (Some("[2001:db8::1]"), "/", "OPTIONS"),
            (Some("[2001:db8::1]:8080"), "/", "GET"),
        ] {
            let check = HttpCheck {
                host: host.map(Into::into),
                path: path.into(),
                method: method.into(),
                headers: vec![("User-Agent".into(), "probe".into())],
                ..HttpCheck::default()
            };
            assert_eq!(check.validate(), Ok(()));
        }
    }

    #[test]
    fn names_the_value_that_cannot_be_used() {
        assert!(message(|c| c.method = "POST".into()).contains("POST"));
        assert!(message(|c| c.path = "/a b".into()).contains("/a b"));
        assert!(message(|c| c.host = Some("a\nb".into())).contains("Host header"));
        let unbracketed = message(|c| c.host = Some("2001:db8::1".into()));
        assert!(unbracketed.contains("\"[2001:db8::1]\""));
        let header = |name: &str, value: &str| {
            let field = (name.to_owned(), value.to_owned());
            message(|c| c.headers = vec![field])
        };
        assert!(header("a b", "c").contains("\"a b\" is not the name"));
        assert!(header("x", "a\nb").contains("cannot be the value"));
        assert_eq!(header("HOST", "x"), "the header field host is set by the check itself");
        assert!(header("transfer-encoding", "chunked").contains("itself"));
        assert!(message(|c| c.body = Some(String::new())).contains("empty"));
        let of_head = |c: &mut HttpCheck| {
            c.body = Some("ok".into());
            c.method = "HEAD".into();
        };
        assert!(message(of_head).contains("HEAD"));
        assert!(message(|c| c.body_limit = 0).contains("1 to 16777216"));
        assert!(message(|c| c.body_limit = BODY_LIMIT_MAX + 1).contains("1 to 16777216"));
    }

    #[test]
    fn patterns_are_compared_by_their_text_and_say_what_is_wrong() {
        let new = |text| Pattern::new(text).unwrap();
        assert_eq!(new("^a.c$"), new("^a.c$"));
        assert_ne!(new("a"), new("b"));
        assert!(new("(?i)UP").is_in(b"\xff status: up\n"));
        assert!(!new("^up$").is_in(b"\xff status: up\n"));
        assert_eq!(Pattern::new("a(b").unwrap_err(), "unclosed group");
        let of_head = HttpCheck {
            method: "HEAD".into(),
            body_pattern: Some(new("up")),
            ..HttpCheck::default()
        };
        assert!(of_head.validate().unwrap_err().contains("HEAD"));
    }

    #[test]
    fn adds_the_leading_slash() {
        assert_eq!(request_target("alive").unwrap(), "/alive");
        assert_eq!(request_target("/alive?a=b").unwrap(), "/alive?a=b");
        assert_eq!(request_target("").unwrap(), "/");
    }
}
