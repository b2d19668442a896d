//! Exec: a command ends with status 0. The commands here ask the backend themselves, by the mark they are told.

use std::collections::BTreeMap;

use vc5_health::CheckKind;
use vc5_health::check::ExecCheck;

use crate::row::{Place, Row, Way};
use crate::servers;

const DOING: &str = "running the command";

/// One GET by the path of the probe; prints the status line.
const GET: &str = r#"
import os, socket, struct, sys
env = os.environ
v6 = ":" in env["VC5_ADDRESS"]
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, 36, int(env["VC5_MARK"]))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves no TIME_WAIT
level, option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if v6 else (socket.IPPROTO_IP, socket.IP_TTL)
s.setsockopt(level, option, int(env["VC5_TTL"]))
try:
    s.connect((env["VC5_ADDRESS"], int(env["VC5_PORT"])))
    s.sendall(f"GET {env['TARGET']} HTTP/1.0\r\n\r\n".encode())
    line = s.makefile().readline().strip()
except OSError as error:
    sys.exit(error.strerror)
print(line)
sys.exit(0 if " 200 " in line else 3)
"#;

/// Wants a gigabyte.
const HUNGRY: &str = r#"
import sys
try:
    bytes(1 << 30)
except MemoryError:
    sys.exit("no memory")
"#;

fn command(words: &[&str], environment: &[(&str, &str)], memory: Option<u64>) -> CheckKind {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    CheckKind::Exec(ExecCheck {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        environment: environment.iter().map(owned).collect::<BTreeMap<_, _>>(),
        memory,
        cpu: None,
        user: None,
        group: None,
    })
}

pub(super) fn rows() -> Vec<Row> {
    let get = |port, path: &str| {
        let words = ["/usr/bin/python3", "-c", GET];
        Row::new("exec", port, command(&words, &[("TARGET", path)], None))
    };
    let run = |words: &[&str]| Row::new("exec", 1, command(words, &[], None));
    let shell = |script: &str| run(&["/bin/sh", "-c", script]);
    let nginx = |path| get(servers::HTTP, path);
    let hungry = ["/usr/bin/python3", "-c", HUNGRY];
    let hungry = Row::new("exec", 1, command(&hungry, &[], Some(256 << 20)));
    vec![
        nginx("/").up("HTTP/1.1 200 OK"),
        get(servers::CLOSED, "/").down(Way::Refused, "Connection refused (exit status 1)"),
        nginx("/").at(Place::Hole).times_out(Way::BlackHoled, DOING),
        nginx("/slow").what("origin says nothing").times_out(Way::Slow, DOING),
        shell("sleep 5 & sleep 5").what("with a child").times_out(Way::Slow, DOING),
        nginx("/code")
            .what("status 3")
            .down(Way::WrongAnswer, "HTTP/1.1 503 Service Temporarily Unavailable (exit status 3)"),
        run(&["/no/such/program"])
            .what("no program")
            .down(Way::WrongAnswer, "cannot run /no/such/program"),
        hungry.what("memory").down(Way::WrongAnswer, "no memory (exit status 1)"),
        shell("kill -9 $$")
            .what("the command is killed")
            .down(Way::Truncated, "killed by signal 9"),
        run(&["/usr/bin/yes"]).what("output").times_out(Way::Endless, DOING),
        shell("exec >&- 2>&-; sleep 5").what("its output").times_out(Way::HalfClosed, DOING),
        nginx("/")
            .at(Place::Missing)
            .times_out(Way::NoVip, DOING)
            .v6("Network is unreachable (exit status 1)"),
    ]
}
