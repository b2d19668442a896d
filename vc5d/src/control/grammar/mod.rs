//! The command language: one table of commands, and the way from a line to its meaning.
//!
//! The table serves parsing, `help` and the client's completion alike. Every command word may be shortened to a
//! beginning that no other word at its place has (`sh pro a`). This module does no input or output.

mod admin;
mod change;
mod line;
mod look;
mod packet;
mod routes;
mod session;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use super::command::NamePattern;
pub use line::{Ask, Destination, HistoryQuery, Line, RouteQuery, Show};
pub use packet::ServiceFilter;
pub use table::{COMMANDS, Spec};
pub use words::Error;
use words::{Arguments, Choice, Word, choose, split};

/// Longest message of an administrator in bytes (RFC 9003 section 2).
const MAX_MESSAGE: usize = 255;

/// Finds the meaning of a command line without its newline.
///
/// # Errors
/// Names the word that cannot be understood.
pub fn parse(line: &str) -> Result<Line, Error> {
    let words = split(line)?;
    let Some((first, rest)) = words.split_first() else { return Ok(Line::Empty) };
    if let Some((last, before)) = words.split_last()
        && last.text == "?"
        && !last.quoted
    {
        return help(before);
    }
    if !first.quoted && choose(&first.text, ["help"]) == Choice::One("help") {
        return help(rest);
    }
    if first.text == "json" && !first.quoted {
        return match run(rest)? {
            Line::Show { what, .. } => Ok(Line::Show { what, json: true }),
            Line::Ask { what, .. } => Ok(Line::Ask { what, json: true }),
            Line::Follow { count, .. } => Ok(Line::Follow { count, json: true }),
            _ => Err(Error("json: only show commands, explain and trace have JSON".to_owned())),
        };
    }
    run(&words)
}

fn run(words: &[Word]) -> Result<Line, Error> {
    let (candidates, depth) = descend(words)?;
    let Some(spec) = candidates.iter().find(|spec| spec.words.len() == depth) else {
        let next = continuations(&candidates, depth).join(", ");
        let so_far = candidates.first().and_then(|spec| spec.words.get(..depth));
        return Err(Error(match (so_far, words.get(depth)) {
            (Some([]) | None, None) => format!("a command is missing, one of {next}"),
            (Some([]) | None, Some(word)) => {
                format!("\"{}\" is not a command, try help", word.text)
            }
            (Some(so_far), None) => format!("{}: one of {next} must follow", so_far.join(" ")),
            (Some(so_far), Some(word)) => {
                format!("{}: \"{}\" is none of {next}", so_far.join(" "), word.text)
            }
        }));
    };
    let arguments = words.get(depth..).unwrap_or_default();
    (spec.parse)(Arguments::new(spec.words.join(" "), arguments))
}

/// Follows the table as far as the words go: the commands that remain, and how many words were used.
fn descend(words: &[Word]) -> Result<(Vec<&'static Spec>, usize), Error> {
    let mut candidates: Vec<&Spec> = COMMANDS.iter().collect();
    let mut depth = 0;
    for word in words.iter().take_while(|word| !word.quoted) {
        match choose(&word.text, continuations(&candidates, depth)) {
            Choice::One(chosen) => {
                candidates.retain(|spec| spec.words.get(depth) == Some(&chosen));
                depth += 1;
            }
            Choice::Ambiguous(choices) => {
                let choices = choices.join(", ");
                return Err(Error(format!("\"{}\" may be any of {choices}", word.text)));
            }
            Choice::Unknown => break,
        }
    }
    Ok((candidates, depth))
}

fn continuations(candidates: &[&'static Spec], depth: usize) -> Vec<&'static str> {
    let mut words: Vec<&str> =
        candidates.iter().filter_map(|spec| spec.words.get(depth).copied()).collect();
    words.dedup();
    words
}

fn help(words: &[Word]) -> Result<Line, Error> {
    let (candidates, depth) = descend(words)?;
    match words.get(depth) {
        Some(word) if !candidates.iter().any(|spec| spec.words.len() == depth) => {
            Err(Error(format!("\"{}\" is not a command, try help", word.text)))
        }
        _ => Ok(Line::Help(candidates)),
    }
}

/// What may stand at the end of `line`: command words and keywords, for completion.
#[must_use]
pub fn complete(line: &str) -> Vec<&'static str> {
    let partial = !line.is_empty() && !line.ends_with(char::is_whitespace);
    let Ok(mut words) = split(line) else { return Vec::new() };
    let last = if partial { words.pop() } else { None };
    let start = last.map(|word| word.text).unwrap_or_default();
    let Ok((candidates, depth)) = descend(&words) else { return Vec::new() };
    let mut found = if depth == words.len() { continuations(&candidates, depth) } else { vec![] };
    let complete = candidates.iter().find(|spec| spec.words.len() == depth);
    found.extend(complete.into_iter().flat_map(|spec| spec.keywords.iter().copied()));
    found.retain(|word| word.starts_with(&start));
    found
}

fn name_pattern(word: &Word) -> NamePattern {
    match word.text.as_str() {
        "all" if !word.quoted => NamePattern::All,
        text if text.contains(['*', '?']) => NamePattern::Glob(text.to_owned()),
        text => NamePattern::Name(text.to_owned()),
    }
}
