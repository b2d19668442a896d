//! The exec check: a command exits with status 0.

mod group;
mod output;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;

use self::group::Group;
use self::output::Output;
use super::{Clock, Finished, Target, socket};
use crate::check::exec::ExecCheck;
use crate::check::{Probe, ProbePath};

/// Where programs are looked for, unless the check says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a killed command is waited for by its probe; later on by a thread of its own.
const GONE: Duration = Duration::from_secs(1);

/// Runs the command and judges how it ends. When the probe is over, by its outcome, by the timeout
/// or by being dropped, every process of its group is killed.
pub(super) async fn probe(
    target: Target,
    clock: Clock,
    check: &ExecCheck,
    probe: &Probe,
) -> Finished {
    let (group, mut pipe) =
        match clock.stage("starting the command", start(target, check, probe)).await {
            Ok(started) => started,
            Err(diagnostic) => return clock.failed(diagnostic),
        };
    let mut output = Output::default();
    let ended = async {
        tokio::select! {
            ended = group.ended() => ended.map_err(|error| socket::describe(&error)),
            never = output.follow(&mut pipe) => match never {},
        }
    };
    let ended = clock.stage("running the command", ended).await;
    if let Err(diagnostic) = ended {
        group.kill();
        let said = output.line().map(|line| format!(", which says {line:?}")).unwrap_or_default();
        let mut finished = clock.failed(diagnostic + &said);
        finished.closing = Some(Box::pin(async move {
            let _ = tokio::time::timeout(GONE, group.ended()).await;
        }));
        return finished;
    }
    // Before the end of its group, which may have more to say than is wanted.
    output.rest(&mut pipe);
    match group.finish() {
        Ok(status) => clock.finished(status.success(), judge(status, output.line())),
        Err(error) => {
            clock.failed(format!("cannot learn its status: {}", socket::describe(&error)))
        }
    }
}

/// Starts the command on a thread that may block: the system copies this process for it.
async fn start(
    target: Target,
    check: &ExecCheck,
    probe: &Probe,
) -> Result<(Group, Receiver), String> {
    let words = |error: io::Error| socket::describe(&error);
    let (reader, writer) = io::pipe().map_err(words)?;
    let pipe = Receiver::from_owned_fd(reader.into()).map_err(words)?;
    let mut command = command(target, check, probe)?;
    command.stdout(writer.try_clone().map_err(words)?).stderr(writer);
    // The command goes with the closure, and with it the last writing ends on this side.
    let spawned = tokio::task::spawn_blocking(move || Group::spawn(command)).await;
    let spawned = spawned.map_err(|error| error.to_string())?;
    let group = spawned.map_err(|error| {
        let program = check.command.first().map_or("", String::as_str);
        format!("cannot run {program}: {}", words(error))
    })?;
    Ok((group, pipe))
}

fn command(target: Target, check: &ExecCheck, probe: &Probe) -> Result<Command, String> {
    let [program, arguments @ ..] = check.command.as_slice() else {
        return Err("no command".into());
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").stdin(Stdio::null()).process_group(0);
    command.env_clear().env("PATH", PATH).envs(&check.environment);
    command.envs(variables(target, probe));
    if let Some(user) = check.user {
        command.uid(user);
    }
    if let Some(group) = check.group {
        command.gid(group);
    }
    limit(&mut command, check);
    Ok(command)
}

/// What the command is told about the probe.
fn variables(target: Target, probe: &Probe) -> Vec<(&'static str, String)> {
    let path = match probe.path {
        ProbePath::Dsr => "dsr",
        ProbePath::Direct => "direct",
        ProbePath::Local => "local",
    };
    let mut variables = vec![
        ("VC5_VIP", probe.key.vip.to_string()),
        ("VC5_BACKEND", probe.key.backend.to_string()),
        ("VC5_ADDRESS", target.address.ip().to_string()),
        ("VC5_PATH", path.to_owned()),
        ("VC5_TIMEOUT_MS", probe.check.timeout.as_millis().to_string()),
    ];
    let port = Some(probe.key.port).filter(|port| *port != 0);
    variables.extend(port.map(|port| ("VC5_PORT", port.to_string())));
    variables.extend(target.mark.map(|mark| ("VC5_MARK", mark.to_string())));
    variables.extend(target.ttl.map(|ttl| ("VC5_TTL", ttl.to_string())));
    variables
}

/// Has the limits of the check hold from the first instruction of the program on.
fn limit(command: &mut Command, check: &ExecCheck) {
    let mut limits = Vec::new();
    limits.extend(check.memory.map(|bytes| (libc::RLIMIT_AS, bytes, bytes)));
    limits.extend(check.cpu.map(|cpu| {
        let seconds = cpu.as_secs() + u64::from(cpu.subsec_nanos() > 0);
        // SIGXCPU first, which can be told from other ends, then SIGKILL.
        (libc::RLIMIT_CPU, seconds, seconds + 1)
    }));
    if limits.is_empty() {
        return;
    }
    let set = move || {
        for (resource, soft, hard) in &limits {
            let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
            // SAFETY: the kernel reads a structure that lives through the call.
            if unsafe { libc::setrlimit(*resource, &raw const limit) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done; this makes system
    // calls and reads a list that is there already.
    unsafe { command.pre_exec(set) };
}

/// What is said about a command that has ended by itself.
fn judge(status: ExitStatus, line: Option<String>) -> String {
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(libc::SIGXCPU)) => "killed for its CPU time".into(),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    match line {
        Some(line) if status.success() => line,
        Some(line) => format!("{line} ({end})"),
        None => end,
    }
}

#[cfg(test)]
mod tests;
