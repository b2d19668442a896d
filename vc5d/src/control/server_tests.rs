use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use tokio::sync::broadcast;
use vc5_xdp::{FlowsView, L4, NewFlow, Tuple};

use super::super::command::{Failure, NamePattern, Outcome};
use super::super::fixture;
use super::super::question::{Answer, Answers};
use super::*;

/// A dataplane with an empty flow table, and flows that the test makes up.
#[derive(Debug)]
struct Dataplane(broadcast::Sender<NewFlow>);

impl Answers for Dataplane {
    fn answer(&self, question: &Question) -> Option<Result<Answer, vc5_xdp::Error>> {
        Some(match question {
            Question::Flows { all } => {
                let view = FlowsView { capacity: 8, ..FlowsView::default() };
                Ok(Answer::Flows { view, events: Vec::new(), all: *all })
            }
            Question::Trace(_) => Err(vc5_xdp::Error::NotFound("no interface eth9".into())),
            Question::Maglev(_) | Question::Flow(_) => {
                Err(vc5_xdp::Error::Question("it is busy".into()))
            }
        })
    }

    fn samples(&self) -> Option<broadcast::Receiver<NewFlow>> {
        Some(self.0.subscribe())
    }
}

/// A flow from this source port.
fn new_flow(source_port: u16) -> NewFlow {
    let tuple = Tuple {
        source: "198.51.100.1".parse().unwrap(),
        source_port,
        destination: "192.168.101.1".parse().unwrap(),
        port: 80,
        protocol: L4::Tcp,
    };
    NewFlow { tuple, backend: "10.1.10.10".parse().ok(), reason: "ring" }
}

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vc5-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("below/vc5.ctl")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

struct Server {
    directory: Directory,
    requests: mpsc::Receiver<Request>,
    stop: watch::Sender<bool>,
    flows: broadcast::Sender<NewFlow>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    fn start(name: &str, limits: Limits) -> Self {
        let directory = Directory::new(name);
        let listener = bind(&directory.socket()).unwrap();
        let (commands, requests) = mpsc::channel(1);
        let snapshot = Arc::new(ArcSwap::from_pointee(fixture::snapshot()));
        let (stop, stopped) = watch::channel(false);
        let flows = broadcast::channel(4).0;
        let dataplane = Arc::new(Dataplane(flows.clone()));
        let shared = Shared { snapshot, commands, dataplane };
        let task = tokio::spawn(serve_with(listener, shared, limits, stopped));
        Self { directory, requests, stop, flows, task }
    }

    async fn client(&self) -> Client {
        let stream = UnixStream::connect(self.directory.socket()).await.unwrap();
        let mut client = Client(BufReader::new(stream));
        assert_eq!(client.line().await, "0001 vc5 0.1.0 ready.\n");
        client
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        assert!(!self.directory.socket().exists());
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// The last line of the reply.
    async fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\n").as_bytes()).await;
        loop {
            let line = self.line().await;
            if line.as_bytes().get(4) == Some(&b' ')
                && line.starts_with(|c: char| c.is_ascii_digit())
            {
                return line;
            }
            assert!(!line.is_empty(), "{command}: closed");
        }
    }
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_respected() {
    let directory = Directory::new("bind");
    let path = directory.socket();
    let listener = bind(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, Error::InUse(_)));
    assert!(error.to_string().contains("another daemon is running"), "{error}");
    drop(listener);
    assert!(path.exists());
    drop(bind(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path), Err(Error::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let under_a_file = path.join("vc5.ctl");
    assert!(matches!(bind(&under_a_file), Err(Error::System { .. })));
}

#[tokio::test]
async fn bad_lines_lose_nothing() {
    let server = Server::start("bad", Limits::default());
    let mut client = server.client().await;
    client.send(&[b'x'; 10_000]).await;
    client.send(b"\n\xff\xfe\nshow status\n").await;
    assert_eq!(client.line().await, "9001 the line is longer than 4096 bytes\n");
    assert_eq!(client.line().await, "9001 the line is not UTF-8 text\n");
    assert_eq!(client.line().await, "1000-vc5 0.1.0\n");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn changes_go_to_the_core_and_its_words_come_back() {
    let mut server = Server::start("core", Limits::default());
    let mut client = server.client().await;
    client.send(b"disable \"tor*\" \"moving racks\"\n").await;
    let Request { command, reply } = server.requests.recv().await.unwrap();
    assert_eq!(
        command,
        Command::Protocol {
            action: super::super::command::Action::Disable,
            names: NamePattern::Glob("tor*".into()),
            message: Some("moving racks".into()),
        }
    );
    let outcome =
        Outcome::new(code::DISABLED, "tor1: disabled").then(code::DISABLED, "tor2: disabled");
    reply.send(Ok(outcome.done())).unwrap();
    assert_eq!(client.line().await, "0009-tor1: disabled\n");
    assert_eq!(client.line().await, " tor2: disabled\n");
    assert_eq!(client.line().await, "0000 \n");

    client.send(b"configure\n").await;
    let request = server.requests.recv().await.unwrap();
    request.reply.send(Err(Failure::new(code::CONFIG_ERROR, "vc5.toml:3: no"))).unwrap();
    assert_eq!(client.line().await, "8002 vc5.toml:3: no\n");

    client.send(b"down\n").await;
    let request = server.requests.recv().await.unwrap();
    drop(request);
    assert_eq!(client.line().await, "8000 The daemon is stopping\n");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_stuck_core_holds_up_only_those_who_ask_it() {
    let limits = Limits { answer: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start("stuck", limits);
    let mut asking = server.client().await;
    let mut looking = server.client().await;
    asking.send(b"down\n").await;
    assert_eq!(looking.ask("show protocols").await, "0000 \n");
    assert!(asking.line().await.starts_with("8000 There was no answer"));
    assert_eq!(asking.ask("show vips").await, "0000 \n");
    drop((asking, looking));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_hurts_nobody() {
    let limits = Limits { write: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start("deaf", limits);
    let mut deaf = server.client().await;
    let flood = async {
        // The server stops reading when its replies are not taken; then it gives up and closes.
        loop {
            let bytes = b"show protocols all\n".repeat(200);
            if let Err(error) = deaf.0.get_mut().write_all(&bytes).await {
                return error.kind();
            }
        }
    };
    let others = async {
        let mut client = server.client().await;
        for _ in 0..20 {
            assert_eq!(client.ask("show protocols all").await, "0000 \n");
        }
    };
    let (dropped, ()) = tokio::join!(flood, others);
    assert!(matches!(dropped, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
    server.stop().await;
}

#[tokio::test]
async fn there_is_a_bound_on_clients_and_room_again_when_one_leaves() {
    let server = Server::start("many", Limits { connections: 1, ..Limits::default() });
    let mut first = server.client().await;
    let stream = UnixStream::connect(server.directory.socket()).await.unwrap();
    let mut second = Client(BufReader::new(stream));
    assert!(second.line().await.starts_with("8000 Too many control connections"));
    assert_eq!(second.line().await, "");
    assert_eq!(first.ask("quit").await, "0000 \n");
    assert_eq!(first.line().await, "");
    // The task of the first client ends on its own time; until then the server may still refuse.
    loop {
        let stream = UnixStream::connect(server.directory.socket()).await.unwrap();
        let greeting = Client(BufReader::new(stream)).line().await;
        if greeting.starts_with("0001 ") {
            break;
        }
        assert!(greeting.starts_with("8000 "), "{greeting}");
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn stopping_ends_idle_sessions_after_answering_those_under_way() {
    let mut server = Server::start("stop", Limits::default());
    let mut idle = server.client().await;
    let mut asking = server.client().await;
    asking.send(b"down\n").await;
    let request = server.requests.recv().await.unwrap();
    server.stop.send(true).unwrap();
    assert_eq!(idle.line().await, "");
    request.reply.send(Ok(Outcome::new(code::SHUTDOWN, "Shutdown requested"))).unwrap();
    assert_eq!(asking.line().await, "0007 Shutdown requested\n");
    server.task.await.unwrap();
}

#[tokio::test]
async fn the_dataplane_is_asked_and_its_words_come_back() {
    let server = Server::start("asked", Limits::default());
    let mut client = server.client().await;
    for (command, last) in [
        ("show flows", "0000 \n"),
        ("json show flows", "0000 \n"),
        ("trace 198.51.100.1 to 192.168.101.1:80 via eth9", "8001 no interface eth9\n"),
        ("show flow 198.51.100.1:1 to 192.168.101.1:80", "8000 it is busy\n"),
        ("show maglev www", "8000 it is busy\n"),
        ("show maglev nosuch", "8001 There is no VIP nosuch\n"),
        ("show maglev www 81", "8001 VIP www has no such service\n"),
    ] {
        assert_eq!(client.ask(command).await, last, "{command}");
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn new_flows_come_until_the_client_has_enough() {
    let server = Server::start("follow", Limits { life: FOREVER, ..Limits::default() });
    let mut client = server.client().await;
    client.send(b"show new-flows 2\nshow new-flows\n").await;
    // The first tick of the clock is now: from here on the client is told of all flows.
    assert_eq!(client.line().await, "+\n");
    server.flows.send(new_flow(1)).unwrap();
    server.flows.send(new_flow(2)).unwrap();
    let line =
        |port| format!("1109-198.51.100.1:{port} to 192.168.101.1:80/tcp: 10.1.10.10 (ring)\n");
    assert_eq!([client.line().await, client.line().await], [line(1), line(2)]);
    assert_eq!(client.line().await, "0000 \n");

    assert_eq!(client.line().await, "+\n");
    server.flows.send(new_flow(3)).unwrap();
    assert_eq!(client.line().await, line(3));
    // What the client sends ends it, and is carried out.
    client.send(b"json show new-flows 1\n").await;
    assert_eq!(client.line().await, "0000 \n");
    assert_eq!(client.line().await, "+\n");
    server.flows.send(new_flow(4)).unwrap();
    let text = client.line().await;
    let document: serde_json::Value =
        serde_json::from_str(text.strip_prefix("1111-").unwrap()).unwrap();
    assert_eq!(document["flow"]["source_port"], 4);
    assert_eq!(client.line().await, "0000 \n");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_follows_ends_with_the_daemon_and_the_dataplane() {
    let server = Server::start("followed", Limits::default());
    let mut client = server.client().await;
    client.send(b"show new-flows\n").await;
    assert_eq!(client.line().await, "+\n");
    server.stop().await;
    assert_eq!(client.line().await, "");
}

const FOREVER: Duration = Duration::from_secs(86_400);

#[test]
fn the_zone_is_a_plausible_one() {
    for at in [0, 1_795_510_800, i64::from(u32::MAX)] {
        assert!(zone(at).abs() <= 16 * 3600);
    }
}
