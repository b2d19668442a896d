//! Runs in turn, checks that all did the same work, and makes records of the times.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::feed::{Feed, Tally};

/// Rounds, in each of which every codec has one run over the whole feed.
const RUNS: usize = 21;

/// A codec at one task.
pub(crate) struct Subject<'f> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() -> Result<Tally> + 'f>,
}

/// What is measured, ours first.
pub(crate) struct Task<'f> {
    pub(crate) name: &'static str,
    pub(crate) ours: Subject<'f>,
    pub(crate) peers: Vec<Subject<'f>>,
    pub(crate) what: &'static str,
}

/// Measures; one record of ours with the fastest peer, one more of each peer.
pub(crate) fn compare(task: Task<'_>, feed: &Feed) -> Result<Vec<Value>> {
    let Task { name, ours, peers, what } = task;
    let mut subjects: Vec<_> = std::iter::once(ours).chain(peers).collect();
    let mut times = vec![Vec::with_capacity(RUNS); subjects.len()];
    for round in 0..=RUNS {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            let begin = processor_time()?;
            let tally = black_box((subject.run)()?);
            let time = processor_time()? - begin;
            let wanted = Tally { octets: tally.octets, sum: tally.sum, ..feed.tally };
            ensure!(tally == wanted, "{} found {tally:?} instead of {wanted:?}", subject.name);
            ensure!([0, feed.octets.len()].contains(&tally.octets), "{}: {tally:?}", subject.name);
            ensure!([0, feed.tally.sum].contains(&tally.sum), "{}: {tally:?}", subject.name);
            // The first round fills caches and settles the allocator.
            if round > 0 {
                times.push(time);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let rates: Vec<_> = times.iter().map(|times| Rates::of(times, feed)).collect();
    let fastest = (1..rates.len()).max_by(|a, b| rates[*a].best.total_cmp(&rates[*b].best));
    let records = subjects.iter().zip(&rates).enumerate().map(|(index, (subject, rates_of))| {
        let mut record = rates_of.record(name, subject.name, what, feed);
        if index == 0 {
            if let Some(fastest) = fastest {
                record["peer"] = json!(subjects[fastest].name);
                record["peer_value"] = json!(rates[fastest].best);
            }
        } else {
            record["name"] = json!(format!("{name}, {}", subject.name));
        }
        record
    });
    Ok(records.collect())
}

/// Time that this thread had a processor: others that wanted it do not count.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Millions of messages a second.
struct Rates {
    best: f64,
    median: f64,
    seconds: f64,
}

impl Rates {
    fn of(sorted: &[Duration], feed: &Feed) -> Self {
        let rate = |time: Duration| feed.tally.messages as f64 / time.as_secs_f64() / 1e6;
        Self {
            best: rate(sorted[0]),
            median: rate(sorted[sorted.len() / 2]),
            seconds: sorted[0].as_secs_f64(),
        }
    }

    fn record(&self, name: &str, subject: &str, what: &str, feed: &Feed) -> Value {
        let Tally { messages, prefixes, as_numbers, communities, .. } = feed.tally;
        let megabytes = feed.octets.len() as f64 / 1e6;
        json!({
            "name": name,
            "value": self.best,
            "unit": "M messages/s",
            "min": self.best,
            "median": self.median,
            "runs": RUNS,
            "method": format!(
                "{subject}: {:.1} M prefixes/s, {:.0} MB/s; {what}; {messages} UPDATEs of {megabytes:.1} MB \
                 with {prefixes} prefixes, {as_numbers} AS numbers, {communities} communities; one thread, \
                 its processor time, fat LTO, rounds in which each codec has one run; min is the \
                 shortest run's rate",
                prefixes as f64 / self.seconds / 1e6,
                megabytes / self.seconds,
            ),
        })
    }
}
