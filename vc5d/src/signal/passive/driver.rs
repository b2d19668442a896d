//! Takes the dataplane's counters once a second, and tells the core what they say.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use vc5_xdp::{Dataplane, L4, Snapshot};

use super::{Counts, Sample, Settings, Watch};
use crate::config::model::{Config, Protocol, Service};
use crate::core::{CoreRequest, service_label};
use crate::signal::ServiceBackend;

/// The dataplane counts anew about every second.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the traffic of all backends until the core or the dataplane is gone.
pub async fn watch(
    dataplane: Weak<Dataplane>,
    mut configs: watch::Receiver<Arc<Config>>,
    core: mpsc::Sender<CoreRequest>,
) {
    let mut outliers = Watch::default();
    let mut looked = false;
    loop {
        let config = Arc::clone(&configs.borrow_and_update());
        let wanted = config.pools.values().any(|pool| pool.outliers.is_some());
        // Once more after the last pool has lost its settings, so that nothing stays left out.
        if wanted || looked {
            let Some(dataplane) = dataplane.upgrade() else { return };
            let samples = samples(&config, &dataplane.snapshot());
            drop(dataplane);
            let signals = outliers.handle(Instant::now(), &samples);
            for signal in &signals {
                tracing::warn!(target: "signal", "{signal}");
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

/// The counters of the TCP services whose pools are looked at.
fn samples(config: &Config, snapshot: &Snapshot) -> Vec<Sample> {
    let counted: BTreeMap<IpAddr, _> = snapshot.vips.iter().map(|vip| (vip.address, vip)).collect();
    let vips = config.vips.values().flat_map(|vip| {
        vip.addresses
            .iter()
            .flat_map(move |address| vip.services.iter().map(move |service| (*address, service)))
    });
    vips.filter_map(|(vip, service)| {
        let settings = settings(config, service)?;
        let status = counted
            .get(&vip)?
            .services
            .iter()
            .find(|status| status.ports == service.ports && status.protocol == L4::Tcp)?;
        let label = service_label(service.ports, service.protocol);
        let backends = status.backends.iter().filter(|backend| !backend.leaving);
        let backends = backends.map(|backend| {
            let counts = &backend.counters;
            let counts = Counts { syns: counts.syns, flows: counts.flows, rsts: counts.rsts };
            let at = ServiceBackend { vip, service: label.clone(), backend: backend.address };
            (at, counts)
        });
        Some(Sample { settings: settings.clone(), backends: backends.collect() })
    })
    .collect()
}

fn settings<'a>(config: &'a Config, service: &Service) -> Option<&'a Settings> {
    let tcp = service.protocol == Protocol::Tcp;
    config.pools.get(&service.pool)?.outliers.as_ref().filter(|_| tcp)
}
