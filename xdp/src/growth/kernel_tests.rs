//! Growth of a loaded program's table under packets. Needs root, for BPF.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use vc5_ebpf_abi::{
    BUCKET_WAYS, FlowEntry, NO_RING, PAGE_REALS, Real, RealState, SERVICE_PAGES, ServiceKey,
    ServiceValue, VipKey, VipValue, mapped,
};

use super::*;
use crate::dataplane::{AttachMode, DataplaneConfig};
use crate::loader::{Loaded, Parts};
use crate::maglev::SLOTS;
use crate::maps::{KernelTables, Tables as _, filter_of};
use crate::topology::Port;

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VIP: [u8; 4] = [192, 0, 2, 1];
const XDP_TX: u32 = 3;
/// The loopback, as which test runs present their packets.
const IFINDEX: u32 = 1;

/// Flows that have a record before the table grows.
const KNOWN: u32 = 10_000;

fn load() -> Parts {
    let config = DataplaneConfig {
        interfaces: Vec::new(),
        vlans: Default::default(),
        mode: AttachMode::Auto,
        pin_path: None,
        hash_key: *b"0123456789abcdef",
        flows: 4 * Active::FIRST * BUCKET_WAYS as u32,
        max_reals: 64,
        settle_time: Duration::ZERO,
        drain_time: Duration::ZERO,
        sample: None,
    };
    Loaded::load(&config, None, None).expect("loading the program: needs root, and BPF allowed")
}

/// Two backends: all packets without a record go to that of the ring.
fn set_ring(tables: &mut KernelTables, ring: u32) {
    let mut pages = [0; SERVICE_PAGES];
    pages[0] = 1;
    let value =
        ServiceValue { prev_until_ns: 0, ring, prev_ring: NO_RING, flags: 0, pad: 0, pages };
    tables.set_service(ServiceKey::new(mapped(VIP), 80, 6), &value).unwrap();
}

fn set_up(tables: &mut KernelTables) {
    let mac = crate::Mac(OUR_MAC);
    tables.set_interfaces(&[Port { ifindex: IFINDEX, mac, number: 1, trunk: false }], &[]).unwrap();
    tables.install_rings(2).unwrap();
    for member in [1u16, 2] {
        let real = Real {
            ifindex: IFINDEX,
            mac: [2, 0, 0, 0, 1, member as u8],
            state: RealState::Live as u8,
            member,
            ..Real::default()
        };
        tables.set_real(PAGE_REALS + u32::from(member), &real).unwrap();
        tables.fill_ring(u32::from(member) - 1, &[member; SLOTS]).unwrap();
    }
    set_ring(tables, 0);
    tables.set_vip(VipKey(mapped(VIP)), VipValue::default()).unwrap();
    tables.set_filter(&filter_of([VIP.into()])).unwrap();
}

/// Sends a packet of a flow; which backend it goes to.
fn send(program: &Xdp, flow: u32) -> u8 {
    let mut frame = [0u8; 60];
    frame[..6].copy_from_slice(&OUR_MAC);
    frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6]);
    frame[26..30].copy_from_slice(&flow.to_be_bytes());
    frame[30..34].copy_from_slice(&VIP);
    frame[34..38].copy_from_slice(&[0x9c, 0x40, 0, 80]);
    frame[46..48].copy_from_slice(&[0x50, 0x10]);
    let mut out = [0u8; 60];
    let options = TestRunOptions {
        data_in: Some(&frame),
        data_out: Some(&mut out),
        ..TestRunOptions::default()
    };
    assert_eq!(program.test_run(options).unwrap().return_value, XDP_TX);
    out[5]
}

/// Puts three records of other flows, of an earlier time, into each bucket in use.
fn fill(table: &FlowTable, seed: u64) {
    let known = table.words().iter().map(|way| FlowEntry(way.load(Ordering::Relaxed)));
    let age = known.filter(|entry| entry.real() != 0).map(FlowEntry::age).next().unwrap();
    for (bucket, ways) in table.words().chunks_exact(BUCKET_WAYS).enumerate() {
        let empty = ways.iter().filter(|way| way.load(Ordering::Relaxed) == 0).take(3);
        for (way, n) in empty.zip(seed..) {
            let hash = (bucket as u64 * 8 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let entry = FlowEntry::new(hash, PAGE_REALS + 1, 0, age.wrapping_sub(3));
            let _ = way.compare_exchange(0, entry.0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Sends packets of all known flows, again and again, and some of new ones.
/// Gives back how many flows there are then.
fn traffic(program: &Xdp, rounds: &AtomicU64, over: &AtomicBool) -> u32 {
    let mut new = KNOWN..;
    while !over.load(Ordering::Relaxed) {
        for flow in 0..KNOWN {
            assert_eq!(send(program, flow), 1, "flow {flow} stays");
            if flow % 16 == 0 {
                assert_eq!(send(program, new.next().unwrap()), 2, "a new flow");
            }
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    new.start
}

/// Ends the traffic, however this ends.
struct End<'t>(&'t AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn flows_stay_where_they_are_while_the_table_grows() {
    let Parts { mut loaded, mut tables, .. } = load();
    set_up(&mut tables);
    let program: &Xdp = loaded.program().unwrap();
    let table = tables.flows().clone();
    assert_eq!(table.mask(), Active::FIRST - 1);
    assert!((0..KNOWN).all(|flow| send(program, flow) == 1));
    set_ring(&mut tables, 1);
    let (rounds, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let flows = std::thread::scope(|scope| {
        let sender = scope.spawn(|| traffic(program, &rounds, &over));
        let end = End(&over);
        let mut growth = Growth::default();
        for doubled in [2, 4] {
            fill(&table, u64::from(doubled));
            let before = rounds.load(Ordering::Relaxed);
            while table.mask() < doubled * Active::FIRST - 1 {
                let _ = growth.look(&table);
                std::thread::yield_now();
            }
            assert_eq!(table.mask(), doubled * Active::FIRST - 1);
            while rounds.load(Ordering::Relaxed) < before + 2 && !sender.is_finished() {
                std::thread::yield_now();
            }
        }
        while growth.look(&table) {
            std::thread::yield_now();
        }
        drop(end);
        sender.join().unwrap()
    });
    assert!((0..KNOWN).all(|flow| send(program, flow) == 1), "all records are there");
    // Now only a record tells of the backend that they began with.
    set_ring(&mut tables, 0);
    let moved = (KNOWN..flows).filter(|flow| send(program, *flow) != 2).count();
    assert_eq!(moved, 0, "of {} flows that began meanwhile", flows - KNOWN);
    assert_eq!(table.words().len(), table.all_words().len());
}
