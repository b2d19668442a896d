//! A BIRD 2 that dials the routers, commanded over its control socket.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::routers::ROUTER_AS;
use super::{HOLD, LOCAL_AS, NEXT_HOP, VIP};
use crate::lab::{Process, wait};

const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_WITH_SESSIONS: Duration = Duration::from_secs(60);
/// One of them is listened on.
const PORTS: std::ops::Range<u16> = 17900..18000;

/// A running BIRD; its files go with it.
#[derive(Debug)]
pub(super) struct Bird {
    directory: PathBuf,
    control: BufReader<UnixStream>,
    process: Process,
}

impl Bird {
    pub(super) fn start(name: &str, routers: &[SocketAddr]) -> Result<Self> {
        let directory =
            std::env::temp_dir().join(format!("vc5-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let (config, socket) = (directory.join("bird.conf"), directory.join("bird.ctl"));
        fs::write(&config, configuration(routers)?)?;
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(&config).arg("-s").arg(&socket);
        command.arg("-P").arg(directory.join("bird.pid"));
        let process = Process::start("bird", &mut command, &directory.join("bird.log"))
            .context("BIRD 2 is the measure here; install it: apt-get install bird2")?;
        let mut stream = None;
        wait::until_true("BIRD's control socket", PATIENCE, || {
            stream = UnixStream::connect(&socket).ok();
            Ok(stream.is_some())
        })?;
        let stream = stream.context("no control socket")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut bird = Self { directory, control: BufReader::new(stream), process };
        bird.answer()?;
        Ok(bird)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Writes a command; [`answer`](Self::answer) has to follow.
    pub(super) fn say(&mut self, command: &str) -> Result<()> {
        Ok(self.control.get_mut().write_all(format!("{command}\n").as_bytes())?)
    }

    /// Reads to the end of an answer, which is the first line with a code and no dash after it.
    pub(super) fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        loop {
            let begin = answer.len();
            ensure!(self.control.read_line(&mut answer)? > 0, "BIRD hung up");
            let line = answer.get(begin..).unwrap_or_default();
            let code = line.get(..4).is_some_and(|code| code.bytes().all(|c| c.is_ascii_digit()));
            if code && line.as_bytes().get(4) == Some(&b' ') {
                return Ok(answer);
            }
        }
    }

    /// Waits until so many sessions are Established, as it says itself.
    pub(super) fn wait_established(&mut self, sessions: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE_WITH_SESSIONS;
        loop {
            self.say("show protocols")?;
            let established = self.answer()?.matches("Established").count();
            if established >= sessions {
                return Ok(());
            }
            let log = self.process.tail();
            ensure!(Instant::now() < end, "{established} of BIRD's {sessions} sessions: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn configuration(routers: &[SocketAddr]) -> Result<String> {
    // Not one of the kernel's choice: the next connection that somebody makes could get it before BIRD does.
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = PORTS.into_iter().find(free).context("no port for BIRD to listen on")?;
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\nrouter id 127.0.0.1;\nprotocol device {{}}\n\
         protocol static vip {{ ipv4; route {VIP}/32 blackhole; }}\n\
         template bgp reader {{\n  local 127.0.0.1 port {port} as {LOCAL_AS};\n  multihop;\n  hold time {};\n  \
         connect delay time 1;\n  connect retry time 2;\n  error wait time 1, 2;\n  ipv4 {{ import none; export all; next hop address {NEXT_HOP}; }};\n}}\n",
        HOLD.as_secs()
    );
    for (number, router) in routers.iter().enumerate() {
        writeln!(
            text,
            "protocol bgp r{number} from reader {{ neighbor {} port {} as {ROUTER_AS}; }}",
            router.ip(),
            router.port()
        )?;
    }
    Ok(text)
}
