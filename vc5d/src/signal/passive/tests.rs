use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    Settings {
        unanswered: Some(50),
        resets: Some(60),
        connections: 20,
        window: SECOND * 10,
        eject_time: SECOND * 30,
        eject_max: 50,
    }
}

fn at(index: usize) -> ServiceBackend {
    let last = u8::try_from(index).unwrap();
    ServiceBackend {
        vip: [192, 0, 2, 1].into(),
        service: "80/tcp".into(),
        backend: [10, 0, 0, last].into(),
    }
}

/// A service whose counters go on from second to second.
struct Service {
    watch: Watch,
    now: Instant,
    settings: Settings,
    totals: Vec<Counts>,
}

impl Service {
    fn new(backends: usize, settings: Settings) -> Self {
        let totals = vec![Counts::default(); backends];
        let mut service = Self { watch: Watch::default(), now: Instant::now(), settings, totals };
        assert_eq!(service.tick(&[]), []);
        service
    }

    /// A second with these counts for the first backends; whom it is about and whether it is left out.
    fn tick(&mut self, counts: &[Counts]) -> Vec<(usize, bool)> {
        self.now += SECOND;
        for (total, more) in self.totals.iter_mut().zip(counts) {
            *total = total.plus(*more);
        }
        let backends = self.totals.iter().enumerate().map(|(index, total)| (at(index), *total));
        let sample = Sample { settings: self.settings.clone(), backends: backends.collect() };
        let signals = self.watch.handle(self.now, &[sample]);
        let index = |wanted: &ServiceBackend| (0..self.totals.len()).find(|i| at(*i) == *wanted);
        signals
            .iter()
            .map(|signal| match signal {
                Signal::Traffic { at, failing } => (index(at).unwrap(), failing.is_some()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn out(&self) -> usize {
        self.watch.backends.values().filter(|seen| seen.until.is_some()).count()
    }
}

fn counts(syns: u64, flows: u64, rsts: u64) -> Counts {
    Counts { syns, flows, rsts }
}

const GOOD: Counts = Counts { syns: 10, flows: 10, rsts: 1 };
const DEAF: Counts = Counts { syns: 10, flows: 1, rsts: 0 };

#[test]
fn a_backend_that_answers_too_few_is_left_out_for_a_time() {
    let mut service = Service::new(3, settings());
    assert_eq!(service.tick(&[GOOD, DEAF, GOOD]), [], "too few connections to say");
    assert_eq!(service.tick(&[GOOD, DEAF, GOOD]), [(1, true)]);
    for _ in 0..29 {
        assert_eq!(service.tick(&[GOOD, Counts::default(), GOOD]), []);
    }
    assert_eq!(service.tick(&[GOOD, Counts::default(), GOOD]), [(1, false)]);
    assert_eq!(service.tick(&[GOOD, DEAF, GOOD]), [], "it is judged by what comes now");
    assert_eq!(service.tick(&[GOOD, DEAF, GOOD]), [(1, true)]);
}

#[test]
fn resets_count_by_their_own_limit() {
    let mut service = Service::new(3, settings());
    let bad = counts(20, 20, 12);
    let Some(Signal::Traffic { failing: Some(why), .. }) = ({
        service.totals = vec![counts(40, 40, 2), bad, counts(40, 40, 2)];
        service.now += SECOND;
        let backends = (0..3).map(|index| (at(index), service.totals[index])).collect();
        let sample = Sample { settings: settings(), backends };
        service.watch.handle(service.now, &[sample]).pop()
    }) else {
        panic!("it is an outlier")
    };
    assert_eq!(why, "60 % of 20 connections in 10 s are reset by clients, 5 % at the others");
    let mut blind = Service::new(3, Settings { resets: None, unanswered: None, ..settings() });
    assert_eq!(blind.tick(&[counts(40, 40, 2), bad, DEAF]), []);
}

#[test]
fn what_all_share_is_nobodys_failure() {
    let mut service = Service::new(4, settings());
    for _ in 0..20 {
        assert_eq!(service.tick(&[DEAF; 4]), []);
    }
}

#[test]
fn the_worst_go_first_and_no_more_than_may() {
    let mut service = Service::new(6, Settings { eject_max: 34, ..settings() });
    let busy = counts(200, 200, 0);
    let bad = |answered| counts(30, answered, 0);
    let told = service.tick(&[bad(9), bad(3), bad(6), busy, busy, busy]);
    assert_eq!(told, [(1, true), (2, true)], "two of six");
    assert_eq!(service.tick(&[bad(9), bad(3), bad(6), busy, busy, busy]), []);
    let mut alone = Service::new(1, settings());
    assert_eq!(alone.tick(&[bad(0)]), [], "there is nobody to compare it with");
}

#[test]
fn only_the_window_counts_and_counters_may_begin_anew() {
    let mut service = Service::new(2, settings());
    service.tick(&[GOOD, counts(19, 0, 0)]);
    for _ in 0..10 {
        assert_eq!(service.tick(&[GOOD, Counts::default()]), []);
    }
    assert_eq!(service.tick(&[GOOD, counts(10, 0, 0)]), [], "the 19 are past");
    service.totals = vec![Counts::default(); 2];
    assert_eq!(service.tick(&[counts(5, 5, 0), counts(5, 0, 0)]), []);
}

#[test]
fn what_is_not_looked_at_any_more_is_not_left_out_any_more() {
    let mut service = Service::new(3, settings());
    service.tick(&[counts(100, 100, 0), counts(100, 0, 0), counts(100, 100, 0)]);
    assert_eq!(service.out(), 1);
    let signals = service.watch.handle(service.now, &[]);
    assert_eq!(signals, [Signal::Traffic { at: at(1), failing: None }]);
    assert_eq!(service.watch.handle(service.now, &[]), []);
}

proptest! {
    /// Whatever is counted: never more are left out than may be, each for exactly its time, and what the core was told
    /// is what stands.
    #[test]
    fn bounded_and_consistent(
        backends in 1_usize..7,
        eject_max in 0_u8..=100,
        ticks in prop::collection::vec(prop::collection::vec((0_u64..60, 0_u64..60, 0_u64..60), 7), 1..80)
    ) {
        let settings = Settings { eject_max, eject_time: SECOND * 5, ..settings() };
        let mut service = Service::new(backends, settings);
        let mut out: BTreeMap<usize, usize> = BTreeMap::new();
        for (tick, row) in ticks.iter().enumerate() {
            let row: Vec<Counts> = row.iter().map(|(s, f, r)| counts(*s, *f, *r)).collect();
            for (index, left_out) in service.tick(&row) {
                if left_out {
                    prop_assert!(out.insert(index, tick).is_none());
                } else {
                    prop_assert_eq!(out.remove(&index), Some(tick - 5));
                }
            }
            prop_assert_eq!(out.len(), service.out());
            prop_assert!(out.len() <= backends * usize::from(eject_max) / 100);
        }
    }
}
