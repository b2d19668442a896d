//! The dataplane on Debian's stable kernel, in a virtual machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use vc5_conformance::lab::command;
use vc5_conformance::vm::{Machine, Outcome};

/// Test binaries to run in the machine instead of those built from this tree, with `:` between their paths.
const BINARIES: &str = "VC5_VM_TESTS";
/// The tests of `vc5-xdp` that ask the kernel no more than to load the program and run it on frames.
const TESTS: [&str; 3] = ["table", "equality", "program"];
/// How long a machine may run: a fraction of it on idle cores.
const LIMIT: Duration = Duration::from_secs(600);
/// Random cases of each property; the host tries many more.
const CASES: u32 = 25;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn machine() -> Machine {
    Machine::new(&root().join("target/vm"), LIMIT)
}

fn check(outcome: &Outcome, commands: &[&str]) {
    println!("{}", outcome.console);
    for (command, status) in commands.iter().zip(&outcome.statuses) {
        assert_eq!(*status, 0, "{command}");
    }
    assert!(
        outcome.console.lines().any(|line| line.starts_with("6.1.")),
        "not the kernel this is about"
    );
}

/// The test binaries of `vc5-xdp`, as cargo says that it has built them.
fn binaries() -> Vec<PathBuf> {
    if let Some(paths) = std::env::var_os(BINARIES) {
        return std::env::split_paths(&paths).collect();
    }
    #[derive(Deserialize)]
    struct Artifact {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    // The same selection of packages as in the stage that has built them, so that nothing is built again.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["test", "--locked", "--no-run", "--message-format=json"]);
    cargo.args(["--workspace", "--exclude", "vc5-conformance"]);
    for test in TESTS {
        cargo.args(["--test", test]);
    }
    let messages = command::output(&mut cargo).unwrap();
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let binaries: Vec<PathBuf> = built
        .filter(|built| built.target.as_ref().is_some_and(|t| TESTS.contains(&t.name.as_str())))
        .filter_map(|built| built.executable)
        .collect();
    assert_eq!(binaries.len(), TESTS.len(), "{binaries:?}");
    binaries
}

#[test]
fn the_packet_table_on_debians_kernel() {
    let object =
        std::env::var_os("VC5_O").map_or_else(|| root().join("xdp/bpf/vc5.o"), PathBuf::from);
    assert!(object.is_file(), "{} is missing; build it with: make ebpf", object.display());
    let loader = Path::new(env!("CARGO_BIN_EXE_vm-load"));
    // The tests look for the object where it lay when they were built.
    let mut machine = machine().program(loader).file(&object, &object);
    let mut commands = vec![format!("vm-load {}", object.display())];
    for binary in binaries() {
        let name = binary.file_name().unwrap().to_str().unwrap();
        // The model alone is the same on every kernel.
        commands.push(format!(
            "PROPTEST_CASES={CASES} {name} --nocapture --test-threads=2 --skip the_model_keeps_to_the_rules"
        ));
        machine = machine.program(&binary);
    }
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    check(&machine.run(&commands).unwrap(), &commands);
}

fn trunk(uplink: &str) {
    let machine = machine()
        .program(Path::new(env!("CARGO_BIN_EXE_vm-vlan")))
        .tool("ip", "iproute2")
        .and_then(|machine| machine.tool("bridge", "iproute2"))
        .and_then(|machine| machine.tool("ethtool", "ethtool"))
        .unwrap()
        .modules(&["veth", "bridge", "8021q", "bonding"]);
    let command = format!("vm-vlan {uplink} native generic");
    let outcome = machine.run(&[&command]).unwrap();
    check(&outcome, &[&command]);
}

#[test]
fn vlans_on_one_interface() {
    trunk("single");
}

#[test]
fn vlans_on_a_bond() {
    trunk("bond");
}
