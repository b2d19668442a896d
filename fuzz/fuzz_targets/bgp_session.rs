//! Whatever happens to a neighbour's state machine, it stays consistent and its timers sane.
//!
//! The octets choose a configuration and then event after event, see `machine`.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use vc5_fuzz::machine::Machine;

fuzz_target!(|data: &[u8]| {
    // Octets that run out end the story, which is no finding.
    let _ = play(&mut Unstructured::new(data));
});

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let mut machine = Machine::new(u)?;
    while !u.is_empty() {
        machine.step(u)?;
    }
    Ok(())
}
