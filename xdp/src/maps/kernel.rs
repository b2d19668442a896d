//! The tables as the kernel's maps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::xdp::DevMap;
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError, RingBuf};
use vc5_ebpf_abi::{
    Active, Counter, EVENT_COUNT, IFACE_PROBES, Iface, NO_TABLE, REASON_COUNT, REASONS_MAX,
    RangeKey, RangeValue, Real, ServiceKey, ServiceValue, Settings, Trace, Traffic, VipFilter,
    VipKey, VipValue, iface_slot, maps,
};

use super::mmap::Mapped;
use super::services::Services;
use super::{FlowTable, Found, TableError, Tables, batch, grace, inner};
use crate::Error;
use crate::maglev::{Ring, SLOTS};
use crate::topology::Port;

/// Bytes of a [`RangeKey`] after its length.
const RANGE_BYTES: usize = size_of::<RangeKey>() - size_of::<u32>();

const ACTIVE_WORDS: usize = size_of::<Active>() / 8;
const REAL_WORDS: usize = size_of::<Real>() / 8;
const COUNTER_WORDS: usize = size_of::<Counter>() / 8;
const TRAFFIC_WORDS: usize = size_of::<Traffic>() / 8;

/// Handles on the maps of one loaded program.
pub(crate) struct KernelTables {
    vip_filter: Array<MapData, VipFilter>,
    vips: HashMap<MapData, VipKey, VipValue>,
    services: Services,
    ranges: LpmTrie<MapData, [u8; RANGE_BYTES], RangeValue>,
    rings: MapData,
    ring_maps: Vec<MapData>,
    reals: Mapped,
    max_reals: u32,
    max_vips: u32,
    interfaces: Array<MapData, Iface>,
    tx_ports: DevMap<MapData>,
    stats: MapData,
    events: MapData,
    real_stats: MapData,
    trace: Array<MapData, Trace>,
    flows: FlowTable,
    /// That in use before, if the program asks it too.
    before: Option<FlowTable>,
    embryonic: FlowTable,
    cpus: usize,
    flow_memory: u64,
}

impl KernelTables {
    /// Takes the maps out of a loaded object. Those that flow records and samples are read from are
    /// given back beside.
    ///
    /// # Errors
    /// [`Error::Object`] when it lacks one, or one is not of the layout this crate was built for.
    pub(crate) fn take(
        ebpf: &mut Ebpf,
        settings: &Settings,
        cpus: usize,
    ) -> Result<(Self, RingBuf<MapData>), Error> {
        let mut flow_memory = 0;
        let (active, _) = mapped(&array(ebpf, maps::ACTIVE)?, maps::ACTIVE, ACTIVE_WORDS)?;
        let mut flow_table = |name, active| -> Result<FlowTable, Error> {
            let (ways, buckets) = mapped(&array(ebpf, name)?, name, vc5_ebpf_abi::BUCKET_WAYS)?;
            flow_memory += u64::from(buckets) * 64;
            Ok(FlowTable::new(ways, buckets, active))
        };
        let flows = flow_table(maps::FLOWS, Some(active))?;
        let embryonic = flow_table(maps::EMBRYONIC, None)?;
        flow_table(maps::FRAGMENTS, None)?;
        let before = match settings.before_mask {
            NO_TABLE => None,
            mask => Some(flow_table(maps::BEFORE, None)?.first(mask + 1)),
        };
        let (reals, max_reals) = mapped(&array(ebpf, maps::REALS)?, maps::REALS, REAL_WORDS)?;
        let Map::ArrayOfMaps(rings) = map(ebpf, maps::RINGS)? else {
            return Err(Error::Object(format!("{} is no array of maps", maps::RINGS)));
        };
        let max_vips = ebpf.map(maps::VIPS).and_then(data).map_or(0, entries);
        let index = array(ebpf, maps::SERVICE_INDEX)?;
        let (index, _) = mapped(&index, maps::SERVICE_INDEX, Services::INDEX_WORDS)?;
        let services = array(ebpf, maps::SERVICES)?;
        let (services, _) = mapped(&services, maps::SERVICES, Services::ELEMENT_WORDS)?;
        let tables = Self {
            max_vips,
            vip_filter: typed(ebpf, maps::VIP_FILTER)?,
            vips: typed(ebpf, maps::VIPS)?,
            services: Services::new(index, services),
            ranges: typed(ebpf, maps::PORT_RANGES)?,
            rings,
            ring_maps: Vec::new(),
            reals,
            max_reals,
            interfaces: typed(ebpf, maps::IFACES)?,
            tx_ports: typed(ebpf, maps::TX_PORTS)?,
            stats: per_cpu(ebpf, maps::STATS, COUNTER_WORDS)?,
            events: per_cpu(ebpf, maps::EVENTS, 1)?,
            real_stats: per_cpu(ebpf, maps::REAL_STATS, TRAFFIC_WORDS)?,
            trace: typed(ebpf, maps::TRACE)?,
            flows,
            before,
            embryonic,
            cpus,
            flow_memory,
        };
        Ok((tables, typed(ebpf, maps::SAMPLES)?))
    }

    /// How many rings there can be.
    pub(crate) fn max_rings(&self) -> u32 {
        entries(&self.rings)
    }

    /// One more than the greatest real id.
    pub(crate) fn max_reals(&self) -> u32 {
        self.max_reals
    }

    /// Bytes of the flow tables.
    pub(crate) fn flow_memory(&self) -> u64 {
        self.flow_memory
    }

    /// Flows that can be remembered.
    pub(crate) fn flow_capacity(&self) -> u64 {
        self.flows.capacity()
    }

    /// How many VIPs there can be.
    pub(crate) fn max_vips(&self) -> u32 {
        self.max_vips
    }

    /// How many services there can be.
    pub(crate) fn max_services(&self) -> u32 {
        self.services.limit()
    }

    pub(crate) fn flows(&self) -> &FlowTable {
        &self.flows
    }

    pub(crate) fn before(&self) -> Option<&FlowTable> {
        self.before.as_ref()
    }

    pub(crate) fn embryonic(&self) -> &FlowTable {
        &self.embryonic
    }

    /// Tells the program its interfaces, and the ports by which frames of `bonded` ones come in; those
    /// not listed are none.
    pub(crate) fn set_interfaces(
        &mut self,
        ports: &[Port],
        bonded: &[Port],
    ) -> Result<(), TableError> {
        let mut table = vec![Iface::default(); self.interfaces.len() as usize];
        for port in ports.iter().chain(bonded) {
            let free = (0..IFACE_PROBES)
                .map(|probe| iface_slot(port.ifindex, probe) as usize)
                .find(|slot| table.get(*slot).is_some_and(|iface| iface.ifindex == 0));
            match free.and_then(|slot| table.get_mut(slot)) {
                Some(slot) => {
                    *slot = Iface {
                        ifindex: port.ifindex,
                        mac: port.mac.0,
                        index: port.number,
                        flags: if port.trunk { Iface::TRUNK } else { 0 },
                        pad: [0; 4],
                    }
                }
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
        for port in ports {
            let number = u32::from(port.number);
            let present = self.tx_ports.get(number, 0).ok();
            if present.is_none_or(|p| p.if_index != port.ifindex) {
                self.tx_ports.set(number, port.ifindex, None, 0).map_err(|e| TableError {
                    action: "writing TX_PORTS",
                    source: io::Error::other(e.to_string()),
                })?;
            }
        }
        Ok(())
    }

    /// What became of the packets that came in by the interface of this number, by reason.
    pub(crate) fn reasons(&self, interface: u8) -> Result<Vec<Counter>, TableError> {
        let first = u32::from(interface) * REASONS_MAX;
        let sums = self.sums(&self.stats, first, REASON_COUNT, COUNTER_WORDS, "reading STATS")?;
        let counter = |words: &[u64]| match *words {
            [packets, bytes] => Counter { packets, bytes },
            _ => Counter::default(),
        };
        Ok(sums.chunks_exact(COUNTER_WORDS).map(counter).collect())
    }

    /// What happened to the flow tables.
    pub(crate) fn events(&self) -> Result<Vec<u64>, TableError> {
        self.sums(&self.events, 0, EVENT_COUNT, 1, "reading EVENTS")
    }

    /// What was counted for `count` real ids from `first` on.
    pub(crate) fn traffic_of(&self, first: u32, count: u32) -> Result<Vec<Traffic>, TableError> {
        let sums =
            self.sums(&self.real_stats, first, count, TRAFFIC_WORDS, "reading REAL_STATS")?;
        let traffic = |words: &[u64]| match *words {
            [packets, bytes, flows, syns, fins, rsts] => {
                Traffic { packets, bytes, flows, syns, fins, rsts }
            }
            _ => Traffic::default(),
        };
        Ok(sums.chunks_exact(TRAFFIC_WORDS).map(traffic).collect())
    }

    /// What the program for tracing has found out.
    pub(crate) fn trace(&self) -> Result<Trace, TableError> {
        self.trace.get(&0, 0).map_err(error("reading TRACE"))
    }

    /// A real as it stands.
    pub(crate) fn real(&self, id: u32) -> Option<Real> {
        self.reals.read::<REAL_WORDS>(id as usize).map(real_of)
    }

    /// Reads what an earlier run has left, and gets hold of its rings.
    pub(crate) fn found(&mut self) -> Result<Found, TableError> {
        let mut found = Found::default();
        for entry in self.vips.iter() {
            found.vips.push(entry.map_err(error("reading VIPS"))?);
        }
        found.services.extend(self.services.all());
        for entry in self.ranges.iter() {
            let (key, value) = entry.map_err(error("reading PORT_RANGES"))?;
            found.ranges.push((range_of(&key), value));
        }
        found.reals = (0..self.max_reals).filter_map(|id| self.real(id)).collect();
        self.adopt_rings()?;
        for ring in &self.ring_maps {
            let slots = batch::ring(fd(ring))
                .map_err(|source| TableError { action: "reading a ring", source })?;
            found.rings.push(Ring::from_slots(&slots));
        }
        Ok(found)
    }

    fn adopt_rings(&mut self) -> Result<(), TableError> {
        const ACTION: &str = "reading RINGS";
        let outer = duplicate(&self.rings).map_err(error(ACTION))?;
        let outer: ArrayOfMaps<MapData> =
            Map::ArrayOfMaps(outer).try_into().map_err(error(ACTION))?;
        for id in self.ring_maps.len() as u32..outer.len() {
            match outer.get(&id, 0) {
                Ok(ring) => self.ring_maps.push(ring),
                Err(MapError::KeyNotFound) => break,
                Err(e) => return Err(error(ACTION)(e)),
            }
        }
        Ok(())
    }

    fn sums(
        &self,
        map: &MapData,
        first: u32,
        count: u32,
        words: usize,
        action: &'static str,
    ) -> Result<Vec<u64>, TableError> {
        batch::sums(map.fd().as_fd(), first, count, words, self.cpus)
            .map_err(|source| TableError { action, source })
    }
}

impl Tables for KernelTables {
    fn set_real(&mut self, id: u32, real: &Real) -> Result<(), TableError> {
        if self.reals.write(id as usize, words_of(real)) {
            return Ok(());
        }
        let source = io::Error::other(format!("there is no room for real {id}"));
        Err(TableError { action: "writing REALS", source })
    }

    fn set_service(&mut self, key: ServiceKey, value: &ServiceValue) -> Result<(), TableError> {
        self.services.set(key, value)
    }

    fn remove_service(&mut self, key: ServiceKey) -> Result<(), TableError> {
        self.services.remove(&key);
        Ok(())
    }

    fn set_range(&mut self, key: RangeKey, value: RangeValue) -> Result<(), TableError> {
        self.ranges.insert(&key_of(key), value, 0).map_err(error("writing PORT_RANGES"))
    }

    fn remove_range(&mut self, key: RangeKey) -> Result<(), TableError> {
        gone(self.ranges.remove(&key_of(key))).map_err(error("removing from PORT_RANGES"))
    }

    fn set_vip(&mut self, key: VipKey, value: VipValue) -> Result<(), TableError> {
        self.vips.insert(key, value, 0).map_err(error("writing VIPS"))
    }

    fn remove_vip(&mut self, key: VipKey) -> Result<(), TableError> {
        gone(self.vips.remove(&key)).map_err(error("removing from VIPS"))
    }

    fn set_filter(&mut self, filter: &VipFilter) -> Result<(), TableError> {
        self.vip_filter.set(0, filter, 0).map_err(error("writing VIP_FILTER"))
    }

    fn fill_ring(&mut self, ring: u32, slots: &[u16; SLOTS]) -> Result<(), TableError> {
        const ACTION: &str = "filling a ring";
        let map = self.ring_maps.get(ring as usize).ok_or_else(|| TableError {
            action: ACTION,
            source: io::Error::other("the ring is not installed"),
        })?;
        batch::fill(fd(map), slots).map_err(|source| TableError { action: ACTION, source })
    }

    fn install_rings(&mut self, count: u32) -> Result<(), TableError> {
        let installed = self.ring_maps.len() as u32;
        let mut fds = Vec::new();
        let mut new = Vec::new();
        let creating = |source| TableError { action: "creating a ring", source };
        let maker = inner::Maker::new().map_err(creating)?;
        for _ in installed..count {
            let inner = MapData::from_fd(maker.make().map_err(creating)?)
                .map_err(error("creating a ring"))?;
            fds.push(inner.fd().as_fd().as_raw_fd());
            new.push(inner);
        }
        let indices: Vec<u32> = (installed..count).collect();
        batch::install(self.rings.fd().as_fd(), &indices, &fds)
            .map_err(|source| TableError { action: "installing rings", source })?;
        self.ring_maps.extend(new);
        Ok(())
    }

    fn wait_for_readers(&mut self) {
        grace::wait_for_readers();
    }

    fn traffic(&self, id: u32) -> Result<Traffic, TableError> {
        self.traffic_of(id, 1).map(|sums| sums.first().copied().unwrap_or_default())
    }

    fn reset_traffic(&mut self, first: u32, count: u32) -> Result<(), TableError> {
        batch::clear(self.real_stats.fd().as_fd(), first, count, TRAFFIC_WORDS, self.cpus)
            .map_err(|source| TableError { action: "writing REAL_STATS", source })
    }
}

fn words_of(real: &Real) -> [u64; REAL_WORDS] {
    // SAFETY: both are plain data of the same size, without padding.
    unsafe { std::mem::transmute::<Real, [u64; REAL_WORDS]>(*real) }
}

fn real_of(words: [u64; REAL_WORDS]) -> Real {
    // SAFETY: both are plain data of the same size, and any bits are a `Real`.
    unsafe { std::mem::transmute::<[u64; REAL_WORDS], Real>(words) }
}

fn key_of(range: RangeKey) -> Key<[u8; RANGE_BYTES]> {
    let mut bytes = [0; RANGE_BYTES];
    let parts = range.addr.into_iter().chain([range.protocol, range.pad]).chain(range.port);
    bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    Key::new(range.prefix_len, bytes)
}

fn range_of(key: &Key<[u8; RANGE_BYTES]>) -> RangeKey {
    let mut bytes = key.data().into_iter();
    let mut next = || bytes.next().unwrap_or(0);
    RangeKey {
        prefix_len: key.prefix_len(),
        addr: std::array::from_fn(|_| next()),
        protocol: next(),
        pad: next(),
        port: [next(), next()],
    }
}

/// Removing what is not there is no error.
fn gone(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}

/// Another handle on a map.
fn duplicate(map: &MapData) -> Result<MapData, MapError> {
    let fd = map.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError)?;
    MapData::from_fd(fd)
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| Error::Object(format!("map {name} is missing")))
}

fn typed<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, Error> {
    M::try_from(map(ebpf, name)?).map_err(|e| Error::Object(format!("map {name}: {e}")))
}

fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::HashMap(data) => Some(data),
        _ => None,
    }
}

fn array(ebpf: &mut Ebpf, name: &str) -> Result<MapData, Error> {
    match map(ebpf, name)? {
        Map::Array(data) => Ok(data),
        _ => Err(Error::Object(format!("map {name} is no array"))),
    }
}

fn per_cpu(ebpf: &mut Ebpf, name: &str, words: usize) -> Result<MapData, Error> {
    match map(ebpf, name)? {
        Map::PerCpuArray(data) if value_words(&data) == words => Ok(data),
        _ => Err(Error::Object(format!("map {name} is no per-CPU array of the right size"))),
    }
}

/// A map whose elements have so many words, mapped into memory, and how many there are.
fn mapped(map: &MapData, name: &str, words: usize) -> Result<(Mapped, u32), Error> {
    let elements = entries(map);
    if value_words(map) != words {
        return Err(Error::Object(format!("map {name} has elements of another size")));
    }
    let mapped = Mapped::new(fd(map), elements, words)
        .map_err(|e| Error::Object(format!("map {name} cannot be mapped into memory: {e}")))?;
    Ok((mapped, elements))
}

fn fd(map: &MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

fn entries(map: &MapData) -> u32 {
    map.info().map_or(0, |info| info.max_entries())
}

fn value_words(map: &MapData) -> usize {
    map.info().map_or(0, |info| info.value_size() as usize / 8)
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
