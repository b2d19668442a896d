//! The model, and beside it a loaded program if asked for: every change is made to both, every
//! frame is put through both, and they must agree.

use vc5_ebpf_abi::{
    Bucket, Counter, Event, FlowEntry, NO_RING, Real, RealState, Reason, Ring, ServiceKey,
    ServiceValue, Settings, Verdict, bucket_index,
};
use vc5_ebpf_path::bucket::find;
use vc5_xdp::model::{Config, Model, Now, Outcome};

use super::{
    frame::{Frame, OUR_MAC, PORT, TCP, UDP, VIP},
    kernel::{self, CPU, Kernel},
};

/// The interface on which frames come in: the loopback, as which BPF_PROG_TEST_RUN presents them.
pub const IFINDEX: u32 = 1;

/// Ring in force.
pub const RING: u32 = 0;
/// Ring before.
pub const PREVIOUS: u32 = 1;
/// A ring without a backend.
pub const EMPTY: u32 = 2;
/// Index of statistics of the TCP service; the UDP service has the next.
pub const STAT: u32 = 5;

/// Settings to test with.
///
/// The clock of ages stands still at zero (jiffies do not reach 2^63), so that the kernel's ages
/// are known: an idle record is one with an age of the past.
pub const SETTINGS: Settings = Settings {
    hash_key: [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908],
    age_shift: 63,
    flow_mask: 15,
    embryonic_mask: 3,
    ..Settings::DEFAULT
};

pub struct World {
    pub model: Model,
    pub kernel: Option<Kernel>,
    settings: Settings,
}

impl World {
    pub fn model_only() -> Self {
        let model = Model::new(Config { settings: SETTINGS, cpus: 1 });
        Self { model, kernel: None, settings: SETTINGS }
    }

    pub fn with_kernel() -> Self {
        Self::with_settings(&SETTINGS)
    }

    /// With a program of other settings, which the model does not know of.
    pub fn with_settings(settings: &Settings) -> Self {
        kernel::pin();
        Self { kernel: Some(Kernel::load(settings, 4)), ..Self::model_only() }
    }

    /// A service for TCP and one for UDP on the VIP, with rings of one real each: real 2 in force,
    /// real 3 before. Reals 1 to 4 are live.
    pub fn with_service(mut self) -> Self {
        self.set_iface(IFINDEX, OUR_MAC);
        for id in 1..=4 {
            self.set_real(id, real(id, RealState::Live));
        }
        self.set_ring(RING, |_| 2);
        self.set_ring(PREVIOUS, |_| 3);
        self.set_ring(EMPTY, |_| 0);
        for protocol in [TCP, UDP] {
            self.set_service(service_key(protocol), service());
        }
        self.set_vip(VIP);
        self
    }

    pub fn set_iface(&mut self, ifindex: u32, mac: [u8; 6]) {
        assert!(self.model.set_iface(ifindex, mac));
        if let Some(k) = &mut self.kernel {
            k.set_iface(ifindex, mac);
        }
    }

    pub fn set_vip(&mut self, addr: [u8; 4]) {
        self.model.set_vip(addr);
        if let Some(k) = &mut self.kernel {
            k.set_vip(addr);
        }
    }

    pub fn remove_vip(&mut self, addr: [u8; 4]) {
        self.model.remove_vip(addr);
        if let Some(k) = &mut self.kernel {
            k.remove_vip(addr);
        }
    }

    pub fn set_service(&mut self, key: ServiceKey, value: ServiceValue) {
        self.model.set_service(key, value);
        if let Some(k) = &mut self.kernel {
            k.set_service(key, value);
        }
    }

    pub fn remove_service(&mut self, key: ServiceKey) {
        self.model.remove_service(key);
        if let Some(k) = &mut self.kernel {
            k.remove_service(key);
        }
    }

    pub fn set_ring(&mut self, id: u32, slot: impl Fn(u16) -> u16) {
        let mut ring = Box::new(Ring([0; 65536]));
        for (i, real) in ring.0.iter_mut().enumerate() {
            *real = slot(i as u16);
        }
        if let Some(k) = &mut self.kernel {
            k.set_ring(id, &ring);
        }
        self.model.set_ring(id, ring);
    }

    pub fn set_real(&mut self, id: u16, real: Real) {
        self.model.set_real(id, real);
        if let Some(k) = &mut self.kernel {
            k.set_real(id, &real);
        }
    }

    /// Makes this entry the only one in its bucket of the flow table.
    pub fn set_flow(&mut self, hash: u64, entry: FlowEntry) {
        let index = bucket_index(hash, CPU, self.settings.flow_mask);
        let bucket = Bucket([0, 0, 0, entry.0, 0, 0, 0, 0]);
        self.model.set_flows(index, bucket);
        if let Some(k) = &mut self.kernel {
            k.set_flows(index, bucket);
        }
    }

    /// Makes this entry the only one in its bucket of the embryonic table.
    pub fn set_embryonic(&mut self, hash: u64, entry: FlowEntry) {
        let index = bucket_index(hash, CPU, self.settings.embryonic_mask);
        let bucket = Bucket([entry.0, 0, 0, 0, 0, 0, 0, 0]);
        self.model.set_embryonic(index, bucket);
        if let Some(k) = &mut self.kernel {
            k.set_embryonic(index, bucket);
        }
    }

    pub fn flow(&self, hash: u64) -> Option<FlowEntry> {
        let index = bucket_index(hash, CPU, self.settings.flow_mask);
        entry(self.model.flows(index).expect("in range"), hash)
    }

    pub fn embryonic(&self, hash: u64) -> Option<FlowEntry> {
        let index = bucket_index(hash, CPU, self.settings.embryonic_mask);
        entry(self.model.embryonic(index).expect("in range"), hash)
    }

    /// Puts a frame through, and checks that the program does the same as the model.
    pub fn process(&mut self, frame: &[u8]) -> Outcome {
        let now = Now { jiffies: 0, coarse_ns: kernel::coarse_ns() };
        let outcome = self.model.process(frame, IFINDEX, CPU, now);
        if let Some(k) = &self.kernel {
            let (verdict, out) = k.run(frame);
            assert_eq!(verdict, outcome.reason.verdict(), "{:?} for {frame:02x?}", outcome.reason);
            assert_eq!(out, outcome.frame, "{:?} for {frame:02x?}", outcome.reason);
        }
        outcome
    }

    /// Checks that all tables and counters of the program are the model's, and that every frame is
    /// counted once.
    pub fn check(&mut self, frames: u64) {
        let sum: u64 = Reason::ALL.iter().map(|&r| self.model.count(r).packets).sum();
        assert_eq!(sum, frames, "frames counted");
        let Some(kernel) = &mut self.kernel else { return };
        for &reason in Reason::ALL {
            assert_eq!(kernel.count(reason), self.model.count(reason), "{reason:?}");
        }
        for &event in Event::ALL {
            assert_eq!(kernel.events(event), self.model.events(event), "{event:?}");
        }
        for id in 0..=8 {
            assert_eq!(kernel.real_traffic(id), self.model.real_traffic(id), "real {id}");
        }
        for stat in [STAT, STAT + 1] {
            let expected = self.model.service_traffic(stat);
            assert_eq!(kernel.service_traffic(stat), expected, "service {stat}");
        }
        for index in 0..=self.settings.flow_mask {
            assert_eq!(Some(kernel.flows(index)), self.model.flows(index), "flows {index}");
        }
        for index in 0..=self.settings.embryonic_mask {
            let expected = self.model.embryonic(index);
            assert_eq!(Some(kernel.embryonic(index)), expected, "embryonic {index}");
        }
    }

    pub fn count(&self, reason: Reason) -> Counter {
        self.model.count(reason)
    }
}

fn entry(bucket: Bucket, hash: u64) -> Option<FlowEntry> {
    let ways = bucket.0.map(std::cell::Cell::new);
    find(&ways, hash).map(|way| FlowEntry(way.get()))
}

pub fn mac(id: u16) -> [u8; 6] {
    [2, 0, 0, 1, (id >> 8) as u8, id as u8]
}

/// A real of the services on the VIP.
pub fn real(id: u16, state: RealState) -> Real {
    Real {
        addr: [10, 0, (id >> 8) as u8, id as u8],
        ifindex: IFINDEX,
        mac: mac(id),
        src_mac: OUR_MAC,
        generation: 3,
        state: state as u8,
        ttl: 1,
        service_stat: STAT,
        ..Real::default()
    }
}

pub fn service_key(protocol: u8) -> ServiceKey {
    ServiceKey::new(VIP, PORT, protocol)
}

pub fn service() -> ServiceValue {
    ServiceValue { ring: RING, prev_ring: NO_RING, prev_until_ns: 0, stat: STAT, flags: 0 }
}

/// A record of a flow that was given to a real of [`real`], `idle` units of age ago.
pub fn record(frame: &Frame, id: u16, idle: u8) -> FlowEntry {
    FlowEntry::new(frame.hash(SETTINGS.hash_key), id, 3, 0u8.wrapping_sub(idle))
}

/// Which real a frame was sent to, by its hardware address.
pub fn sent_to(outcome: &Outcome) -> Option<u16> {
    let sent = outcome.reason.verdict() == Verdict::Tx;
    sent.then(|| u16::from_be_bytes([outcome.frame[4], outcome.frame[5]]))
}
