//! The arguments of the commands that are about the session itself.

use super::super::clock::TimeFormat;
use super::line::Line;
use super::words::{Arguments, Choice, Error, choose};

pub(super) fn echo(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let word = arguments.need("off")?;
    if word.text != "off" {
        return Err(arguments.wrong(word, "is not possible: the log goes to the daemon's output"));
    }
    arguments.end().map(|()| Line::EchoOff)
}

pub(super) fn time_format(mut arguments: Arguments<'_>) -> Result<Line, Error> {
    let word = arguments.need("iso")?;
    if choose(&word.text, ["iso"]) != Choice::One("iso") || word.quoted {
        return Err(arguments.wrong(word, "is not possible: only iso is"));
    }
    let word = arguments.need("short or long")?;
    let long = match choose(&word.text, ["short", "long"]) {
        Choice::One(chosen) => chosen == "long",
        _ => return Err(arguments.wrong(word, "is neither short nor long")),
    };
    let digits = match arguments.next() {
        None => 0,
        Some(word) if word.text == "ms" => 3,
        Some(word) if word.text == "us" => 6,
        Some(word) => return Err(arguments.wrong(word, "is neither ms nor us")),
    };
    arguments.end().map(|()| Line::TimeFormat(TimeFormat { long, digits }))
}
