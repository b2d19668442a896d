//! The administrator's words on backends and VIPs that were given at the control socket: with a reason, for a time, and
//! kept over a restart by [`store`].
//!
//! A word makes a state stricter than the configuration says, never laxer: what the configuration has switched off is
//! not probed, so nothing would be known of it.

pub mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::config::model::AdminState;

/// What a word is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A backend of a pool, in all services that use the pool.
    Backend {
        /// `[pool.NAME]`
        pool: String,
        /// Its address.
        address: IpAddr,
    },
    /// A `[vip.NAME]` with all its addresses.
    Vip(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend { pool, address } => write!(f, "backend {pool}/{address}"),
            Self::Vip(name) => write!(f, "vip {name}"),
        }
    }
}

impl Target {
    /// Whether the configuration has it.
    #[must_use]
    pub fn exists(&self, config: &Config) -> bool {
        match self {
            Self::Backend { pool, address } => {
                let pool = config.pools.get(pool);
                pool.is_some_and(|pool| pool.backends.iter().any(|b| b.address == *address))
            }
            Self::Vip(name) => config.vips.contains_key(name),
        }
    }
}

/// What a word makes of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Off {
    /// No new flows; a VIP is withdrawn. Existing flows go on.
    Drain,
    /// Out of use.
    Disabled,
}

/// A word of the administrator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// What it says.
    pub state: Off,
    /// Why.
    pub reason: Option<String>,
    /// When it was given, in Unix seconds.
    pub since: f64,
    /// When it ends by itself, in Unix seconds.
    pub until: Option<f64>,
}

impl Word {
    /// `drained by the administrator: kernel upgrade`
    #[must_use]
    pub fn cause(&self) -> String {
        let what = match self.state {
            Off::Drain => "drained",
            Off::Disabled => "disabled",
        };
        let reason = self.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{what} by the administrator{reason}")
    }

    /// The state that follows from the configuration and a word: the stricter of both.
    #[must_use]
    pub fn applied_to(word: Option<&Self>, configured: AdminState) -> AdminState {
        match (configured, word.map(|word| word.state)) {
            (AdminState::Disabled, _) | (_, Some(Off::Disabled)) => AdminState::Disabled,
            (AdminState::Drain, _) | (_, Some(Off::Drain)) => AdminState::Drain,
            (AdminState::Enabled, None) => AdminState::Enabled,
        }
    }
}

/// All words that stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    vips: BTreeMap<String, Word>,
    /// By pool and address.
    backends: BTreeMap<String, BTreeMap<IpAddr, Word>>,
}

impl Words {
    /// The word on a VIP.
    #[must_use]
    pub fn vip(&self, name: &str) -> Option<&Word> {
        self.vips.get(name)
    }

    /// The word on a backend.
    #[must_use]
    pub fn backend(&self, pool: &str, address: IpAddr) -> Option<&Word> {
        self.backends.get(pool)?.get(&address)
    }

    /// Gives a word; it takes the place of an earlier one.
    pub fn set(&mut self, target: &Target, word: Word) {
        match target {
            Target::Vip(name) => self.vips.insert(name.clone(), word),
            Target::Backend { pool, address } => {
                self.backends.entry(pool.clone()).or_default().insert(*address, word)
            }
        };
    }

    /// Takes a word back; says whether there was one.
    pub fn clear(&mut self, target: &Target) -> bool {
        match target {
            Target::Vip(name) => self.vips.remove(name).is_some(),
            Target::Backend { pool, address } => {
                let Some(of_pool) = self.backends.get_mut(pool) else { return false };
                let known = of_pool.remove(address).is_some();
                if of_pool.is_empty() {
                    self.backends.remove(pool);
                }
                known
            }
        }
    }

    /// Every word with what it is about.
    pub fn iter(&self) -> impl Iterator<Item = (Target, &Word)> {
        let vips = self.vips.iter().map(|(name, word)| (Target::Vip(name.clone()), word));
        let backends = self.backends.iter().flat_map(|(pool, of_pool)| {
            of_pool.iter().map(move |(address, word)| {
                (Target::Backend { pool: pool.clone(), address: *address }, word)
            })
        });
        vips.chain(backends)
    }

    /// When the next word ends by itself, in Unix seconds.
    #[must_use]
    pub fn next_end(&self) -> Option<f64> {
        self.iter().filter_map(|(_, word)| word.until).min_by(f64::total_cmp)
    }

    /// Takes back the words whose time is over, and says which.
    pub fn expire(&mut self, now: f64) -> Vec<Target> {
        self.take_back(|_, word| word.until.is_some_and(|until| until <= now))
    }

    /// Takes back the words on what the configuration does not have, and says which.
    pub fn forget_unknown(&mut self, config: &Config) -> Vec<Target> {
        self.take_back(|target, _| !target.exists(config))
    }

    fn take_back(&mut self, which: impl Fn(&Target, &Word) -> bool) -> Vec<Target> {
        let over: Vec<Target> = self
            .iter()
            .filter(|(target, word)| which(target, word))
            .map(|(target, _)| target)
            .collect();
        for target in &over {
            self.clear(target);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(state: Off, until: Option<f64>) -> Word {
        Word { state, reason: Some("kernel upgrade".into()), since: 1.0, until }
    }

    fn backend(address: &str) -> Target {
        Target::Backend { pool: "web".into(), address: address.parse().unwrap() }
    }

    #[test]
    fn words_end_in_the_order_of_their_times() {
        let mut words = Words::default();
        let vip = Target::Vip("www".into());
        words.set(&vip, word(Off::Drain, Some(20.0)));
        words.set(&backend("10.0.0.1"), word(Off::Disabled, Some(10.0)));
        words.set(&backend("10.0.0.2"), word(Off::Disabled, None));
        assert_eq!(words.next_end(), Some(10.0));
        assert_eq!(words.expire(9.9), []);
        assert_eq!(words.expire(10.0), [backend("10.0.0.1")]);
        assert_eq!(words.next_end(), Some(20.0));
        assert_eq!(words.expire(100.0), [vip]);
        assert_eq!(words.next_end(), None);
        assert!(words.clear(&backend("10.0.0.2")));
        assert!(!words.clear(&backend("10.0.0.2")));
        assert_eq!(words, Words::default());
    }

    #[test]
    fn a_word_is_stricter_than_the_configuration_never_laxer() {
        use AdminState::{Disabled, Drain, Enabled};
        let drain = word(Off::Drain, None);
        let disabled = word(Off::Disabled, None);
        for (configured, said, expected) in [
            (Enabled, None, Enabled),
            (Enabled, Some(&drain), Drain),
            (Enabled, Some(&disabled), Disabled),
            (Drain, None, Drain),
            (Drain, Some(&disabled), Disabled),
            (Disabled, Some(&drain), Disabled),
        ] {
            assert_eq!(Word::applied_to(said, configured), expected);
        }
    }
}
