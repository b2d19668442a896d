//! Benchmarks: each gives [`Record`]s, which are a line of JSON each and a row of a table.

pub mod bgp;
pub mod forwarding;
pub mod gate;
pub mod health;
pub mod peers;
pub mod veth;
pub mod xdp;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was measured, as `area/figure` or `area.figure`.
    pub name: String,
    /// The figure: the minimum, as other work on the machine only ever adds.
    pub value: f64,
    /// Unit of all figures of the record.
    pub unit: Cow<'static, str>,
    /// The least disturbed run: of times the shortest, of rates the rate of the shortest run.
    pub min: f64,
    /// Median of the runs.
    pub median: f64,
    /// Number of runs.
    pub runs: usize,
    /// What the same measurement gives for doing nothing, where it has been subtracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Another program that did the same in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Its figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_value: Option<f64>,
    /// How it was measured.
    pub method: String,
}

/// Records as a table for a person to read.
#[derive(Debug)]
pub struct Table<'r>(pub &'r [Record]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|r| r.name.len()).fold(34, usize::max);
        writeln!(f, "{:<width$} {:>9} {:>9} {:>9} {:>5}", "", "min", "median", "floor", "runs")?;
        for r in self.0 {
            let floor = r.floor.map_or_else(String::new, |floor| format!("{floor:.1}"));
            // Figures of a few units need more digits than those of hundreds.
            let digits = if r.min.abs() < 10.0 { 2 } else { 1 };
            write!(
                f,
                "{:<width$} {:>9.digits$} {:>9.digits$} {floor:>9} {:>5}  {}",
                r.name, r.min, r.median, r.runs, r.unit
            )?;
            if let (Some(peer), Some(value)) = (&r.peer, r.peer_value) {
                write!(f, "  ({peer}: {value:.digits$})")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Least and median of some figures; zeroes of none.
fn min_and_median(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or_default();
    (at(0), at(figures.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_and_median_of_some_and_none() {
        assert_eq!(min_and_median(vec![5.0, 1.0, 3.0]), (1.0, 3.0));
        assert_eq!(min_and_median(Vec::new()), (0.0, 0.0));
    }

    #[test]
    fn a_record_is_a_line_of_json_without_what_it_lacks() {
        let record = Record {
            name: "xdp/pass".into(),
            value: 1.5,
            unit: "ns/packet".into(),
            min: 1.5,
            median: 2.0,
            runs: 15,
            floor: Some(30.0),
            peer: None,
            peer_value: None,
            method: "said aloud".into(),
        };
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"name":"xdp/pass","value":1.5,"unit":"ns/packet","min":1.5,"median":2.0,"runs":15,"floor":30.0,"method":"said aloud"}"#
        );
    }
}
