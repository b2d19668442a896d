//! A BIRD 2 router and what its `birdc` says.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Lab, Netns, Process, command, wait};

/// A neighbour in a router's configuration.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// Protocol name.
    pub name: String,
    /// Address.
    pub address: Ipv4Addr,
    /// AS number.
    pub remote_as: u32,
    /// Both address families instead of IPv4 alone.
    pub ipv6: bool,
}

/// A running BIRD.
#[derive(Debug)]
pub struct Bird {
    process: Process,
    socket: PathBuf,
}

impl Bird {
    /// Starts BIRD inside a namespace. It installs every best route in the namespace's kernel, equal ones as one
    /// multipath route, and logs all states, routes and packets of its neighbours with microseconds.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(
        lab: &Lab,
        namespace: &Netns,
        router_id: Ipv4Addr,
        local_as: u32,
        hold: Duration,
        neighbors: &[Neighbor],
    ) -> Result<Self> {
        let file = |end: &str| lab.dir().join(format!("{}.{end}", namespace.name()));
        let (config, socket, log) = (file("conf"), file("ctl"), file("log"));
        fs::write(&config, configuration(router_id, local_as, hold, neighbors))?;
        let mut command = namespace.command("bird");
        command.arg("-f").arg("-c").arg(&config).arg("-s").arg(&socket).arg("-P").arg(file("pid"));
        let mut process = Process::start("bird", &mut command, &log)?;
        wait::until_true("BIRD answers", Duration::from_secs(5), || {
            process.check_running()?;
            Ok(birdc(&socket, "show status").is_ok())
        })?;
        Ok(Self { process, socket })
    }

    /// What `birdc` answers to a command.
    ///
    /// # Errors
    /// When it exits non-zero.
    pub fn birdc(&self, words: &str) -> Result<String> {
        birdc(&self.socket, words)
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Whether the session with a neighbour is Established.
    ///
    /// # Errors
    /// When `birdc` fails.
    pub fn established(&self, name: &str) -> Result<bool> {
        Ok(self.birdc(&format!("show protocols {name}"))?.contains("Established"))
    }

    /// Next hops of a prefix in its own table, chosen or not.
    ///
    /// # Errors
    /// When `birdc` fails for another reason than that there is no such route.
    pub fn next_hops(&self, prefix: &str) -> Result<Vec<String>> {
        let mut ask = Command::new("birdc");
        ask.arg("-s").arg(&self.socket).args(["show", "route", prefix]);
        let done = command::finish(&mut ask)?;
        let text = String::from_utf8_lossy(&done.stdout);
        Ok(text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("via "))
            .filter_map(|rest| rest.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }

    /// Its log: protocol events with timestamps in microseconds.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Runs the real client against any socket that speaks its protocol.
///
/// # Errors
/// When it exits non-zero.
pub fn birdc(socket: &std::path::Path, words: &str) -> Result<String> {
    command::output(Command::new("birdc").arg("-s").arg(socket).args(words.split_whitespace()))
}

fn configuration(
    router_id: Ipv4Addr,
    local_as: u32,
    hold: Duration,
    neighbors: &[Neighbor],
) -> String {
    let hold = hold.as_secs();
    let mut text = format!(
        "log stderr all;
router id {router_id};
timeformat log iso short us;
timeformat protocol iso short us;
protocol device {{ scan time 1; }}
protocol kernel kernel4 {{ ipv4 {{ import none; export all; }}; merge paths on; }}
protocol kernel kernel6 {{ ipv6 {{ import none; export all; }}; merge paths on; }}
template bgp node {{
  local as {local_as};
  hold time {hold};
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  error forget time 1;
  debug {{ states, routes, events, packets }};
}}
"
    );
    for Neighbor { name, address, remote_as, ipv6 } in neighbors {
        let ipv6 = if *ipv6 { "\n  ipv6 { import all; export none; };" } else { "" };
        text.push_str(&format!(
            "protocol bgp {name} from node {{
  neighbor {address} as {remote_as};
  ipv4 {{ import all; export none; }};{ipv6}
}}
"
        ));
    }
    text
}
