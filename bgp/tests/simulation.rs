//! Speakers in a simulated network, many thousand times: `VC5_SEED=1234 cargo test -p vc5-bgp --test
//! simulation -- --nocapture` runs one seed again and prints all that happens; `VC5_SEEDS=100000`
//! tries more of them.

#[cfg(test)]
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use sim::campaign::{explain, number, run_many};
use sim::{Fault, Run};

/// Seeds of a run in CI.
const SEEDS: u64 = 10_000;
/// From so many seeds on every kind of fault must have happened.
const MANY: u64 = 2000;

/// NOTIFICATIONs, by code and subcode, that have to be among the answers then.
const ANSWERS: [(u8, u8); 21] = [
    (1, 1),
    (1, 2),
    (1, 3),
    (2, 1),
    (2, 2),
    (2, 3),
    (2, 4),
    (2, 6),
    (3, 1),
    (3, 10),
    (4, 0),
    (5, 0),
    (5, 1),
    (5, 2),
    (5, 3),
    (6, 3),
    (6, 4),
    (6, 6),
    (6, 7),
    (7, 1),
    (8, 0),
];

#[test]
fn speakers_in_a_bad_network() {
    if let Some(seed) = number("VC5_SEED") {
        let mut run = Run::new(seed, true);
        let outcome = catch_unwind(AssertUnwindSafe(|| run.go()));
        println!("{}\n{}", run.trace().join("\n"), run.stats());
        assert!(outcome.is_ok(), "seed {seed} at {:.6} s", run.now().as_secs_f64());
        return;
    }
    let seeds = number("VC5_SEEDS").unwrap_or(SEEDS);
    let start = Instant::now();
    std::panic::set_hook(Box::new(|_| {}));
    let (stats, mut failed) = run_many(seeds);
    failed.sort_unstable();
    let explained: Vec<String> = failed.iter().map(|seed| explain(*seed)).collect();
    let _ = std::panic::take_hook();
    println!("{stats}\nin {:.1} s", start.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "seeds {failed:?} failed:\n{}", explained.join("\n\n"));
    if seeds >= MANY {
        for fault in Fault::ALL {
            assert!(stats.count(fault) > 0, "{fault:?} never happened");
        }
        for notification in ANSWERS {
            let sent = stats.notifications.contains_key(&notification);
            assert!(sent, "NOTIFICATION {notification:?} was never sent");
        }
    }
}

/// A seed is worth nothing if it does not give the same run again.
#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        let traces = [(); 2].map(|()| {
            let mut run = Run::new(seed, true);
            // Whether it passes is asked elsewhere.
            let _ = catch_unwind(AssertUnwindSafe(|| run.go()));
            run.trace().to_vec()
        });
        assert!(!traces[0].is_empty());
        assert!(traces[0] == traces[1], "seed {seed} gives two runs");
    }
}
