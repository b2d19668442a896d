//! A BGP peer that misbehaves: each connection gets another malformed message.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

const MARKER: [u8; 16] = [0xff; 16];
const OPEN: u8 = 1;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

/// What was sent and the NOTIFICATION it earned.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Name of the case.
    pub case: String,
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Data octets.
    pub data: Vec<u8>,
}

/// One way to misbehave: after the peer's OPEN these octets are sent.
struct Case {
    name: &'static str,
    octets: Vec<u8>,
}

pub(super) fn run(listen: SocketAddrV4, local_as: u16, id: Ipv4Addr) -> Result<()> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    for case in cases(local_as, id) {
        let (stream, _) = listener.accept()?;
        let answer = play(stream, &case).with_context(|| format!("case {}", case.name))?;
        println!("{}", serde_json::to_string(&answer)?);
    }
    Ok(())
}

fn cases(local_as: u16, id: Ipv4Addr) -> Vec<Case> {
    let good = open(4, local_as, 90, id);
    let established = [good.clone(), message(KEEPALIVE, &[])].concat();
    let mut unsynchronised = good.clone();
    unsynchronised.splice(0..1, [0]);
    let with_length = |length: u16, kind: u8| {
        let mut octets = MARKER.to_vec();
        octets.extend(length.to_be_bytes());
        octets.push(kind);
        octets
    };
    // More withdrawn routes announced than the message holds.
    let update = [0xff, 0xff, 0, 0];
    vec![
        Case { name: "marker", octets: unsynchronised },
        Case { name: "text", octets: b"GET / HTTP/1.1\r\nHost: bgp\r\n\r\n".to_vec() },
        Case { name: "length", octets: with_length(18, KEEPALIVE) },
        Case { name: "huge-length", octets: with_length(65535, OPEN) },
        Case { name: "type", octets: message(99, &[]) },
        Case { name: "version", octets: open(3, local_as, 90, id) },
        Case { name: "peer-as", octets: open(4, local_as + 1, 90, id) },
        Case { name: "identifier", octets: open(4, local_as, 90, Ipv4Addr::UNSPECIFIED) },
        Case { name: "hold-time", octets: open(4, local_as, 1, id) },
        Case { name: "update-in-openconfirm", octets: [good, message(2, &[0, 0, 0, 0])].concat() },
        Case { name: "attribute-list", octets: [established, message(2, &update)].concat() },
    ]
}

fn play(mut stream: TcpStream, case: &Case) -> Result<Answer> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (kind, _) = read_message(&mut stream)?;
    ensure!(kind == OPEN, "first message has type {kind}");
    stream.write_all(&case.octets)?;
    loop {
        let (kind, body) = read_message(&mut stream)?;
        if kind == NOTIFICATION {
            let [code, subcode, data @ ..] = body.as_slice() else {
                anyhow::bail!("NOTIFICATION of {} octets", body.len());
            };
            return Ok(Answer {
                case: case.name.to_owned(),
                code: *code,
                subcode: *subcode,
                data: data.to_vec(),
            });
        }
    }
}

fn read_message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; 19];
    stream.read_exact(&mut header).context("connection ended without a NOTIFICATION")?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    ensure!((19..=4096).contains(&length), "message of {length} octets");
    let mut body = vec![0; length - 19];
    stream.read_exact(&mut body)?;
    Ok((header[18], body))
}

fn open(version: u8, local_as: u16, hold: u16, id: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![version];
    body.extend(local_as.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(id.octets());
    body.push(0);
    message(OPEN, &body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX);
    let mut octets = MARKER.to_vec();
    octets.extend(length.to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}
