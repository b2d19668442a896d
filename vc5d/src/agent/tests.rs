//! Both doors over real sockets, with somebody in the core's place.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::driver::Doors;
use super::serve;
use crate::config::model::Config;
use crate::core::CoreRequest;
use crate::signal::Signal;
use crate::telemetry::Metrics;

struct Agent {
    socket: std::path::PathBuf,
    http: std::net::SocketAddr,
    core: mpsc::Receiver<CoreRequest>,
    stop: watch::Sender<bool>,
    _configs: watch::Sender<Arc<Config>>,
    task: tokio::task::JoinHandle<()>,
}

fn config(token: Option<&str>) -> Config {
    let text = r#"
        router = { id = "192.0.2.1", as = 65001 }
        dataplane = { mode = "off" }
        pool.web = { backends = ["10.0.0.1", "2001:db8::1"] }
    "#;
    let mut config = crate::config::parse(text, Path::new("test.toml")).unwrap();
    config.agent.token = token.map(str::to_owned);
    config
}

async fn agent(name: &str, token: Option<&str>) -> Agent {
    let file = format!("vc5-agent-{name}-{}", std::process::id());
    let socket = std::env::temp_dir().join(file);
    let _ = std::fs::remove_file(&socket);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let doors = Doors { socket: Some(UnixListener::bind(&socket).unwrap()), http: Some(listener) };
    let (configs, config) = watch::channel(Arc::new(config(token)));
    let (core_requests, core) = mpsc::channel(16);
    let (stop, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::new().unwrap());
    let task = tokio::spawn(serve(doors, config, core_requests, metrics, stopped));
    Agent { socket, http, core, stop, _configs: configs, task }
}

impl Agent {
    async fn http(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let length = body.len();
        let request =
            format!("{head} HTTP/1.1\r\nHost: vc5\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What the core was told, in words.
    fn told(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(request) = self.core.try_recv() {
            let CoreRequest::Signals(signals) = request else { panic!("{request:?}") };
            all.extend(signals.iter().map(Signal::to_string));
        }
        all
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        assert!(!self.socket.exists(), "the socket's file is removed");
    }
}

#[tokio::test]
async fn lines_are_answered_one_by_one_and_a_bad_one_costs_only_itself() {
    let mut agent = agent("lines", None).await;
    let stream = UnixStream::connect(&agent.socket).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut answers = BufReader::new(read).lines();
    let long = "x".repeat(5000);
    let lines = format!(
        "backend web/10.0.0.1 weight 50 for 30s 'cold'\n\n# nothing\n{long}\nbackend web/10.0.0.9 up\nbackend web/10.0.0.1 down\nbackend web/10.0.0.1 clear\n"
    );
    write.write_all(lines.as_bytes()).await.unwrap();
    for expected in [
        "ok",
        "error: the line is longer than 4096 bytes",
        "error: backend: there is no web/10.0.0.9 in the configuration",
        "ok",
        "ok",
    ] {
        assert_eq!(answers.next_line().await.unwrap().as_deref(), Some(expected));
    }
    assert_eq!(
        agent.told(),
        [
            "web/10.0.0.1: agent says up, weight 50: cold",
            "web/10.0.0.1: agent says down",
            "web/10.0.0.1: agent says nothing any more"
        ]
    );
    agent.end().await;
}

#[tokio::test]
async fn http_puts_gets_and_deletes() {
    let mut agent = agent("http", None).await;
    let path = "/agent/v1/backend/web/2001:db8::1";
    let put = agent.http(&format!("PUT {path}"), r#"{"state": "drain", "for": "1h"}"#).await;
    assert!(put.starts_with("HTTP/1.1 200 OK\r\n"), "{put}");
    let got = agent.http(&format!("GET {path}"), "").await;
    assert!(got.contains(r#""reason":null,"state":"drain","weight":null"#), "{got}");
    let gone = agent.http(&format!("DELETE {path}"), "").await;
    assert!(gone.starts_with("HTTP/1.1 200 OK\r\n"), "{gone}");
    assert_eq!(
        agent.told(),
        ["web/2001:db8::1: agent says drain", "web/2001:db8::1: agent says nothing any more"]
    );
    for (head, body, status, text) in [
        (format!("GET {path}"), "", "404 Not Found", "no report on web/2001:db8::1 stands"),
        (format!("PUT {path}"), "{\"state\": \"off\"}", "400 Bad Request", "state: `off`"),
        (format!("POST {path}"), "{}", "405 Method Not Allowed", "allow: PUT, GET, DELETE"),
        ("PUT /agent/v1/backend/web/x".into(), "{}", "400 Bad Request", "backend: `web/x`"),
        (
            "PUT /agent/v1/backend/db/10.0.0.1".into(),
            "{\"weight\": 1}",
            "404 Not Found",
            "db/10.0.0.1",
        ),
        ("GET /metrics".into(), "", "404 Not Found", "/agent/v1/backend/POOL/ADDRESS"),
    ] {
        let answer = agent.http(&head, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}: {answer}");
        assert!(answer.contains(text), "{head}: {answer}");
    }
    let long = agent.http(&format!("PUT {path}"), &" ".repeat(4097)).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    assert_eq!(agent.told(), [] as [String; 0]);
    agent.end().await;
}

#[tokio::test]
async fn a_token_has_to_be_known() {
    let agent = agent("token", Some("0123456789abcdef")).await;
    let head = "DELETE /agent/v1/backend/web/10.0.0.1 HTTP/1.1\r\nX: y";
    for (header, status) in [
        ("", "401 Unauthorized"),
        ("\r\nAuthorization: Bearer 0123456789abcdee", "401 Unauthorized"),
        ("\r\nAuthorization: Bearer 0123456789abcdef0", "401 Unauthorized"),
        ("\r\nAuthorization: Basic 0123456789abcdef", "401 Unauthorized"),
        ("\r\nAuthorization: bearer 0123456789abcdef", "404 Not Found"),
    ] {
        let mut stream = TcpStream::connect(agent.http).await.unwrap();
        stream.write_all(format!("{head}{header}\r\nHost: vc5\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{header}: {answer}");
    }
    agent.end().await;
}

/// `end` returns although a client is still connected.
#[tokio::test]
async fn a_client_that_stays_holds_up_nothing() {
    let agent = agent("stays", None).await;
    let mut stream = UnixStream::connect(&agent.socket).await.unwrap();
    stream.write_all(b"backend web/10.0.0.1 up\n").await.unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ok\n");
    agent.end().await;
}
