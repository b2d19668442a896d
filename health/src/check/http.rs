//! What an HTTP check asks for, and which answers it takes.

use std::net::Ipv6Addr;

use hyper::Uri;
use hyper::header::{self, HeaderName, HeaderValue};

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

/// One HTTP/1.1 request (RFC 9112) and the answers that pass. Redirects are answers like any other:
/// they are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
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
    /// A body is read up to here and no further, in bytes: 1 to [`BODY_LIMIT_MAX`]. A longer one
    /// passes if what was read of it does.
    pub body_limit: usize,
}

impl Default for HttpCheck {
    /// `GET /` of the VIP, answered by 200.
    fn default() -> Self {
        Self {
            host: None,
            path: "/".into(),
            method: "GET".into(),
            headers: Vec::new(),
            expect: Vec::new(),
            body: None,
            body_limit: 64 * 1024,
        }
    }
}

impl HttpCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        let Self { host, path, method, headers, body, body_limit, .. } = self;
        if !METHODS.contains(&method.as_str()) {
            return Err(format!("method {method} is not supported, use GET, HEAD or OPTIONS"));
        }
        if request_target(path).is_none() {
            return Err(format!("path {path:?} is not a valid request target"));
        }
        if let Some(host) = host {
            if host.is_empty() || HeaderValue::from_str(host).is_err() {
                return Err(format!("host {host:?} is not a valid Host header"));
            }
            if host.parse::<Ipv6Addr>().is_ok() {
                return Err(format!("host {host:?} must be in brackets: \"[{host}]\""));
            }
        }
        if let Some(why) = headers.iter().find_map(|(name, value)| bad_header(name, value)) {
            return Err(why);
        }
        match body.as_deref() {
            Some("") => return Err("body must not be empty".into()),
            Some(_) if method == "HEAD" => {
                return Err("an answer to HEAD has no body to look into".into());
            }
            _ => {}
        }
        if *body_limit == 0 || *body_limit > BODY_LIMIT_MAX {
            return Err(format!("body limit must be 1 to {BODY_LIMIT_MAX} bytes"));
        }
        Ok(())
    }
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
    fn adds_the_leading_slash() {
        assert_eq!(request_target("alive").unwrap(), "/alive");
        assert_eq!(request_target("/alive?a=b").unwrap(), "/alive?a=b");
        assert_eq!(request_target("").unwrap(), "/");
    }
}
