//! Looks at the files each second: that works on every file system, for files that are replaced and for such as are not
//! there yet, and costs one `stat` for each backend.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use super::{Found, MAX_SIZE, News, Watch, targets};
use crate::config::model::Config;
use crate::core::CoreRequest;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// A file that was changed more recently may change once more within the granularity of its time stamp.
const FRESH: Duration = Duration::from_secs(2);

/// Watches the files of all backends until the core is gone.
pub async fn watch(mut configs: watch::Receiver<Arc<Config>>, core: mpsc::Sender<CoreRequest>) {
    let (mut files, mut reader) = (Watch::default(), Reader::default());
    let mut looked = false;
    loop {
        let targets = targets(&configs.borrow_and_update());
        let wanted = !targets.is_empty();
        // Once more after the last file is gone from the configuration, so that nothing stays said.
        if wanted || looked {
            let looking = tokio::task::spawn_blocking(move || {
                let found = targets.into_iter().map(|(at, path, missing)| {
                    let found = reader.read(&path);
                    (at, path, missing, found)
                });
                let found = found.collect();
                (reader, found)
            });
            let Ok((back, found)) = looking.await else {
                tracing::error!(target: "signal", "state files are not looked at any more");
                return;
            };
            reader = back;
            let mut signals = Vec::new();
            for news in files.handle(found) {
                match news {
                    News::Problem(text) => tracing::error!(target: "signal", "{text}"),
                    News::Signal(signal) => {
                        tracing::info!(target: "signal", "{signal}");
                        signals.push(signal);
                    }
                }
            }
            if !signals.is_empty() && core.send(CoreRequest::Signals(signals)).await.is_err() {
                return;
            }
        }
        looked = wanted;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            known = configs.changed() => if known.is_err() { return },
            () = core.closed() => return,
        }
    }
}

/// Reads only what has changed.
#[derive(Debug, Default)]
struct Reader {
    last: BTreeMap<PathBuf, (Print, Found)>,
}

/// By which a file is known to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Print {
    fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// Changed so recently that it may have changed again.
    fn is_fresh(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.changed.0).unwrap_or_default();
        now.as_secs() < changed.saturating_add(FRESH.as_secs())
    }
}

impl Reader {
    fn read(&mut self, path: &Path) -> Found {
        let print = match std::fs::metadata(path) {
            // A FIFO or a device would keep the reader waiting.
            Ok(data) if !data.is_file() => {
                return Found::Unreadable(" not a regular file".to_owned());
            }
            Ok(data) => Print::of(&data),
            Err(error) => {
                self.last.remove(path);
                return absent(&error);
            }
        };
        match self.last.get(path) {
            Some((before, found)) if *before == print && !print.is_fresh() => found.clone(),
            _ => {
                let found = read(path).unwrap_or_else(|error| absent(&error));
                self.last.insert(path.to_owned(), (print, found.clone()));
                found
            }
        }
    }
}

fn absent(error: &io::Error) -> Found {
    match error.kind() {
        io::ErrorKind::NotFound => Found::Missing,
        _ => Found::Unreadable(format!(" {error}")),
    }
}

/// Up to a byte more than a file may have, so that a longer one shows.
fn read(path: &Path) -> io::Result<Found> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_SIZE).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut text)?;
    Ok(Found::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_change_and_go() {
        let directory = std::env::temp_dir().join(format!("vc5-state-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        let (path, mut reader) = (directory.join("10.0.0.1"), Reader::default());
        assert_eq!(reader.read(&path), Found::Missing);
        for text in ["up", "down", "drain\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                reader.read(&path),
                Found::Text(text.into()),
                "though as recent and as long"
            );
        }
        let new = directory.join("new");
        std::fs::write(&new, "weight 5").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert_eq!(reader.read(&path), Found::Text("weight 5".into()));
        std::fs::write(&path, "x".repeat(MAX_SIZE * 2)).unwrap();
        assert_eq!(reader.read(&path), Found::Text("x".repeat(MAX_SIZE + 1).into()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(reader.read(&path), Found::Missing);
        assert_eq!(reader.read(&path.join("below")), Found::Missing);
        assert!(matches!(reader.read(&directory), Found::Unreadable(_)));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
