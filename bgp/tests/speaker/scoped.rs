//! Link-local neighbours over a veth pair between two namespaces that exist as long as their threads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use vc5_bgp::policy::Policy;
use vc5_bgp::session::StateName;
use vc5_bgp::speaker::{FamilyConfig, PeerConfig, Speaker, SpeakerConfig};
use vc5_bgp::wire::Family;

use super::common::{bounded, route, until};

/// Puts this thread, and what it starts, into a network namespace of its own.
fn unshare() -> i32 {
    // SAFETY: the call has no memory to respect; it changes this thread's namespace alone.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "a network namespace: run the tests as root");
    // SAFETY: it cannot fail.
    unsafe { libc::gettid() }
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    let done = done.expect("`ip` of the package iproute2");
    assert!(done.success(), "ip {arguments}");
}

fn address(last: u8) -> IpAddr {
    format!("fe80::{last}").parse().unwrap()
}

fn set_up(interface: &str, last: u8) {
    ip(&format!("address add {}/64 dev {interface} nodad", address(last)));
    ip(&format!("link set {interface} up"));
}

/// A speaker with both families over the neighbour's link-local address.
async fn speaker(last: u8, local_as: u32, neighbor: (u8, u32), interface: &str) -> Speaker {
    let listen = vec![SocketAddr::new("::".parse().unwrap(), 179)];
    let router_id = Ipv4Addr::new(10, 0, 0, last);
    let speaker = Speaker::start(SpeakerConfig { router_id, local_as, listen }).await.unwrap();
    let mut config = PeerConfig::new("other", address(neighbor.0), neighbor.1);
    config.interface = Some(interface.to_owned());
    config.connect_retry_time = Duration::from_millis(200);
    let family = FamilyConfig {
        import: Policy::all(),
        export: Policy::all(),
        extended_next_hop: true,
        ..FamilyConfig::default()
    };
    config.families.insert(Family::IPV4_UNICAST, family.clone());
    config
        .families
        .insert(Family::IPV6_UNICAST, FamilyConfig { extended_next_hop: false, ..family });
    speaker.set_peer(config).unwrap();
    speaker
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// RFC 8950 over an interface that has no IPv4 address at all.
#[test]
fn link_local_neighbours_exchange_both_families() {
    let (send_id, id) = mpsc::channel();
    let (send_ready, ready) = mpsc::channel();
    let (send_done, done) = mpsc::channel::<()>();
    let far = std::thread::spawn(move || {
        send_id.send(unshare()).unwrap();
        ready.recv().unwrap();
        set_up("far0", 2);
        runtime().block_on(async {
            let router = speaker(2, 65000, (1, 65001), "far0").await;
            until(&router, |snapshot| snapshot.received_routes.len() == 2).await;
            let snapshot = router.snapshot();
            let next_hops = snapshot.received_routes.iter().map(|route| route.next_hop.to_string());
            assert_eq!(next_hops.collect::<Vec<_>>(), ["fe80::1", "fe80::1"]);
            done.recv().unwrap();
            router.shutdown(None).await;
        });
    });
    let near = std::thread::spawn(move || {
        unshare();
        ip(&format!("link add near0 type veth peer name far0 netns {}", id.recv().unwrap()));
        set_up("near0", 1);
        send_ready.send(()).unwrap();
        runtime().block_on(async {
            let node = speaker(1, 65001, (2, 65000), "near0").await;
            node.announce(route("192.0.2.100/32"));
            node.announce(route("2001:db8:101::1/128"));
            until(&node, |snapshot| {
                snapshot.peers["other"].state == StateName::Established
                    && snapshot.local_routes.iter().all(|route| route.exported_to == ["other"])
            })
            .await;
            send_done.send(()).unwrap();
            until(&node, |snapshot| snapshot.peers["other"].state != StateName::Established).await;
            bounded(node.shutdown(None)).await;
        });
    });
    near.join().unwrap();
    far.join().unwrap();
}
