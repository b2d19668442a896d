//! The program under test, with one service of many backends.

use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray},
    programs::{ProgramFd, Xdp},
};
use vc5_ebpf_abi::{
    Counter, Iface, NO_RING, PROGRAM, RING_SLOTS, Real, RealState, Reason, Ring, SETTINGS,
    ServiceKey, ServiceValue, Settings, VIP_FILTER_WORDS, VipFilter, VipKey, VipValue, iface_slot,
    maps, vip_filter_bit,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../xdp/bpf/vc5.o");

/// Flow records for each CPU: what vc5d has by default.
pub(super) const FLOWS: u32 = 1 << 20;
/// Backends of the service.
pub(super) const BACKENDS: u16 = 100;
pub(super) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The loopback, as which test runs present their packets.
const IFINDEX: u32 = 1;

pub(super) struct Subject(Ebpf);

impl Subject {
    /// Loads the program with a service on port 80 of `vip`.
    pub(super) fn load(vip: [u8; 4]) -> Result<Self> {
        let settings = Settings { flow_mask: FLOWS / 8 - 1, ..Settings::DEFAULT };
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| error_of(what, error))? as u32;
        let mut ebpf = EbpfLoader::new()
            .override_global(SETTINGS, &settings, true)
            .map_max_entries(maps::FLOWS, cpus * (settings.flow_mask + 1))
            .map_max_entries(maps::EMBRYONIC, cpus * (settings.embryonic_mask + 1))
            .load(OBJECT)
            .context("loading xdp/bpf/vc5.o")?;
        let program: &mut Xdp = ebpf.program_mut(PROGRAM).context("no program")?.try_into()?;
        program.load().context("loading the program: is this root, and BPF allowed?")?;
        let mut subject = Self(ebpf);
        subject.add_reals()?;
        subject.add_ring()?;
        subject.add_service(vip)?;
        Ok(subject)
    }

    pub(super) fn fd(&self) -> Result<ProgramFd> {
        let program: &Xdp = self.0.program(PROGRAM).context("no program")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Packets counted under a reason.
    pub(super) fn count(&mut self, reason: Reason) -> Result<u64> {
        let stats: PerCpuArray<_, Counter> = self.map(maps::STATS)?.try_into()?;
        Ok(stats.get(&(reason as u32), 0)?.iter().map(|c| c.packets).sum())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.0.map_mut(name).with_context(|| format!("no map {name}"))
    }

    fn set<V: Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        let mut array: Array<_, V> = self.map(name)?.try_into()?;
        Ok(array.set(index, value, 0)?)
    }

    fn add_reals(&mut self) -> Result<()> {
        for id in 1..=BACKENDS {
            let [hi, lo] = id.to_be_bytes();
            let real = Real {
                addr: [10, 1, hi, lo],
                ifindex: IFINDEX,
                mac: [2, 0, 0, 1, hi, lo],
                src_mac: OUR_MAC,
                state: RealState::Live as u8,
                ttl: 1,
                ..Real::default()
            };
            self.set(maps::REALS, u32::from(id), real)?;
        }
        Ok(())
    }

    fn add_ring(&mut self) -> Result<()> {
        let mut ring = Box::new(Ring([0; RING_SLOTS]));
        for (slot, id) in ring.0.iter_mut().zip((1..=BACKENDS).cycle()) {
            *slot = id;
        }
        let mut inner: Array<MapData, Ring> = Array::create(1, 0)?;
        inner.set(0, *ring, 0)?;
        let mut rings: ArrayOfMaps<_, Array<MapData, Ring>> = self.map(maps::RINGS)?.try_into()?;
        Ok(rings.set(0, &inner, 0)?)
    }

    fn add_service(&mut self, vip: [u8; 4]) -> Result<()> {
        let iface = Iface { ifindex: IFINDEX, mac: OUR_MAC, pad: [0; 6] };
        self.set(maps::IFACES, iface_slot(IFINDEX, 0), iface)?;
        let value =
            ServiceValue { prev_until_ns: 0, ring: 0, prev_ring: NO_RING, stat: 0, flags: 0 };
        let mut services: HashMap<_, ServiceKey, ServiceValue> =
            self.map(maps::SERVICES)?.try_into()?;
        services.insert(ServiceKey::new(vip, 80, 6), value, 0)?;
        let mut vips: HashMap<_, VipKey, VipValue> = self.map(maps::VIPS)?.try_into()?;
        vips.insert(VipKey(vip), VipValue::default(), 0)?;
        let mut filter = VipFilter([0; VIP_FILTER_WORDS]);
        let bit = vip_filter_bit(vip);
        if let Some(word) = filter.0.get_mut(usize::from(bit >> 6)) {
            *word |= 1 << (bit & 63);
        }
        self.set(maps::VIP_FILTER, 0, filter)
    }
}

fn error_of(what: &str, error: std::io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(what.to_owned())
}
