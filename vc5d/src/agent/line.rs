//! The lines of the socket: `backend POOL/ADDRESS STATE [weight N] [for TIME] ["REASON"]`.

use super::{Ask, Refused, What, lasts, reason, weight};
use crate::control::grammar::words::{Word, split};
use crate::signal::{PoolBackend, Report, Stand};

/// Reads a line. An empty one, or one that begins with `#`, says nothing.
pub(super) fn parse(line: &str) -> Result<Option<Ask>, Refused> {
    if line.trim().is_empty() || line.trim_start().starts_with('#') {
        return Ok(None);
    }
    let words = split(line).map_err(|error| Refused::Bad(error.to_string()))?;
    let mut words = words.iter();
    let first = words.next().map(|word| word.text.as_str());
    if first != Some("backend") {
        let found = first.unwrap_or_default();
        return Err(bad(format!("`{found}`: a report begins with `backend POOL/ADDRESS`")));
    }
    let at = backend(words.next())?;
    let verb = words.next().ok_or_else(|| bad(format!("state: {VERBS} is missing")))?;
    let words: Vec<&Word> = words.collect();
    if verb.text == "clear" && !verb.quoted {
        return match words.first() {
            None => Ok(Some(Ask { at, what: What::Clear })),
            Some(word) => Err(bad(format!("`{}` is not expected after clear", word.text))),
        };
    }
    let what = report(verb, &words)?;
    Ok(Some(Ask { at, what }))
}

const VERBS: &str = "up, drain, down, weight or clear";

/// The state and what follows it.
fn report(verb: &Word, words: &[&Word]) -> Result<What, Refused> {
    let stand = match verb.text.as_str() {
        _ if verb.quoted => None,
        "up" | "weight" => Some(Stand::Up),
        "drain" => Some(Stand::Drain),
        "down" => Some(Stand::Down),
        _ => None,
    };
    let stand = stand.ok_or_else(|| bad(format!("state: `{}` is not {VERBS}", verb.text)))?;
    let mut report = Report { stand, weight: None, reason: None };
    let mut time = None;
    // `weight N` may stand in the place of the state.
    let verb = Some(verb).filter(|verb| verb.text == "weight");
    let mut words = verb.into_iter().chain(words.iter().copied());
    while let Some(word) = words.next() {
        match (word.text.as_str(), word.quoted) {
            ("weight", false) if report.weight.is_none() && report.reason.is_none() => {
                let text = words.next().map(|word| word.text.as_str()).unwrap_or_default();
                report.weight = Some(weight(text.parse().ok(), text)?);
            }
            ("for", false) if time.is_none() && report.reason.is_none() => {
                let text = words.next().map(|word| word.text.as_str()).unwrap_or_default();
                time = Some(lasts(text)?);
            }
            (text, true) if report.reason.is_none() => report.reason = Some(reason(text)?),
            (text, _) => {
                let hint = "the rest is [weight N] [for TIME] [\"REASON\"]";
                return Err(bad(format!("`{text}` is not expected here: {hint}")));
            }
        }
    }
    Ok(What::Say { report, lasts: time })
}

fn backend(word: Option<&Word>) -> Result<PoolBackend, Refused> {
    let text = word.map(|word| word.text.as_str()).unwrap_or_default();
    let parts = text.rsplit_once('/');
    let at = parts.and_then(|(pool, address)| {
        Some(PoolBackend { pool: pool.to_owned(), address: address.parse().ok()? })
    });
    at.ok_or_else(|| bad(format!("backend: `{text}` is not POOL/ADDRESS")))
}

fn bad(text: String) -> Refused {
    Refused::Bad(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn say(rest: &str) -> Result<(Report, Option<Duration>), String> {
        match parse(&format!("backend web/10.1.10.11 {rest}")) {
            Ok(Some(Ask { at, what: What::Say { report, lasts } })) => {
                assert_eq!(
                    (at.pool.as_str(), at.address.to_string()),
                    ("web", "10.1.10.11".into())
                );
                Ok((report, lasts))
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn report(stand: Stand, weight: Option<u32>, reason: Option<&str>) -> Report {
        Report { stand, weight, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn every_form_of_a_report() {
        let half = Some(Duration::from_secs(30));
        assert_eq!(say("up"), Ok((report(Stand::Up, None, None), None)));
        assert_eq!(say("drain for 30s"), Ok((report(Stand::Drain, None, None), half)));
        assert_eq!(
            say("down 'disk full'"),
            Ok((report(Stand::Down, None, Some("disk full")), None))
        );
        assert_eq!(
            say("weight 50 for 30s \"warming up\""),
            Ok((report(Stand::Up, Some(50), Some("warming up")), half))
        );
        assert_eq!(say("up for 30s weight 1000"), Ok((report(Stand::Up, Some(1000), None), half)));
        assert_eq!(say("down \"for\""), Ok((report(Stand::Down, None, Some("for")), None)));
    }

    #[test]
    fn ipv6_clear_and_lines_that_say_nothing() {
        let ask = parse("backend a.b/2001:db8::1 clear").unwrap().unwrap();
        assert_eq!((ask.at.address.to_string(), ask.what), ("2001:db8::1".into(), What::Clear));
        for line in ["", "  ", "# backend web/10.0.0.1 down"] {
            assert_eq!(parse(line), Ok(None));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, named) in [
            ("", "state: up, drain, down, weight or clear is missing"),
            ("upp", "state: `upp` is not"),
            ("\"up\"", "state: `up` is not"),
            ("weight", "weight: `` is not a number from 1 to 1000"),
            ("weight 0", "weight: `0` is not"),
            ("weight 1001", "weight: `1001` is not"),
            ("up weight 1 weight 2", "`weight` is not expected here"),
            ("up for", "for: `` is not a time"),
            ("up for 0s", "for: `0s` is not a time"),
            ("up for 25h", "for: `25h` is not a time"),
            ("up because", "`because` is not expected here"),
            ("up 'a' 'b'", "`b` is not expected here"),
            ("up 'a", "the closing quote is missing"),
        ] {
            let said = say(line).unwrap_err();
            assert!(said.contains(named), "{line}: {said}");
        }
        let long = format!("down '{}'", "x".repeat(256));
        assert_eq!(say(&long).unwrap_err(), "reason: longer than 255 bytes");
        assert_eq!(say("down 'a\u{7}'").unwrap_err(), "reason: has control characters");
        for (line, named) in [
            ("vip www down", "`vip`: a report begins with"),
            ("backend", "backend: `` is not POOL/ADDRESS"),
            ("backend web up", "backend: `web` is not POOL/ADDRESS"),
            ("backend web/10.1.10.11 clear now", "`now` is not expected after clear"),
        ] {
            let said = parse(line).unwrap_err().to_string();
            assert!(said.contains(named), "{line}: {said}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_report_or_an_error_of_one_line(line in "(backend web/10.0.0.1 )?\\PC{0,80}") {
            if let Err(error) = parse(&line) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
