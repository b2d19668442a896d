//! The arguments of the commands that change something, except the administrator's words on backends and VIPs.

use std::path::PathBuf;

use super::super::command::{Action, Command};
use super::line::Line;
use super::words::{Arguments, Choice, Error, Word, choose};
use super::{MAX_MESSAGE, name_pattern};

pub(super) fn protocol(mut arguments: Arguments<'_>, action: Action) -> Result<Line, Error> {
    let names = name_pattern(arguments.need("a name, a \"PATTERN\" or all")?);
    let message = match arguments.next() {
        Some(word) if word.text.len() > MAX_MESSAGE => {
            return Err(arguments.wrong(word, "is longer than 255 bytes"));
        }
        word => word.map(|word| word.text.clone()),
    };
    arguments.end().map(|()| Line::Daemon(Command::Protocol { action, names, message }))
}

pub(super) fn configure(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let (mut file, mut soft) = (None, false);
    while let Some(word) = arguments.next() {
        match file_name(word) {
            Some(path) if file.is_none() && !soft => file = Some(path),
            None if choose(&word.text, ["soft"]) == Choice::One("soft") && !soft => soft = true,
            _ => return Err(arguments.unexpected(word)),
        }
    }
    Ok(Line::Daemon(Command::Configure { file, soft }))
}

pub(super) fn configure_check(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let file = match arguments.next() {
        None => None,
        Some(word) => Some(file_name(word).ok_or_else(|| arguments.unexpected(word))?),
    };
    arguments.end().map(|()| Line::Daemon(Command::ConfigureCheck { file }))
}

/// A quoted word is a file; a bare one only if it cannot be a keyword.
fn file_name(word: &Word) -> Option<PathBuf> {
    let is_file = !word.text.is_empty() && (word.quoted || word.text.contains(['/', '.']));
    is_file.then(|| PathBuf::from(&word.text))
}
