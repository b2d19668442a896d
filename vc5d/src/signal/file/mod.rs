//! State files: what the first line of a file says of a backend.
//!
//! `up`, `drain`, `down` or `weight N`, and a reason behind it if there is one. A file that is not there means what the
//! configuration says; one that cannot be understood changes nothing, so that what it said last goes on standing.

mod driver;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

pub use driver::watch;

use super::{MAX_WEIGHT, PoolBackend, Report, Signal, Source, Stand};
use crate::config::model::Config;

/// `state-file` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `state-file`: a path with [`PLACE`] where the backend's address goes.
    pub path: String,
    /// `state-file-missing`: what a backend is without a file; default `up`.
    pub missing: Stand,
}

/// What stands for the backend's address in a path.
pub const PLACE: &str = "{backend}";

/// Longest file that is read, in bytes.
const MAX_SIZE: usize = 4096;

/// Longest reason that is kept, in bytes.
const MAX_REASON: usize = 255;

impl Settings {
    /// The file of a backend.
    #[must_use]
    pub fn file(&self, address: IpAddr) -> PathBuf {
        PathBuf::from(self.path.replace(PLACE, &address.to_string()))
    }
}

/// The file of each backend that has one, and what its absence means.
fn targets(config: &Config) -> Vec<(PoolBackend, PathBuf, Stand)> {
    let pools = config.pools.values();
    let files = pools.filter_map(|pool| Some((pool, pool.state_file.as_ref()?)));
    let backends = files.flat_map(|(pool, file)| {
        pool.backends.iter().map(move |backend| {
            let at = PoolBackend { pool: pool.name.clone(), address: backend.address };
            (at, file.file(backend.address), file.missing)
        })
    });
    backends.collect()
}

/// What was found where a file should be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Its text.
    Text(Vec<u8>),
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable(String),
}

/// Reads the first line.
fn parse(text: &[u8]) -> Result<Report, String> {
    if text.len() > MAX_SIZE {
        return Err(format!("longer than {MAX_SIZE} bytes"));
    }
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8 text".to_owned())?;
    let line = text.lines().next().unwrap_or_default();
    let (word, rest) = first_word(line);
    let (stand, weight, rest) = match word {
        "up" => (Stand::Up, None, rest),
        "drain" => (Stand::Drain, None, rest),
        "down" => (Stand::Down, None, rest),
        "weight" => {
            let (number, rest) = first_word(rest);
            let weight = number.parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight));
            let weight = weight.ok_or_else(|| {
                format!("1: `{}` is not a weight from 1 to {MAX_WEIGHT}", shown(number))
            })?;
            (Stand::Up, Some(weight), rest)
        }
        "" => return Err("1: up, drain, down or weight N is missing".to_owned()),
        _ => return Err(format!("1: `{}` is not up, drain, down or weight N", shown(word))),
    };
    let reason = Some(shown_to(rest, MAX_REASON)).filter(|reason| !reason.is_empty());
    Ok(Report { stand, weight, reason })
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// A piece of a file as it may stand in a log.
fn shown(text: &str) -> String {
    shown_to(text, 32)
}

fn shown_to(text: &str, bytes: usize) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut length = 0;
    let fits = |c: &char| {
        length += c.len_utf8();
        length <= bytes
    };
    printable.take_while(fits).collect()
}

/// Something that files have brought.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    /// For the core.
    Signal(Signal),
    /// A file cannot be used, and why, beginning with its path.
    Problem(String),
}

/// Remembers what the files said last.
#[derive(Debug, Default)]
struct Watch {
    backends: BTreeMap<PoolBackend, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    report: Option<Report>,
    problem: Option<String>,
}

impl Watch {
    /// Takes what was found for each backend; what is not among them any more is forgotten.
    fn handle(&mut self, found: Vec<(PoolBackend, PathBuf, Stand, Found)>) -> Vec<News> {
        let mut before = std::mem::take(&mut self.backends);
        let mut news = Vec::new();
        for (at, path, missing, found) in found {
            let mut seen = before.remove(&at).unwrap_or_default();
            let read = match found {
                Found::Text(text) => parse(&text).map(Some),
                Found::Missing => Ok(absent(missing)),
                Found::Unreadable(why) => Err(why),
            };
            match read {
                Ok(report) => {
                    seen.problem = None;
                    if seen.report != report {
                        seen.report.clone_from(&report);
                        news.push(News::Signal(signal(at.clone(), report)));
                    }
                }
                Err(why) => {
                    let text = format!("{}:{why}; what it said before stands", path.display());
                    if seen.problem.as_ref() != Some(&text) {
                        seen.problem = Some(text.clone());
                        news.push(News::Problem(text));
                    }
                }
            }
            self.backends.insert(at, seen);
        }
        let gone = before.into_iter().filter(|(_, seen)| seen.report.is_some());
        news.extend(gone.map(|(at, _)| News::Signal(signal(at, None))));
        news
    }
}

fn signal(at: PoolBackend, report: Option<Report>) -> Signal {
    Signal::Report { at, source: Source::StateFile, report }
}

/// What it means that there is no file.
fn absent(missing: Stand) -> Option<Report> {
    let reason = Some("there is no file".to_owned());
    (missing != Stand::Up).then_some(Report { stand: missing, weight: None, reason })
}
