//! A BGP peer that sends garbage gets the right NOTIFICATION and hurts no other session.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use common::{ALWAYS, ROUTE, ROUTER, TOOL, World};
use vc5_conformance::lab::Process;
use vc5_conformance::tool::garbage::Answer;

const RUDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
const PEER: &str = r#"
[protocol.bgp.rude]
neighbor = "192.0.2.66"
neighbor-as = 64666
connect-retry-time = "100ms"
error-wait-time = ["100ms", "100ms"]
ipv4 = { import = "none", export = "all" }
"#;

/// Case, error code, subcode and data of RFC 4271 section 6 and RFC 6608.
const EXPECTED: [(&str, u8, u8, &[u8]); 11] = [
    ("marker", 1, 1, &[]),
    ("text", 1, 1, &[]),
    ("length", 1, 2, &[0, 18]),
    ("huge-length", 1, 2, &[0xff, 0xff]),
    ("type", 1, 3, &[99]),
    ("version", 2, 1, &[0, 4]),
    ("peer-as", 2, 2, &[]),
    ("identifier", 2, 3, &[]),
    ("hold-time", 2, 6, &[]),
    ("update-in-openconfirm", 5, 2, &[2]),
    ("attribute-list", 3, 1, &[]),
];

#[test]
fn garbage_is_answered_and_hurts_nobody_else() {
    let mut world = World::new(false);
    let rude = world.fabric.host(&world.lab, "rude", RUDE).unwrap();
    let mut command = rude.command(TOOL);
    command.args(["garbage", "--listen=192.0.2.66:179", "--local-as=64666", "--id=192.0.2.66"]);
    let log = world.lab.dir().join("rude.log");
    let mut peer = Process::start("rude", &mut command, &log).unwrap();

    world.configure(&format!("{ROUTER}{PEER}{ALWAYS}"));
    world.start();
    world.await_route(ROUTE, 1);
    let status = peer.wait(Duration::from_secs(40)).unwrap();
    assert!(status.success(), "{}\nnode:\n{}", peer.tail(), world.node.log());

    let answers: Vec<Answer> =
        peer.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), EXPECTED.len(), "{answers:?}");
    for (answer, (case, code, subcode, data)) in answers.iter().zip(EXPECTED) {
        let got = (answer.case.as_str(), answer.code, answer.subcode);
        assert_eq!(got, (case, code, subcode), "{answer:?}");
        assert_eq!(answer.data, data, "{answer:?}");
    }
    assert_eq!(world.sessions(), 1, "the router's session has been reset");
    assert!(world.router.established("node1").unwrap());
    assert_eq!(world.router.next_hops(ROUTE).unwrap(), ["192.0.2.11"]);
}
