//! Bad input: one line that says what to do, exit code 1 (2 for usage), and nothing attached or routed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::process::Output;

use common::{ALWAYS, NODE_AS, ROUTER, World};
use vc5_conformance::lab::{command, node::binary};

/// A start that must fail; all `words` must be in the error.
struct Case {
    name: &'static str,
    mode: &'static str,
    rest: String,
    words: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let good = format!("{ROUTER}{ALWAYS}");
    let case = |name, rest: String, words| Case { name, mode: "native", rest, words };
    vec![
        case(
            "unknown key",
            good.replace("up-delay", "up-dely"),
            &["vc5.toml:", "up-dely", "up-delay"],
        ),
        case(
            "duplicate VIP",
            format!(
                "{good}{}",
                ALWAYS.replace("vip.www", "vip.two").replace("[pool.web]", "[pool.two]")
            ),
            &["vc5.toml:", "203.0.113.10", "www"],
        ),
        case(
            "backend outside every connected subnet",
            good.replace("192.0.2.21", "198.18.7.7"),
            &["198.18.7.7", "subnet", "probe"],
        ),
        case(
            "VIP local on the host",
            good.replace("203.0.113.10", "203.0.113.77"),
            &["203.0.113.77", "an address of this host", "ip addr del"],
        ),
    ]
}

#[test]
fn a_bad_start_says_what_to_do_and_leaves_nothing() {
    let world = World::new(false);
    world.node.namespace().ip("address add 203.0.113.77/32 dev lo").unwrap();
    for Case { name, mode, rest, words } in cases() {
        world.node.configure(NODE_AS, mode, &rest).unwrap();
        let done = world.node.run_vc5d(&[]).unwrap();
        check(&world, name, &done, words);
    }
}

#[test]
fn a_missing_interface_and_missing_rights_are_told() {
    let mut world = World::new(false);
    let good = format!("{ROUTER}{ALWAYS}");
    world.node.configure(NODE_AS, "native", &good).unwrap();
    let file = world.node.config_file();

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("eth0", "eth9")).unwrap();
    let done = world.node.run_vc5d(&[]).unwrap();
    check(&world, "missing interface", &done, &["eth9"]);
    std::fs::write(&file, &text).unwrap();

    let mut powerless = world.node.namespace().command("setpriv");
    powerless.arg("--bounding-set=-bpf,-sys_admin,-perfmon").args(["timeout", "20"]);
    powerless.arg(binary("vc5d").unwrap()).arg("-c").arg(&file);
    let done = command::finish(&mut powerless).unwrap();
    check(&world, "no BPF permission", &done, &["CAP_BPF"]);

    let usage = world.node.run_vc5d(&["--no-such-option"]).unwrap();
    assert_eq!(usage.status.code(), Some(2), "usage: {usage:?}");

    world.configure(&good);
    world.start();
    world.configure(&format!("{good}[metrics]\nlisten = \"off\"\n"));
    let done = world.node.run_vc5d(&[]).unwrap();
    let socket = world.node.socket();
    check_error("socket in use", &done, &[socket.to_str().unwrap(), "another daemon", "stop it"]);
    assert!(world.node.vc5c("show status").is_ok(), "the first daemon goes on");
    assert!(world.router.established("node1").unwrap());
}

fn check(world: &World, name: &str, done: &Output, words: &[&str]) {
    check_error(name, done, words);
    assert_eq!(world.traces(), Vec::<String>::new(), "{name}");
}

/// Log lines aside, which begin with the year, there is one line.
fn check_error(name: &str, done: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&done.stderr);
    let errors: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with("20")).collect();
    println!("{name}: {}", errors.join("\n"));
    assert_eq!(done.status.code(), Some(1), "{name}: {text}");
    assert_eq!(errors.len(), 1, "{name}: {text}");
    for word in words {
        assert!(errors[0].contains(word), "{name}: no {word:?} in: {}", errors[0]);
    }
}
