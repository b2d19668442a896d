//! The body and the path of an HTTP report.

use serde_json::{Map, Value, json};

use super::{Refused, Standing, What, lasts, reason, weight};
use crate::signal::{PoolBackend, Report, Stand};

/// What comes before `POOL/ADDRESS` in a path.
const PREFIX: &str = "/agent/v1/backend/";

/// The backend that a path is about; `None` if it is another path altogether.
pub(super) fn backend(path: &str) -> Option<Result<PoolBackend, Refused>> {
    let rest = path.strip_prefix(PREFIX)?;
    let at = rest.rsplit_once('/').and_then(|(pool, address)| {
        // A colon may come escaped.
        let address = address.replace("%3A", ":").replace("%3a", ":").parse().ok()?;
        Some(PoolBackend { pool: pool.to_owned(), address })
    });
    Some(at.ok_or_else(|| Refused::Bad(format!("backend: `{rest}` is not POOL/ADDRESS"))))
}

/// Reads `{"state": "up", "weight": 50, "for": "30s", "reason": "warming up"}`; each may be left out, but not all of
/// state and weight.
pub(super) fn report(body: &[u8]) -> Result<What, Refused> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Refused::Bad(format!("the body is not JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(Refused::Bad("the body is not a JSON object".to_owned()));
    };
    if let Some(field) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let known = FIELDS.join(", ");
        return Err(Refused::Bad(format!("{field}: there is no such field; there are {known}")));
    }
    if !fields.contains_key("state") && !fields.contains_key("weight") {
        return Err(Refused::Bad("state: neither it nor a weight is given".to_owned()));
    }
    let stand = text(&fields, "state")?.map_or(Ok(Stand::Up), stand)?;
    let number = fields.get("weight").map(|value| weight(value.as_u64(), &value.to_string()));
    let reason = text(&fields, "reason")?.map(reason).transpose()?;
    let lasts = text(&fields, "for")?.map(lasts).transpose()?;
    let report = Report { stand, weight: number.transpose()?, reason };
    Ok(What::Say { report, lasts })
}

const FIELDS: [&str; 4] = ["state", "weight", "for", "reason"];

fn stand(word: &str) -> Result<Stand, Refused> {
    let known = [Stand::Up, Stand::Drain, Stand::Down].into_iter().find(|s| s.word() == word);
    known.ok_or_else(|| {
        Refused::Bad(format!("state: `{word}` is not \"up\", \"drain\" or \"down\""))
    })
}

fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, Refused> {
    match fields.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Refused::Bad(format!("{field}: `{other}` is not a string"))),
    }
}

/// A report that stands, as it is answered.
pub(super) fn answer(standing: &Standing) -> String {
    let Standing { report, left } = standing;
    let mut body = json!({
        "state": report.stand.word(),
        "weight": report.weight,
        "reason": report.reason,
        "left": left.as_secs_f64(),
    })
    .to_string();
    body.push('\n');
    body
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_body_and_small_ones() {
        let read = |text: &str| report(text.as_bytes());
        let say = |stand, weight, reason: Option<&str>, lasts| {
            let report = Report { stand, weight, reason: reason.map(str::to_owned) };
            Ok(What::Say { report, lasts })
        };
        assert_eq!(
            read(r#"{"state": "drain", "weight": 50, "for": "30s", "reason": "kernel"}"#),
            say(Stand::Drain, Some(50), Some("kernel"), Some(Duration::from_secs(30)))
        );
        assert_eq!(read(r#"{"weight": 7}"#), say(Stand::Up, Some(7), None, None));
        assert_eq!(read(r#"{"state": "down"}"#), say(Stand::Down, None, None, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, named) in [
            ("", "the body is not JSON"),
            ("[]", "the body is not a JSON object"),
            ("{}", "state: neither it nor a weight"),
            (r#"{"stat": "up"}"#, "stat: there is no such field"),
            (r#"{"state": "UP"}"#, "state: `UP` is not"),
            (r#"{"state": 1}"#, "state: `1` is not a string"),
            (r#"{"weight": 0}"#, "weight: `0` is not"),
            (r#"{"weight": -1}"#, "weight: `-1` is not"),
            (r#"{"weight": 1.5}"#, "weight: `1.5` is not"),
            (r#"{"weight": "5"}"#, "weight: `\"5\"` is not"),
            (r#"{"state": "up", "for": "soon"}"#, "for: `soon` is not"),
            (r#"{"state": "up", "for": 5}"#, "for: `5` is not a string"),
            (r#"{"state": "up", "reason": ["a"]}"#, "reason: `[\"a\"]` is not a string"),
        ] {
            let said = report(body.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(named), "{body}: {said}");
        }
    }

    #[test]
    fn paths_name_a_backend() {
        let read = |path| backend(path).map(|at| at.map(|at| (at.pool, at.address.to_string())));
        assert_eq!(read("/metrics"), None);
        let found = |pool: &str, address: &str| Some(Ok((pool.to_owned(), address.to_owned())));
        assert_eq!(read("/agent/v1/backend/web/10.0.0.1"), found("web", "10.0.0.1"));
        assert_eq!(read("/agent/v1/backend/web/2001:db8::1"), found("web", "2001:db8::1"));
        assert_eq!(read("/agent/v1/backend/web/2001%3Adb8%3a%3A1"), found("web", "2001:db8::1"));
        for path in ["/agent/v1/backend/", "/agent/v1/backend/web", "/agent/v1/backend/web/x"] {
            assert!(matches!(read(path), Some(Err(Refused::Bad(_)))), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_report_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = report(&bytes);
        }

        #[test]
        fn any_object_is_a_report_or_an_error_of_one_line(
            field in prop::sample::select(FIELDS.to_vec()), text in "\\PC{0,12}"
        ) {
            let body = json!({ field: text }).to_string();
            if let Err(error) = report(body.as_bytes()) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
