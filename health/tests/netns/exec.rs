//! What a command is told about the way to its backend.

use vc5_health::{CheckKind, ExecCheck, ProbePath, Verdict};

use crate::lab::Lab;
use crate::probes::{FAMILIES, outcomes, outcomes_in, probe};

fn shell(script: &str) -> CheckKind {
    CheckKind::Exec(ExecCheck {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: [].into(),
        memory: None,
        cpu: None,
        user: None,
        group: None,
    })
}

#[test]
fn the_mark_leads_to_the_chosen_backend() {
    let lab = Lab::new();
    let route = || shell("ip -o route get $VC5_ADDRESS mark $VC5_MARK");
    for (vip, b1, b2) in FAMILIES {
        let probes = [b1, b2].map(|to| probe(to, ProbePath::Dsr, vip, to, route())).to_vec();
        let found = outcomes(&lab, probes);
        for backend in [b1, b2] {
            let (verdict, line, _) = &found[backend];
            assert_eq!(*verdict, Verdict::Up, "{line}");
            assert!(line.starts_with(vip), "{line}");
            assert!(line.contains(&format!("via {backend} dev e0")), "{line}");
        }
    }
}

#[test]
fn each_path_has_its_address() {
    let lab = Lab::new();
    let tell = || {
        shell(
            "echo $VC5_PATH $VC5_ADDRESS $VC5_VIP $VC5_BACKEND $VC5_PORT ${VC5_MARK-no mark} ${VC5_TTL-no ttl}",
        )
    };
    for (vip, b1, _) in FAMILIES {
        let dsr = probe("dsr", ProbePath::Dsr, vip, b1, tell());
        let direct = probe("direct", ProbePath::Direct, vip, b1, tell());
        let found = outcomes(&lab, vec![dsr, direct]);
        let mark = found["dsr"].1.split(' ').nth(5).unwrap();
        assert!(mark.parse::<u32>().is_ok_and(|mark| mark > 0), "{mark}");
        assert_eq!(found["dsr"].1, format!("dsr {vip} {vip} {b1} 80 {mark} 1"));
        assert_eq!(found["direct"].1, format!("direct {b1} {vip} {b1} 80 no mark no ttl"));
        let local = probe("local", ProbePath::Local, vip, b1, tell());
        let found = outcomes_in(&lab, "b1", vec![local]);
        assert_eq!(found["local"].1, format!("local {vip} {vip} {b1} 80 no mark no ttl"));
    }
}
