//! Which backends new flows go to, and what takes one out of the choice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use vc5_conformance::lab::{Backend, Client, Process, wait};

use crate::common::{LIMIT, TOOL, VIP};
use crate::world::Gating;

const WHOLE: u32 = 65_536;
const HALF: u32 = WHOLE / 2;

/// A VIP through a dataplane, with more keys of the pool.
fn forwarded(backends: &str, pool: &str) -> String {
    format!(
        "[pool.web]\nbackends = [{backends}]\n{pool}\n\
         [vip.www]\naddresses = [\"203.0.113.10\"]\nup-delay = \"0s\"\n\
         [[vip.www.service]]\nport = 80\npool = \"web\"\nchecks = [\"alive\"]\n"
    )
}

const BOTH: &str = "\"192.0.2.21\", \"192.0.2.22\"";

/// Backends that answer requests, and how many requests fail.
fn answers(gating: &Gating, count: u32) -> (BTreeSet<String>, usize) {
    let client = Client::new(&gating.world.lab, &gating.world.fabric.client, VIP);
    let report = client.run(&client.requests(count)).unwrap();
    let names = report.by_backend().into_keys().map(str::to_owned).collect();
    (names, report.failures().count())
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_new_backend_gets_no_flow_before_it_has_proved_itself() {
    let mut gating = Gating::with_mode("native", &forwarded("\"192.0.2.21\"", ""));
    gating.b2.stop().unwrap();
    gating.reconfigure("native", &forwarded(BOTH, ""));
    gating.explains(&["192.0.2.22", "connection refused"]);
    gating.awaits_slots([WHOLE, 0]);
    assert_eq!(answers(&gating, 50), (names(&["b1"]), 0));

    gating.b2.start().unwrap();
    gating.awaits_slots([HALF, HALF]);
    assert_eq!(answers(&gating, 100), (names(&["b1", "b2"]), 0));
    assert_eq!(gating.withdrawals(), 0);
}

#[test]
fn a_weight_that_a_service_reports_is_its_share_of_the_choice() {
    let agent = "[agent]\nsocket = \"{lab}/agent.sock\"\n";
    let gating = Gating::with_mode("native", &format!("{agent}{}", forwarded(BOTH, "")));
    gating.awaits_slots([HALF, HALF]);

    let mut stream = UnixStream::connect(gating.world.lab.dir().join("agent.sock")).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut say = |line: &str| {
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        replies.next().unwrap().unwrap()
    };
    assert_eq!(say("backend web/192.0.2.21 weight 3 for 1h \"cache is warm\""), "ok");
    gating.awaits_slots([WHOLE / 4 * 3, WHOLE / 4]);
    assert_eq!(say("backend web/192.0.2.22 drain for 1h \"new release\""), "ok");
    gating.awaits_slots([WHOLE, 0]);
    assert_eq!(answers(&gating, 50), (names(&["b1"]), 0));
    for backend in ["192.0.2.21", "192.0.2.22"] {
        assert_eq!(say(&format!("backend web/{backend} clear")), "ok");
    }
    gating.awaits_slots([HALF, HALF]);
    assert_eq!(gating.withdrawals(), 0);
}

/// Its check passes, on another port, but its clients are reset.
#[test]
fn a_backend_whose_clients_are_reset_leaves_the_choice_and_comes_back() {
    let outliers = "outliers = { connections = 10, window = \"3s\", eject-time = \"8s\", eject-max = \"50%\" }";
    let vips = forwarded(BOTH, outliers).replace("[\"alive\"]", "[\"beside\"]");
    let beside =
        "[check.beside]\ntype = \"http\"\npath = \"/alive\"\nport = 81\ninterval = \"100ms\"\n";
    let mut gating = Gating::with_mode("native", &forwarded(BOTH, ""));
    let _beside = [&gating.world.backend, &gating.b2].map(|backend| serve_beside(&gating, backend));
    gating.reconfigure("native", &format!("{beside}{vips}"));
    gating.awaits_slots([HALF, HALF]);
    gating.world.backend.stop().unwrap();

    let mut failed = 0;
    wait::until_true("it is left out", LIMIT, || {
        failed += answers(&gating, 60).1;
        Ok(gating.changes(&["192.0.2.21", "are not answered"]) > 0)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", gating.world.node.log()));
    assert!(failed > 0, "clients were reset");
    gating.awaits_slots([0, WHOLE]);
    assert_eq!(answers(&gating, 100), (names(&["b2"]), 0));

    gating.world.backend.start().unwrap();
    gating.awaits_slots([HALF, HALF]);
    assert_eq!(answers(&gating, 200), (names(&["b1", "b2"]), 0));
    assert_eq!(gating.withdrawals(), 0);
}

fn serve_beside(gating: &Gating, backend: &Backend) -> Process {
    let mut serve = backend.namespace().command(TOOL);
    serve.args(["serve", "--listen", "[::]:81", "--name", backend.name()]);
    let log = gating.world.lab.dir().join(format!("{}-81.log", backend.name()));
    let service = Process::start("serve", &mut serve, &log).unwrap();
    wait::until_true("it listens", LIMIT, || Ok(!backend.namespace().listeners(81)?.is_empty()))
        .unwrap();
    service
}
