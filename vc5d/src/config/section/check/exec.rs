//! The keys of a command.

use std::collections::BTreeMap;

use nix::unistd::{Group, User};
use vc5_health::ExecCheck;
use vc5_health::check::exec::{CPU_MAX, CPU_MIN, MEMORY_MIN, bad_variable, check_command};

use super::super::super::read::{Field, Table};

pub(super) const KEYS: [&str; 6] = ["command", "environment", "memory", "cpu", "user", "group"];

/// Who runs a command.
#[derive(Clone, Copy)]
struct Account {
    id: u32,
    /// The group that belongs to a user.
    group: Option<u32>,
}

/// The settings as they stand; `None` if there is no command that can be run, which is noted where
/// one is needed.
pub(super) fn read(table: &mut Table<'_>, needed: bool) -> Option<ExecCheck> {
    let command = if needed { table.need("command") } else { table.get("command") };
    let environment = table.get("environment").and_then(|field| environment(&field));
    let memory = table.get("memory").and_then(|field| field.number(MEMORY_MIN..=1 << 48));
    let cpu = table.get("cpu").and_then(|field| field.duration(CPU_MIN..=CPU_MAX));
    let user = table.get("user").and_then(|field| account(&field, "user", user_by_name));
    let group = table.get("group").and_then(|field| account(&field, "group", group_by_name));
    let group = group.map(|group| group.id).or(user.and_then(|user| user.group));
    Some(ExecCheck {
        command: words(&command?)?,
        environment: environment.unwrap_or_default(),
        memory,
        cpu,
        user: user.map(|user| user.id),
        group,
    })
}

fn words(field: &Field<'_>) -> Option<Vec<String>> {
    let words = field.some(|item| item.text().map(str::to_owned))?;
    let words: Vec<_> = words.into_iter().map(|word| word.value).collect();
    match check_command(&words) {
        Ok(()) => Some(words),
        Err(message) => field.fail(&message),
    }
}

fn environment(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (name, place, value) in field.entries()? {
        let Some(text) = value.text() else { continue };
        match bad_variable(name, text) {
            Some(message) => field.fail_at(place, &message),
            None => drop(variables.insert(name.to_owned(), text.to_owned())),
        }
    }
    Some(variables)
}

/// A name that this host knows, or a number.
fn account(
    field: &Field<'_>,
    what: &str,
    by_name: impl Fn(&str) -> nix::Result<Option<Account>>,
) -> Option<Account> {
    if !field.is_text() {
        let id = field.number(0..=u32::MAX - 1)?;
        return Some(Account { id, group: None });
    }
    field.literal(|name| match by_name(name) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(format!("this host has no {what} `{name}`")),
        Err(error) => Err(format!("cannot look up the {what} `{name}`: {}", error.desc())),
    })
}

fn user_by_name(name: &str) -> nix::Result<Option<Account>> {
    let found = User::from_name(name)?;
    Ok(found.map(|user| Account { id: user.uid.as_raw(), group: Some(user.gid.as_raw()) }))
}

fn group_by_name(name: &str) -> nix::Result<Option<Account>> {
    let found = Group::from_name(name)?;
    Ok(found.map(|group| Account { id: group.gid.as_raw(), group: None }))
}
