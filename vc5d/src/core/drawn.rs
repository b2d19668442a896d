//! A VIP together with the picture that was last drawn of it, so that a change of one costs no picture of all.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::view::{self, Clock};
use super::vip::VipEntry;
use crate::snapshot;

/// One VIP address, to be changed only by way of [`Drawn::change`].
#[derive(Debug)]
pub(crate) struct Drawn {
    entry: VipEntry,
    /// With the clock that its times were told by.
    picture: Option<(Arc<snapshot::Vip>, Clock)>,
}

impl From<VipEntry> for Drawn {
    fn from(entry: VipEntry) -> Self {
        Self { entry, picture: None }
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
        self.picture = None;
        &mut self.entry
    }

    /// The picture as of now; the one from before where nothing has changed since.
    pub(crate) fn picture(&mut self, now: Instant, clock: &Clock) -> Arc<snapshot::Vip> {
        // Then the reason counts the time that is left.
        let waits = self.gate.poll_timeout().or_else(|| self.gate.suppressed_until(now)).is_some();
        match &self.picture {
            Some((picture, told_by)) if !waits && clock.agrees_with(told_by) => Arc::clone(picture),
            _ => {
                let picture = Arc::new(view::vip_view(&self.entry, now, clock));
                self.picture = (!waits).then(|| (Arc::clone(&picture), *clock));
                picture
            }
        }
    }
}
