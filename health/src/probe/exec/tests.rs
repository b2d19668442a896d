//! Commands that end well, badly or not at all.

use std::path::Path;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::check::exec::{ExecCheck, MEMORY_MIN};
use crate::check::{Check, CheckKind, Probe, ProbePath};
use crate::probe::{Finished, Outcome, Shared, Target, alone};

const LONG: Duration = Duration::from_secs(20);

fn command(words: &[&str]) -> ExecCheck {
    ExecCheck {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        environment: [].into(),
        memory: None,
        cpu: None,
        user: None,
        group: None,
    }
}

fn shell(script: &str) -> ExecCheck {
    command(&["/bin/sh", "-c", script])
}

fn probe(exec: ExecCheck, timeout: Duration) -> Probe {
    let check = Check { timeout, ..Check::new(CheckKind::Exec(exec)) };
    alone(&check, "192.0.2.1".parse().unwrap())
}

fn target() -> Target {
    Target { address: "192.0.2.1:80".parse().unwrap(), source: None, mark: Some(7), ttl: None }
}

async fn ask(exec: ExecCheck, timeout: Duration) -> Outcome {
    let finished = Shared::default().run(target(), &probe(exec, timeout)).await;
    let outcome = finished.outcome.clone();
    finished.close().await;
    outcome
}

async fn says(exec: ExecCheck, ok: bool, diagnostic: &str) {
    let outcome = ask(exec, LONG).await;
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (ok, diagnostic));
}

#[tokio::test]
async fn the_status_decides_and_the_first_line_says_why() {
    says(command(&["/bin/true"]), true, "exit status 0").await;
    says(command(&["/bin/false"]), false, "exit status 1").await;
    says(shell("echo all well; echo more"), true, "all well").await;
    says(shell("echo >&2 disk full; exit 3"), false, "disk full (exit status 3)").await;
    says(shell("kill -9 $$"), false, "killed by signal 9").await;
    says(shell("cat; echo no input"), true, "no input").await;
    says(command(&["/bin/echo", "$HOME; no shell"]), true, "$HOME; no shell").await;
    let none = "cannot run /nonexistent/program: no such file or directory";
    says(command(&["/nonexistent/program"]), false, none).await;
    says(command(&["/etc/passwd"]), false, "cannot run /etc/passwd: permission denied").await;
}

#[tokio::test]
async fn the_environment_is_that_of_the_probe_alone() {
    let mut exec = shell("env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort | tr '\\n' ' '");
    exec.environment = [("B".to_owned(), "two words".to_owned())].into();
    let mut probe = probe(exec, LONG);
    probe.path = ProbePath::Dsr;
    probe.key.backend = "198.51.100.1".parse().unwrap();
    let target = Target { ttl: Some(1), ..target() };
    let outcome = Shared::default().run(target, &probe).await.outcome;
    let path = super::PATH;
    assert_eq!(
        outcome.diagnostic,
        format!(
            "B=two words PATH={path} VC5_ADDRESS=192.0.2.1 VC5_BACKEND=198.51.100.1 VC5_MARK=7 \
             VC5_PATH=dsr VC5_PORT=80 VC5_TIMEOUT_MS=20000 VC5_TTL=1 VC5_VIP=192.0.2.1"
        )
        .chars()
        .take(200)
        .collect::<String>()
    );
}

#[tokio::test]
async fn limits_hold_in_the_command() {
    let limits = |exec| ExecCheck {
        memory: Some(64 * MEMORY_MIN),
        cpu: Some(Duration::from_millis(1500)),
        ..exec
    };
    says(limits(shell("echo $(ulimit -v) $(ulimit -t)")), true, "65536 2").await;
    let busy = ExecCheck { cpu: Some(Duration::from_secs(1)), ..shell("while :; do :; done") };
    says(busy, false, "killed for its CPU time").await;
    // The limit is below what any program takes.
    let small = ExecCheck { memory: Some(MEMORY_MIN), ..command(&["/bin/true"]) };
    assert!(!ask(small, LONG).await.ok);
}

/// Needs root.
#[tokio::test]
async fn it_runs_as_another_user_without_further_groups() {
    let nobody =
        ExecCheck { user: Some(65_534), group: Some(65_533), ..shell("echo $(id -u) $(id -G)") };
    says(nobody, true, "65534 65533").await;
}

/// Whether a process is there and not a zombie.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    status.is_ok_and(|status| !status.rsplit(')').next().unwrap().starts_with(" Z"))
}

async fn is_gone(pid: &str) {
    while lives(pid) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_timeout_kills_the_whole_group() {
    let exec = shell("sleep 1000 & echo $!; wait");
    let outcome = ask(exec, Duration::from_millis(1500)).await;
    assert!(!outcome.ok);
    let (what, said) = outcome.diagnostic.split_once(", which says ").unwrap();
    assert_eq!(what, "timed out after 1500 ms while running the command");
    let pid = said.trim_matches('"');
    assert!(pid.parse::<u32>().is_ok(), "{said}");
    tokio::time::timeout(LONG, is_gone(pid)).await.expect("the sleep is still there");
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed_when_it_ends() {
    let outcome = ask(shell("sleep 1000 & echo $!"), LONG).await;
    assert!(outcome.ok && outcome.took < LONG, "{outcome:?}");
    tokio::time::timeout(LONG, is_gone(&outcome.diagnostic)).await.expect("it is still there");
}

#[tokio::test]
async fn endless_output_neither_hangs_nor_grows() {
    let outcome = ask(shell("yes; :"), Duration::from_millis(1500)).await;
    let said = "timed out after 1500 ms while running the command, which says \"y\"";
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, said));
    says(
        shell("head -c 1000000 /dev/zero | tr '\\0' x; exit 1"),
        false,
        &format!("{} (exit status 1)", "x".repeat(200)),
    )
    .await;
}

#[tokio::test]
async fn a_probe_that_is_given_up_kills_its_command() {
    let file = std::env::temp_dir().join(format!("vc5-exec-{}", std::process::id()));
    let probe = probe(
        shell(&format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", file.display())),
        LONG,
    );
    let task = tokio::spawn(async move { Shared::default().run(target(), &probe).await.outcome });
    let pid = loop {
        match std::fs::read_to_string(&file) {
            Ok(pid) => break pid.trim().to_owned(),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    std::fs::remove_file(&file).unwrap();
    assert!(lives(&pid));
    task.abort();
    tokio::time::timeout(LONG, is_gone(&pid)).await.expect("the command is still there");
}

#[tokio::test]
async fn a_command_that_waits_for_its_turn_has_its_whole_time() {
    let shared = Shared { commands: Semaphore::new(1), ..Shared::default() };
    let exec = probe(shell("sleep 1.5; echo done"), Duration::from_millis(2900));
    let run = || shared.run(target(), &exec);
    let finished: [Finished; 2] = tokio::join!(run(), run()).into();
    for finished in finished {
        assert_eq!(finished.outcome.diagnostic, "done");
    }
}
