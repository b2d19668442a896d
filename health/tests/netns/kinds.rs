//! What each kind of check finds through the VIP on the chosen backend.

use std::time::Duration;

use vc5_health::{CheckKind, ProbePath, UdpCheck, Verdict};

use crate::lab::Lab;
use crate::probes::{FAMILIES, outcomes, probe};

fn udp(receive: &str) -> CheckKind {
    CheckKind::Udp(UdpCheck { send: b"who".to_vec(), receive: Some(receive.into()) })
}

#[test]
fn datagrams_reach_the_chosen_backend() {
    let lab = Lab::new();
    let _servers = (lab.serve_udp("b1", 80), lab.serve_udp("b2", 80));
    for (vip, b1, b2) in FAMILIES {
        let dsr = |label, to, kind| probe(label, ProbePath::Dsr, vip, to, kind);
        let found = outcomes(
            &lab,
            vec![
                dsr("1", b1, udp("b1")),
                dsr("2", b2, udp("b2")),
                dsr("2 asked for 1", b2, udp("b1")),
            ],
        );
        let of = |label: &str| (found[label].0, found[label].1.as_str());
        assert_eq!(of("1"), (Verdict::Up, "an answer of 2 bytes"));
        assert_eq!(of("2"), (Verdict::Up, "an answer of 2 bytes"));
        let wrong = "\"b1\" is not in an answer of 2 bytes";
        assert_eq!(of("2 asked for 1"), (Verdict::Down, wrong));
    }
}

#[test]
fn datagrams_that_meet_a_closed_port_or_no_neighbour_fail_before_the_timeout() {
    let lab = Lab::new();
    for ((vip, b1, _), nobody) in FAMILIES.into_iter().zip(["198.51.100.99", "2001:db8:51::99"]) {
        let mut probes = vec![
            probe("closed", ProbePath::Dsr, vip, b1, udp("b1")),
            probe("nobody", ProbePath::Dsr, vip, nobody, udp("b1")),
        ];
        let timeout = Duration::from_secs(60);
        probes.iter_mut().for_each(|probe| probe.check.timeout = timeout);
        let found = outcomes(&lab, probes);
        for (label, expected) in [("closed", "connection refused"), ("nobody", "no route to host")]
        {
            let (verdict, diagnostic, took) = &found[label];
            assert_eq!((*verdict, diagnostic.as_str()), (Verdict::Down, expected), "{vip} {label}");
            assert!(*took < timeout, "{vip} {label}: {took:?}");
        }
    }
}
