//! The program under test, with services of many backends.

use std::{os::fd::AsFd as _, os::fd::AsRawFd as _, ptr};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray},
    programs::{ProgramFd, Xdp},
};
use vc5_ebpf_abi::{
    Address, BUCKET_WAYS, Bucket, Counter, Iface, NO_RING, PAGE_REALS, PROGRAM, RING_SLOTS, Real,
    RealState, Reason, Ring, SERVICE_PAGES, SETTINGS, ServiceKey, ServiceValue, Settings,
    VIP_FILTER_WORDS, VipFilter, VipKey, VipValue, iface_slot, maps, stats_index,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../xdp/bpf/vc5.o");

/// Backends of each service.
pub(super) const BACKENDS: u16 = 100;
pub(super) const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The loopback, as which test runs present their packets.
const IFINDEX: u32 = 1;
const IFACE_INDEX: u8 = 1;

/// SYNs whose choice is remembered: what vc5d has.
const EMBRYONIC: u32 = 16384;

pub(super) struct Subject {
    ebpf: Ebpf,
    buckets: u32,
}

/// A VIP and its bit in the filter.
#[derive(Clone, Copy)]
pub(super) struct Vip {
    pub(super) address: Address,
    pub(super) filter_bit: u16,
}

impl Subject {
    /// Loads the program with room for so many flow records, and TCP and UDP services on port 80 of
    /// each VIP.
    pub(super) fn load(vips: &[Vip], flows: u32) -> Result<Self> {
        let buckets = flows / BUCKET_WAYS as u32;
        let settings = Settings {
            flow_mask: buckets - 1,
            embryonic_mask: EMBRYONIC / BUCKET_WAYS as u32 - 1,
            ..Settings::DEFAULT
        };
        let mut ebpf = EbpfLoader::new()
            .override_global(SETTINGS, &settings, true)
            .map_max_entries(maps::FLOWS, buckets)
            .map_max_entries(maps::EMBRYONIC, settings.embryonic_mask + 1)
            .load(OBJECT)
            .context("loading xdp/bpf/vc5.o")?;
        let program: &mut Xdp = ebpf.program_mut(PROGRAM).context("no program")?.try_into()?;
        program.load().context("loading the program: is this root, and BPF allowed?")?;
        let mut subject = Self { ebpf, buckets };
        let iface =
            Iface { ifindex: IFINDEX, mac: OUR_MAC, index: IFACE_INDEX, flags: 0, pad: [0; 4] };
        subject.set(maps::IFACES, iface_slot(IFINDEX, 0), iface)?;
        subject.add_reals()?;
        subject.add_ring()?;
        subject.add_services(vips)?;
        Ok(subject)
    }

    pub(super) fn fd(&self) -> Result<ProgramFd> {
        let program: &Xdp = self.ebpf.program(PROGRAM).context("no program")?.try_into()?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Instructions that the verifier walked.
    pub(super) fn verified(&self) -> Result<u32> {
        let program: &Xdp = self.ebpf.program(PROGRAM).context("no program")?.try_into()?;
        program.info()?.verified_instruction_count().context("the kernel does not tell")
    }

    /// Packets counted under a reason.
    pub(super) fn count(&mut self, reason: Reason) -> Result<u64> {
        let stats: PerCpuArray<_, Counter> = self.map(maps::STATS)?.try_into()?;
        let index = stats_index(IFACE_INDEX, reason);
        Ok(stats.get(&index, 0)?.iter().map(|c| c.packets).sum())
    }

    /// Empties the flow table.
    pub(super) fn forget(&self) -> Result<()> {
        let Some(Map::Array(map)) = self.ebpf.map(maps::FLOWS) else {
            anyhow::bail!("no array {}", maps::FLOWS)
        };
        let length = self.buckets as usize * size_of::<Bucket>();
        // SAFETY: maps as many bytes as the table has, clears them, and unmaps them again.
        unsafe {
            let start = libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            );
            ensure!(start != libc::MAP_FAILED, "cannot map the flow table");
            ptr::write_bytes(start.cast::<u8>(), 0, length);
            libc::munmap(start, length);
        }
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))
    }

    fn set<V: Pod>(&mut self, name: &str, index: u32, value: V) -> Result<()> {
        let mut array: Array<_, V> = self.map(name)?.try_into()?;
        Ok(array.set(index, value, 0)?)
    }

    fn add_reals(&mut self) -> Result<()> {
        for member in 1..=BACKENDS {
            let [hi, lo] = member.to_be_bytes();
            let real = Real {
                addr: vc5_ebpf_abi::mapped([10, 1, hi, lo]),
                ifindex: IFINDEX,
                mac: [2, 0, 0, 1, hi, lo],
                src_mac: OUR_MAC,
                state: RealState::Live as u8,
                ttl: 1,
                member,
                ..Real::default()
            };
            // The first page of ids is nobody's.
            self.set(maps::REALS, PAGE_REALS + u32::from(member), real)?;
        }
        Ok(())
    }

    fn add_ring(&mut self) -> Result<()> {
        let mut ring = Box::new(Ring([0; RING_SLOTS]));
        for (slot, member) in ring.0.iter_mut().zip((1..=BACKENDS).cycle()) {
            *slot = member;
        }
        let mut inner: Array<MapData, Ring> = Array::create(1, 0)?;
        inner.set(0, *ring, 0)?;
        let mut rings: ArrayOfMaps<_, Array<MapData, Ring>> = self.map(maps::RINGS)?.try_into()?;
        Ok(rings.set(0, &inner, 0)?)
    }

    fn add_services(&mut self, vips: &[Vip]) -> Result<()> {
        let mut pages = [0; SERVICE_PAGES];
        for (page, id) in pages.iter_mut().zip(1..) {
            *page = id;
        }
        let value =
            ServiceValue { prev_until_ns: 0, ring: 0, prev_ring: NO_RING, flags: 0, pad: 0, pages };
        let mut filter = VipFilter([0; VIP_FILTER_WORDS]);
        for Vip { address, filter_bit } in vips {
            let mut services: HashMap<_, ServiceKey, ServiceValue> =
                self.map(maps::SERVICES)?.try_into()?;
            for protocol in [6, 17] {
                services.insert(ServiceKey::new(*address, 80, protocol), value, 0)?;
            }
            let mut vips: HashMap<_, VipKey, VipValue> = self.map(maps::VIPS)?.try_into()?;
            vips.insert(VipKey(*address), VipValue::default(), 0)?;
            if let Some(word) = filter.0.get_mut(usize::from(filter_bit >> 6)) {
                *word |= 1 << (filter_bit & 63);
            }
        }
        self.set(maps::VIP_FILTER, 0, filter)
    }
}
