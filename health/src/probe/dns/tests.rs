//! DNS checks against servers that answer well, wrongly or not at all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::check::dns::{DnsCheck, RecordType, Transport, answer, name};
use crate::check::{Check, CheckKind};
use crate::probe::{Outcome, Target, run};

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];
const HOSTS: [&str; 2] = ["127.0.0.1", "::1"];
const LONG: u64 = 20_000;

fn check(transport: Transport) -> DnsCheck {
    DnsCheck {
        transport,
        name: name("www.example").unwrap(),
        record: RecordType::A,
        ..DnsCheck::default()
    }
}

async fn ask(address: SocketAddr, dns: DnsCheck, timeout: u64) -> Outcome {
    let check =
        Check { timeout: Duration::from_millis(timeout), ..Check::new(CheckKind::Dns(dns)) };
    let target = Target { address, source: None, mark: None, ttl: None };
    run(target, &check, address.ip()).await.outcome
}

/// The answer to `query` with these addresses.
fn answered(query: &Message, addresses: &[[u8; 4]]) -> Message {
    let mut message =
        Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.add_queries(query.queries.clone());
    message.add_answers(addresses.iter().map(|&[a, b, c, d]| {
        Record::from_rdata(query.queries[0].name().clone(), 60, RData::A(A::new(a, b, c, d)))
    }));
    message
}

/// Answers each query by what `reply` makes of it; nothing where that is nothing.
async fn serve(
    host: &str,
    transport: Transport,
    reply: impl Fn(&Message) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind((host, 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 512];
                while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    for answer in reply(&Message::from_vec(&buffer[..length]).unwrap()) {
                        socket.send_to(&answer, from).await.unwrap();
                    }
                }
            });
            address
        }
        Transport::Tcp => {
            let listener = TcpListener::bind((host, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let length = stream.read_u16().await.unwrap();
                    let mut query = vec![0; length.into()];
                    stream.read_exact(&mut query).await.unwrap();
                    for answer in reply(&Message::from_vec(&query).unwrap()) {
                        stream.write_u16(answer.len() as u16).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                    // Open until the probe is done, as a server waits for further queries.
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
            address
        }
    }
}

async fn says(
    dns: DnsCheck,
    reply: impl Fn(&Message) -> Vec<u8> + Clone + Send + 'static,
    ok: bool,
    diagnostic: &str,
) {
    for transport in BOTH {
        for host in HOSTS {
            let reply = reply.clone();
            let address = serve(host, transport, move |query| vec![reply(query)]).await;
            let outcome = ask(address, DnsCheck { transport, ..dns.clone() }, LONG).await;
            let seen = (outcome.ok, outcome.diagnostic.as_str());
            assert_eq!(seen, (ok, diagnostic), "{transport:?} {host}");
        }
    }
}

fn code(code: ResponseCode) -> impl Fn(&Message) -> Vec<u8> + Clone + Send + 'static {
    move |query| {
        let mut message = answered(query, &[]);
        message.metadata.response_code = code;
        message.to_vec().unwrap()
    }
}

#[tokio::test]
async fn an_answer_passes_by_code_and_data() {
    let two =
        |query: &Message| answered(query, &[[192, 0, 2, 1], [192, 0, 2, 2]]).to_vec().unwrap();
    let with = |text| DnsCheck {
        answer: Some(answer(RecordType::A, text).unwrap()),
        ..check(Transport::Udp)
    };
    says(check(Transport::Udp), two, true, "NOERROR, 2 answers").await;
    says(with("192.0.2.2"), two, true, "NOERROR, 2 answers").await;
    says(with("192.0.2.3"), two, false, "A 192.0.2.3 is not among 2 answers").await;
    let wrong = "got SERVFAIL, expected NOERROR";
    says(check(Transport::Udp), code(ResponseCode::ServFail), false, wrong).await;
    let either = DnsCheck { rcode: vec![3, 5], ..check(Transport::Udp) };
    says(either.clone(), code(ResponseCode::Refused), true, "REFUSED, 0 answers").await;
    says(either, two, false, "got NOERROR, expected NXDOMAIN, REFUSED").await;
}

#[tokio::test]
async fn an_error_need_not_repeat_the_question_but_success_has_to() {
    let without = |code| {
        move |query: &Message| {
            let mut message = answered(query, &[]);
            message.queries.clear();
            message.metadata.response_code = code;
            message.to_vec().unwrap()
        }
    };
    let refused = DnsCheck { rcode: vec![5], ..check(Transport::Udp) };
    says(refused, without(ResponseCode::Refused), true, "REFUSED, 0 answers").await;
    let another = "the answer is to another question";
    says(check(Transport::Udp), without(ResponseCode::NoError), false, another).await;
    let other = |query: &Message| {
        let mut message = answered(query, &[]);
        message.queries = vec![Query::query(name("ftp.example").unwrap(), RecordType::A)];
        message.to_vec().unwrap()
    };
    says(check(Transport::Udp), other, false, another).await;
}

#[tokio::test]
async fn what_is_no_answer_fails_at_once() {
    let whole = |query: &Message| answered(query, &[[192, 0, 2, 1]]).to_vec().unwrap();
    let not = "what came back is not the answer to a query";
    says(check(Transport::Udp), |query: &Message| query.to_vec().unwrap(), false, not).await;
    let cut = move |query: &Message| {
        let mut answer = whole(query);
        answer.pop();
        answer
    };
    for (transport, host) in [(Transport::Udp, "127.0.0.1"), (Transport::Tcp, "::1")] {
        let address = serve(host, transport, move |query| vec![cut(query)]).await;
        let outcome = ask(address, check(transport), LONG).await;
        assert!(!outcome.ok && outcome.diagnostic.starts_with("malformed answer: "), "{outcome:?}");
    }
    let short = |query: &Message| query.metadata.id.to_be_bytes().to_vec();
    let no_header = "malformed answer: 2 bytes are no DNS header";
    says(check(Transport::Udp), short, false, no_header).await;
}

#[tokio::test]
async fn a_truncated_answer_says_so_even_where_its_end_is_missing() {
    let truncated = |query: &Message| {
        let mut message = answered(query, &[[192, 0, 2, 1]]);
        message.metadata.truncation = true;
        let mut answer = message.to_vec().unwrap();
        answer.truncate(answer.len() - 3);
        answer
    };
    for (transport, said) in [
        (Transport::Udp, "the answer is truncated: ask by TCP"),
        (Transport::Tcp, "the answer is truncated"),
    ] {
        let address = serve("127.0.0.1", transport, move |query| vec![truncated(query)]).await;
        let outcome = ask(address, check(transport), LONG).await;
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, said));
    }
}

#[tokio::test]
async fn datagrams_with_another_identifier_decide_nothing() {
    let forged = |query: &Message| {
        let mut message = answered(query, &[]);
        message.metadata.id = query.metadata.id.wrapping_add(1);
        message.to_vec().unwrap()
    };
    let then = move |query: &Message| {
        vec![forged(query), b"x".to_vec(), answered(query, &[[192, 0, 2, 1]]).to_vec().unwrap()]
    };
    let address = serve("::1", Transport::Udp, then).await;
    let outcome = ask(address, check(Transport::Udp), LONG).await;
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (true, "NOERROR, 1 answer"));

    let address = serve("::1", Transport::Udp, move |query| vec![forged(query)]).await;
    let outcome = ask(address, check(Transport::Udp), 300).await;
    let said = "timed out after 300 ms while waiting for an answer; 1 came with another identifier";
    assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, said));

    let address = serve("::1", Transport::Tcp, move |query| vec![forged(query)]).await;
    let outcome = ask(address, check(Transport::Tcp), LONG).await;
    assert_eq!(outcome.diagnostic, "the answer has another identifier than the query");
}

#[tokio::test]
async fn a_datagram_from_elsewhere_is_not_seen() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let good = answered(&query, &[]).to_vec().unwrap();
        elsewhere.send_to(&good, from).await.unwrap();
    });
    let outcome = ask(address, check(Transport::Udp), 300).await;
    assert_eq!(outcome.diagnostic, "timed out after 300 ms while waiting for an answer");
}

#[tokio::test]
async fn refusal_silence_and_an_early_end_say_so() {
    for transport in BOTH {
        for host in HOSTS {
            let silent = serve(host, transport, |_| Vec::new()).await;
            let outcome = ask(silent, check(transport), 200).await;
            assert_eq!(outcome.diagnostic, "timed out after 200 ms while waiting for an answer");
        }
    }
    for host in HOSTS {
        let host: IpAddr = host.parse().unwrap();
        let closed = |at: SocketAddr, transport| async move {
            assert_eq!(ask(at, check(transport), LONG).await.diagnostic, "connection refused");
        };
        let udp = UdpSocket::bind((host, 0)).await.unwrap().local_addr().unwrap();
        closed(udp, Transport::Udp).await;
        let tcp = TcpListener::bind((host, 0)).await.unwrap().local_addr().unwrap();
        closed(tcp, Transport::Tcp).await;
    }
    for (sent, said) in [
        (&b""[..], "connection closed too early"),
        (b"\0", "connection closed too early"),
        (b"\0\x0dabc", "connection closed too early, after 3 of 13 bytes of the answer"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        assert_eq!(ask(address, check(Transport::Tcp), LONG).await.diagnostic, said);
    }
}
