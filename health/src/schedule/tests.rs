//! The scheduler under virtual time.

use proptest::prelude::*;

use super::*;
use crate::check::{Check, CheckKind, ProbePath};

const MS: Duration = Duration::from_millis(1);

fn probe(name: u32, interval: u32, timeout: u32) -> Arc<Probe> {
    Arc::new(Probe {
        key: ProbeKey {
            vip: "192.0.2.1".parse().unwrap(),
            backend: "198.51.100.1".parse().unwrap(),
            port: 80,
            service: name.to_string(),
            check: String::new(),
        },
        path: ProbePath::Direct,
        ttl: None,
        check: Check {
            interval: MS * interval,
            timeout: MS * timeout,
            ..Check::new(CheckKind::Tcp)
        },
    })
}

/// Starts everything that is due.
fn start_all(scheduler: &mut Scheduler, now: Instant) -> Vec<Start> {
    std::iter::from_fn(|| scheduler.poll_start(now)).collect()
}

/// The time of the next start, which must lie within `within` of `now`.
fn next(scheduler: &Scheduler, now: Instant, within: u32) -> Instant {
    let at = scheduler.poll_timeout().unwrap();
    assert!(at >= now && at <= now + MS * within, "{:?}", at - now);
    at
}

#[test]
fn first_starts_are_spread_over_the_interval_and_follow_the_seed() {
    let now = Instant::now();
    let offsets = |seed| {
        let mut scheduler = Scheduler::new(seed, 1000);
        scheduler.handle_set(now, (0..1000).map(|n| probe(n, 1000, 100)).collect());
        let mut counts = [0; 10];
        let mut at = Vec::new();
        while let Some(t) = scheduler.poll_timeout() {
            let started = start_all(&mut scheduler, t).len();
            counts[((t - now).as_millis() as usize / 100).min(9)] += started;
            at.push(t - now);
        }
        assert!(counts.iter().all(|&c| (50..150).contains(&c)), "{counts:?}");
        at
    };
    assert_eq!(offsets(1), offsets(1));
    assert_ne!(offsets(1), offsets(2));
}

#[test]
fn keeps_to_the_grid() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, vec![probe(0, 1000, 500)]);
    let first = next(&scheduler, begin, 1000);
    for n in 0..5 {
        let now = first + MS * 1000 * n;
        assert_eq!(scheduler.poll_timeout(), Some(now));
        let start = scheduler.poll_start(now).unwrap();
        assert!(scheduler.handle_finished(now + MS * 300, &start.probe.key, start.run));
    }
    assert_eq!(scheduler.late(), 0);
}

#[test]
fn never_two_of_one_key_and_missed_starts_are_counted() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, vec![probe(0, 100, 1000)]);
    let first = next(&scheduler, begin, 100);
    let start = scheduler.poll_start(first).unwrap();
    assert_eq!(scheduler.poll_timeout(), None);
    assert_eq!(scheduler.poll_start(first + MS * 250), None);
    scheduler.handle_finished(first + MS * 250, &start.probe.key, start.run);
    assert_eq!(scheduler.late(), 2);
    assert_eq!(scheduler.poll_timeout(), Some(first + MS * 300));
}

#[test]
fn the_limit_holds_and_a_late_caller_is_counted() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 2);
    scheduler.handle_set(begin, (0..3).map(|n| probe(n, 100, 50)).collect());
    let now = begin + MS * 100;
    let started = start_all(&mut scheduler, now);
    assert_eq!((started.len(), scheduler.in_flight()), (2, 2));
    assert_eq!(scheduler.poll_timeout(), None);
    let later = now + MS * 150;
    scheduler.handle_finished(later, &started[0].probe.key, started[0].run);
    let third = scheduler.poll_start(later).unwrap();
    assert!(started.iter().all(|s| s.probe.key != third.probe.key));
    assert!(scheduler.late() >= 2, "one start of each of the two was missed");
}

#[test]
fn a_new_set_leaves_unchanged_probes_alone() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    let set = vec![probe(0, 100, 50), probe(1, 100, 50)];
    scheduler.handle_set(begin, set.clone());
    let now = begin + MS * 100;
    let started = start_all(&mut scheduler, now);
    assert_eq!(started.len(), 2);
    assert_eq!(scheduler.handle_set(now, set), Vec::<Run>::new());
    assert_eq!(scheduler.in_flight(), 2);
    assert!(scheduler.handle_finished(now, &started[0].probe.key, started[0].run));
}

#[test]
fn removed_and_changed_probes_are_abandoned() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, vec![probe(0, 100, 50), probe(1, 100, 50)]);
    let now = begin + MS * 100;
    let started = start_all(&mut scheduler, now);
    let mut abandoned = scheduler.handle_set(now, vec![probe(1, 100, 40)]);
    abandoned.sort_unstable();
    assert_eq!(abandoned, vec![0, 1]);
    assert_eq!((scheduler.len(), scheduler.in_flight()), (1, 0));
    for start in started {
        assert!(!scheduler.handle_finished(now, &start.probe.key, start.run));
    }
    let at = next(&scheduler, now, 100);
    assert_eq!(scheduler.poll_start(at).unwrap().probe, probe(1, 100, 40));
}

#[derive(Debug, Clone)]
enum Step {
    Advance(u32),
    Finish(usize),
    Set(Vec<(u32, u32)>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..300).prop_map(Step::Advance),
        4 => any::<usize>().prop_map(Step::Finish),
        1 => prop::collection::vec((0u32..6, 1u32..4), 0..6).prop_map(Step::Set),
    ]
}

proptest! {
    /// Whatever happens: the limit holds, no key has two runs, only wanted runs are accepted, and
    /// the timeout is never in the past once all that is due was started.
    #[test]
    fn invariants_hold(
        seed in any::<u64>(), limit in 1usize..5, steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut now = Instant::now();
        let mut scheduler = Scheduler::new(seed, limit);
        let mut flying: Vec<Start> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(ms) => now += MS * ms,
                Step::Finish(n) if !flying.is_empty() => {
                    let start = flying.swap_remove(n % flying.len());
                    prop_assert!(scheduler.handle_finished(now, &start.probe.key, start.run));
                    prop_assert!(!scheduler.handle_finished(now, &start.probe.key, start.run));
                }
                Step::Finish(_) => {}
                Step::Set(set) => {
                    let set = set.into_iter().map(|(n, i)| probe(n, i * 50, 50)).collect();
                    let abandoned = scheduler.handle_set(now, set);
                    flying.retain(|start| !abandoned.contains(&start.run));
                }
            }
            flying.extend(start_all(&mut scheduler, now));
            prop_assert!(flying.len() <= limit);
            prop_assert_eq!(flying.len(), scheduler.in_flight());
            let keys: BTreeSet<_> = flying.iter().map(|s| &s.probe.key).collect();
            prop_assert_eq!(keys.len(), flying.len());
            if let Some(at) = scheduler.poll_timeout() {
                prop_assert!(at > now);
            } else {
                prop_assert!(flying.len() == limit || flying.len() == scheduler.len());
            }
        }
    }
}
