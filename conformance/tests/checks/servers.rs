//! The servers: nginx, openssl s_server, unbound, a gRPC server, and one that misbehaves.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vc5_conformance::lab::{Lab, Netns, Process, command, wait};
use vc5_conformance::tool::rude::{Manner, Reply};

use crate::certificates::{Certificates, NAME};

/// nginx: HTTP/1.1.
pub(crate) const HTTP: u16 = 80;
/// nginx: HTTP/2 with prior knowledge.
pub(crate) const H2C: u16 = 81;
/// nginx: HTTP/1.1 over TLS and nothing else.
pub(crate) const HTTPS_ONE: u16 = 448;
/// nginx, HTTP/1.1 and HTTP/2, one port for each certificate, with the file that has it; the last one asks clients for theirs.
pub(crate) const HTTPS: [(u16, &str); 5] =
    [(443, "good"), (444, "expired"), (445, "misnamed"), (446, "unknown"), (447, "good")];
/// openssl s_server, alike.
pub(crate) const TLS: [(u16, &str); 5] =
    [(4430, "good"), (4431, "expired"), (4432, "misnamed"), (4433, "unknown"), (4434, "good")];
/// unbound.
pub(crate) const DNS: u16 = 53;
/// The gRPC server.
pub(crate) const GRPC: u16 = 5005;
/// It has no service there.
pub(crate) const GRPC_BARE: u16 = 5006;
/// It speaks TLS there.
pub(crate) const GRPC_TLS: u16 = 5007;
/// Nobody listens there.
pub(crate) const CLOSED: u16 = 9;

/// Programs they come from, with the Debian package of each.
pub(crate) const PROGRAMS: [(&str, &str); 5] = [
    ("nginx", "nginx"),
    ("openssl", "openssl"),
    ("python3", "python3-grpcio"),
    ("tc", "iproute2"),
    ("unbound", "unbound"),
];

/// Starts all of them in a namespace; datagrams are served at these addresses.
pub(crate) fn start(
    lab: &Lab,
    host: &Netns,
    certificates: &Certificates,
    addresses: &[IpAddr],
) -> Vec<Process> {
    let mut rude = host.command(lab.tool());
    rude.arg("rude");
    for address in addresses {
        rude.arg("--address").arg(address.to_string());
    }
    let mut servers = vec![
        run(lab, host, "rude", &mut rude, &[Manner::Noise.port()]),
        nginx(lab, host, certificates),
        unbound(lab, host, addresses),
        grpc(lab, host, certificates),
    ];
    servers.extend(TLS.map(|(port, file)| s_server(lab, host, certificates, port, file)));
    servers
}

/// Starts one and waits until it listens on these TCP ports.
fn run(lab: &Lab, host: &Netns, name: &str, command: &mut Command, ports: &[u16]) -> Process {
    let log = lab.dir().join(format!("{name}.log"));
    let mut process = Process::start(name, command, &log).unwrap();
    for port in ports {
        let what = format!("{name} listens on {port}");
        let listens = wait::until_true(&what, Duration::from_secs(20), || {
            process.check_running()?;
            Ok(!host.listeners(*port)?.is_empty())
        });
        listens.unwrap_or_else(|error| panic!("{error:#}\n{}", process.tail()));
    }
    process
}

fn nginx(lab: &Lab, host: &Netns, certificates: &Certificates) -> Process {
    let dir = lab.dir().join("nginx");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("nginx.conf");
    std::fs::write(&file, nginx_conf(&dir, certificates)).unwrap();
    let mut command = host.command("nginx");
    command.arg("-c").arg(&file).arg("-e").arg(dir.join("error.log")).arg("-p").arg(&dir);
    let ports: Vec<u16> =
        HTTPS.iter().map(|(port, _)| *port).chain([HTTP, H2C, HTTPS_ONE]).collect();
    run(lab, host, "nginx", &mut command, &ports)
}

fn nginx_conf(dir: &Path, certificates: &Certificates) -> String {
    let dir = dir.display();
    let mut text = format!(
        "daemon off; master_process off; user root; pid {dir}/pid;
error_log {dir}/error.log; events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_timeout 60s; default_type text/plain;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
"
    );
    let _ = writeln!(
        text,
        "server {{ listen [::]:{HTTP} ipv6only=off default_server; {} }}",
        locations("no name")
    );
    let _ =
        writeln!(text, "server {{ listen [::]:{HTTP}; server_name {NAME}; {} }}", locations(NAME));
    let _ =
        writeln!(text, "server {{ listen [::]:{H2C} http2 ipv6only=off; {} }}", locations("h2c"));
    let one = [(HTTPS_ONE, "good", "ssl")];
    let both = HTTPS.map(|(port, file)| (port, file, "ssl http2"));
    for (port, file, how) in one.into_iter().chain(both) {
        let _ = writeln!(
            text,
            "server {{ listen [::]:{port} {how} ipv6only=off; ssl_certificate {}; ssl_certificate_key {}; {}",
            certificates.path(&format!("{file}.pem")),
            certificates.path(&format!("{file}.key")),
            locations("by TLS")
        );
        if port == HTTPS[4].0 {
            let _ = writeln!(
                text,
                "ssl_verify_client on; ssl_client_certificate {};",
                certificates.path("authority.pem")
            );
        }
        text += "}\n";
    }
    text + "}\n"
}

/// What there is at each server. The bad answers come from behind it.
fn locations(name: &str) -> String {
    let mut text = format!(
        "location / {{ return 200 \"alive: {name}\\n\"; }}
location /code {{ return 503; }}
location /redirect {{ return 302 /; }}
location /agent {{ if ($http_x_lab != yes) {{ return 403; }} return 204; }}
proxy_buffering off; proxy_read_timeout 60s;
"
    );
    for (path, manner) in [
        ("slow", Manner::Silent),
        ("dripping", Manner::Dripping),
        ("truncated", Manner::TruncatedBody),
        ("endless", Manner::EndlessBody),
    ] {
        let port = manner.port();
        let _ = writeln!(text, "location /{path} {{ proxy_pass http://127.0.0.1:{port}; }}");
    }
    text
}

fn grpc(lab: &Lab, host: &Netns, certificates: &Certificates) -> Process {
    let mut command = host.command("/usr/bin/python3");
    command.args(["-c", include_str!("grpc_server.py")]);
    command.args([GRPC, GRPC_BARE, GRPC_TLS].map(|port| port.to_string()));
    command.args(["good.key", "good.pem"].map(|file| certificates.path(file)));
    run(lab, host, "grpc", &mut command, &[GRPC, GRPC_TLS, GRPC_BARE])
}

fn unbound(lab: &Lab, host: &Netns, addresses: &[IpAddr]) -> Process {
    let dir = lab.dir().join("unbound");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("unbound.conf");
    std::fs::write(&file, unbound_conf(&dir, addresses)).unwrap();
    let mut command = host.command("unbound");
    command.arg("-d").arg("-c").arg(&file);
    run(lab, host, "unbound", &mut command, &[DNS])
}

/// It knows all there is, but for one zone that it has to ask about, of one who says nothing.
fn unbound_conf(dir: &Path, addresses: &[IpAddr]) -> String {
    let dir = dir.display();
    let mut text = format!(
        "server:
username: \"\"
chroot: \"\"
directory: {dir}
pidfile: {dir}/pid
logfile: \"\"
use-syslog: no
do-daemonize: no
do-not-query-localhost: no
minimal-responses: yes
incoming-num-tcp: 200
access-control: 0.0.0.0/0 allow
access-control: ::/0 allow
local-zone: \".\" static
local-data: \". SOA ns.example. root.example. 1 3600 600 86400 60\"
local-data: \"www.example. A 192.0.2.80\"
local-zone: \"refused.example.\" refuse
local-zone: \"slow.example.\" transparent
"
    );
    for number in 0..20 {
        let filler = "x".repeat(60);
        let _ = writeln!(text, "local-data: 'large.example. TXT \"{number} {filler}\"'");
    }
    for address in addresses {
        let _ = writeln!(text, "interface: {address}");
    }
    let silent = Reply::Silence.port();
    let [first, ..] = addresses else { return text };
    let _ = writeln!(text, "forward-zone:\nname: slow.example.\nforward-addr: {first}@{silent}");
    text + "remote-control:\ncontrol-enable: no\n"
}

fn s_server(
    lab: &Lab,
    host: &Netns,
    certificates: &Certificates,
    port: u16,
    file: &str,
) -> Process {
    let mut command = host.command("openssl");
    command.args(["s_server", "-quiet", "-www", "-accept", &format!("*:{port}")]);
    command.arg("-cert").arg(certificates.path(&format!("{file}.pem")));
    command.arg("-key").arg(certificates.path(&format!("{file}.key")));
    if port == TLS[4].0 {
        // In TLS 1.3 the client would be done before its certificate is judged.
        command.args(["-tls1_2", "-Verify", "1", "-verify_return_error", "-CAfile"]);
        command.arg(certificates.path("authority.pem"));
    }
    run(lab, host, &format!("s_server-{port}"), &mut command, &[port])
}

/// Says what is not installed.
pub(crate) fn require() {
    command::require(&PROGRAMS).unwrap();
    let module =
        command::finish(Command::new("/usr/bin/python3").args(["-c", "import grpc"])).unwrap();
    assert!(module.status.success(), "install with: apt-get install python3-grpcio");
}
