//! From outcomes to a verdict by rise and fall. Sans-IO: no clock, no socket.

/// What is known about one probe key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Verdict {
    /// Too few outcomes so far to tell.
    #[default]
    Unknown,
    /// The last run of `rise` successes was not followed by one of `fall` failures.
    Up,
    /// The last run of `fall` failures was not followed by one of `rise` successes.
    Down,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// The rise/fall machine of one probe key.
///
/// From `Unknown`, as from the opposite verdict, it takes `rise` successes in a row to go `Up` and
/// `fall` failures in a row to go `Down`: a first failure alone decides nothing unless `fall` is 1.
/// A mixed run leaves the verdict as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    rise: u32,
    fall: u32,
    verdict: Verdict,
    streak: Streak,
    diagnostic: String,
    passed: u64,
    failed: u64,
}

/// The run of like outcomes that the last one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streak {
    ok: bool,
    length: u32,
}

impl Machine {
    /// A machine that knows nothing yet. `rise` and `fall` count outcomes; 0 is taken as 1.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            verdict: Verdict::Unknown,
            streak: Streak { ok: false, length: 0 },
            diagnostic: String::new(),
            passed: 0,
            failed: 0,
        }
    }

    /// Takes the next outcome. Returns whether the verdict changed.
    pub fn handle(&mut self, ok: bool, diagnostic: &str) -> bool {
        let length = if self.streak.ok == ok { self.streak.length.saturating_add(1) } else { 1 };
        self.streak = Streak { ok, length };
        self.diagnostic.clear();
        self.diagnostic.push_str(diagnostic);
        let (count, needed, verdict) = if ok {
            (&mut self.passed, self.rise, Verdict::Up)
        } else {
            (&mut self.failed, self.fall, Verdict::Down)
        };
        *count += 1;
        let changed = length >= needed && self.verdict != verdict;
        if changed {
            self.verdict = verdict;
        }
        changed
    }

    /// Swaps the check behind the key: the verdict and the counts stay, the run begins anew.
    pub fn swap_check(&mut self, rise: u32, fall: u32) {
        self.rise = rise.max(1);
        self.fall = fall.max(1);
        self.streak.length = 0;
    }

    /// The verdict so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The diagnostic of the last outcome; empty before the first.
    #[must_use]
    pub fn diagnostic(&self) -> &str {
        &self.diagnostic
    }

    /// Successes since the key is known.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Failures since the key is known.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdicts(rise: u32, fall: u32, outcomes: &str) -> Vec<Verdict> {
        let mut machine = Machine::new(rise, fall);
        outcomes
            .chars()
            .map(|c| {
                machine.handle(c == '+', "");
                machine.verdict()
            })
            .collect()
    }

    #[test]
    fn rises_and_falls_after_whole_runs() {
        use Verdict::{Down, Unknown, Up};
        assert_eq!(
            verdicts(2, 2, "++-+--+-++"),
            [Unknown, Up, Up, Up, Up, Down, Down, Down, Down, Up]
        );
    }

    #[test]
    fn unknown_goes_down_only_after_fall_failures() {
        use Verdict::{Down, Unknown};
        assert_eq!(verdicts(3, 3, "--+---"), [Unknown, Unknown, Unknown, Unknown, Unknown, Down]);
        assert_eq!(verdicts(3, 1, "-"), [Down]);
    }

    #[test]
    fn keeps_the_last_diagnostic_and_counts() {
        let mut machine = Machine::new(1, 1);
        assert_eq!(machine.diagnostic(), "");
        assert!(machine.handle(true, "200 OK"));
        assert!(!machine.handle(true, "200 OK"));
        assert!(machine.handle(false, "connection refused"));
        assert_eq!(machine.diagnostic(), "connection refused");
        assert_eq!((machine.passed(), machine.failed()), (2, 1));
    }

    #[test]
    fn a_swapped_check_keeps_the_verdict_and_starts_a_new_run() {
        let mut machine = Machine::new(1, 2);
        machine.handle(true, "");
        machine.handle(false, "");
        machine.swap_check(1, 2);
        assert!(!machine.handle(false, ""), "the failure of the old check must not count");
        assert_eq!(machine.verdict(), Verdict::Up);
        assert!(machine.handle(false, ""));
    }

    proptest! {
        /// The verdict is the kind of the last run that was long enough.
        #[test]
        fn agrees_with_the_definition(
            rise in 1u32..5, fall in 1u32..5, outcomes in prop::collection::vec(any::<bool>(), 0..64)
        ) {
            let mut machine = Machine::new(rise, fall);
            let mut before = Verdict::Unknown;
            for (i, &ok) in outcomes.iter().enumerate() {
                let changed = machine.handle(ok, "");
                let mut expected = Verdict::Unknown;
                for end in (1..=i + 1).rev() {
                    let last = outcomes[end - 1];
                    let run = outcomes[..end].iter().rev().take_while(|&&o| o == last).count();
                    if run as u32 >= if last { rise } else { fall } {
                        expected = if last { Verdict::Up } else { Verdict::Down };
                        break;
                    }
                }
                prop_assert_eq!(machine.verdict(), expected);
                prop_assert_eq!(changed, expected != before);
                before = expected;
            }
            prop_assert_eq!(machine.passed() + machine.failed(), outcomes.len() as u64);
        }
    }
}
