//! A VIP together with the picture that was last drawn of it, so that a change of one costs no picture of all.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::view::{self, Clock};
use super::vip::VipEntry;
use crate::snapshot;

/// One VIP address, to be changed only by way of [`Drawn::change`].
#[derive(Debug)]
pub(crate) struct Drawn {
    entry: VipEntry,
    picture: OnceLock<Arc<snapshot::Vip>>,
}

impl From<VipEntry> for Drawn {
    fn from(entry: VipEntry) -> Self {
        Self { entry, picture: OnceLock::new() }
    }
}

impl Deref for Drawn {
    type Target = VipEntry;

    fn deref(&self) -> &VipEntry {
        &self.entry
    }
}

impl Drawn {
    /// The VIP for a change; what was drawn of it is then out of date.
    pub(crate) fn change(&mut self) -> &mut VipEntry {
        self.picture.take();
        &mut self.entry
    }

    /// The picture as of now; the one from before where nothing has changed since.
    pub(crate) fn picture(&self, now: Instant, clock: &Clock) -> Arc<snapshot::Vip> {
        let draw = || Arc::new(view::vip_view(&self.entry, now, clock));
        // Then the reason counts the time that is left.
        let waits = self.gate.poll_timeout().or_else(|| self.gate.suppressed_until(now));
        match waits {
            Some(_) => draw(),
            None => Arc::clone(self.picture.get_or_init(draw)),
        }
    }
}
