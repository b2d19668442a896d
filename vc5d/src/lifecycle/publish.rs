//! Puts the one picture together that all readers get: the core's view, the speaker's and the dataplane's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use vc5_bgp::speaker::Speaker;
use vc5_xdp::{Counters, Dataplane};

use crate::config::model::Config;
use crate::core::View;
use crate::snapshot::{self, DaemonState, Snapshot, Status, Traffic};
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
            add_forwarding(&mut vips, &forwarding);
            dataplane_view(&forwarding, &view)
        });
        let (peers, routes) =
            translate::bgp_view(&self.speaker.snapshot(), &config, Instant::now());
        Snapshot { status, peers, routes, vips, dataplane }
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

/// Adds traffic, MAC addresses and ring shares to the core's VIPs.
fn add_forwarding(vips: &mut [snapshot::Vip], forwarding: &vc5_xdp::Snapshot) {
    let known: HashMap<_, _> =
        forwarding.vips.iter().map(|vip| (IpAddr::V4(vip.address), vip)).collect();
    for vip in vips {
        let Some(status) = known.get(&vip.address) else { continue };
        for service in &mut vip.services {
            let same = |s: &&vc5_xdp::ServiceStatus| {
                s.port == service.port && s.protocol.to_string() == service.protocol
            };
            let Some(counted) = status.services.iter().find(same) else { continue };
            service.traffic = traffic(&counted.counters);
            vip.traffic.packets += service.traffic.packets;
            vip.traffic.bytes += service.traffic.bytes;
            vip.traffic.flows += service.traffic.flows;
            for backend in &mut service.backends {
                let same = |b: &&vc5_xdp::BackendStatus| IpAddr::V4(b.address) == backend.address;
                let Some(counted) = counted.backends.iter().find(same) else { continue };
                backend.mac = counted.mac.map(|mac| mac.to_string());
                backend.ring_slots = counted.ring_slots;
                backend.traffic = traffic(&counted.counters);
            }
        }
    }
}

fn traffic(counters: &Counters) -> Traffic {
    Traffic { packets: counters.packets, bytes: counters.bytes, flows: counters.flows }
}

fn dataplane_view(forwarding: &vc5_xdp::Snapshot, view: &View) -> snapshot::Dataplane {
    let interfaces = forwarding.interfaces.iter().map(|interface| {
        let seen = snapshot::Interface {
            index: interface.index,
            mode: interface.mode.to_owned(),
            mac: interface.mac.to_string(),
            attached: interface.attached,
        };
        (interface.name.clone(), seen)
    });
    snapshot::Dataplane {
        interfaces: interfaces.collect(),
        reasons: forwarding.reasons.iter().map(|r| (r.name.to_owned(), r.packets)).collect(),
        flow_memory: forwarding.flow_memory,
        applied: view.applied,
        error: view.apply_error.clone(),
    }
}
