//! The scheduler under virtual time.

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn pace(interval: u32) -> Pace {
    Pace { interval: MS * interval, fast: None, jitter: 0 }
}

/// So many probes, each at this interval.
fn set(count: u64, interval: u32) -> BTreeMap<Id, Pace> {
    (0..count).map(|id| (id, pace(interval))).collect()
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
        scheduler.handle_set(now, set(1000, 1000));
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
    scheduler.handle_set(begin, set(1, 1000));
    let first = next(&scheduler, begin, 1000);
    for n in 0..5 {
        let now = first + MS * 1000 * n;
        assert_eq!(scheduler.poll_timeout(), Some(now));
        let start = scheduler.poll_start(now).unwrap();
        assert!(scheduler.handle_finished(start.id, start.run, true));
    }
    assert_eq!(scheduler.late(), 0);
}

#[test]
fn a_probe_that_overruns_its_interval_is_followed_at_once() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, set(1, 100));
    let first = next(&scheduler, begin, 100);
    let start = scheduler.poll_start(first).unwrap();
    assert_eq!(scheduler.poll_timeout(), None);
    assert_eq!(scheduler.poll_start(first + MS * 101), None, "never two of one");
    scheduler.handle_finished(start.id, start.run, false);
    let start = scheduler.poll_start(first + MS * 101).unwrap();
    assert_eq!((scheduler.late(), start.due), (0, first + MS * 100));
    // The start at 200 ms is missed, that at 300 ms is made at 350 ms.
    scheduler.handle_finished(start.id, start.run, false);
    let start = scheduler.poll_start(first + MS * 350).unwrap();
    assert_eq!((scheduler.late(), start.due), (1, first + MS * 200));
    scheduler.handle_finished(start.id, start.run, false);
    assert_eq!(scheduler.poll_timeout(), Some(first + MS * 400), "the grid stays");
}

#[test]
fn the_limit_holds_and_a_late_caller_is_counted() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 2);
    scheduler.handle_set(begin, set(3, 100));
    let now = begin + MS * 100;
    let started = start_all(&mut scheduler, now);
    assert_eq!((started.len(), scheduler.in_flight()), (2, 2));
    assert_eq!(scheduler.poll_timeout(), None);
    let later = now + MS * 150;
    scheduler.handle_finished(started[0].id, started[0].run, false);
    let third = scheduler.poll_start(later).unwrap();
    assert!(started.iter().all(|s| s.id != third.id), "the one that waits longest comes first");
    assert_eq!(scheduler.late(), 1);
}

#[test]
fn while_a_verdict_changes_the_fast_interval_holds() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    let pace = Pace { fast: Some(MS * 10), ..pace(100) };
    scheduler.handle_set(begin, BTreeMap::from([(0, pace)]));
    let mut due = next(&scheduler, begin, 10);
    // How long each takes, whether the verdict changes then, and when the next one starts.
    for (took, changing, after) in [
        (1, true, 10),
        (1, true, 10),
        (1, false, 100),
        (1, true, 10),
        (25, true, 25),
        (250, true, 250),
    ] {
        let start = scheduler.poll_start(due).unwrap();
        let end = due + MS * took;
        scheduler.handle_finished(start.id, start.run, changing);
        due = scheduler.poll_timeout().unwrap().max(end);
        assert_eq!(due, end - MS * took + MS * after);
    }
    assert!(scheduler.poll_start(due).is_some());
    assert_eq!(scheduler.late(), 2, "only usual intervals are missed");
}

#[test]
fn jitter_puts_starts_off_and_leaves_the_grid() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, BTreeMap::from([(0, Pace { jitter: 10, ..pace(100) })]));
    let first = next(&scheduler, begin, 100);
    let mut now = first;
    let mut offsets = Vec::new();
    for n in 1..=1000 {
        let start = scheduler.poll_start(now).unwrap();
        scheduler.handle_finished(start.id, start.run, false);
        now = scheduler.poll_timeout().unwrap();
        offsets.push(now.checked_duration_since(first + MS * 100 * n).unwrap());
    }
    assert!(offsets.iter().all(|offset| *offset <= MS * 10));
    let early = offsets.iter().filter(|offset| **offset < MS * 5).count();
    assert!((400..600).contains(&early), "{early}");
    assert_eq!(scheduler.late(), 0);
}

#[test]
fn a_new_set_leaves_known_probes_alone() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, set(2, 100));
    let now = begin + MS * 100;
    let started = start_all(&mut scheduler, now);
    assert_eq!(started.len(), 2);
    assert_eq!(scheduler.handle_set(now, set(2, 100)), Vec::<Run>::new());
    assert_eq!(scheduler.in_flight(), 2);
    assert!(scheduler.handle_finished(started[0].id, started[0].run, false));
}

#[test]
fn removed_probes_are_abandoned() {
    let begin = Instant::now();
    let mut scheduler = Scheduler::new(0, 8);
    scheduler.handle_set(begin, set(2, 100));
    let now = begin + MS * 100;
    let started = start_all(&mut scheduler, now);
    let mut abandoned = scheduler.handle_set(now, BTreeMap::from([(7, pace(100))]));
    abandoned.sort_unstable();
    assert_eq!(abandoned, vec![0, 1]);
    assert_eq!((scheduler.len(), scheduler.in_flight()), (1, 0));
    for start in started {
        assert!(!scheduler.wants(start.id, start.run));
        assert!(!scheduler.handle_finished(start.id, start.run, false));
    }
    let at = next(&scheduler, now, 100);
    let start = scheduler.poll_start(at).unwrap();
    assert!(start.id == 7 && scheduler.wants(7, start.run));
}

#[derive(Debug, Clone)]
enum Step {
    Advance(u32),
    Finish(usize, bool),
    Set(Vec<(u64, u32)>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..300).prop_map(Step::Advance),
        4 => any::<(usize, bool)>().prop_map(|(n, changing)| Step::Finish(n, changing)),
        1 => prop::collection::vec((0u64..6, 1u32..4), 0..6).prop_map(Step::Set),
    ]
}

proptest! {
    /// Whatever happens: the limit holds, no probe has two runs, only wanted runs are accepted, and
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
                Step::Finish(n, changing) if !flying.is_empty() => {
                    let start = flying.swap_remove(n % flying.len());
                    prop_assert!(scheduler.wants(start.id, start.run));
                    prop_assert!(scheduler.handle_finished(start.id, start.run, changing));
                    prop_assert!(!scheduler.handle_finished(start.id, start.run, changing));
                }
                Step::Finish(..) => {}
                Step::Set(set) => {
                    // Another interval is another probe.
                    let paced = |(n, i): (u64, u32)| {
                        let pace = Pace { fast: Some(MS * 20), jitter: 50, ..pace(i * 50) };
                        (n * 10 + u64::from(i), pace)
                    };
                    let set = set.into_iter().map(paced).collect();
                    let abandoned = scheduler.handle_set(now, set);
                    flying.retain(|start| !abandoned.contains(&start.run));
                }
            }
            flying.extend(start_all(&mut scheduler, now));
            prop_assert!(flying.len() <= limit);
            prop_assert_eq!(flying.len(), scheduler.in_flight());
            let keys: BTreeSet<_> = flying.iter().map(|s| s.id).collect();
            prop_assert_eq!(keys.len(), flying.len());
            if let Some(at) = scheduler.poll_timeout() {
                prop_assert!(at > now);
            } else {
                prop_assert!(flying.len() == limit || flying.len() == scheduler.len());
            }
        }
    }
}
