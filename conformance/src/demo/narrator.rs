//! Telling the story: what happens, how long it took, and whether it was as expected.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Prints the story and counts the expectations.
#[derive(Debug)]
pub(super) struct Narrator {
    start: Instant,
    met: u32,
    failed: u32,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), met: 0, failed: 0 }
    }

    /// A new act.
    pub(super) fn act(&self, title: &str) {
        println!("\n[{:5.1} s] {title}", self.start.elapsed().as_secs_f64());
    }

    /// Something that happens.
    #[expect(clippy::unused_self, reason = "all of the story goes through the narrator")]
    pub(super) fn say(&self, text: impl Display) {
        println!("          {text}");
    }

    /// An expectation.
    pub(super) fn expect(&mut self, met: bool, text: impl Display) {
        if met {
            self.met += 1;
            println!("  ok      {text}");
        } else {
            self.failed += 1;
            println!("  FAILED  {text}");
        }
    }

    /// An expectation with a time: that something became true.
    pub(super) fn expect_time(&mut self, text: &str, took: Result<Duration>) -> Option<Duration> {
        match took {
            Ok(took) => {
                self.expect(true, format!("{text} ({})", seconds(took)));
                Some(took)
            }
            Err(error) => {
                self.expect(false, format!("{text}: {error:#}"));
                None
            }
        }
    }

    /// The last line; true if all was as expected.
    pub(super) fn close(&self) -> bool {
        println!(
            "\n{} expectations met, {} failed, {:.1} s",
            self.met,
            self.failed,
            self.start.elapsed().as_secs_f64()
        );
        self.failed == 0
    }
}

/// A time as a person reads it.
pub(super) fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}
