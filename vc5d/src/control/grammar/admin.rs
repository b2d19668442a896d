//! The arguments of `drain`, `disable` and `enable` with a backend or a VIP.

use std::time::Duration;

use super::super::command::{AdminAction, Command};
use super::MAX_MESSAGE;
use super::line::Line;
use super::words::{Arguments, Error};
use crate::admin::Target;
use crate::config::duration;

/// `POOL/ADDRESS ...`
pub(super) fn backend(mut arguments: Arguments<'_>, action: AdminAction) -> Result<Line, Error> {
    let word = arguments.need("the backend, POOL/ADDRESS,")?;
    let parts = word.text.rsplit_once('/');
    let target = parts.and_then(|(pool, address)| {
        Some(Target::Backend { pool: pool.to_owned(), address: address.parse().ok()? })
    });
    let target = target.ok_or_else(|| arguments.wrong(word, "is not POOL/ADDRESS"))?;
    rest(arguments, action, target)
}

/// `NAME ...`
pub(super) fn vip(mut arguments: Arguments<'_>, action: AdminAction) -> Result<Line, Error> {
    let name = arguments.need("the VIP's name")?.text.clone();
    rest(arguments, action, Target::Vip(name))
}

/// `[for TIME] ["REASON"]`
fn rest(mut arguments: Arguments<'_>, action: AdminAction, target: Target) -> Result<Line, Error> {
    let (mut lasts, mut reason) = (None, None);
    // What is enabled has no reason and no end: the word of before is taken back.
    while let Some(word) = (action != AdminAction::Enable).then(|| arguments.next()).flatten() {
        if !word.quoted && word.text == "for" && lasts.is_none() && reason.is_none() {
            let word = arguments.need("a time such as 30m")?;
            let time = duration(&word.text).filter(|time| *time > Duration::ZERO);
            lasts = Some(time.ok_or_else(|| arguments.wrong(word, "is no time such as 30m"))?);
        } else if word.text.len() > MAX_MESSAGE {
            return Err(arguments.wrong(word, "is longer than 255 bytes"));
        } else if reason.is_none() {
            reason = Some(word.text.clone());
        } else {
            return Err(arguments.unexpected(word));
        }
    }
    arguments.end()?;
    Ok(Line::Daemon(Command::Admin { action, target, lasts, reason }))
}
