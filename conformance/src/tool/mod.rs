//! What runs inside the namespaces of a lab: an HTTP service, HTTP clients, a rude server and a rude
//! BGP peer.
//!
//! They are subcommands of the program that builds the lab, which starts itself again inside a namespace.

pub mod garbage;
pub mod load;
pub mod probe;
mod quick;
pub mod rude;
pub mod serve;
pub mod transfer;
mod udp;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::lab::live::owner;

/// Helper of a lab: serves and fetches inside its namespaces.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// An HTTP service that tells its name.
    Serve {
        /// Name put into every answer.
        #[arg(long)]
        name: String,
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// One GET; prints the body, and the head to standard error.
    Get {
        /// Where from.
        #[arg(long)]
        target: SocketAddrV4,
        /// What.
        #[arg(long)]
        path: String,
    },
    /// A UDP service that answers with its name.
    UdpServe {
        /// The answer.
        #[arg(long)]
        name: String,
        /// Where to listen; a VIP, so that answers come from it.
        #[arg(long)]
        listen: SocketAddrV4,
    },
    /// Datagrams from many ports; prints who answered, in JSON.
    UdpAsk {
        /// Where to.
        #[arg(long)]
        target: SocketAddrV4,
        /// How many ports.
        #[arg(long)]
        ports: u16,
        /// How often from each.
        #[arg(long)]
        times: u16,
    },
    /// Many short requests, each over a connection of its own; prints a report in JSON.
    Load(load::Arguments),
    /// One long download, verified; prints its progress in JSON, one line each.
    Transfer(transfer::Arguments),
    /// A BGP peer that answers each connection with another malformed message and prints what it gets for it.
    Garbage {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddrV4,
        /// Its AS number.
        #[arg(long)]
        local_as: u16,
        /// Its BGP identifier.
        #[arg(long)]
        id: Ipv4Addr,
    },
    /// A server that misbehaves, in another way on each port.
    Rude(rude::Arguments),
    /// An HTTP service that does as little as it can.
    QuickServe {
        /// Where to listen, an IPv6 address; the unspecified one takes IPv4 too.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Probes very many backends and prints how punctual it was, in JSON.
    Probe(probe::Arguments),
    /// Owns a dataplane, and puts numbered states in force as it reads their numbers.
    OwnDataplane(owner::Arguments),
}

/// Names of the subcommands.
const NAMES: [&str; 11] = [
    "serve",
    "get",
    "udp-serve",
    "udp-ask",
    "load",
    "transfer",
    "garbage",
    "rude",
    "quick-serve",
    "probe",
    "own-dataplane",
];

/// Runs as a helper if the command line says so. Programs that build labs call this before anything else.
#[must_use]
pub fn dispatch() -> Option<ExitCode> {
    let word = std::env::args().nth(1)?;
    if !NAMES.contains(&word.as_str()) {
        return None;
    }
    Some(main())
}

/// Runs the helper that the command line names.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::parse().tool {
        Tool::Serve { name, listen } => serve::run(&name, listen),
        Tool::Get { target, path } => load::print(target, &path),
        Tool::UdpServe { name, listen } => udp::serve(&name, listen),
        Tool::UdpAsk { target, ports, times } => udp::ask(target, ports, times),
        Tool::Load(arguments) => load::run(&arguments),
        Tool::Transfer(arguments) => transfer::run(&arguments),
        Tool::Garbage { listen, local_as, id } => garbage::run(listen, local_as, id),
        Tool::Rude(arguments) => rude::run(&arguments),
        Tool::QuickServe { listen } => quick::serve(listen),
        Tool::Probe(arguments) => probe::run(&arguments),
        Tool::OwnDataplane(arguments) => owner::run(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Unix time in seconds.
#[must_use]
pub fn unix_now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
