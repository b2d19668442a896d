//! The DNS check: a query is answered as expected (RFC 1035, RFC 7766).

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CLOSED_EARLY, Clock, Finished, Target, socket, udp};
use crate::check::dns::{DnsCheck, Transport, rcode_name};

/// What the header of every message takes, in bytes.
const HEADER: usize = 12;

/// Asks once and judges the answer.
pub(super) async fn probe(target: Target, clock: Clock, check: &DnsCheck) -> Finished {
    let query = query(check);
    let answer = match check.transport {
        Transport::Udp => by_udp(target, clock, &query).await,
        Transport::Tcp => by_tcp(target, clock, &query).await,
    };
    match answer.and_then(|answer| judge(check, &query, &answer)) {
        Ok(seen) => clock.finished(true, seen),
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

/// A query with an identifier that nobody can know beforehand.
fn query(check: &DnsCheck) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(check.name.clone(), check.record));
    message
}

fn encode(query: &Message) -> Result<Vec<u8>, String> {
    query.to_vec().map_err(|error| format!("cannot make the query: {error}"))
}

/// The first datagram of the target with the identifier of the query. Others may be late or forged
/// and decide nothing (RFC 5452 section 9.1); that there were some is said when time is over.
async fn by_udp(target: Target, clock: Clock, query: &Message) -> Result<Vec<u8>, String> {
    let id = query.metadata.id.to_be_bytes();
    let mut strangers = 0_u32;
    let asking = async {
        let socket = socket::udp(target).await?;
        udp::transmit(&socket, &encode(query)?).await?;
        loop {
            let answer = udp::receive(&socket).await?;
            if answer.starts_with(&id) {
                return Ok(answer);
            }
            strangers += 1;
        }
    };
    let answer = clock.stage("waiting for an answer", asking).await;
    match strangers {
        0 => answer,
        _ => answer.map_err(|error| format!("{error}; {strangers} came with another identifier")),
    }
}

/// The one message that comes back on a connection. The connection ends by RST: a server keeps it
/// open for the next query, and TIME_WAIT is not to be left here.
async fn by_tcp(target: Target, clock: Clock, query: &Message) -> Result<Vec<u8>, String> {
    let message = encode(query)?;
    let mut stream = clock.stage("connecting", socket::connect(target)).await?;
    let asking = async {
        // In one segment with its length: some servers want that (RFC 7766 section 8).
        let length = u16::try_from(message.len()).map_err(|_| "the query is too long")?;
        let framed = [&length.to_be_bytes()[..], &message].concat();
        stream.write_all(&framed).await.map_err(|error| socket::describe(&error))?;
        let length = stream.read_u16().await.map_err(|error| describe(&error))?;
        let mut answer = Vec::new();
        let mut rest = (&mut stream).take(length.into());
        rest.read_to_end(&mut answer).await.map_err(|error| describe(&error))?;
        if answer.len() < usize::from(length) {
            let read = answer.len();
            return Err(format!("{CLOSED_EARLY}, after {read} of {length} bytes of the answer"));
        }
        Ok(answer)
    };
    clock.stage("waiting for an answer", asking).await
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => CLOSED_EARLY.into(),
        _ => socket::describe(error),
    }
}

/// What was seen, if that passes.
fn judge(check: &DnsCheck, query: &Message, answer: &[u8]) -> Result<String, String> {
    let malformed = |error: &dyn std::fmt::Display| format!("malformed answer: {error}");
    if answer.len() < HEADER {
        return Err(malformed(&format_args!("{} bytes are no DNS header", answer.len())));
    }
    // The rest of a truncated message need not make sense, so the header comes first.
    let header = Header::read(&mut BinDecoder::new(answer)).map_err(|error| malformed(&error))?;
    let seen = header.metadata;
    if seen.id != query.metadata.id {
        return Err("the answer has another identifier than the query".into());
    }
    if seen.message_type != MessageType::Response || seen.op_code != OpCode::Query {
        return Err("what came back is not the answer to a query".into());
    }
    if seen.truncation {
        let advice = if check.transport == Transport::Udp { ": ask by TCP" } else { "" };
        return Err(format!("the answer is truncated{advice}"));
    }
    let message = Message::from_vec(answer).map_err(|error| malformed(&error))?;
    let rcode = seen.response_code.low();
    // An error need not repeat the question: the server may not have understood it.
    if !(message.queries == query.queries || message.queries.is_empty() && rcode != 0) {
        return Err("the answer is to another question".into());
    }
    if !check.rcode.contains(&rcode) {
        let expected: Vec<_> = check.rcode.iter().map(|code| rcode_name(*code)).collect();
        return Err(format!("got {}, expected {}", rcode_name(rcode), expected.join(", ")));
    }
    let answers = count(message.answers.len());
    match &check.answer {
        Some(wanted) if !message.answers.iter().any(|record| record.data == *wanted) => {
            Err(format!("{} {wanted} is not among {answers}", check.record))
        }
        _ => Ok(format!("{}, {answers}", rcode_name(rcode))),
    }
}

fn count(answers: usize) -> String {
    format!("{answers} {}", if answers == 1 { "answer" } else { "answers" })
}

#[cfg(test)]
mod tests;
