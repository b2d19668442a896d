//! The keys of a pool that are about signals beside its checks: state files and traffic.

use super::super::literal::percent;
use super::super::read::{Field, Table};
use super::seconds;
use crate::signal::{Stand, file, passive};

/// The words of `state-file-missing`.
const MISSING: [(&str, Stand); 3] =
    [("up", Stand::Up), ("drain", Stand::Drain), ("down", Stand::Down)];

/// `state-file` and `state-file-missing`; `backends` is how many there are.
pub(super) fn state_file(table: &mut Table<'_>, backends: usize) -> Option<file::Settings> {
    let path = table.get("state-file");
    let missing = table.get("state-file-missing");
    let Some(field) = path else { return missing?.fail("there is no `state-file`") };
    let text = field.absolute_path().and_then(|_| field.text())?;
    if backends > 1 && !text.contains(file::PLACE) {
        return field.fail(&format!("{} has to stand where the address goes", file::PLACE));
    }
    let missing = match missing {
        Some(field) => field.word(&MISSING)?,
        None => Stand::Up,
    };
    Some(file::Settings { path: text.to_owned(), missing })
}

/// `[pool.NAME.outliers]`
pub(super) fn outliers(field: &Field<'_>) -> Option<passive::Settings> {
    let mut table = field.table("pool.NAME.outliers")?;
    let mut limit = |key| match table.get(key) {
        Some(field) if field.text() == Some("off") => Some(None),
        Some(field) => field.literal(percent).map(Some),
        None => Some(Some(50)),
    };
    let (unanswered, resets) = (limit("unanswered"), limit("resets"));
    let connections = table.get("connections").map(|field| field.number(10..=1_000_000_u64));
    let window = table.get("window").map(|field| field.duration(seconds(2)..=seconds(600)));
    let eject_time =
        table.get("eject-time").map(|field| field.duration(seconds(1)..=seconds(3600)));
    let eject_max = table.get("eject-max").map(|field| field.literal(percent));
    table.end();
    if (unanswered, resets) == (Some(None), Some(None)) {
        return field.fail("neither `unanswered` nor `resets` is looked at");
    }
    Some(passive::Settings {
        unanswered: unanswered?,
        resets: resets?,
        connections: connections.unwrap_or(Some(100))?,
        window: window.unwrap_or(Some(seconds(10)))?,
        eject_time: eject_time.unwrap_or(Some(seconds(30)))?,
        eject_max: eject_max.unwrap_or(Some(50))?,
    })
}
