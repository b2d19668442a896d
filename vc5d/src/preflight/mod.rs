//! What depends on the machine: whether a valid configuration can work on this host as it is now.
//!
//! Everything is only looked at, nothing is changed. [`machine`] asks the kernel, [`rules`], [`checks`],
//! [`reach`] and [`neighbours`] judge, and [`sockets`] tries the addresses of the daemon's own services.

mod checks;
pub(crate) mod machine;
mod neighbours;
mod reach;
mod rules;
mod sockets;
#[cfg(test)]
mod tests;

use crate::config::model::Config;
use crate::config::{Error, Errors};
use machine::Machine;

/// When a configuration is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the daemon starts: its own sockets have to be free.
    Start,
    /// Before a running daemon takes it over: the sockets are its own.
    Reload,
}

/// What was found, in the order of the configuration's keys; each starts with the key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Looks whether the configuration can work on this host and returns the warnings, one line each.
///
/// # Errors
/// Everything that would keep it from working, one line each, with what to do about it.
pub async fn check(config: &Config, when: When) -> Result<Vec<String>, Errors> {
    // The kernel answers netlink requests at once, but a large host has much to tell.
    let machine =
        tokio::task::spawn_blocking(|| Machine::read().map(Machine::with_neighbours)).await;
    let mut findings = match machine {
        Ok(Ok(machine)) => {
            let mut findings = rules::examine(config, &machine);
            findings.errors.extend(checks::examine(config, &machine));
            let room = neighbours::examine(config, &machine);
            findings.errors.extend(room.errors);
            findings.warnings.extend(room.warnings);
            findings
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    };
    if when == When::Start {
        findings.errors.extend(sockets::examine(config).await);
    }
    if findings.errors.is_empty() {
        return Ok(findings.warnings);
    }
    let error = |message| Error { file: config.file.clone(), at: None, message };
    Err(Errors::from(findings.errors.into_iter().map(error).collect::<Vec<_>>()))
}

fn failed(error: &dyn std::error::Error) -> Findings {
    let message = format!("cannot list this host's interfaces and addresses: {error}");
    Findings { errors: vec![message], warnings: Vec::new() }
}
