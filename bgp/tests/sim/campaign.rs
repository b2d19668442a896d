//! Many seeds, and what is told of those that fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Run, Stats};

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What was wrong with a seed, with the last lines of its trace.
pub(crate) fn explain(seed: u64) -> String {
    let mut run = Run::new(seed, true);
    let outcome = catch_unwind(AssertUnwindSafe(|| run.go()));
    let what = match &outcome {
        Ok(()) => "passed when it was run again".to_owned(),
        Err(cause) => cause
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default(),
    };
    let trace = run.trace();
    let last = trace[trace.len().saturating_sub(40)..].join("\n");
    format!(
        "seed {seed} at {:.6} s: {what}\n{last}\n(VC5_SEED={seed} shows all of it)",
        run.now().as_secs_f64()
    )
}

/// Runs many seeds on all processors, up to a few that fail; what happened, and those that failed.
pub(crate) fn run_many(seeds: u64) -> (Stats, Vec<u64>) {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Stats::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut stats = Stats::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let mut run = Run::new(seed, false);
                    let passed = catch_unwind(AssertUnwindSafe(|| run.go())).is_ok();
                    stats.add(run.stats());
                    if !passed {
                        let mut total = total.lock().unwrap();
                        total.1.push(seed);
                        if total.1.len() >= 5 {
                            next.store(seeds, Ordering::Relaxed);
                        }
                    }
                }
                total.lock().unwrap().0.add(&stats);
            });
        }
    });
    total.into_inner().unwrap()
}
