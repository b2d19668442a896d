//! The world in which most rows are tried: VIPs with services of each kind.
//!
//! All services share the ring in force, which is all member 2, unless they are `sticky`; of the
//! first service the flow table names member 1, the previous ring member 3 and the embryonic table
//! member 4, where a row says so. By the member it is told who has chosen.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use vc5_ebpf_abi::{
    FlowEntry, Iface, NO_RING, PAGE_REALS, RangeKey, RangeValue, Real, RealState, Ring,
    SERVICE_PAGES, ServiceKey, ServiceValue, VipValue,
};

use super::{
    frame::{Family, Frame, OUR_MAC, PORT, TCP, UDP},
    kernel::IFINDEX,
    world::{World, flow_hash, key_address, ring},
};

/// Ring in force: all member 2.
pub const RING: u32 = 0;
/// Ring before: all member 3.
pub const PREVIOUS: u32 = 1;
/// A ring without a member.
pub const EMPTY: u32 = 2;
/// A ring of members 1 to 4 in turn.
pub const SPREAD: u32 = 3;
/// Those four, made once.
static STANDARD_RINGS: LazyLock<[Arc<Ring>; 4]> =
    LazyLock::new(|| [ring(|_| 2), ring(|_| 3), ring(|_| 0), ring(|slot| 1 + slot % 4)]);
/// A ring id without a ring.
pub const ABSENT: u32 = 4;

/// [`Iface::index`] of the interface that frames come in by.
pub const IN: u8 = 1;
/// That of another, which frames can be sent out by.
pub const OTHER: u8 = 2;
/// Index of that other interface, which need not be there: no frame leaves a test run.
pub const OTHER_IFINDEX: u32 = 77;

/// Generation of all reals.
pub const GENERATION: u8 = 3;

/// VIPs by their last byte. This one has services on [`PORT`] and on a range of ports.
pub const VIP: u8 = 1;
/// With services on all ports and, before those, on 443 and 8000 to 8099.
pub const ALL_PORTS: u8 = 2;
/// With a `sticky` service on all ports.
pub const STICKY: u8 = 3;
/// With a service on [`PORT`]; packets to other ports are passed.
pub const PASSING: u8 = 4;
/// With a service on [`PORT`]; packets to other ports are answered.
pub const REJECTING: u8 = 5;
/// With a service on [`PORT`], but not up.
pub const DOWN: u8 = 6;
/// Like the first, but without [`VipValue::RANGES`], as if its last range had just gone.
pub const NO_RANGES: u8 = 7;
/// No VIP.
pub const STRANGER: u8 = 99;

/// Ports of the range: no power of two, and no multiple of one at its end.
pub const RANGE: std::ops::RangeInclusive<u16> = 8000..=8099;

/// Pages of real ids, by kind of service.
pub const WEB_PAGE: u16 = 1;
pub const RANGE_PAGE: u16 = 2;
pub const ALL_PAGE: u16 = 3;
pub const EXACT_PAGE: u16 = 4;
pub const STICKY_PAGE: u16 = 5;

/// Real id of a member of a service with this page.
pub const fn real_id(page: u16, member: u16) -> u32 {
    page as u32 * PAGE_REALS + member as u32
}

/// The real that the flow table names in rows that put one there.
pub const RECORDED: u32 = real_id(WEB_PAGE, 1);
/// The real that the ring names.
pub const CHOSEN: u32 = real_id(WEB_PAGE, 2);
/// The real that the previous ring names.
pub const BEFORE: u32 = real_id(WEB_PAGE, 3);
/// The real that the embryonic table names in rows that put one there.
pub const NOTED: u32 = real_id(WEB_PAGE, 4);

/// Hardware address of a real.
pub const fn mac(id: u32) -> [u8; 6] {
    [2, 0, 0, 1, (id >> 8) as u8, id as u8]
}

/// A real on the interface that frames come in by.
pub fn real(id: u32, state: RealState) -> Real {
    Real {
        ifindex: IFINDEX,
        mac: mac(id),
        src_mac: OUR_MAC,
        generation: GENERATION,
        state: state as u8,
        ttl: 1,
        tx: IN,
        member: (id % PAGE_REALS) as u16,
        addr: vc5_ebpf_abi::mapped([10, 0, 0, id as u8]),
        ..Real::default()
    }
}

/// A service whose members have the ids of one page.
pub fn service(page: u16) -> ServiceValue {
    let mut pages = [0; SERVICE_PAGES];
    pages[0] = page;
    ServiceValue { prev_until_ns: 0, ring: RING, prev_ring: NO_RING, flags: 0, pad: 0, pages }
}

pub fn service_key(address: IpAddr, port: u16, protocol: u8) -> ServiceKey {
    ServiceKey::new(key_address(address), port, protocol)
}

/// Key of the service on [`PORT`] of the first VIP.
pub fn web_key(family: Family, protocol: u8) -> ServiceKey {
    service_key(family.vip(VIP), PORT, protocol)
}

/// A flow record of the frame's flow, of a real of [`real`], `idle` units of age ago.
pub fn record(frame: &Frame, id: u32, idle: u8) -> FlowEntry {
    FlowEntry::new(flow_hash(frame), id, GENERATION, 0u8.wrapping_sub(idle))
}

impl World {
    /// The model and the program, both with the standard tables.
    pub fn standard() -> Self {
        Self::with_kernel().furnished()
    }

    /// With a program beside that is loaded for tracing.
    pub fn standard_traced() -> Self {
        Self::with_tracer().furnished()
    }

    /// The model alone, with the standard tables.
    pub fn standard_model() -> Self {
        Self::model_only().furnished()
    }

    fn furnished(mut self) -> Self {
        self.furnish();
        self
    }

    /// Fills in the standard tables.
    pub fn furnish(&mut self) {
        self.set_standard_rings(&*STANDARD_RINGS);
        self.furnish_all_but_rings();
    }

    /// Fills them in where the rings are there already.
    pub fn furnish_all_but_rings(&mut self) {
        self.set_iface(Iface { ifindex: IFINDEX, mac: OUR_MAC, index: IN, ..Iface::default() });
        self.set_tx_port(OTHER);
        for page in [WEB_PAGE, RANGE_PAGE, ALL_PAGE, EXACT_PAGE, STICKY_PAGE] {
            for member in 1..=4 {
                let id = real_id(page, member);
                self.set_real(id, real(id, RealState::Live));
            }
        }
        for family in Family::BOTH {
            self.add_vips(family);
        }
    }

    fn add_vips(&mut self, family: Family) {
        for protocol in [TCP, UDP] {
            for vip in [VIP, PASSING, REJECTING, DOWN, NO_RANGES] {
                let key = service_key(family.vip(vip), PORT, protocol);
                self.set_service(key, service(WEB_PAGE));
            }
            self.add_range(family.vip(VIP), protocol);
            self.add_range(family.vip(NO_RANGES), protocol);
            self.add_range(family.vip(ALL_PORTS), protocol);
            self.add_all_ports(family.vip(ALL_PORTS), protocol, service(ALL_PAGE));
            let https = service_key(family.vip(ALL_PORTS), 443, protocol);
            self.set_service(https, service(EXACT_PAGE));
            let sticky = ServiceValue {
                flags: ServiceValue::BY_ADDRESS,
                ring: SPREAD,
                ..service(STICKY_PAGE)
            };
            self.add_all_ports(family.vip(STICKY), protocol, sticky);
        }
        let flags = [
            (VIP, VipValue::UP | VipValue::RANGES),
            (ALL_PORTS, VipValue::UP | VipValue::RANGES),
            (STICKY, VipValue::UP | VipValue::RANGES),
            (PASSING, VipValue::UP | VipValue::UNKNOWN_PASS),
            (REJECTING, VipValue::UP | VipValue::UNKNOWN_REJECT),
            (DOWN, 0),
            (NO_RANGES, VipValue::UP),
        ];
        for (vip, flags) in flags {
            self.set_vip(family.vip(vip), flags);
        }
    }

    /// The service on [`RANGE`], and the fewest blocks of ports that make it up.
    fn add_range(&mut self, address: IpAddr, protocol: u8) {
        let (first, last) = (*RANGE.start(), *RANGE.end());
        self.set_service(service_key(address, first, protocol), service(RANGE_PAGE));
        let mut port = u32::from(first);
        while port <= u32::from(last) {
            let mut bits = port.trailing_zeros().min(16);
            while port + (1 << bits) - 1 > u32::from(last) {
                bits -= 1;
            }
            self.add_block(address, protocol, port as u16, 16 - bits, first);
            port += 1 << bits;
        }
    }

    fn add_all_ports(&mut self, address: IpAddr, protocol: u8, value: ServiceValue) {
        self.set_service(service_key(address, 0, protocol), value);
        self.add_block(address, protocol, 0, 0, 0);
    }

    fn add_block(&mut self, address: IpAddr, protocol: u8, port: u16, bits: u32, of: u16) {
        let key = RangeKey {
            prefix_len: RangeKey::PREFIX + bits,
            addr: key_address(address),
            protocol,
            pad: 0,
            port: port.to_be_bytes(),
        };
        self.set_range(key, RangeValue { port: of.to_be_bytes(), pad: [0; 2] });
    }
}
