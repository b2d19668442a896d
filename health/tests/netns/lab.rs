//! Namespaces, addresses and servers, gone with their guard.

use std::fs::File;
use std::future::Future;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;

pub(crate) const VIP4: &str = "192.0.2.1";
pub(crate) const VIP6: &str = "2001:db8:ffff::1";

/// One balancer `lb` and backends `b1` and `b2` on one switch. Backend n has 198.51.100.1n and
/// 2001:db8:51::1n, the balancer .1 and ::1. The balancer has no default route.
pub(crate) struct Lab {
    prefix: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Self { prefix: format!("vc5h{}-{number}", std::process::id()) };
        for name in ["sw", "lb", "b1", "b2"] {
            ip(&["netns", "add", &lab.ns(name)]);
            lab.ip(name, "link set lo up");
        }
        lab.ip("sw", "link add br0 type bridge");
        lab.ip("sw", "link set br0 up");
        for (name, host) in [("lb", "1"), ("b1", "11"), ("b2", "12")] {
            lab.ip("sw", &format!("link add {name} type veth peer name e0 netns {}", lab.ns(name)));
            lab.ip("sw", &format!("link set {name} master br0 up"));
            lab.sysctl(name, "net/ipv6/conf/e0/accept_dad", "0");
            lab.ip(name, "link set e0 up");
            lab.ip(name, &format!("addr add 198.51.100.{host}/24 dev e0"));
            lab.ip(name, &format!("addr add 2001:db8:51::{host}/64 dev e0 nodad"));
        }
        for name in ["b1", "b2"] {
            lab.sysctl(name, "net/ipv4/conf/all/arp_ignore", "1");
            lab.sysctl(name, "net/ipv4/conf/all/arp_announce", "2");
            lab.ip(name, &format!("addr add {VIP4}/32 dev lo"));
            lab.ip(name, &format!("addr add {VIP6}/128 dev lo nodad"));
        }
        lab
    }

    /// Joins the balancer to a backend by an interface more on each side, `name` here and `e9`
    /// there. The balancer has 10.0.N.1 and 2001:db8:N::1 in that subnet, the backend .12 and ::12.
    pub(crate) fn add_interface(&self, name: &str, backend: &str, subnet: &str) {
        let peer = self.ns(backend);
        self.ip("lb", &format!("link add {name} type veth peer name e9 netns {peer}"));
        for (ns, interface, host) in [("lb", name, "1"), (backend, "e9", "12")] {
            self.sysctl(ns, &format!("net/ipv6/conf/{interface}/accept_dad"), "0");
            self.ip(ns, &format!("link set {interface} up"));
            self.ip(ns, &format!("addr add 10.0.{subnet}.{host}/24 dev {interface}"));
            self.ip(ns, &format!("addr add 2001:db8:{subnet}::{host}/64 dev {interface} nodad"));
        }
    }

    pub(crate) fn ns(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Runs `ip` with these words in a namespace and returns what it prints.
    pub(crate) fn ip(&self, name: &str, words: &str) -> String {
        ip_in(&self.ns(name), words)
    }

    pub(crate) fn sysctl(&self, name: &str, key: &str, value: &str) {
        let (path, value) = (format!("/proc/sys/{key}"), value.to_owned());
        self.run(name, async move { std::fs::write(path, value).unwrap() });
    }

    /// Runs a future to its end on a thread of its own inside a namespace.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.spawn(name, work).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let file = File::open(format!("/run/netns/{}", self.ns(name))).unwrap();
        std::thread::spawn(move || {
            // SAFETY: setns takes an open descriptor and a flag, and changes this thread only.
            let done = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(done, 0, "setns: {}", std::io::Error::last_os_error());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(work)
        })
    }

    /// All rules and routes of a namespace, as text.
    pub(crate) fn routing(&self, name: &str) -> String {
        ["rule", "-6 rule", "route show table all", "-6 route show table all"]
            .map(|words| self.ip(name, words))
            .join("\n")
    }

    /// Serves HTTP on a port of all addresses of a backend: 200 for its own name as the path, else
    /// 404.
    pub(crate) fn serve(&self, name: &'static str, port: u16) -> Server {
        let v6_and_v4 = TcpListener::bind(("::", port));
        self.serve_by(name, v6_and_v4, move |listener| accept(listener, name))
    }

    /// Answers datagrams to a port of both VIPs on a backend by its name.
    pub(crate) fn serve_udp(&self, name: &'static str, port: u16) -> Server {
        let both = async move {
            tokio::try_join!(UdpSocket::bind((VIP4, port)), UdpSocket::bind((VIP6, port)))
        };
        self.serve_by(name, both, move |(v4, v6)| async move {
            tokio::join!(echo(v4, name), echo(v6, name));
        })
    }

    /// Runs a server in a namespace once `bind` has made it one that can be reached.
    pub(crate) fn serve_by<B: Send + 'static, S: Future<Output = ()> + Send>(
        &self,
        name: &str,
        bind: impl Future<Output = std::io::Result<B>> + Send + 'static,
        serve: impl FnOnce(B) -> S + Send + 'static,
    ) -> Server {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = self.spawn(name, async move {
            let bound = bind.await.unwrap();
            ready.send(()).unwrap();
            tokio::select! {
                () = serve(bound) => {}
                _ = stopped => {}
            }
        });
        is_ready.recv().unwrap();
        Server { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in ["lb", "b1", "b2", "sw"] {
            // Without a panic: this may be on the way of one.
            let _ = Command::new("ip").args(["netns", "del", &self.ns(name)]).output();
        }
    }
}

/// A running server; stops when dropped.
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: TcpListener, name: &'static str) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => return,
                }
            }
            let ours = request.starts_with(format!("GET /{name} ").as_bytes());
            let status = if ours { "200 OK" } else { "404 Not Found" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{name}");
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

async fn echo(socket: UdpSocket, name: &str) {
    let mut buffer = [0; 64];
    loop {
        if let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(name.as_bytes(), from).await.unwrap();
        }
    }
}

/// Runs `ip` with these words in the namespace of this full name and returns what it prints.
pub(crate) fn ip_in(ns: &str, words: &str) -> String {
    let mut all = vec!["-n", ns];
    all.extend(words.split_whitespace());
    ip(&all)
}

fn ip(words: &[&str]) -> String {
    let output = Command::new("ip")
        .args(words)
        .output()
        .expect("these tests need root and iproute2: apt-get install iproute2");
    assert!(
        output.status.success(),
        "ip {}: {} (these tests need root)",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
