//! `make bench`: all benchmarks or some, as a table on standard output and a JSON object a line in
//! `target/bench.jsonl`.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::Parser;
use vc5_conformance::bench::{self, Record, Table};

type Benchmark = fn() -> Result<Vec<Record>>;

/// By area, which is also the first part of a record's name.
const ALL: [(&str, Benchmark); 3] =
    [("bgp", bench::bgp::run), ("gate", bench::gate::run), ("xdp", bench::xdp::run)];

const LOG: &str = "target/bench.jsonl";

/// Runs the benchmarks and prints them with their methods.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this area: bgp, gate or xdp
    #[arg(long)]
    only: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    if !ALL.iter().any(|(name, _)| wanted(name)) {
        let names = ALL.map(|(name, _)| name).join(", ");
        bail!("--only {}: there are {names}", arguments.only.unwrap_or_default());
    }
    let mut log =
        OpenOptions::new().create(true).append(true).open(LOG).with_context(|| {
            format!("cannot write {LOG}; run this from the top of the checkout")
        })?;
    for (_, run) in ALL.iter().filter(|(name, _)| wanted(name)) {
        let records = run()?;
        println!("{}", Table(&records));
        for record in &records {
            println!("  {}: {}", record.name, record.method);
            writeln!(log, "{}", serde_json::to_string(record)?)?;
        }
        println!();
    }
    Ok(())
}
