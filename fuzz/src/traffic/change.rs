//! What changes in the tables between frames: all that user space does, on the keys of the standard
//! world, so that the next input finds it as it was.

use arbitrary::{Result, Unstructured};
use vc5_ebpf_abi::{
    BUCKET_WAYS, Bucket, FlowEntry, Iface, NO_RING, RangeKey, RangeValue, Real, RealState,
    ServiceKey, ServiceValue, VipValue,
    maps::{EMBRYONIC, FLOWS, FRAGMENTS},
};

use super::Scene;
use crate::path::{
    frame::{Family, OUR_MAC, PORT, TCP, UDP},
    kernel::IFINDEX,
    standard::{
        ABSENT, ALL_PAGE, ALL_PORTS, DOWN, EMPTY, EXACT_PAGE, GENERATION, IN, NO_RANGES, OTHER,
        OTHER_IFINDEX, PASSING, PREVIOUS, RANGE_PAGE, REJECTING, RING, SPREAD, STICKY, STICKY_PAGE,
        VIP, WEB_PAGE, real, real_id, service, service_key,
    },
    world::{TABLES, flow_hash, key_address},
};

const PAGES: [u16; 5] = [WEB_PAGE, RANGE_PAGE, ALL_PAGE, EXACT_PAGE, STICKY_PAGE];
const STATES: [RealState; 8] = [
    RealState::Live,
    RealState::Live,
    RealState::Live,
    RealState::Draining,
    RealState::Draining,
    RealState::Down,
    RealState::Down,
    RealState::Free,
];
/// All services: VIP and port.
const SERVICES: [(u8, u16); 12] = [
    (VIP, PORT),
    (VIP, PORT),
    (VIP, PORT),
    (VIP, 8000),
    (ALL_PORTS, 0),
    (ALL_PORTS, 443),
    (ALL_PORTS, 8000),
    (STICKY, 0),
    (PASSING, PORT),
    (REJECTING, PORT),
    (DOWN, PORT),
    (NO_RANGES, 8000),
];
/// Blocks of ports: VIP, bits and first port.
const BLOCKS: [(u8, u32, u16); 5] =
    [(VIP, 10, 8000), (VIP, 11, 8064), (VIP, 14, 8096), (ALL_PORTS, 10, 8000), (ALL_PORTS, 0, 0)];

impl Scene {
    /// One change of any kind.
    pub(super) fn change(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=11u8)? {
            0..=3 => self.change_real(u),
            4 | 5 => self.change_service(u),
            6 => self.change_vip(u),
            7 => self.change_iface(u),
            8 => self.change_range(u),
            9 => self.age(u),
            10 => self.plant(u),
            _ => self.crowd(u),
        }
    }

    pub(super) fn change_real(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let page = if u.arbitrary()? { WEB_PAGE } else { *u.choose(&PAGES)? };
        let id = real_id(page, *u.choose(&[1, 2, 2, 3, 4])?);
        let mut real = Real {
            vlan: *u.choose(&[0, 0, 0, 10, 20, 4094])?,
            ttl: *u.choose(&[1, 1, 0, 10, 64, 255])?,
            generation: GENERATION + u8::from(u.ratio(1, 5u8)?),
            ..real(id, *u.choose(&STATES)?)
        };
        if u.ratio(1, 3u8)? {
            // The second is one that cannot be sent by.
            (real.ifindex, real.tx) = (OTHER_IFINDEX, *u.choose(&[OTHER, OTHER, OTHER + 1])?);
        }
        if u.ratio(1, 10u8)? {
            real.mac = [0; 6];
        }
        self.set_real(id, real);
        Ok(())
    }

    fn change_service(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (vip, port) = *u.choose(&SERVICES)?;
        let family = *u.choose(&Family::BOTH)?;
        let key = service_key(family.vip(vip), port, *u.choose(&[TCP, TCP, UDP])?);
        let mut value = service(if u.arbitrary()? { WEB_PAGE } else { *u.choose(&PAGES)? });
        if u.ratio(1, 16u8)? {
            // Beyond all reals, in the model or in the kernel's smaller table.
            value.pages[0] = *u.choose(&[8, 4095, 4096, u16::MAX])?;
        }
        value.ring = *u.choose(&[RING, SPREAD, SPREAD, PREVIOUS, EMPTY, ABSENT, NO_RING])?;
        value.prev_ring = *u.choose(&[RING, SPREAD, PREVIOUS, PREVIOUS, EMPTY, ABSENT, NO_RING])?;
        value.prev_until_ns = *u.choose(&[u64::MAX, u64::MAX, 1])?;
        value.flags = u.int_in_range(0..=3)?;
        self.set_service(key, value, u.ratio(1, 8u8)?);
        Ok(())
    }

    fn set_service(&mut self, key: ServiceKey, value: ServiceValue, removed: bool) {
        for world in &mut self.worlds {
            world.set_service(key, value);
            if removed {
                world.remove_service(key);
            }
        }
    }

    fn change_vip(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let vips = [VIP, VIP, ALL_PORTS, STICKY, PASSING, REJECTING, DOWN, NO_RANGES];
        let address = u.choose(&Family::BOTH)?.vip(*u.choose(&vips)?);
        let all =
            VipValue::UP | VipValue::UNKNOWN_PASS | VipValue::UNKNOWN_REJECT | VipValue::RANGES;
        let flags = u.int_in_range(0..=all)?;
        self.worlds.iter_mut().for_each(|world| world.set_vip(address, flags));
        Ok(())
    }

    pub(super) fn change_iface(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let flags = *u.choose(&[Iface::TRUNK, Iface::TRUNK, 0])?;
        let iface = Iface { ifindex: IFINDEX, mac: OUR_MAC, index: IN, flags, pad: [0; 4] };
        self.worlds.iter_mut().for_each(|world| world.set_iface(iface));
        Ok(())
    }

    /// Gives a block of ports to another service, or to one that is not there.
    fn change_range(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (vip, bits, first) = *u.choose(&BLOCKS)?;
        let key = RangeKey {
            prefix_len: RangeKey::PREFIX + bits,
            addr: key_address(u.choose(&Family::BOTH)?.vip(vip)),
            protocol: *u.choose(&[TCP, UDP])?,
            pad: 0,
            port: first.to_be_bytes(),
        };
        let port = u.choose(&[8000, PORT, 0, 443, 9999])?.to_be_bytes();
        let value = RangeValue { port, pad: [0; 2] };
        self.worlds.iter_mut().for_each(|world| world.set_range(key, value));
        Ok(())
    }

    /// Lets time pass for a table.
    fn age(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let table = *u.choose(&[FLOWS, FLOWS, EMBRYONIC, FRAGMENTS])?;
        let idle = *u.choose(&[1, 3, 4, 5, 7, 8, 15, 16, 100, 127])?;
        self.worlds.iter_mut().for_each(|world| world.set_idle(table, idle));
        Ok(())
    }

    /// Puts a record of the last frame's flow into a table, of any real in any state.
    fn plant(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let Some(hash) = self.last.front().map(flow_hash) else { return Ok(()) };
        let table = *u.choose(&[FLOWS, FLOWS, EMBRYONIC])?;
        let id = if u.ratio(1, 8u8)? {
            u.int_in_range(1..=(1 << FlowEntry::REAL_BITS) - 1)?
        } else {
            real_id(*u.choose(&PAGES)?, u.int_in_range(1..=4)?)
        };
        let generation = GENERATION + u8::from(u.ratio(1, 4u8)?);
        let idle = *u.choose(&[0, 0, 3, 4, 7, 8, 16])?;
        let entry = FlowEntry::new(hash, id, generation, 0);
        let entry = entry.touched(0u8.wrapping_sub(idle), u.ratio(1, 4u8)?);
        self.worlds.iter_mut().for_each(|world| world.set_entry(table, hash, entry));
        Ok(())
    }

    /// Fills a table with records of other flows.
    pub(super) fn crowd(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (table, mask) = *u.choose(&TABLES)?;
        let (seed, ages): (u32, [u8; BUCKET_WAYS]) = u.arbitrary()?;
        let ways = ages.into_iter().zip(1u64..).map(|(age, i)| {
            // Any odd number does to make tags that differ.
            let other = (u64::from(seed) + i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let entry = FlowEntry::new(other, real_id(WEB_PAGE, 1), GENERATION, 0);
            entry.touched(age >> 1, age & 1 != 0).0
        });
        let bucket = Bucket(std::array::from_fn(|at| ways.clone().nth(at).unwrap_or_default()));
        for world in &mut self.worlds {
            (0..=mask).for_each(|index| world.set_bucket(table, index, bucket));
        }
        Ok(())
    }
}
