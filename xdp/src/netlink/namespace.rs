//! Network namespaces for tests. They need root.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// A network namespace, removed when dropped.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new() -> Self {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("vc5u{}-{number}", std::process::id());
        run(&["netns", "add", &name]);
        Self(name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let words = arguments.split_whitespace();
        run(&["-n", &self.0].into_iter().chain(words).collect::<Vec<_>>())
    }

    /// A pair of interfaces that are up: `e0` here, `p0` there.
    pub(crate) fn wire_to(&self, other: &Self) {
        self.ip(&format!("link add e0 type veth peer name p0 netns {}", other.name()));
        self.ip("link set e0 up");
        other.ip("link set p0 up");
    }

    /// Runs something in the namespace, on a thread of its own.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                // SAFETY: the descriptor is open; only this thread changes its namespace.
                let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The same, for something asynchronous.
    pub(crate) fn block_on<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.within(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(work())
        })
    }

    /// Sets a sysctl below `net`.
    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.within(|| std::fs::write(&path, value)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _unused = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("ip: {e}; install it: apt-get install iproute2"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {stderr}\nthis needs root", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
