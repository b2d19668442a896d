//! Runs inside the virtual machine: shows an XDP object to the kernel's verifier and runs it once.
//!
//! Prints the instructions the verifier walked, and `PASS` at the end.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aya::programs::{Program, TestRun, TestRunOptions, XdpMode};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};

/// XDP_PASS
const PASS: u32 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("PASS");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAIL {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let object = std::env::args().nth(1).context("usage: vm-load OBJECT")?;
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::STATS)
        .load_file(&object)
        .with_context(|| format!("cannot load {object}"))?;
    let names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    if names.is_empty() {
        bail!("{object} has no program");
    }
    for name in names {
        check(&mut ebpf, &name).with_context(|| format!("program {name}"))?;
    }
    Ok(())
}

/// A UDP packet to an address that is no VIP: 192.0.2.1 to 192.0.2.2, checksums left out.
fn frame() -> Vec<u8> {
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let ip = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let udp = [0x27, 0x0f, 0, 9, 0, 26, 0, 0];
    let mut frame = [&ethernet[..], &ip, &udp].concat();
    frame.resize(60, 0);
    frame
}

fn check(ebpf: &mut Ebpf, name: &str) -> Result<()> {
    let Some(Program::Xdp(program)) = ebpf.program_mut(name) else { bail!("is no XDP program") };
    program.load().context("refused by the verifier")?;
    let count = program.info()?.verified_instruction_count().context("no instruction count")?;
    println!("{name}: {count} instructions verified");
    let link = program.attach("lo", XdpMode::Skb).context("cannot attach to lo")?;
    let ran =
        program.test_run(TestRunOptions { data_in: Some(&frame()), ..TestRunOptions::new() })?;
    println!("{name}: verdict {}", ran.return_value);
    program.detach(link)?;
    if ran.return_value != PASS {
        bail!("a packet to no VIP gets verdict {}, expected {PASS} (XDP_PASS)", ran.return_value);
    }
    Ok(())
}
