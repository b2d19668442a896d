//! DNS, by datagrams and by connections.

use vc5_conformance::tool::rude::{Manner, Reply};
use vc5_health::CheckKind;
use vc5_health::check::dns::{DnsCheck, RecordType, Transport, answer, name};

use super::NO_ROUTE;
use crate::row::{Place, Row, Way};
use crate::servers::{self, DNS};

const DOING: &str = "waiting for an answer";

/// A question, and the response code that passes.
fn ask(transport: Transport, of: &str, record: RecordType, rcode: u8) -> DnsCheck {
    DnsCheck { transport, name: name(of).unwrap(), record, rcode: vec![rcode], answer: None }
}

/// What is alike by both.
fn common(transport: Transport, to: impl Fn(u16, DnsCheck) -> Row) -> Vec<Row> {
    let a = |of| ask(transport, of, RecordType::A, 0);
    let with = |data: &str| {
        let answer = Some(answer(RecordType::A, data).unwrap());
        DnsCheck { answer, ..a("www.example") }
    };
    let soa = || to(DNS, DnsCheck { transport, ..DnsCheck::default() });
    vec![
        soa().what("SOA of the root").up("NOERROR, 1 answer"),
        to(DNS, with("192.0.2.80")).what("answer").up("NOERROR, 1 answer"),
        to(DNS, ask(transport, "none.example", RecordType::A, 3)).what("NXDOMAIN").up("NXDOMAIN"),
        to(DNS, ask(transport, "refused.example", RecordType::A, 5)).what("REFUSED").up("REFUSED"),
        to(DNS, DnsCheck { rcode: (0..=15).collect(), ..a("localhost") })
            .what("as the predecessor asked")
            .up("NOERROR, 1 answer"),
        to(DNS, DnsCheck { rcode: (0..=15).collect(), ..a("refused.example") })
            .what("any code")
            .up("REFUSED"),
        soa().at(Place::Hole).times_out(Way::BlackHoled, connecting(transport)),
        to(DNS, a("slow.example")).what("origin says nothing").times_out(Way::Slow, DOING),
        to(DNS, a("none.example"))
            .what("NXDOMAIN")
            .down(Way::WrongAnswer, "got NXDOMAIN, expected NOERROR"),
        to(DNS, a("refused.example"))
            .what("REFUSED")
            .down(Way::WrongAnswer, "got REFUSED, expected NOERROR"),
        to(DNS, with("192.0.2.81"))
            .what("answer")
            .down(Way::WrongAnswer, "A 192.0.2.81 is not among 1 answer"),
        soa().at(Place::Missing).times_out(Way::NoVip, connecting(transport)).v6(NO_ROUTE),
    ]
}

fn connecting(transport: Transport) -> &'static str {
    if transport == Transport::Tcp { "connecting" } else { DOING }
}

pub(super) fn by_udp() -> Vec<Row> {
    let to = |port, check| Row::new("dns-udp", port, CheckKind::Dns(check));
    let rude = |reply: Reply| to(reply.port(), ask(Transport::Udp, ".", RecordType::SOA, 0));
    let mut rows = common(Transport::Udp, to);
    rows.extend([
        to(servers::CLOSED, DnsCheck::default()).down(Way::Refused, "connection refused"),
        rude(Reply::Silence).what("server says nothing").times_out(Way::Slow, DOING),
        rude(Reply::Flood)
            .what("other identifiers")
            .times_out(Way::Endless, "waiting for an answer; "),
        rude(Reply::OtherId).what("another identifier").times_out(Way::WrongAnswer, DOING),
        rude(Reply::Echo)
            .what("the query itself")
            .down(Way::WrongAnswer, "what came back is not the answer to a query"),
        to(DNS, ask(Transport::Udp, "large.example", RecordType::TXT, 0))
            .what("TC")
            .down(Way::Truncated, "the answer is truncated: ask by TCP"),
        rude(Reply::Half).what("half a message").down(Way::Truncated, "malformed answer"),
    ]);
    rows
}

pub(super) fn by_tcp() -> Vec<Row> {
    let to = |port, check| Row::new("dns-tcp", port, CheckKind::Dns(check));
    let rude = |manner: Manner| to(manner.port(), ask(Transport::Tcp, ".", RecordType::SOA, 0));
    let mut rows = common(Transport::Tcp, to);
    rows.extend([
        to(DNS, ask(Transport::Tcp, "large.example", RecordType::TXT, 0))
            .what("larger than a datagram")
            .up("NOERROR, 20 answers"),
        to(servers::CLOSED, DnsCheck { transport: Transport::Tcp, ..DnsCheck::default() })
            .down(Way::Refused, "connection refused"),
        rude(Manner::Reset).what("once spoken to").down(Way::Refused, "connection reset by peer"),
        rude(Manner::Silent).what("server says nothing").times_out(Way::Slow, DOING),
        rude(Manner::TruncatedFrame)
            .down(Way::Truncated, "connection closed too early, after 5 of 5635 bytes"),
        rude(Manner::Noise).down(Way::Endless, "the answer has another identifier"),
        rude(Manner::HalfClosed).down(Way::HalfClosed, "connection closed too early"),
    ]);
    rows
}
