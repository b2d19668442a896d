//! What checks need of the host: a permission, or a program.

use std::os::unix::fs::PermissionsExt;

use super::machine::Machine;
use crate::config::model::{CheckKind, Config};

const CAP_NET_RAW: u32 = 13;

/// Everything that keeps the checks of services from working.
pub(super) fn examine(config: &Config, machine: &Machine) -> Vec<String> {
    let mut errors = Vec::new();
    let services = || config.vips.values().flat_map(|vip| &vip.services);
    for (name, check) in &config.checks {
        if !services().any(|service| service.checks.contains(name)) {
            continue;
        }
        match &check.check.kind {
            CheckKind::Icmp(_) if !machine.may(CAP_NET_RAW) => errors.push(format!(
                "check.{name}.type: no permission for echo requests: run as root or with CAP_NET_RAW"
            )),
            CheckKind::Exec(exec) => {
                let why = exec.command.first().and_then(|program| not_runnable(program));
                errors.extend(why.map(|why| format!("check.{name}.command: {why}")));
            }
            _ => {}
        }
    }
    errors
}

/// Why a program cannot be run, if so.
fn not_runnable(program: &str) -> Option<String> {
    match std::fs::metadata(program) {
        Err(error) => Some(format!("cannot run {program}: {error}")),
        Ok(found) if !found.is_file() => Some(format!("{program} is not a file")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Some(format!("{program} is not executable: `chmod +x {program}`"))
        }
        Ok(_) => None,
    }
}
