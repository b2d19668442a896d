//! The built eBPF object on Debian's stable kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

use vc5_conformance::vm;

#[test]
fn the_verifier_of_debians_kernel_takes_the_object() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let object = root.join("xdp/bpf/vc5.o");
    assert!(object.is_file(), "{} is missing; build it with: make ebpf", object.display());
    let program = Path::new(env!("CARGO_BIN_EXE_vm-load"));
    let outcome = vm::run(&root.join("target/vm"), program, &[&object], "/vc5.o").unwrap();
    println!("{}", outcome.console);
    assert_eq!(outcome.status, 0, "{}", outcome.console);
    assert!(outcome.console.lines().any(|line| line.trim() == "PASS"), "{}", outcome.console);
    assert!(
        outcome.console.lines().any(|line| line.starts_with("6.1.")),
        "not the kernel this is about:\n{}",
        outcome.console
    );
}
