//! The lab itself: its network works without vc5d, and nothing of it outlives it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use vc5_conformance::lab::{
    Backend, Bird, Client, Fabric, Lab, Node, bird::Neighbor, command, fabric, leftover, wait,
};

const TOOL: &str = env!("CARGO_BIN_EXE_vc5-lab");
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 21), Ipv4Addr::new(192, 0, 2, 22)];

/// Two BIRDs beside two backends announce the VIP to a third, which must install both as one multipath route.
#[test]
fn the_router_spreads_connections_over_equal_routes() {
    let lab = Lab::new(TOOL).unwrap();
    let fabric = Fabric::new(&lab).unwrap();
    let mut backends: Vec<Backend> = ["b1", "b2"]
        .iter()
        .zip(ADDRESSES)
        .map(|(name, address)| Backend::new(&lab, &fabric, name, address, VIP).unwrap())
        .collect();
    for backend in &mut backends {
        backend.start().unwrap();
    }
    let neighbors: Vec<Neighbor> = backends
        .iter()
        .map(|backend| Neighbor {
            name: backend.name().to_owned(),
            address: backend.address(),
            remote_as: 65001,
            ipv6: false,
        })
        .collect();
    let router = Bird::start(
        &lab,
        &fabric.router,
        fabric::ROUTER,
        64512,
        Duration::from_secs(3),
        &neighbors,
    )
    .unwrap();
    let _announcers: Vec<_> = backends.iter().map(|backend| announcer(&lab, backend)).collect();

    let prefix = format!("{VIP}/32");
    wait::until_true("two next hops in the kernel", Duration::from_secs(10), || {
        let installed = fabric.router.ip(&format!("route show {prefix}"))?;
        Ok(installed.matches("nexthop via").count() == 2)
    })
    .unwrap();
    assert_eq!(router.next_hops(&prefix).unwrap().len(), 2);

    let client = Client::new(&lab, &fabric.client, VIP);
    let report = client.run(&client.requests(200)).unwrap();
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    let counts = report.by_backend();
    assert!(counts.len() == 2 && counts.values().all(|count| *count > 50), "{counts:?}");

    let transfer = client.transfer("transfer", 1).unwrap();
    let end = transfer.finish(Duration::from_secs(10)).unwrap();
    assert!(end.complete && end.received == 200_000, "{end:?}");
}

/// A BIRD beside a backend that announces the VIP, in the place that vc5d takes elsewhere.
fn announcer(lab: &Lab, backend: &Backend) -> vc5_conformance::lab::Process {
    let file = |end: &str| lab.dir().join(format!("{}-bird.{end}", backend.name()));
    let text = format!(
        "log stderr all; router id {};
protocol device {{}}
protocol static {{ ipv4; route {VIP}/32 blackhole; }}
protocol bgp upstream {{ local as 65001; neighbor {} as 64512; connect delay time 1;
  ipv4 {{ import none; export all; next hop self; }}; }}
",
        backend.address(),
        fabric::ROUTER,
    );
    std::fs::write(file("conf"), text).unwrap();
    let mut command = backend.namespace().command("bird");
    command
        .arg("-f")
        .arg("-c")
        .arg(file("conf"))
        .arg("-s")
        .arg(file("ctl"))
        .arg("-P")
        .arg(file("pid"));
    vc5_conformance::lab::Process::start("announcer", &mut command, &file("log")).unwrap()
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let mut prefix = String::new();
    let mut pid = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::new(TOOL).unwrap();
        lab.prefix().clone_into(&mut prefix);
        let fabric = Fabric::new(&lab).unwrap();
        let mut backend = Backend::new(&lab, &fabric, "b1", ADDRESSES[0], VIP).unwrap();
        backend.start().unwrap();
        pid = leftover::pids_in(backend.namespace().name())[0];
        let mount = lab.dir().join("mount");
        std::fs::create_dir(&mount).unwrap();
        command::output(Command::new("mount").args(["-t", "tmpfs", "lab"]).arg(&mount)).unwrap();
        assert!(leftover::remains(&prefix).len() > 5, "{:?}", leftover::remains(&prefix));
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(leftover::remains(&prefix), Vec::<String>::new());
    assert!(!std::path::Path::new(&format!("/proc/{pid}/ns")).exists());
}

/// A lab whose process was killed is removed by the next one that starts.
#[test]
fn a_killed_owner_is_swept() {
    let mut owner = Command::new("true").spawn().unwrap();
    let dead = owner.id();
    owner.wait().unwrap();
    let prefix = format!("{}{dead}-0", leftover::PREFIX);
    command::ip(&format!("netns add {prefix}-router")).unwrap();
    std::fs::create_dir_all(leftover::root_dir().join(&prefix)).unwrap();
    assert_eq!(leftover::remains(&prefix).len(), 2);
    let _lab = Lab::new(TOOL).unwrap();
    assert_eq!(leftover::remains(&prefix), Vec::<String>::new());
}

/// Without a program there, a node's port would drop what XDP on the node transmits.
#[test]
fn a_nodes_switch_port_runs_an_xdp_program() {
    let lab = Lab::new(TOOL).unwrap();
    let fabric = Fabric::new(&lab).unwrap();
    let _node = Node::new(&lab, &fabric, "node1", Ipv4Addr::new(192, 0, 2, 11)).unwrap();
    let port = fabric.bridge.ip("-d link show dev node1").unwrap();
    assert!(port.contains("prog/xdp id "), "{port}");
}
