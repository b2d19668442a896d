//! The arguments of the commands that look.

use super::super::command::NamePattern;
use super::line::{Ask, HistoryQuery, Line, Show};
use super::name_pattern;
use super::words::{Arguments, Choice, Error, choose};

pub(super) fn plain(arguments: Arguments<'_>, what: Show) -> Result<Line, Error> {
    arguments.end().map(|()| what.into())
}

pub(super) fn show_flows(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let all = match arguments.next() {
        None => false,
        Some(word) if choose(&word.text, ["all"]) == Choice::One("all") => true,
        Some(word) => return Err(arguments.unexpected(word)),
    };
    arguments.end().map(|()| Ask::Flows { all }.into())
}

pub(super) fn show_protocols(mut arguments: Arguments<'_>, all: bool) -> Result<Line, Error> {
    let names = arguments.next().map_or(NamePattern::All, name_pattern);
    arguments.end().map(|()| Show::Protocols { all, names }.into())
}

pub(super) fn show_vip(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let name = arguments.need("a name or an address")?.text.clone();
    arguments.end().map(|()| Show::Vip(name).into())
}

pub(super) fn show_history(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let mut query = HistoryQuery::default();
    while let Some(word) = arguments.next() {
        if !word.quoted && word.text == "last" && query.last.is_none() {
            let word = arguments.need("a number")?;
            let count = word.text.parse().ok().filter(|count| *count > 0);
            let wrong = || arguments.wrong(word, "is not a number from 1 on");
            query.last = Some(count.ok_or_else(wrong)?);
        } else if query.about.is_none() && query.last.is_none() {
            query.about = Some(word.text.clone());
        } else {
            return Err(arguments.unexpected(word));
        }
    }
    Ok(Show::History(query).into())
}
