//! Runs inside the virtual machine: the dataplane on a trunk of VLANs, by one interface or a bond.
//!
//! `vm-vlan single|bond native|generic...`; prints `PASS` at the end.

use std::process::ExitCode;

use anyhow::{Result, bail};
use vc5_conformance::vm::vlan::{Mode, Uplink, play};

fn main() -> ExitCode {
    match run() {
        Ok(()) => {
            println!("PASS");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAIL {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (uplink, modes) = match &*words {
        ["single", modes @ ..] => (Uplink::Single, modes),
        ["bond", modes @ ..] => (Uplink::Bond, modes),
        _ => bail!("usage: vm-vlan single|bond native|generic..."),
    };
    let mode = |word: &&str| match *word {
        "native" => Ok(Mode::Native),
        "generic" => Ok(Mode::Generic),
        other => bail!("{other} is no mode"),
    };
    play(uplink, &modes.iter().map(mode).collect::<Result<Vec<_>>>()?)
}
