//! Which command a check runs, and within which limits.

use std::collections::BTreeMap;
use std::time::Duration;

/// What the names of variables begin with that the check sets itself.
pub const OWN_VARIABLES: &str = "VC5_";

/// The least [`ExecCheck::memory`], in bytes: a program that has less does not even start.
pub const MEMORY_MIN: u64 = 1024 * 1024;

/// The least and the greatest [`ExecCheck::cpu`].
pub const CPU_MIN: Duration = Duration::from_secs(1);
/// See [`CPU_MIN`].
pub const CPU_MAX: Duration = Duration::from_secs(3600);

/// A command that is run for every probe, without a shell. Exit status 0 passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCheck {
    /// The absolute path of the program, and its arguments.
    pub command: Vec<String>,
    /// Further variables of its environment, which is otherwise empty but for `PATH` and those that
    /// begin with [`OWN_VARIABLES`].
    pub environment: BTreeMap<String, String>,
    /// Bytes of address space of each of its processes (`RLIMIT_AS`), at least [`MEMORY_MIN`].
    pub memory: Option<u64>,
    /// CPU time of each of its processes (`RLIMIT_CPU`), rounded up to seconds; [`CPU_MIN`] to
    /// [`CPU_MAX`].
    pub cpu: Option<Duration>,
    /// The user that it runs as, without further groups; `None` is that of this process.
    pub user: Option<u32>,
    /// The group that it runs as; `None` is that of this process.
    pub group: Option<u32>,
}

impl ExecCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        check_command(&self.command)?;
        if let Some(why) =
            self.environment.iter().find_map(|(name, value)| bad_variable(name, value))
        {
            return Err(why);
        }
        if let Some(memory) = self.memory.filter(|memory| *memory < MEMORY_MIN) {
            return Err(format!("memory of {memory} bytes is less than {MEMORY_MIN}"));
        }
        match self.cpu {
            Some(cpu) if !(CPU_MIN..=CPU_MAX).contains(&cpu) => {
                Err(format!("a CPU time of {cpu:?} is not 1 to {} seconds", CPU_MAX.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

/// Says why this cannot be run.
///
/// # Errors
/// Names what is wrong with the words.
pub fn check_command(command: &[String]) -> Result<(), String> {
    match command.first() {
        None => return Err("a command has at least the path of a program".into()),
        Some(program) if !program.starts_with('/') => {
            return Err(format!("`{program}` is not an absolute path"));
        }
        Some(_) => {}
    }
    match command.iter().find(|word| word.contains('\0')) {
        Some(word) => Err(format!("{word:?} has a NUL in it")),
        None => Ok(()),
    }
}

/// Why a variable cannot be set for a command, if so.
#[must_use]
pub fn bad_variable(name: &str, value: &str) -> Option<String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Some(format!("{name:?} is not the name of a variable"));
    }
    if name.starts_with(OWN_VARIABLES) {
        return Some(format!(
            "variables that begin with {OWN_VARIABLES} are set by the check itself"
        ));
    }
    value.contains('\0').then(|| format!("{value:?} has a NUL in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &[&str]) -> ExecCheck {
        ExecCheck {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            environment: BTreeMap::new(),
            memory: None,
            cpu: None,
            user: None,
            group: None,
        }
    }

    #[test]
    fn names_the_value_that_cannot_be_used() {
        let good = || check(&["/bin/true", ""]);
        assert_eq!(good().validate(), Ok(()));
        let message = |check: ExecCheck| check.validate().unwrap_err();
        assert!(message(check(&[])).contains("at least the path"));
        assert!(message(check(&["true"])).contains("`true` is not an absolute path"));
        assert!(message(check(&["/bin/true", "a\0"])).contains("NUL"));
        let with = |name: &str, value: &str| ExecCheck {
            environment: [(name.to_owned(), value.to_owned())].into(),
            ..good()
        };
        assert_eq!(with("A", "=").validate(), Ok(()));
        assert!(message(with("A=", "")).contains("\"A=\" is not the name"));
        assert!(message(with("VC5_VIP", "")).contains("itself"));
        assert!(message(with("A", "\0")).contains("NUL"));
        let memory = |memory| ExecCheck { memory: Some(memory), ..good() };
        assert_eq!(memory(MEMORY_MIN).validate(), Ok(()));
        assert!(message(memory(MEMORY_MIN - 1)).contains("memory of 1048575"));
        let cpu = |cpu| ExecCheck { cpu: Some(Duration::from_millis(cpu)), ..good() };
        assert_eq!((cpu(1000).validate(), cpu(3_600_000).validate()), (Ok(()), Ok(())));
        assert!(message(cpu(999)).contains("1 to 3600 seconds"));
        assert!(message(cpu(3_600_001)).contains("1 to 3600 seconds"));
    }
}
