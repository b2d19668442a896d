//! `make bench`: all benchmarks or some, as a table on standard output and a JSON object a line in
//! `target/bench.jsonl`.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::Parser;
use vc5_conformance::bench::{self, Record, Table};

type Benchmark = fn(&Arguments) -> Result<Vec<Record>>;

/// By area, which is also the first part of a record's name; an area can have parts.
const ALL: [(&str, Benchmark); 7] = [
    ("bgp", |_| bench::bgp::run()),
    ("bgp-peers", |_| bench::peers::run()),
    ("gate", |_| bench::gate::run()),
    ("health", |arguments| bench::health::run(arguments.seconds)),
    ("xdp", |_| bench::xdp::run()),
    ("xdp-forwarding", |_| bench::forwarding::run()),
    ("xdp-veth", |_| bench::veth::run()),
];

const LOG: &str = "target/bench.jsonl";

/// Runs the benchmarks and prints them with their methods.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this area: bgp (and of it only bgp-peers), gate, health or xdp (and of it only xdp-forwarding or
    /// xdp-veth)
    #[arg(long)]
    only: Option<String>,
    /// How long the ten thousand checks of health are measured, for each kind of check, in s
    #[arg(long, default_value_t = bench::health::SECONDS)]
    seconds: u64,
    /// Become the speaker that is measured while idle
    #[arg(long, hide = true)]
    idle_speaker: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.idle_speaker {
        return bench::peers::idle_child();
    }
    let wanted = |name: &str| {
        let rest = |only| name.strip_prefix(only);
        let part = |rest: &str| rest.is_empty() || rest.starts_with('-');
        arguments.only.as_deref().is_none_or(|only| rest(only).is_some_and(part))
    };
    if !ALL.iter().any(|(name, _)| wanted(name)) {
        let names = ALL.map(|(name, _)| name).join(", ");
        bail!("--only {}: there are {names}", arguments.only.as_deref().unwrap_or_default());
    }
    let mut log =
        OpenOptions::new().create(true).append(true).open(LOG).with_context(|| {
            format!("cannot write {LOG}; run this from the top of the checkout")
        })?;
    for (_, run) in ALL.iter().filter(|(name, _)| wanted(name)) {
        let records = run(&arguments)?;
        println!("{}", Table(&records));
        for record in &records {
            println!("  {}: {}", record.name, record.method);
            writeln!(log, "{}", serde_json::to_string(record)?)?;
        }
        println!();
    }
    Ok(())
}
