//! The demo: builds a lab, plays the story of a VIP in it, and checks every step.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vc5_conformance::{demo, lab::leftover, tool};

/// Plays the life of a VIP on real packets and a real router, and checks every step.
#[derive(Debug, Parser)]
struct Arguments {
    /// Remove labs that were left up, and what killed ones left.
    #[arg(long)]
    clean: bool,
    /// Leave the lab up; also KEEP=1.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    if let Some(code) = tool::dispatch() {
        return code;
    }
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.clean {
        let gone = leftover::remove_kept();
        println!(
            "removed: {}",
            if gone.is_empty() { "nothing".to_owned() } else { gone.join(", ") }
        );
        return Ok(true);
    }
    clean_up_on_interrupt()?;
    let keep = arguments.keep
        || std::env::var("KEEP").is_ok_and(|value| !value.is_empty() && value != "0");
    demo::play(std::env::current_exe()?, keep)
}

/// Takes the lab down when the user presses Ctrl-C.
fn clean_up_on_interrupt() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            leftover::remove_own();
            std::process::exit(130);
        }
    });
    Ok(())
}
