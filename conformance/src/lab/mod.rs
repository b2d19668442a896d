//! Labs: networks of namespaces with real routers, vc5d nodes, backends and clients.
//!
//! A [`Lab`] owns a directory and a name prefix that carries this process's id, so labs run side by side and what a
//! killed process left behind can be told from what is in use. Everything in a lab goes when its value is dropped,
//! also while a test panics.

pub mod backend;
pub mod bird;
pub mod client;
pub mod command;
pub mod fabric;
pub mod leftover;
pub mod live;
pub mod netns;
pub mod node;
pub(crate) mod pass;
pub mod process;
pub mod router;
pub mod view;
pub mod wait;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

pub use self::backend::Backend;
pub use self::bird::Bird;
pub use self::client::Client;
pub use self::fabric::Fabric;
pub use self::netns::{Counters, Netns};
pub use self::node::Node;
pub use self::process::Process;

/// Programs that every lab needs, with the Debian package each comes from.
const PROGRAMS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("bird", "bird2"), ("birdc", "bird2"), ("ethtool", "ethtool")];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The common ground of one lab: its name prefix, its directory and the helper program.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    dir: PathBuf,
    tool: PathBuf,
}

impl Lab {
    /// Sets up an empty lab. `tool` is a program that calls [`crate::tool::dispatch`] first thing, such as
    /// `vc5-lab`; it serves and fetches inside the namespaces.
    ///
    /// # Errors
    /// When not root, when a needed program is missing (with a hint what to install), or when the directory cannot
    /// be made.
    pub fn new(tool: impl Into<PathBuf>) -> Result<Self> {
        command::require_root()?;
        command::require(&PROGRAMS)?;
        leftover::sweep_dead();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}{}-{number}", leftover::PREFIX, std::process::id());
        let dir = leftover::root_dir().join(&prefix);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { prefix, dir, tool: tool.into() })
    }

    /// The lab's own directory, for sockets, logs and configuration files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The helper program.
    #[must_use]
    pub fn tool(&self) -> &Path {
        &self.tool
    }

    /// What all names of this lab begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A new namespace with the role's name, loopback up.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn netns(&self, role: &str) -> Result<Netns> {
        Netns::add(&format!("{}-{role}", self.prefix))
    }

    /// Marks the lab to stay after this process has ended, until [`leftover::remove_kept`]. The values that make it up
    /// must be forgotten, not dropped.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark_kept(&self) -> Result<()> {
        leftover::mark_kept(&self.dir)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        leftover::remove_lab(&self.prefix);
    }
}
