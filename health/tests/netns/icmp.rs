//! Echo requests through the VIP.

use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use vc5_health::{CheckKind, IcmpCheck, ProbePath, Verdict};

use crate::lab::{Lab, Server};
use crate::probes::{FAMILIES, assert_lacking, outcomes, outcomes_in, probe};

const REPLY: &str = "echo reply of 56 bytes";

fn echo() -> CheckKind {
    CheckKind::Icmp(IcmpCheck::default())
}

fn keep_silent(lab: &Lab, ns: &str) {
    lab.sysctl(ns, "net/ipv4/icmp_echo_ignore_all", "1");
    lab.sysctl(ns, "net/ipv6/icmp/echo_ignore_all", "1");
}

#[test]
fn requests_reach_the_chosen_backend_by_all_paths() {
    let lab = Lab::new();
    keep_silent(&lab, "b1");
    for (vip, b1, b2) in FAMILIES {
        let silent = |label| {
            let mut one = probe(label, ProbePath::Dsr, vip, b1, echo());
            one.check.timeout = Duration::from_millis(400);
            one
        };
        // Marked and unmarked ones by turns: they share a socket.
        let probes = vec![
            probe("a direct", ProbePath::Direct, vip, b2, echo()),
            silent("b"),
            probe("c", ProbePath::Dsr, vip, b2, echo()),
            silent("d"),
            probe("e direct", ProbePath::Direct, vip, b2, echo()),
        ];
        let found = outcomes(&lab, probes);
        let of = |label: &str| (found[label].0, found[label].1.as_str());
        for good in ["a direct", "c", "e direct"] {
            assert_eq!(of(good), (Verdict::Up, REPLY), "{vip} {good}");
        }
        let expected = "timed out after 400 ms while waiting for the echo reply";
        for silent in ["b", "d"] {
            assert_eq!(of(silent), (Verdict::Down, expected), "{vip} {silent}");
        }
        let local = || vec![probe("local", ProbePath::Local, vip, b2, echo())];
        assert_eq!(outcomes_in(&lab, "b2", local())["local"].1, REPLY);
        let elsewhere = format!("{vip} is not an address of this host");
        assert_eq!(outcomes(&lab, local())["local"].1, elsewhere);
    }
}

#[test]
fn a_missing_vip_times_out_and_icmp_errors_count_at_once() {
    let lab = Lab::new();
    let own = ["198.51.100.1", "2001:db8:51::1"];
    let nobody = ["198.51.100.99", "2001:db8:51::99"];
    let words = ["no route to host", "network is unreachable"];
    let long = Duration::from_secs(60);
    for (index, (vip, _, b2)) in FAMILIES.into_iter().enumerate() {
        lab.ip("b2", &format!("addr del {vip} dev lo"));
        let ask = |to, timeout| {
            let mut one = probe("echo", ProbePath::Dsr, vip, to, echo());
            one.ttl = None;
            one.check.timeout = timeout;
            outcomes(&lab, vec![one])["echo"].clone()
        };
        let lacking = ask(b2, Duration::from_millis(400));
        assert_lacking(&lacking, vip, "waiting for the echo reply");

        // The kernel itself says that nobody answers for the backend.
        let (verdict, diagnostic, took) = ask(nobody[index], long);
        let expected = format!("no route to host (said by {})", own[index]);
        assert_eq!((verdict, diagnostic), (Verdict::Down, expected));
        assert!(took < long, "{took:?}");

        lab.sysctl("b2", "net/ipv4/ip_forward", "1");
        lab.sysctl("b2", "net/ipv6/conf/all/forwarding", "1");
        lab.ip("b2", &format!("route replace unreachable {vip}"));
        let (verdict, diagnostic, took) = ask(b2, long);
        let expected = format!("{} (said by {b2})", words[index]);
        assert_eq!((verdict, diagnostic), (Verdict::Down, expected));
        assert!(took < long, "{took:?}");
        lab.sysctl("b2", "net/ipv6/conf/all/forwarding", "0");
    }
}

/// Answers every echo request to a VIP with its last byte changed.
fn serve_changed(lab: &Lab, ns: &'static str, vip: &'static str) -> Server {
    let v4 = vip.contains('.');
    let bind = async move {
        let (domain, protocol) =
            if v4 { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
        socket.bind(&std::net::SocketAddr::new(vip.parse().unwrap(), 0).into())?;
        // SAFETY: the descriptor is open, and the same one as long as the socket lives.
        unsafe { AsyncFd::register(socket) }.map_err(std::io::Error::from)
    };
    lab.serve_by(ns, bind, move |socket| async move {
        let (header, request, reply) = if v4 { (20, 8, 0) } else { (0, 128, 129) };
        loop {
            let mut buffer = [MaybeUninit::uninit(); 2048];
            let mut ready = socket.readable().await.unwrap();
            let Ok(Ok((length, from))) =
                ready.try_io(|socket| socket.get_ref().recv_from(&mut buffer))
            else {
                continue;
            };
            // SAFETY: the socket has written these bytes.
            let packet = unsafe { buffer[..length].assume_init_ref() };
            let mut message = packet[header..].to_vec();
            if message[0] != request {
                continue;
            }
            message[0] = reply;
            *message.last_mut().unwrap() ^= 1;
            if v4 {
                message[2..4].fill(0);
                let words = message.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
                let sum = words.sum::<u32>();
                let sum = (sum & 0xffff) + (sum >> 16);
                let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
                message[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            socket.get_ref().send_to(&message, &from).unwrap();
        }
    })
}

#[test]
fn a_reply_with_another_payload_does_not_pass() {
    let lab = Lab::new();
    keep_silent(&lab, "b1");
    for (vip, b1, _) in FAMILIES {
        let _server = serve_changed(&lab, "b1", vip);
        let mut one = probe("echo", ProbePath::Dsr, vip, b1, echo());
        one.check.timeout = Duration::from_millis(400);
        let found = outcomes(&lab, vec![one]);
        let said = "timed out after 400 ms while waiting for the echo reply; \
                    1 came with another payload";
        assert_eq!((found["echo"].0, found["echo"].1.as_str()), (Verdict::Down, said), "{vip}");
    }
}
