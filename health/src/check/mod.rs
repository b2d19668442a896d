//! What to probe, how often, and by which path.

pub mod dns;
pub mod exec;
pub mod grpc;
pub mod http;
pub mod icmp;
pub mod tls;
pub mod udp;

use std::net::IpAddr;
use std::time::Duration;

pub use self::dns::DnsCheck;
pub use self::exec::ExecCheck;
pub use self::grpc::GrpcCheck;
pub use self::http::{HttpCheck, HttpVersion, Pattern};
pub use self::icmp::IcmpCheck;
pub use self::tls::{Identity, Tls, TlsSettings, Verify};
pub use self::udp::UdpCheck;
use crate::error::Error;
use crate::verdict::Rule;

/// The largest [`Check::jitter`], in percent of the interval.
pub const JITTER_MAX: u8 = 50;

/// The longest interval and timeout: any later time is one that the clock can still name.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Names one probe. Verdicts are kept by this key across changes of the set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeKey {
    /// The service address that the probe is for.
    pub vip: IpAddr,
    /// The backend that must answer.
    pub backend: IpAddr,
    /// The port that is probed; 0 where the check needs none, as [`CheckKind::Icmp`] and
    /// [`CheckKind::Exec`] do not.
    pub port: u16,
    /// The caller's label of the service, such as `80/tcp`. Not interpreted.
    pub service: String,
    /// The caller's name of the check. Not interpreted.
    pub check: String,
}

impl std::fmt::Display for ProbeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} on {} ({})", self.vip, self.service, self.backend, self.check)
    }
}

/// How a probe reaches its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbePath {
    /// To the VIP, led to the backend by mark and policy route. The VIP must not be local and the
    /// backend must be on a connected subnet. Needs CAP_NET_ADMIN.
    Dsr,
    /// To the backend's own address, by the host's ordinary routes.
    Direct,
    /// To the VIP, which this host holds itself; without it the probe fails. The backend's address
    /// only names the probe.
    Local,
}

/// One check: what is asked, how often, and how many answers make a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// From the start of one probe to the start of the next; more than zero, at most 365 days.
    pub interval: Duration,
    /// The interval while the last outcome contradicts the verdict or there is no verdict; more
    /// than zero, at most `interval`. `None`: no other than that.
    pub fast_interval: Option<Duration>,
    /// By how much of its interval each start is put off at random, in percent; at most
    /// [`JITTER_MAX`]. The mean stays what it is.
    pub jitter: u8,
    /// How long one probe may take, from connect to the end of the answer; more than zero, at most
    /// 365 days.
    pub timeout: Duration,
    /// How many outcomes of which kind make a verdict.
    pub rule: Rule,
}

impl Check {
    /// A check with the usual settings: every 2 s, within 1 s, up after 3 successes in a row, down
    /// after 2 failures.
    #[must_use]
    pub fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            interval: Duration::from_secs(2),
            fast_interval: None,
            jitter: 0,
            timeout: Duration::from_secs(1),
            rule: Rule::default(),
        }
    }

    /// Says which value cannot be used.
    fn validate(&self) -> Result<(), String> {
        if self.interval.is_zero() || self.timeout.is_zero() {
            return Err("interval and timeout must be more than zero".into());
        }
        if self.interval > LONGEST || self.timeout > LONGEST {
            return Err("interval and timeout must be at most 365 days".into());
        }
        if self.fast_interval.is_some_and(|fast| fast.is_zero() || fast > self.interval) {
            return Err("the fast interval must be more than zero and at most the interval".into());
        }
        if self.jitter > JITTER_MAX {
            return Err(format!("jitter must be at most {JITTER_MAX} percent"));
        }
        self.rule.validate()?;
        self.kind.validate()
    }
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A TCP connection can be made. It is closed by RST at once.
    Tcp,
    /// A SYN is answered by SYN-ACK. The handshake is not completed: a RST ends it.
    Syn,
    /// An HTTP/1.1 request is answered with an expected status.
    Http(HttpCheck),
    /// As [`CheckKind::Http`], over TLS.
    Https(HttpCheck, Tls),
    /// A server says over gRPC that a service is well.
    Grpc(GrpcCheck),
    /// A TLS handshake completes. The connection is closed by RST then.
    Tls(Tls),
    /// A UDP datagram is answered.
    Udp(UdpCheck),
    /// A DNS query is answered with an expected response code.
    Dns(DnsCheck),
    /// An ICMP echo request is answered. The port says nothing here. Needs CAP_NET_RAW.
    Icmp(IcmpCheck),
    /// A command exits with status 0. It is told about the probe by its environment, and the way
    /// to the backend is its own business.
    Exec(ExecCheck),
}

impl CheckKind {
    /// Whether what is sent may depend on the VIP, wherever it is sent to.
    pub(crate) fn names_the_vip(&self) -> bool {
        match self {
            Self::Tcp | Self::Syn | Self::Udp(_) | Self::Dns(_) | Self::Icmp(_) => false,
            Self::Http(http) => http.host.is_none(),
            Self::Tls(tls) => tls.settings().server_name.is_none(),
            // Both the Host header and the name in the handshake.
            Self::Https(http, tls) => http.host.is_none() || tls.settings().server_name.is_none(),
            Self::Grpc(grpc) => grpc.names_the_vip(),
            Self::Exec(_) => true,
        }
    }

    /// Whether it may depend on the backend, wherever it is sent to.
    pub(crate) fn names_the_backend(&self) -> bool {
        matches!(self, Self::Exec(_))
    }

    /// Says which value cannot be used.
    fn validate(&self) -> Result<(), String> {
        match self {
            Self::Tcp | Self::Syn | Self::Tls(_) => Ok(()),
            Self::Http(http) | Self::Https(http, _) => http.validate(),
            Self::Grpc(grpc) => grpc.validate(),
            Self::Udp(udp) => udp.validate(),
            Self::Dns(dns) => dns.validate(),
            Self::Icmp(icmp) => icmp.validate(),
            Self::Exec(exec) => exec.validate(),
        }
    }
}

/// One probe of the desired set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub key: ProbeKey,
    /// How it gets to the backend.
    pub path: ProbePath,
    /// TTL or hop limit of what a [`ProbePath::Dsr`] probe sends, 1 to 255; the other paths take no
    /// notice. With 1 a backend that lacks the VIP but forwards packets cannot pass the probe on to
    /// another holder of the VIP. `None` leaves the system's default.
    pub ttl: Option<u8>,
    /// What it asks, and how often.
    pub check: Check,
}

impl Probe {
    /// Checks what can be known without asking the kernel.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the probe and the value that cannot be used.
    pub fn validate(&self) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Invalid { probe: self.key.to_string(), what });
        for address in [self.key.vip, self.key.backend] {
            // The system would send IPv4, which the paths of IPv6 know nothing of.
            if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
                return fail(format!("{address} is an IPv4 address in IPv6 form"));
            }
        }
        let portless = matches!(self.check.kind, CheckKind::Icmp(_) | CheckKind::Exec(_));
        if self.key.port == 0 && !portless {
            return fail("port 0 cannot be probed".into());
        }
        if self.ttl == Some(0) {
            return fail("ttl must be 1 to 255".into());
        }
        self.check.validate().or_else(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(kind: CheckKind) -> Probe {
        Probe {
            key: ProbeKey {
                vip: "192.0.2.1".parse().unwrap(),
                backend: "198.51.100.1".parse().unwrap(),
                port: 80,
                service: "80/tcp".into(),
                check: "alive".into(),
            },
            path: ProbePath::Dsr,
            ttl: Some(1),
            check: Check::new(kind),
        }
    }

    #[test]
    fn accepts_what_can_be_probed() {
        assert!(probe(CheckKind::Tcp).validate().is_ok());
        assert!(probe(CheckKind::Http(HttpCheck::default())).validate().is_ok());
    }

    #[test]
    fn names_the_value_that_cannot_be_used() {
        let message = |p: Probe| p.validate().unwrap_err().to_string();
        let post = HttpCheck { method: "POST".into(), ..HttpCheck::default() };
        assert!(message(probe(CheckKind::Http(post))).contains("(alive): method POST"));
        let mut mapped = probe(CheckKind::Tcp);
        mapped.key.vip = "::ffff:192.0.2.1".parse().unwrap();
        assert!(message(mapped).ends_with("::ffff:192.0.2.1 is an IPv4 address in IPv6 form"));
        let mut mapped = probe(CheckKind::Tcp);
        mapped.key.backend = "::ffff:198.51.100.1".parse().unwrap();
        assert!(message(mapped).contains("in IPv6 form"));
        let mut zero = probe(CheckKind::Tcp);
        zero.check.rule.fall = 0;
        assert_eq!(
            message(zero),
            "192.0.2.1 80/tcp on 198.51.100.1 (alive): rise and fall must be 1 to 100"
        );
        assert!(message(Probe { ttl: Some(0), ..probe(CheckKind::Tcp) }).contains("ttl"));
        let mut portless = probe(CheckKind::Icmp(IcmpCheck::default()));
        portless.key.port = 0;
        assert!(portless.validate().is_ok());
        portless.check.kind = CheckKind::Syn;
        assert!(message(portless).contains("port 0"));
        let mut endless = probe(CheckKind::Tcp);
        endless.check.timeout = LONGEST;
        assert!(endless.validate().is_ok());
        endless.check.timeout += Duration::from_nanos(1);
        assert!(message(endless).contains("365 days"));
    }
}
