//! What services have said, and how long it stands: a pure machine on a clock from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Answer, Ask, Expired, Refused, Settings, Standing, What, name};
use crate::config::model::Config;
use crate::signal::{PoolBackend, Report, Signal, Source};

/// Keeps the reports.
#[derive(Debug)]
pub(super) struct Desk {
    lifetime: Duration,
    expired: Expired,
    /// The backends that there are.
    known: BTreeSet<PoolBackend>,
    reports: BTreeMap<PoolBackend, Kept>,
    /// The ends of those that have one, the next first.
    ends: BTreeSet<(Instant, PoolBackend)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    report: Report,
    /// `None`: its time is over, and it counts as down.
    until: Option<Instant>,
}

impl Desk {
    pub(super) fn new(config: &Config) -> Self {
        let mut desk = Self {
            lifetime: Duration::ZERO,
            expired: Expired::Ignore,
            known: BTreeSet::new(),
            reports: BTreeMap::new(),
            ends: BTreeSet::new(),
        };
        desk.configure(config);
        desk
    }

    /// Takes over a configuration. What was said of backends that are gone is forgotten, and what has expired is if it
    /// does not count any more.
    pub(super) fn configure(&mut self, config: &Config) -> Vec<Signal> {
        let Settings { lifetime, expired, .. } = &config.agent;
        (self.lifetime, self.expired) = (*lifetime, *expired);
        let at = |pool: &str, address| PoolBackend { pool: pool.to_owned(), address };
        let pools = config.pools.values();
        let all = pools.flat_map(|pool| pool.backends.iter().map(|b| at(&pool.name, b.address)));
        self.known = all.collect();
        let stale = |at: &PoolBackend, kept: &Kept| {
            !self.known.contains(at) || (kept.until.is_none() && *expired == Expired::Ignore)
        };
        let gone = self.reports.iter().filter(|(at, kept)| stale(at, kept));
        let gone: Vec<PoolBackend> = gone.map(|(at, _)| at.clone()).collect();
        gone.into_iter().filter_map(|at| self.put(at, None)).collect()
    }

    /// Does what a client asks; the signal is for the core, if something is new.
    pub(super) fn handle(&mut self, now: Instant, ask: Ask) -> (Answer, Option<Signal>) {
        let Ask { at, what } = ask;
        if !self.known.contains(&at) {
            return (Err(Refused::Unknown(name(&at))), None);
        }
        match what {
            What::Say { report, lasts } => {
                let until = now + lasts.unwrap_or(self.lifetime);
                let signal = self.put(at, Some(Kept { report, until: Some(until) }));
                (Ok(None), signal)
            }
            What::Clear => match self.reports.contains_key(&at) {
                true => (Ok(None), self.put(at, None)),
                false => (Err(Refused::Silent(name(&at))), None),
            },
            What::Look => (self.look(now, &at), None),
        }
    }

    fn look(&self, now: Instant, at: &PoolBackend) -> Answer {
        let kept = self.reports.get(at).ok_or_else(|| Refused::Silent(name(at)))?;
        let left = kept.until.map(|until| until.saturating_duration_since(now));
        Ok(Some(Standing { report: kept.report.clone(), left: left.unwrap_or_default() }))
    }

    /// When [`Desk::timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Time has passed: what has ended ends.
    pub(super) fn timeout(&mut self, now: Instant) -> Vec<Signal> {
        let mut signals = Vec::new();
        while let Some((end, at)) = self.ends.first().cloned() {
            if end > now {
                break;
            }
            let after = match self.expired {
                Expired::Ignore => None,
                Expired::Down => {
                    let report = Report::down("it has not reported in time".to_owned());
                    Some(Kept { report, until: None })
                }
            };
            signals.extend(self.put(at, after));
        }
        signals
    }

    /// Puts a report in the place of the one before; a signal if it says something else.
    fn put(&mut self, at: PoolBackend, next: Option<Kept>) -> Option<Signal> {
        let before = self.reports.remove(&at);
        if let Some(end) = before.as_ref().and_then(|kept| kept.until) {
            self.ends.remove(&(end, at.clone()));
        }
        let report = next.as_ref().map(|kept| kept.report.clone());
        if let Some(kept) = next {
            self.ends.extend(kept.until.map(|end| (end, at.clone())));
            self.reports.insert(at.clone(), kept);
        }
        let new = before.map(|kept| kept.report) != report;
        new.then_some(Signal::Report { at, source: Source::Agent, report })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signal::Stand;

    const LIFETIME: Duration = Duration::from_secs(30);

    fn config(expired: &str, backends: &str) -> Config {
        let text = format!(
            r#"
            router = {{ id = "192.0.2.1", as = 65001 }}
            dataplane = {{ mode = "off" }}
            agent = {{ socket = "/run/agent", expired = "{expired}" }}
            pool.web = {{ backends = [{backends}] }}
            "#
        );
        crate::config::parse(&text, std::path::Path::new("test.toml")).unwrap()
    }

    const TWO: &str = r#""10.0.0.1", "10.0.0.2""#;

    fn at(last: u8) -> PoolBackend {
        PoolBackend { pool: "web".into(), address: [10, 0, 0, last].into() }
    }

    fn up() -> Report {
        Report { stand: Stand::Up, weight: None, reason: None }
    }

    fn say(last: u8, report: Report) -> Ask {
        Ask { at: at(last), what: What::Say { report, lasts: None } }
    }

    fn signal(last: u8, report: Option<Report>) -> Signal {
        Signal::Report { at: at(last), source: Source::Agent, report }
    }

    #[test]
    fn a_report_stands_for_its_lifetime_and_no_longer() {
        let (mut desk, now) = (Desk::new(&config("ignore", TWO)), Instant::now());
        assert_eq!(desk.handle(now, say(1, up())), (Ok(None), Some(signal(1, Some(up())))));
        assert_eq!(desk.poll_timeout(), Some(now + LIFETIME));
        let later = now + LIFETIME / 2;
        assert_eq!(desk.handle(later, say(1, up())), (Ok(None), None), "nothing new");
        assert_eq!(desk.timeout(now + LIFETIME), [], "it was said anew");
        let look = Ask { at: at(1), what: What::Look };
        let (answer, _) = desk.handle(now + LIFETIME, look.clone());
        assert_eq!(answer, Ok(Some(Standing { report: up(), left: LIFETIME / 2 })));
        assert_eq!(desk.timeout(later + LIFETIME), [signal(1, None)]);
        assert_eq!(desk.handle(later, look).0, Err(Refused::Silent("web/10.0.0.1".into())));
        assert_eq!(desk.poll_timeout(), None);
    }

    #[test]
    fn an_expired_report_counts_as_down_until_the_next_if_so_configured() {
        let (mut desk, now) = (Desk::new(&config("down", TWO)), Instant::now());
        let brief = What::Say { report: up(), lasts: Some(Duration::from_secs(1)) };
        assert!(desk.handle(now, Ask { at: at(1), what: brief }).0.is_ok());
        let end = now + Duration::from_secs(1);
        let down = Report::down("it has not reported in time".into());
        assert_eq!(desk.timeout(end), [signal(1, Some(down))]);
        assert_eq!(desk.poll_timeout(), None, "for good");
        assert_eq!(desk.handle(end, say(1, up())).1, Some(signal(1, Some(up()))));
        desk.timeout(end + LIFETIME);
        assert_eq!(desk.configure(&config("ignore", TWO)), [signal(1, None)]);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let (mut desk, now) = (Desk::new(&config("ignore", TWO)), Instant::now());
        assert!(desk.handle(now, say(1, up())).0.is_ok());
        let unknown = Err(Refused::Unknown("web/10.0.0.9".into()));
        assert_eq!(desk.handle(now, say(9, up())), (unknown, None));
        let clear = |last| Ask { at: at(last), what: What::Clear };
        assert_eq!(desk.handle(now, clear(2)), (Err(Refused::Silent("web/10.0.0.2".into())), None));
        assert_eq!(desk.poll_timeout(), Some(now + LIFETIME));
        assert_eq!(desk.handle(now, clear(1)), (Ok(None), Some(signal(1, None))));
        assert_eq!(desk.poll_timeout(), None);
    }

    #[test]
    fn a_backend_that_is_gone_takes_its_report_along() {
        let (mut desk, now) = (Desk::new(&config("down", TWO)), Instant::now());
        assert!(desk.handle(now, say(1, up())).0.is_ok());
        assert!(desk.handle(now, say(2, up())).0.is_ok());
        assert_eq!(desk.configure(&config("down", r#""10.0.0.2""#)), [signal(1, None)]);
        assert_eq!(desk.poll_timeout(), Some(now + LIFETIME));
        assert_eq!(desk.timeout(now + LIFETIME).len(), 1);
    }

    proptest! {
        /// What the core was told last is what stands, and nothing stands longer than it was said to.
        #[test]
        fn the_core_knows_what_stands(
            down in any::<bool>(),
            steps in prop::collection::vec((1_u8..4, 0_u8..4, 1_u64..60), 1..60)
        ) {
            let config = config(if down { "down" } else { "ignore" }, TWO);
            let (mut desk, mut now) = (Desk::new(&config), Instant::now());
            let mut told: BTreeMap<PoolBackend, Option<Report>> = BTreeMap::new();
            let mut ends: BTreeMap<PoolBackend, Instant> = BTreeMap::new();
            for (last, kind, seconds) in steps {
                let time = Duration::from_secs(seconds);
                let signals = match kind {
                    0 => {
                        now += time;
                        desk.timeout(now)
                    }
                    1 => desk.handle(now, Ask { at: at(last), what: What::Clear }).1.into_iter().collect(),
                    _ => {
                        let mut report = up();
                        report.weight = (kind == 3).then_some(7);
                        let what = What::Say { report, lasts: Some(time) };
                        let (answer, signal) = desk.handle(now, Ask { at: at(last), what });
                        prop_assert_eq!(answer.is_ok(), last < 3);
                        ends.insert(at(last), now + time);
                        signal.into_iter().collect()
                    }
                };
                for signal in signals {
                    let Signal::Report { at, report, .. } = signal else { unreachable!() };
                    prop_assert!(told.insert(at, report.clone()).unwrap_or_default() != report);
                }
                for (at, report) in &told {
                    let kept = desk.reports.get(at);
                    prop_assert_eq!(kept.map(|kept| &kept.report), report.as_ref());
                    let over = ends[at] <= now && kind == 0;
                    prop_assert!(!over || kept.is_none_or(|kept| kept.report.stand == Stand::Down));
                }
                prop_assert!(desk.ends.len() <= desk.reports.len());
            }
        }
    }
}
