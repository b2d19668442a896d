//! A little network of namespaces: one segment with a balancer, backends and a client on it.
//!
//! ```text
//!   client 192.0.2.100 ---+
//!   b1     192.0.2.11  ---+-- bridge (switch) -- e0 192.0.2.1 balancer
//!   b2     192.0.2.12  ---+
//! ```
//! A host has the IPv6 address 2001:db8::N where its IPv4 address ends in N.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static LABS: AtomicU32 = AtomicU32::new(0);

/// Runs a command to its end and returns what it wrote.
///
/// # Panics
/// If it is missing or fails.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| {
        panic!("{program}: {e}; install it: apt-get install iproute2 ethtool bpftool")
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command}: {stderr}\nthese tests need root, network namespaces and BPF"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Gives up all capabilities of this thread and those it starts.
pub(crate) fn drop_capabilities() {
    // `_LINUX_CAPABILITY_VERSION_3`, for this thread.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none: [u32; 6] = [0; 6];
    // SAFETY: the structures are of the sizes that this version of the interface has.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Gives this thread and those it starts a view of the mounts of their own, with nothing on
/// `/sys/fs/bpf`.
pub(crate) fn without_bpffs() {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: all strings end with a zero byte and outlive the calls.
    unsafe {
        let unshared = libc::unshare(libc::CLONE_NEWNS);
        assert_eq!(unshared, 0, "{}", std::io::Error::last_os_error());
        let none = std::ptr::null();
        let private = libc::mount(none, c"/".as_ptr(), none, flags, none.cast());
        assert_eq!(private, 0, "{}", std::io::Error::last_os_error());
        // It fails where none is mounted, which is what is wanted.
        libc::umount2(c"/sys/fs/bpf".as_ptr(), libc::MNT_DETACH);
    }
}

/// The namespaces, removed when dropped.
pub(crate) struct Lab {
    prefix: String,
    namespaces: Vec<String>,
    bpffs: PathBuf,
}

impl Lab {
    /// The balancer, the switch, and these hosts on it, by name and last octet.
    pub(crate) fn new(hosts: &[(&str, u8)]) -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("vc5x{}-{number}", std::process::id());
        let bpffs = std::env::temp_dir().join(format!("{prefix}-bpf"));
        let mut lab = Self { prefix, namespaces: Vec::new(), bpffs };
        std::fs::create_dir_all(&lab.bpffs).unwrap();
        run(&format!("mount -t bpf bpf {}", lab.bpffs.display()));

        let switch = lab.add_namespace("switch");
        run(&format!("ip -n {switch} link add br0 type bridge mcast_snooping 0"));
        run(&format!("ip -n {switch} link set br0 up"));
        lab.add_host("lb", 1);
        for (name, octet) in hosts {
            lab.add_host(name, *octet);
        }
        lab
    }

    /// The namespace of a host.
    pub(crate) fn ns(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// A path on a bpffs of this lab's own.
    pub(crate) fn pin_path(&self) -> PathBuf {
        self.bpffs.join("vc5")
    }

    /// `ip` in the namespace of a host.
    pub(crate) fn ip(&self, host: &str, arguments: &str) -> String {
        run(&format!("ip -n {} {arguments}", self.ns(host)))
    }

    /// The MAC address of a host's e0.
    pub(crate) fn mac(&self, host: &str) -> String {
        let link = self.ip(host, "-br link show e0");
        link.split_whitespace().nth(2).expect("a MAC address").to_owned()
    }

    /// The interface index of a host's e0.
    pub(crate) fn index(&self, host: &str) -> u32 {
        let link = self.ip(host, "-o link show e0");
        link.split(':').next().and_then(|index| index.parse().ok()).expect("an index")
    }

    /// Whether a program runs on the balancer's e0.
    pub(crate) fn xdp_is_attached(&self) -> bool {
        self.ip("lb", "link show e0").contains("xdp")
    }

    /// Gives a backend the VIP, on `lo` and silent about it.
    pub(crate) fn add_vip(&self, host: &str, vip: IpAddr) {
        let length = if vip.is_ipv4() { 32 } else { 128 };
        let nodad = if vip.is_ipv4() { "" } else { "nodad" };
        self.ip(host, &format!("addr add {vip}/{length} dev lo {nodad}"));
        let ns = self.ns(host);
        run(&format!("ip netns exec {ns} sysctl -qw net.ipv4.conf.all.arp_ignore=1"));
        run(&format!("ip netns exec {ns} sysctl -qw net.ipv4.conf.all.arp_announce=2"));
    }

    /// Sends a host's packets for a VIP to the balancer.
    pub(crate) fn route_vip(&self, host: &str, vip: IpAddr) {
        let (length, by) = if vip.is_ipv4() { (32, "192.0.2.1") } else { (128, "2001:db8::1") };
        self.ip(host, &format!("route add {vip}/{length} via {by}"));
    }

    /// Runs something in the namespace of a host, on a thread of its own.
    pub(crate) fn within<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(self.ns(host));
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace = File::open(path).unwrap();
                // SAFETY: the descriptor is open; only this thread changes its namespace.
                let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn add_namespace(&mut self, name: &str) -> String {
        let ns = self.ns(name);
        run(&format!("ip netns add {ns}"));
        self.namespaces.push(ns.clone());
        run(&format!("ip -n {ns} link set lo up"));
        ns
    }

    fn add_host(&mut self, name: &str, octet: u8) {
        let (ns, switch) = (self.add_namespace(name), self.ns("switch"));
        run(&format!("ip -n {ns} link add e0 type veth peer name {name} netns {switch}"));
        // Packets that cross a native XDP program need their checksum from the start.
        run(&format!("ip netns exec {ns} ethtool -K e0 tx off"));
        run(&format!("ip -n {switch} link set {name} master br0"));
        run(&format!("ip -n {switch} link set {name} up"));
        run(&format!("ip -n {ns} addr add 192.0.2.{octet}/24 dev e0"));
        run(&format!("ip -n {ns} addr add 2001:db8::{octet}/64 dev e0 nodad"));
        run(&format!("ip -n {ns} link set e0 up"));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for ns in &self.namespaces {
            let _gone = Command::new("ip").args(["netns", "del", ns]).status();
        }
        let _unmounted = Command::new("umount").arg(&self.bpffs).status();
        let _removed = std::fs::remove_dir(&self.bpffs);
    }
}
