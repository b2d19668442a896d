//! DNS through the VIP, by both transports.

use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use vc5_health::check::dns::{RecordType, Transport, answer, name};
use vc5_health::{CheckKind, DnsCheck, ProbePath, Verdict};

use crate::lab::{Lab, Server, VIP4, VIP6};
use crate::probes::{FAMILIES, assert_lacking, outcomes, outcomes_in, probe, time_waits};

/// A query whose answer is that of a backend: 192.0.2.101 of the first, .102 of the second.
fn ask(transport: Transport, backend: u8) -> CheckKind {
    let data = format!("192.0.2.{}", 100 + backend);
    CheckKind::Dns(DnsCheck {
        transport,
        name: name("www.example").unwrap(),
        record: RecordType::A,
        rcode: vec![0],
        answer: Some(answer(RecordType::A, &data).unwrap()),
    })
}

fn reply(backend: u8, query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.add_queries(query.queries.clone());
    let data = RData::A(A::new(192, 0, 2, 100 + backend));
    message.add_answer(Record::from_rdata(name("www.example").unwrap(), 60, data));
    message.to_vec().unwrap()
}

/// Answers on port 80 of the VIPs and of the backend's own addresses.
fn serve(lab: &Lab, ns: &'static str, backend: u8) -> Server {
    let own = [VIP4, VIP6, &format!("198.51.100.1{backend}"), &format!("2001:db8:51::1{backend}")]
        .map(str::to_owned);
    let bind = async move {
        let mut sockets = Vec::new();
        for address in own {
            sockets.push(UdpSocket::bind((address, 80)).await?);
        }
        Ok((sockets, TcpListener::bind(("::", 80)).await?))
    };
    lab.serve_by(ns, bind, move |(sockets, listener)| async move {
        for socket in sockets {
            tokio::spawn(async move {
                let mut query = [0; 512];
                while let Ok((length, from)) = socket.recv_from(&mut query).await {
                    let answer = reply(backend, &query[..length]);
                    // The one who asked may be gone, which the next call says.
                    let _ = socket.send_to(&answer, from).await;
                }
            });
        }
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(length) = stream.read_u16().await else { return };
                let mut query = vec![0; length.into()];
                if stream.read_exact(&mut query).await.is_ok() {
                    let answer = reply(backend, &query);
                    let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                    let _ = stream.write_all(&framed).await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
        }
    })
}

#[test]
fn queries_reach_the_chosen_backend_by_both_transports_and_all_paths() {
    let lab = Lab::new();
    let _servers = (serve(&lab, "b1", 1), serve(&lab, "b2", 2));
    for transport in [Transport::Udp, Transport::Tcp] {
        for (vip, b1, b2) in FAMILIES {
            let dsr = |label, to, of| probe(label, ProbePath::Dsr, vip, to, ask(transport, of));
            let found = outcomes(
                &lab,
                vec![
                    dsr("1", b1, 1),
                    dsr("2", b2, 2),
                    dsr("2 asked for 1", b2, 1),
                    probe("direct", ProbePath::Direct, vip, b2, ask(transport, 2)),
                ],
            );
            let of = |label: &str| (found[label].0, found[label].1.as_str());
            for good in ["1", "2", "direct"] {
                assert_eq!(of(good), (Verdict::Up, "NOERROR, 1 answer"), "{vip} {good}");
            }
            let wrong = "A 192.0.2.101 is not among 1 answer";
            assert_eq!(of("2 asked for 1"), (Verdict::Down, wrong));
            let local = probe("local", ProbePath::Local, vip, b1, ask(transport, 1));
            let found = outcomes_in(&lab, "b1", vec![local]);
            assert_eq!(found["local"].1, "NOERROR, 1 answer", "{vip}");
        }
    }
}

#[test]
fn a_closed_port_fails_before_the_timeout_and_a_missing_vip_by_it() {
    let lab = Lab::new();
    lab.ip("b2", &format!("addr del {VIP4}/32 dev lo"));
    lab.ip("b2", &format!("addr del {VIP6}/128 dev lo"));
    let timeout = Duration::from_secs(60);
    for (transport, doing) in
        [(Transport::Udp, "waiting for an answer"), (Transport::Tcp, "connecting")]
    {
        for (vip, b1, b2) in FAMILIES {
            let mut closed = probe("closed", ProbePath::Dsr, vip, b1, ask(transport, 1));
            closed.check.timeout = timeout;
            let mut lacking = probe("lacking", ProbePath::Dsr, vip, b2, ask(transport, 2));
            lacking.check.timeout = Duration::from_millis(400);
            let found = outcomes(&lab, vec![closed, lacking]);
            let (verdict, diagnostic, took) = &found["closed"];
            assert_eq!((*verdict, diagnostic.as_str()), (Verdict::Down, "connection refused"));
            assert!(*took < timeout, "{took:?}");
            assert_lacking(&found["lacking"], vip, doing);
        }
    }
}

#[test]
fn connections_leave_no_time_wait_behind() {
    let lab = Lab::new();
    let _server = serve(&lab, "b1", 1);
    let probes =
        FAMILIES.map(|(vip, b1, _)| probe("dns", ProbePath::Dsr, vip, b1, ask(Transport::Tcp, 1)));
    let left = time_waits(&lab, probes.to_vec(), 100);
    assert!(left.is_empty(), "{left:#?}");
}
