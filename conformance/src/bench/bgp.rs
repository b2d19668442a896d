//! The BGP codec beside others: runs the binary of `conformance/peers-bench`.
//!
//! That package is a workspace of its own, so that nobody builds other people's codecs who does not
//! want to measure them; `make bench` does.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Record;

const BINARY: &str = "conformance/peers-bench/target/release/vc5-peers-bench";
const BUILD: &str =
    "cargo build --locked --release --manifest-path conformance/peers-bench/Cargo.toml";

/// Decoding and encoding of a full table.
///
/// # Errors
/// The binary is not built, fails, or prints something else than records.
pub fn run() -> Result<Vec<Record>> {
    ensure!(Path::new(BINARY).exists(), "{BINARY} is missing; at the top of the checkout: {BUILD}");
    let output = Command::new(BINARY).stderr(Stdio::inherit()).output().context(BINARY)?;
    ensure!(output.status.success(), "{BINARY}: {}", output.status);
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(lines: &str) -> Result<Vec<Record>> {
    let records: Vec<Record> = lines
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no record: {line}")))
        .collect::<Result<_>>()?;
    ensure!(!records.is_empty(), "{BINARY} measured nothing");
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_line_by_line_and_anything_else_is_refused() {
        let line = r#"{"name":"bgp.encode","value":5.5,"unit":"M messages/s","min":5.5,"median":5.0,"runs":21,"peer":"p","peer_value":3.0,"method":"m"}"#;
        let records = parse(&format!("{line}\n{line}\n")).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].name, "bgp.encode");
        assert_eq!(records[0].peer_value, Some(3.0));
        assert!(parse("").is_err());
        assert!(parse(&format!("{line}\nwhat?\n")).is_err());
    }
}
