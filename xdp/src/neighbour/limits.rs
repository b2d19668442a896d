//! The size of the kernel's neighbour table.

use std::fs;
use std::io;
use std::path::Path;

/// The thresholds of IPv4's neighbour table. They exist in the first network namespace only, and
/// count for all of them.
const DIRECTORY: &str = "/proc/sys/net/ipv4/neigh/default";

/// Entries that others on the host are left, beside the backends'.
const OTHERS: u32 = 256;

/// Makes sure that the neighbour table has room for so many backends, raising its thresholds
/// where needed.
///
/// # Errors
/// In words, when they are too low and cannot be raised.
pub(crate) fn ensure_room(backends: usize) -> Result<(), String> {
    ensure_room_in(Path::new(DIRECTORY), backends)
}

fn ensure_room_in(directory: &Path, backends: usize) -> Result<(), String> {
    let needed = u32::try_from(backends).unwrap_or(u32::MAX).saturating_add(OTHERS);
    // Above gc_thresh2 entries are collected within 5 s, above gc_thresh3 none is made.
    for (name, wanted) in [("gc_thresh3", needed.saturating_mul(2)), ("gc_thresh2", needed)] {
        let path = directory.join(name);
        let present = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u32>().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        if present >= needed {
            continue;
        }
        fs::write(&path, wanted.to_string()).map_err(|error| {
            format!(
                "{backends} backends need net.ipv4.neigh.default.{name} of at least {needed}, it \
                 is {present} and cannot be raised ({error}); set it by sysctl"
            )
        })?;
        tracing::info!(from = present, to = wanted, "raised net.ipv4.neigh.default.{name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sysctl(std::path::PathBuf);

    impl Sysctl {
        fn new(name: &str, thresholds: [u32; 2]) -> Self {
            let path =
                std::env::temp_dir().join(format!("vc5-limits-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("gc_thresh2"), format!("{}\n", thresholds[0])).unwrap();
            fs::write(path.join("gc_thresh3"), format!("{}\n", thresholds[1])).unwrap();
            Self(path)
        }

        fn thresholds(&self) -> [u32; 2] {
            ["gc_thresh2", "gc_thresh3"]
                .map(|f| fs::read_to_string(self.0.join(f)).unwrap().trim().parse().unwrap())
        }
    }

    impl Drop for Sysctl {
        fn drop(&mut self) {
            let _unused = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn thresholds_are_raised_only_where_too_low() {
        let sysctl = Sysctl::new("raise", [512, 1024]);
        ensure_room_in(&sysctl.0, 200).unwrap();
        assert_eq!(sysctl.thresholds(), [512, 1024]);
        ensure_room_in(&sysctl.0, 500).unwrap();
        assert_eq!(sysctl.thresholds(), [756, 1024]);
        ensure_room_in(&sysctl.0, 4000).unwrap();
        assert_eq!(sysctl.thresholds(), [4256, 8512]);
    }

    #[test]
    fn without_thresholds_there_is_nothing_to_ensure() {
        ensure_room_in(Path::new("/nonexistent"), 100_000).unwrap();
    }

    #[test]
    fn what_cannot_be_raised_is_an_error_that_names_the_sysctl() {
        let sysctl = Sysctl::new("fixed", [512, 1024]);
        fs::remove_file(sysctl.0.join("gc_thresh3")).unwrap();
        fs::create_dir(sysctl.0.join("gc_thresh3")).unwrap();
        assert!(ensure_room_in(&sysctl.0, 4000).unwrap_err().contains("gc_thresh3"));
    }
}
