//! From outcomes to a verdict by rise and fall, in a row or within a window. Sans-IO: no clock, no
//! socket.

/// What is known about one probe key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Verdict {
    /// Too few outcomes so far to tell.
    #[default]
    Unknown,
    /// The last time that outcomes decided, it was enough successes.
    Up,
    /// The last time that outcomes decided, it was enough failures.
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

/// How many outcomes of which kind make a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Successes that make the verdict Up: 1 to [`OUTCOMES_MAX`].
    pub rise: u32,
    /// Failures that make it Down: 1 to [`OUTCOMES_MAX`].
    pub fall: u32,
    /// Among how many of the last outcomes they are counted, in any order; at least `rise` and
    /// `fall`, less than the sum of both, so that no window can be both, and at most
    /// [`OUTCOMES_MAX`]. `None` counts those in a row.
    pub window: Option<u32>,
}

/// The largest figure of a [`Rule`].
pub const OUTCOMES_MAX: u32 = 100;

impl Default for Rule {
    /// Up after 3 in a row, down after 2.
    fn default() -> Self {
        Self::runs(3, 2)
    }
}

impl Rule {
    /// So many in a row.
    #[must_use]
    pub const fn runs(rise: u32, fall: u32) -> Self {
        Self { rise, fall, window: None }
    }

    /// Says which value cannot be used.
    ///
    /// # Errors
    /// The figures and the range that they have to be in.
    pub fn validate(self) -> Result<(), String> {
        let Self { rise, fall, window } = self;
        let counts = 1..=OUTCOMES_MAX;
        if !counts.contains(&rise) || !counts.contains(&fall) {
            return Err(format!("rise and fall must be 1 to {OUTCOMES_MAX}"));
        }
        let Some(window) = window else { return Ok(()) };
        if window > OUTCOMES_MAX {
            return Err(format!("window must be at most {OUTCOMES_MAX}"));
        }
        if window < rise.max(fall) {
            return Err(format!("a window of {window} can never hold {}", rise.max(fall)));
        }
        if window >= rise + fall {
            return Err(format!(
                "a window of {window} could be up and down at once: rise and fall must be more \
                 together"
            ));
        }
        Ok(())
    }
}

/// The machine of one probe key.
///
/// From `Unknown`, as from the opposite verdict, it takes what the [`Rule`] says to go `Up` or
/// `Down`: a first failure alone decides nothing unless `fall` is 1. What meets neither leaves the
/// verdict as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    rule: Rule,
    verdict: Verdict,
    recent: Recent,
    diagnostic: String,
    passed: u64,
    failed: u64,
}

/// The last outcomes, as many as a rule can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Recent {
    /// One bit each, the newest lowest; a success is 1.
    bits: u128,
    /// How many there are, up to the width of `bits`.
    length: u32,
}

impl Recent {
    fn push(&mut self, ok: bool) {
        self.bits = self.bits << 1 | u128::from(ok);
        self.length = (self.length + 1).min(u128::BITS);
    }

    /// The newest one.
    fn last(self) -> Option<bool> {
        (self.length > 0).then_some(self.bits & 1 == 1)
    }

    /// How many of the newest `of` are like `ok`.
    fn count(self, ok: bool, of: u32) -> u32 {
        let of = of.min(self.length);
        let newest = if of == u128::BITS { u128::MAX } else { (1 << of) - 1 };
        let successes = (self.bits & newest).count_ones();
        if ok { successes } else { of - successes }
    }
}

impl Machine {
    /// A machine that knows nothing yet, of a rule that is [valid](Rule::validate).
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            verdict: Verdict::Unknown,
            recent: Recent::default(),
            diagnostic: String::new(),
            passed: 0,
            failed: 0,
        }
    }

    /// Takes the next outcome. Returns whether the verdict changed.
    pub fn handle(&mut self, ok: bool, diagnostic: &str) -> bool {
        self.recent.push(ok);
        self.diagnostic.clear();
        self.diagnostic.push_str(diagnostic);
        let (count, needed, verdict) = if ok {
            (&mut self.passed, self.rule.rise, Verdict::Up)
        } else {
            (&mut self.failed, self.rule.fall, Verdict::Down)
        };
        *count += 1;
        // Those in a row are those among as many.
        let window = self.rule.window.unwrap_or(needed);
        let changed = self.recent.count(ok, window) >= needed && self.verdict != verdict;
        if changed {
            self.verdict = verdict;
        }
        changed
    }

    /// Swaps the check behind the key: the verdict and the counts stay, outcomes of the old check
    /// decide nothing any more.
    pub fn swap_check(&mut self, rule: Rule) {
        self.rule = rule;
        self.recent = Recent::default();
    }

    /// Whether the next outcomes may well change the verdict: there is none yet, or the last
    /// outcome contradicts it.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        match (self.verdict, self.recent.last()) {
            (Verdict::Unknown, _) => true,
            (Verdict::Up, last) => last == Some(false),
            (Verdict::Down, last) => last == Some(true),
        }
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
        within(Rule::runs(rise, fall), outcomes)
    }

    fn within(rule: Rule, outcomes: &str) -> Vec<Verdict> {
        let mut machine = Machine::new(rule);
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
    fn a_window_counts_whatever_the_order() {
        use Verdict::{Down, Unknown, Up};
        let rule = Rule { rise: 5, fall: 2, window: Some(5) };
        assert_eq!(within(rule, "++++"), [Unknown; 4]);
        assert_eq!(within(rule, "+++++--")[4..], [Up, Up, Down]);
        // Two failures with three successes between them are two of five, with four they are not.
        assert_eq!(within(rule, "+++++-+++-").last(), Some(&Down));
        assert_eq!(within(rule, "+++++-++++-").last(), Some(&Up));
        // It rises again only when the last failure has left the window.
        assert_eq!(within(rule, "+++++--++++").last(), Some(&Down));
        assert_eq!(within(rule, "+++++--+++++").last(), Some(&Up));
        assert_eq!(within(rule, "-+-")[1..], [Unknown, Down]);
    }

    #[test]
    fn rules_that_cannot_work_say_so() {
        let message = |rise, fall, window| Rule { rise, fall, window }.validate().unwrap_err();
        assert_eq!(Rule { rise: 5, fall: 2, window: Some(5) }.validate(), Ok(()));
        assert_eq!(Rule { rise: 100, fall: 100, window: Some(100) }.validate(), Ok(()));
        assert!(message(0, 1, None).contains("1 to 100"));
        assert!(message(1, 101, None).contains("1 to 100"));
        assert!(message(100, 100, Some(101)).contains("at most 100"));
        assert_eq!(message(3, 5, Some(4)), "a window of 4 can never hold 5");
        assert!(message(3, 2, Some(5)).contains("up and down at once"));
    }

    #[test]
    fn it_is_changing_until_the_outcomes_agree_with_the_verdict() {
        let mut machine = Machine::new(Rule::runs(2, 2));
        let mut seen = vec![machine.is_changing()];
        for ok in [true, true, true, false, false, true, false] {
            machine.handle(ok, "");
            seen.push(machine.is_changing());
        }
        assert_eq!(seen, [true, true, false, false, true, false, true, false]);
        machine.swap_check(Rule::runs(1, 1));
        assert!(!machine.is_changing(), "a verdict without outcomes is not in doubt");
    }

    #[test]
    fn keeps_the_last_diagnostic_and_counts() {
        let mut machine = Machine::new(Rule::runs(1, 1));
        assert_eq!(machine.diagnostic(), "");
        assert!(machine.handle(true, "200 OK"));
        assert!(!machine.handle(true, "200 OK"));
        assert!(machine.handle(false, "connection refused"));
        assert_eq!(machine.diagnostic(), "connection refused");
        assert_eq!((machine.passed(), machine.failed()), (2, 1));
    }

    #[test]
    fn a_swapped_check_keeps_the_verdict_and_starts_a_new_run() {
        let mut machine = Machine::new(Rule::runs(1, 2));
        machine.handle(true, "");
        machine.handle(false, "");
        machine.swap_check(Rule::runs(1, 2));
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
            let mut machine = Machine::new(Rule::runs(rise, fall));
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

        /// With a window the verdict is that of the last window that held enough of one kind, and
        /// no window can hold enough of both.
        #[test]
        fn a_window_agrees_with_the_definition(
            (rise, fall, window) in (1u32..7, 1u32..7).prop_flat_map(|(rise, fall)| {
                (Just(rise), Just(fall), rise.max(fall)..rise + fall)
            }),
            outcomes in prop::collection::vec(any::<bool>(), 0..200)
        ) {
            let rule = Rule { rise, fall, window: Some(window) };
            prop_assert_eq!(rule.validate(), Ok(()));
            let mut machine = Machine::new(rule);
            let mut expected = Verdict::Unknown;
            for (i, &ok) in outcomes.iter().enumerate() {
                machine.handle(ok, "");
                let seen = &outcomes[(i + 1).saturating_sub(window as usize)..=i];
                let successes = seen.iter().filter(|&&o| o).count();
                let (up, down) =
                    (successes >= rise as usize, seen.len() - successes >= fall as usize);
                prop_assert!(!(up && down));
                if up { expected = Verdict::Up }
                if down { expected = Verdict::Down }
                prop_assert_eq!(machine.verdict(), expected);
            }
        }

        /// A window as wide as the run that is asked for is that run.
        #[test]
        fn the_narrowest_window_is_a_run(
            count in 1u32..100, outcomes in prop::collection::vec(any::<bool>(), 0..200)
        ) {
            let runs = Rule::runs(count, count);
            let (mut plain, mut window) =
                (Machine::new(runs), Machine::new(Rule { window: Some(count), ..runs }));
            for ok in outcomes {
                plain.handle(ok, "");
                window.handle(ok, "");
                prop_assert_eq!(plain.verdict(), window.verdict());
            }
        }
    }
}
