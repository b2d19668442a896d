//! The daemon.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;
use vc5d::{config, lifecycle};

/// vc5d announces VIPs by BGP while their backends are healthy, and balances their packets by XDP.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file
    #[arg(short, long, default_value = "/etc/vc5/vc5.toml")]
    config: PathBuf,

    /// Check the configuration file and exit
    #[arg(long, conflicts_with = "detach")]
    check: bool,

    /// Remove what a killed or stopped daemon left behind (dataplane, probe rules and routes) and exit
    #[arg(long)]
    detach: bool,

    /// What to log: error, warn, info, debug, trace, or by target as in `info,bgp=debug`
    #[arg(long, env = "VC5_LOG", default_value = "info")]
    log: String,

    /// Form of the log on standard error
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vc5d: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> anyhow::Result<()> {
    init_log(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.check {
        config::load(&arguments.config)?;
        println!("{}: Configuration OK", arguments.config.display());
        return Ok(());
    }
    if arguments.detach {
        let config = config::load(&arguments.config)?;
        return runtime.block_on(lifecycle::detach(&config));
    }
    let ended = runtime.block_on(lifecycle::run(&arguments.config));
    // A file that is still being read must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn init_log(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&arguments.log)
        .map_err(|error| anyhow::anyhow!("--log {:?}: {error}", arguments.log))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
