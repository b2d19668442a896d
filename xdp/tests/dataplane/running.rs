//! A dataplane that runs in the balancer's namespace.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

pub(super) fn config(lab: &Lab, pinned: bool) -> DataplaneConfig {
    DataplaneConfig {
        interfaces: vec!["e0".into()],
        vlans: std::collections::BTreeMap::new(),
        mode: AttachMode::Auto,
        pin_path: pinned.then(|| lab.pin_path()),
        hash_key: *b"a key of the lab",
        flows: 4096,
        max_reals: 1024,
        settle_time: Duration::from_secs(1),
        drain_time: DRAIN,
        sample: Some(0),
    }
}

pub(super) struct Running {
    pub(super) dataplane: Dataplane,
    events: UnboundedReceiver<Event>,
    pub(super) seen: Vec<Event>,
}

impl Running {
    pub(super) fn start(lab: &Lab, config: DataplaneConfig) -> Result<Self, Error> {
        Self::start_on(lab, "lb", config)
    }

    pub(super) fn start_on(lab: &Lab, host: &str, config: DataplaneConfig) -> Result<Self, Error> {
        let (dataplane, events) = lab.within(host, || Dataplane::start(config))?;
        Ok(Self { dataplane, events, seen: Vec::new() })
    }

    /// Waits for an event that the function finds something in.
    pub(super) fn wait<T>(&mut self, what: &str, found: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.events.try_recv() {
                Ok(event) => {
                    let result = found(&event);
                    self.seen.push(event);
                    if let Some(result) = result {
                        return result;
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        panic!("no {what} within {PATIENCE:?}, but {:?}", self.seen);
    }

    pub(super) fn apply(&mut self, seq: u64, desired: Desired) -> Vec<(IpAddr, String)> {
        self.dataplane.apply(seq, desired);
        self.wait("acknowledgement", |event| match event {
            Event::Applied { seq: s, not_ready, .. } if *s == seq => Some(not_ready.clone()),
            Event::ApplyFailed { seq, error } => panic!("apply {seq}: {error}"),
            _ => None,
        })
    }

    fn wait_ready(&mut self) {
        self.wait("readiness", |event| match event {
            Event::ReadinessChanged { not_ready } if not_ready.is_empty() => Some(()),
            _ => None,
        });
    }

    pub(super) fn apply_until_ready(&mut self, seq: u64, desired: Desired) {
        if !self.apply(seq, desired).is_empty() {
            self.wait_ready();
        }
    }

    /// Waits until the snapshot looks as it should.
    pub(super) fn wait_snapshot(
        &self,
        what: &str,
        good: impl Fn(&Snapshot) -> bool,
    ) -> Arc<Snapshot> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.dataplane.snapshot();
            if good(&snapshot) {
                return snapshot;
            }
            assert!(Instant::now() < deadline, "{what}: {snapshot:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until flows without a record go by the ring in force alone.
    pub(super) fn wait_settled(&self) {
        let deadline = Instant::now() + PATIENCE;
        let ring = || self.dataplane.maglev(VIP, Ports::One(PORT), L4::Tcp).unwrap();
        while ring().previous.is_some() {
            assert!(Instant::now() < deadline, "it does not settle: {:?}", ring());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(super) fn stop(self, on_stop: OnStop) {
        self.dataplane.stop(on_stop).unwrap();
    }
}

/// The slots of the backends, in all services.
pub(super) fn slots(snapshot: &Snapshot) -> Vec<(IpAddr, u32)> {
    let services = snapshot.vips.iter().flat_map(|v| &v.services);
    services.flat_map(|s| &s.backends).map(|b| (b.address, b.ring_slots)).collect()
}
