//! Puts the one picture together that all readers get: the core's view, the speaker's and the dataplane's.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use vc5_bgp::speaker::Speaker;
use vc5_xdp::Dataplane;

use crate::config::model::Config;
use crate::core::View;
use crate::snapshot::{DaemonState, Snapshot, Status};
use crate::translate;

/// Counters and timers are at most this old.
const REFRESH: Duration = Duration::from_millis(250);

/// The publishing task.
pub(super) struct Publisher {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) views: watch::Receiver<Arc<View>>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) speaker: Speaker,
    pub(super) dataplane: Option<Arc<Dataplane>>,
}

impl Publisher {
    /// Publishes at each change of the core's view, of the status and of a session, and at least every [`REFRESH`].
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut sessions = self.speaker.subscribe();
        let mut tick = tokio::time::interval(REFRESH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let picture = self.compose();
            self.snapshot.store(Arc::new(picture));
            tokio::select! {
                _ = tick.tick() => {}
                Ok(()) = self.views.changed() => {}
                Ok(()) = self.status.changed() => {}
                Ok(_) = sessions.recv() => {}
                _ = stop.changed() => return,
            }
        }
    }

    fn compose(&mut self) -> Snapshot {
        let view = Arc::clone(&self.views.borrow_and_update());
        let status = self.status.borrow_and_update().clone();
        let config = Arc::clone(&self.config.borrow_and_update());
        let mut vips = view.vips.clone();
        let dataplane = self.dataplane.as_ref().map(|dataplane| {
            let forwarding = dataplane.snapshot();
            translate::add_forwarding(&mut vips, &forwarding);
            translate::dataplane_view(&forwarding, view.applied, view.apply_error.clone())
        });
        let (peers, routes) =
            translate::bgp_view(&self.speaker.snapshot(), &config, Instant::now());
        let history = Arc::clone(&view.history);
        let changes = view.changes.clone();
        Snapshot { status, peers, routes, vips, dataplane, history, changes }
    }
}

/// The status at the start.
pub(super) fn first_status(config: &Config) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        router_id: config.router.id,
        local_as: config.router.local_as,
        hostname: hostname(),
        started: unix_now(),
        reconfigured: unix_now(),
        config_file: config.file.display().to_string(),
        state: DaemonState::Running,
        reloads_ok: 0,
        reloads_failed: 0,
    }
}

/// Unix seconds now.
pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
