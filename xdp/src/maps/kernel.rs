//! The tables in the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, MapInfo, PerCpuArray, PerCpuValues};
use vc5_ebpf_abi::{
    Counter, IFACE_PROBES, Iface, Real, Reason, ServiceKey, ServiceValue, Traffic, VipFilter,
    VipKey, VipValue, iface_slot, maps,
};

use super::{TableError, Tables, batch};
use crate::maglev::SLOTS;
use crate::{Error, Mac};

type RingMap = Array<MapData, [u16; SLOTS]>;

/// Handles on the maps of one loaded program.
pub(crate) struct KernelTables {
    vip_filter: Array<MapData, VipFilter>,
    vips: HashMap<MapData, VipKey, VipValue>,
    services: HashMap<MapData, ServiceKey, ServiceValue>,
    rings: MapData,
    ring_maps: Vec<RingMap>,
    reals: Array<MapData, Real>,
    interfaces: Array<MapData, Iface>,
    stats: PerCpuArray<MapData, Counter>,
    service_stats: PerCpuArray<MapData, Traffic>,
    real_stats: PerCpuArray<MapData, Traffic>,
    cpus: usize,
    flow_memory: u64,
}

impl KernelTables {
    /// Takes the maps out of a loaded object.
    ///
    /// # Errors
    /// [`Error::Object`] when it lacks one, or one is not of the layout this crate was built for.
    pub(crate) fn take(ebpf: &mut Ebpf, cpus: usize) -> Result<Self, Error> {
        let Map::ArrayOfMaps(rings) = map(ebpf, maps::RINGS)? else {
            return Err(Error::Object(format!("{} is no array of maps", maps::RINGS)));
        };
        let mut flow_memory = 0;
        for name in [maps::FLOWS, maps::EMBRYONIC] {
            flow_memory += memory(&map(ebpf, name)?);
        }
        Ok(Self {
            vip_filter: typed(ebpf, maps::VIP_FILTER)?,
            vips: typed(ebpf, maps::VIPS)?,
            services: typed(ebpf, maps::SERVICES)?,
            rings,
            ring_maps: Vec::new(),
            reals: typed(ebpf, maps::REALS)?,
            interfaces: typed(ebpf, maps::IFACES)?,
            stats: typed(ebpf, maps::STATS)?,
            service_stats: typed(ebpf, maps::SERVICE_STATS)?,
            real_stats: typed(ebpf, maps::REAL_STATS)?,
            cpus,
            flow_memory,
        })
    }

    /// How many rings there can be.
    pub(crate) fn max_rings(&self) -> u32 {
        self.rings.info().map_or(0, |info| info.max_entries())
    }

    /// How many services there can be.
    pub(crate) fn max_services(&self) -> u32 {
        self.service_stats.len()
    }

    /// Bytes of the flow tables.
    pub(crate) fn flow_memory(&self) -> u64 {
        self.flow_memory
    }

    /// Tells the program its interfaces; those not listed are none.
    pub(crate) fn set_interfaces(
        &mut self,
        interfaces: impl IntoIterator<Item = (u32, Mac)>,
    ) -> Result<(), TableError> {
        let mut table = vec![Iface::default(); self.interfaces.len() as usize];
        for (ifindex, mac) in interfaces {
            let free = (0..IFACE_PROBES)
                .map(|probe| iface_slot(ifindex, probe) as usize)
                .find(|slot| table.get(*slot).is_some_and(|iface| iface.ifindex == 0));
            match free.and_then(|slot| table.get_mut(slot)) {
                Some(slot) => *slot = Iface { ifindex, mac: mac.0, pad: [0; 6] },
                None => {
                    let source = io::Error::other("too many interfaces with like indices");
                    return Err(TableError { action: "finding a slot in IFACES", source });
                }
            }
        }
        for (slot, wanted) in (0..).zip(table) {
            let present = self.interfaces.get(&slot, 0).map_err(error("reading IFACES"))?;
            if present != wanted {
                self.interfaces.set(slot, wanted, 0).map_err(error("writing IFACES"))?;
            }
        }
        Ok(())
    }

    /// What became of the packets so far, summed over the CPUs.
    pub(crate) fn reasons(&self) -> Result<Vec<(Reason, Counter)>, TableError> {
        let mut sums = Vec::with_capacity(Reason::ALL.len());
        for reason in Reason::ALL {
            let cpus = self.stats.get(&(*reason as u32), 0).map_err(error("reading STATS"))?;
            let sum = cpus.iter().fold(Counter::default(), |sum, cpu| Counter {
                packets: sum.packets.wrapping_add(cpu.packets),
                bytes: sum.bytes.wrapping_add(cpu.bytes),
            });
            sums.push((*reason, sum));
        }
        Ok(sums)
    }

    fn zero(
        cpus: usize,
        table: &mut PerCpuArray<MapData, Traffic>,
        index: u32,
        action: &'static str,
    ) -> Result<(), TableError> {
        let zeros = PerCpuValues::try_from(vec![Traffic::default(); cpus])
            .map_err(|source| TableError { action, source })?;
        table.set(index, zeros, 0).map_err(error(action))
    }
}

impl Tables for KernelTables {
    fn set_real(&mut self, id: u16, real: &Real) -> Result<(), TableError> {
        self.reals.set(u32::from(id), real, 0).map_err(error("writing REALS"))
    }

    fn set_service(&mut self, key: ServiceKey, value: ServiceValue) -> Result<(), TableError> {
        self.services.insert(key, value, 0).map_err(error("writing SERVICES"))
    }

    fn remove_service(&mut self, key: ServiceKey) -> Result<(), TableError> {
        match self.services.remove(&key) {
            Err(MapError::KeyNotFound) => Ok(()),
            other => other.map_err(error("removing from SERVICES")),
        }
    }

    fn add_vip(&mut self, key: VipKey) -> Result<(), TableError> {
        self.vips.insert(key, VipValue::default(), 0).map_err(error("writing VIPS"))
    }

    fn remove_vip(&mut self, key: VipKey) -> Result<(), TableError> {
        match self.vips.remove(&key) {
            Err(MapError::KeyNotFound) => Ok(()),
            other => other.map_err(error("removing from VIPS")),
        }
    }

    fn set_filter(&mut self, filter: &VipFilter) -> Result<(), TableError> {
        self.vip_filter.set(0, filter, 0).map_err(error("writing VIP_FILTER"))
    }

    fn fill_ring(&mut self, ring: u32, slots: &[u16; SLOTS]) -> Result<(), TableError> {
        const ACTION: &str = "filling a ring";
        let map = self.ring_maps.get_mut(ring as usize).ok_or_else(|| TableError {
            action: ACTION,
            source: io::Error::other("the ring is not installed"),
        })?;
        map.set(0, slots, 0).map_err(error(ACTION))
    }

    fn install_rings(&mut self, count: u32) -> Result<(), TableError> {
        let installed = self.ring_maps.len() as u32;
        let mut fds = Vec::new();
        let mut new = Vec::new();
        for _ in installed..count {
            let inner = MapData::create(ring_definition(), "vc5_ring", None)
                .map_err(error("creating a ring"))?;
            fds.push(inner.fd().as_fd().as_raw_fd());
            new.push(RingMap::try_from(Map::Array(inner)).map_err(error("creating a ring"))?);
        }
        let indices: Vec<u32> = (installed..count).collect();
        batch::update(self.rings.fd().as_fd(), &indices, &fds)
            .map_err(|source| TableError { action: "installing rings", source })?;
        self.ring_maps.extend(new);
        Ok(())
    }

    fn reset_real_traffic(&mut self, id: u16) -> Result<(), TableError> {
        Self::zero(self.cpus, &mut self.real_stats, u32::from(id), "writing REAL_STATS")
    }

    fn reset_service_traffic(&mut self, stat: u32) -> Result<(), TableError> {
        Self::zero(self.cpus, &mut self.service_stats, stat, "writing SERVICE_STATS")
    }

    fn real_traffic(&self, id: u16) -> Result<Traffic, TableError> {
        self.real_stats
            .get(&u32::from(id), 0)
            .map(|cpus| sum(&cpus))
            .map_err(error("reading REAL_STATS"))
    }

    fn service_traffic(&self, stat: u32) -> Result<Traffic, TableError> {
        self.service_stats
            .get(&stat, 0)
            .map(|cpus| sum(&cpus))
            .map_err(error("reading SERVICE_STATS"))
    }
}

fn sum(cpus: &PerCpuValues<Traffic>) -> Traffic {
    cpus.iter().fold(Traffic::default(), |sum, cpu| Traffic {
        packets: sum.packets.wrapping_add(cpu.packets),
        bytes: sum.bytes.wrapping_add(cpu.bytes),
        flows: sum.flows.wrapping_add(cpu.flows),
        syns: sum.syns.wrapping_add(cpu.syns),
    })
}

/// An inner ring must be of the type, sizes and flags of the object's template.
fn ring_definition() -> aya_obj::Map {
    aya_obj::Map::new_from_params(
        aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<[u16; SLOTS]>() as u32,
        1,
        0,
    )
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| Error::Object(format!("map {name} is missing")))
}

fn typed<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, Error> {
    M::try_from(map(ebpf, name)?).map_err(|e| Error::Object(format!("map {name}: {e}")))
}

fn memory(map: &Map) -> u64 {
    let Map::Array(data) = map else { return 0 };
    let bytes = |info: MapInfo| u64::from(info.max_entries()) * u64::from(info.value_size());
    data.info().map_or(0, bytes)
}

fn error(action: &'static str) -> impl Fn(MapError) -> TableError {
    move |error| TableError { action, source: io_error(error) }
}

fn io_error(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(e) => e.io_error,
        MapError::CreateError { io_error, .. } | MapError::IoError(io_error) => io_error,
        other => io::Error::other(other.to_string()),
    }
}
