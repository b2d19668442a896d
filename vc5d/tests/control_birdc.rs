//! BIRD's own client and vc5's against a served snapshot.
// Helpers below may unwrap as tests do.
#![cfg(test)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use vc5d::control::command::{Command as Order, Failure, Outcome, Request, Shared};
use vc5d::control::reply::code;
use vc5d::control::{bind, serve};
use vc5d::snapshot;

#[path = "common/fixture.rs"]
mod fixture;

/// A control socket over the fixture with a core that agrees to everything; gone when dropped.
struct Daemon {
    directory: PathBuf,
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
}

impl Daemon {
    fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vc5-{name}-{}", std::process::id()));
        let socket = directory.join("vc5.ctl");
        let runtime = Runtime::new().unwrap();
        let listener = {
            let _inside = runtime.enter();
            bind(&socket).unwrap()
        };
        let (commands, requests) = mpsc::channel(4);
        let snapshot = Arc::new(ArcSwap::from_pointee(fixture::snapshot()));
        let (stop, stopped) = watch::channel(false);
        let dataplane = Arc::new(Weak::<vc5_xdp::Dataplane>::new());
        runtime.spawn(serve(listener, Shared { snapshot, commands, dataplane }, stopped));
        runtime.spawn(core(requests));
        Self { directory, _runtime: runtime, _stop: stop }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("vc5.ctl")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn core(mut requests: mpsc::Receiver<Request>) {
    while let Some(Request { command, reply }) = requests.recv().await {
        let outcome = match command {
            Order::Configure { file: None, .. } => {
                let text = "Reading configuration from /etc/vc5/vc5.toml";
                Ok(Outcome::new(code::READING, text).then(code::RECONFIGURED, "Reconfigured"))
            }
            Order::ConfigureCheck { file: None } => {
                Ok(Outcome::new(code::CONFIG_OK, "Configuration OK"))
            }
            Order::Configure { file: Some(file), .. }
            | Order::ConfigureCheck { file: Some(file) } => {
                let text = format!("{}: No such file", file.display());
                Err(Failure::new(code::CONFIG_ERROR, text))
            }
            Order::Protocol { action, names, message } => {
                let text = format!("{action:?} {names:?} {message:?}");
                Ok(Outcome::new(code::DISABLED, text).done())
            }
            Order::Admin { target, .. } => Ok(Outcome::new(code::DISABLED, target.to_string())),
            Order::Down => Ok(Outcome::new(code::SHUTDOWN, "Shutdown requested")),
        };
        let _ = reply.send(outcome);
    }
}

fn run(program: &str, socket: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .arg("-s")
        .arg(socket)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; try: apt-get install bird2"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// birdc lies in a directory that is not in every user's PATH.
fn birdc() -> &'static str {
    if Path::new("/usr/sbin/birdc").exists() { "/usr/sbin/birdc" } else { "birdc" }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn birdc_shows_and_changes() {
    let daemon = Daemon::start("birdc");
    let birdc = |command: &[&str]| run(birdc(), &daemon.socket(), command, "");

    let shown = birdc(&["show", "protocols"]);
    assert_eq!(
        out(&shown),
        "vc5 0.1.0 ready.\n\
         Name       Proto      Table      State  Since         Info\n\
         tor1       BGP        ---        up     2026-11-24 08:00:00  Established   \n\
         tor2       BGP        master4    start  2026-11-24 08:59:30  Active        Socket: Connection refused\n\
         tor3       BGP        master6    down   2026-11-24 08:59:30  Down          Automatic shutdown: Administrative shutdown\n\
         dns        Static     master4    down   2026-11-24 08:48:20  service udp/53 has 0 of 1 healthy backends\n\
         www        Static     ---        start  2026-11-24 08:48:20  up-delay ends in 3 s\n"
    );
    assert!(shown.status.success());

    let all = out(&birdc(&["sh", "pro", "all", "tor1"]));
    assert!(all.contains("\n    Hold timer:       6.358/9\n"), "{all}");
    assert!(out(&birdc(&["show", "status"])).ends_with("\nDaemon is up and running\n"));
    assert!(out(&birdc(&["show", "route", "all"])).contains("\tBGP.as_path: 65000 64999\n"));
    assert!(out(&birdc(&["show", "route", "for", "192.168.101.1"])).contains("unicast [www "));
    assert!(out(&birdc(&["show", "interfaces"])).contains("eth0 up (index=2)\n"));

    let reconfigured = birdc(&["configure"]);
    assert!(out(&reconfigured).ends_with("vc5.toml\nReconfigured\n"));
    assert!(reconfigured.status.success());
    assert!(out(&birdc(&["configure", "check"])).ends_with("Configuration OK\n"));
    let disabled = out(&birdc(&["disable", "\"tor*\"", "\"moving racks\""]));
    assert!(disabled.contains("Disable Glob(\"tor*\") Some(\"moving racks\")"), "{disabled}");
    assert!(out(&birdc(&["down"])).ends_with("Shutdown requested\n"));
}

#[test]
fn birdc_exits_1_on_errors() {
    let daemon = Daemon::start("birdc-errors");
    let birdc = |command: &[&str]| run(birdc(), &daemon.socket(), command, "");
    for (command, text) in [
        (&["configure", "\"/no/such\""][..], "/no/such: No such file\n"),
        (&["show", "protocols", "nosuch"][..], "No protocols match\n"),
        (&["show", "route", "198.51.100.0/24"][..], "Network not found\n"),
        (&["show", "memory"][..], "\"memory\" is none of"),
        (&["-r", "down"][..], "Access restricted\nAccess denied\n"),
    ] {
        let output = birdc(command);
        assert!(out(&output).contains(text), "{command:?}: {}", out(&output));
        assert_eq!(output.status.code(), Some(1), "{command:?}");
    }
}

#[test]
fn birdc_converses() {
    let daemon = Daemon::start("birdc-talk");
    let input = "show protocols\nshow status\nrestrict\ndown\nquit\n";
    let output = out(&run(birdc(), &daemon.socket(), &[], input));
    for text in ["vc5 0.1.0 ready.", "tor1 ", "Daemon is up", "Access restricted", "Access denied"]
    {
        assert!(output.contains(text), "{text}: {output}");
    }
}

fn vc5c(daemon: &Daemon, arguments: &[&str], input: &str) -> Output {
    run(env!("CARGO_BIN_EXE_vc5c"), &daemon.socket(), arguments, input)
}

#[test]
fn vc5c_prints_what_birdc_prints() {
    let daemon = Daemon::start("vc5c");
    for command in [&["show", "protocols", "all"][..], &["show", "route"], &["configure"]] {
        let ours = vc5c(&daemon, command, "");
        let theirs = run(birdc(), &daemon.socket(), command, "");
        assert_eq!(format!("vc5 0.1.0 ready.\n{}", out(&ours)), out(&theirs));
        assert!(ours.status.success());
    }
    assert!(
        out(&vc5c(&daemon, &["show", "vip", "www"], "")).contains("www 192.168.101.1 up since")
    );
    let message = out(&vc5c(&daemon, &["disable", "tor1", "moving racks"], ""));
    assert!(message.contains("Disable Name(\"tor1\") Some(\"moving racks\")"), "{message}");
}

#[test]
fn vc5c_prints_json() {
    let daemon = Daemon::start("vc5c-json");
    let output = vc5c(&daemon, &["-j", "show", "vips"], "");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, serde_json::to_value(fixture::snapshot().vips).unwrap());
    let output = vc5c(&daemon, &["show", "status", "-j"], "");
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, serde_json::to_value(fixture::snapshot().status).unwrap());
}

#[test]
fn vc5c_says_by_its_exit_status_what_became_of_a_command() {
    let daemon = Daemon::start("vc5c-exit");
    for (arguments, status, text) in [
        (&["show", "status"][..], 0, ""),
        (&["show", "vip", "nosuch"], 1, "There is no VIP nosuch\n"),
        (&["-j", "show", "vip", "nosuch"], 1, "There is no VIP nosuch\n"),
        (&["frobnicate"], 1, "\"frobnicate\" is not a command, try help\n"),
        (&["-r", "down"], 1, "Access denied\n"),
        (&["-j", "down"], 1, "json: only show commands, explain and trace have JSON\n"),
        (&["-j"], 2, "error: "),
        (&["--nonsense"], 2, "error: "),
    ] {
        let output = vc5c(&daemon, arguments, "");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(text), "{arguments:?}: {error}");
    }
    let nobody =
        run(env!("CARGO_BIN_EXE_vc5c"), Path::new("/nonexistent/vc5.ctl"), &["show", "vips"], "");
    assert_eq!(nobody.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(nobody.stderr).unwrap(),
        "vc5c: /nonexistent/vc5.ctl: no daemon answers on this control socket; start vc5d, or name its socket by -s\n"
    );
}

#[test]
fn vc5c_converses() {
    let daemon = Daemon::start("vc5c-talk");
    let output = vc5c(&daemon, &[], "show vips\n\nshow vip nosuch\nshow ?\nexit\nshow status\n");
    let text = out(&output);
    assert!(text.starts_with("vc5 0.1.0 ready.\n"), "{text}");
    assert!(text.contains("192.168.101.53"), "{text}");
    assert!(text.contains("show protocols all"), "{text}");
    assert!(!text.contains("Daemon is up"), "{text}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "There is no VIP nosuch\n");
    assert!(output.status.success());
}
