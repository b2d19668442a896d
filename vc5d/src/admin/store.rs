//! The file in which words outlive the daemon. It is written whole and put in place at once, so that a crash leaves
//! the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Words;

/// Name of the file in the state directory.
const NAME: &str = "admin.json";

/// What was found at the start.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// The words; none if there is no file or it cannot be used.
    pub words: Words,
    /// Why the file cannot be used, and what was done about it.
    pub problem: Option<String>,
}

/// Reads the words. A file that cannot be understood is set aside under another name, for the operator to look at.
#[must_use]
pub fn load(directory: &Path) -> Loaded {
    let path = directory.join(NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Loaded::default(),
        Err(error) => {
            let problem = Some(format!("{}: cannot read: {error}", path.display()));
            return Loaded { words: Words::default(), problem };
        }
    };
    match serde_json::from_slice(&text) {
        Ok(words) => Loaded { words, problem: None },
        Err(error) => {
            let aside = directory.join(format!("{NAME}.broken"));
            let done = match fs::rename(&path, &aside) {
                Ok(()) => format!("it is now {}", aside.display()),
                Err(error) => format!("and it cannot be set aside: {error}"),
            };
            let problem = format!(
                "{}: drained and disabled backends and VIPs are not known any more: {error}; {done}",
                path.display()
            );
            Loaded { words: Words::default(), problem: Some(problem) }
        }
    }
}

/// Writes the words, and makes the directory if there is none.
///
/// # Errors
/// Whatever the file system says, with the path.
pub fn save(directory: &Path, words: &Words) -> io::Result<()> {
    let path = directory.join(NAME);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    write(directory, &path, words).map_err(named)
}

fn write(directory: &Path, path: &PathBuf, words: &Words) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let new = directory.join(format!("{NAME}.new"));
    let mut file = File::create(&new)?;
    serde_json::to_writer_pretty(&mut file, words)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::{Off, Target, Word};
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("vc5-admin-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn words() -> Words {
        let mut words = Words::default();
        let word = Word {
            state: Off::Drain,
            reason: Some("kernel".into()),
            since: 1.5,
            until: Some(9.25),
        };
        let backend =
            Target::Backend { pool: "web".into(), address: "2001:db8::1".parse().unwrap() };
        words.set(&backend, word.clone());
        words.set(&Target::Vip("www".into()), Word { until: None, reason: None, ..word });
        words
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let directory = Directory::new("saved");
        assert_eq!(load(&directory.0), Loaded::default(), "there is nothing yet");
        save(&directory.0, &words()).unwrap();
        assert_eq!(load(&directory.0), Loaded { words: words(), problem: None });
        save(&directory.0, &Words::default()).unwrap();
        assert_eq!(load(&directory.0), Loaded::default());
    }

    #[test]
    fn a_broken_file_is_told_of_and_set_aside() {
        let directory = Directory::new("broken");
        save(&directory.0, &words()).unwrap();
        let path = directory.0.join(NAME);
        let half = fs::read(&path).unwrap().len() / 2;
        File::options().write(true).open(&path).unwrap().set_len(half as u64).unwrap();
        let loaded = load(&directory.0);
        assert_eq!(loaded.words, Words::default());
        let problem = loaded.problem.unwrap();
        assert!(problem.contains("admin.json.broken"), "{problem}");
        assert!(directory.0.join("admin.json.broken").exists());
        assert_eq!(load(&directory.0), Loaded::default(), "it is said once");
    }

    #[test]
    fn what_cannot_be_written_is_an_error_with_its_path() {
        let directory = Directory::new("file");
        fs::write(&directory.0, "in the way").unwrap();
        let error = save(&directory.0, &words()).unwrap_err().to_string();
        assert!(error.contains("admin.json"), "{error}");
        fs::remove_file(&directory.0).unwrap();
    }
}
