//! The UDP check: a datagram is answered.

use tokio::net::UdpSocket;

use super::{Clock, Finished, Target, socket};
use crate::check::udp::UdpCheck;

/// Room for any datagram: RFC 768 has 16 bits for its length.
const RECEIVE: usize = 65_535;

/// Sends the datagram and judges the first that comes back.
pub(super) async fn probe(target: Target, clock: Clock, check: &UdpCheck) -> Finished {
    match clock.stage("waiting for an answer", exchange(target, &check.send)).await {
        Ok(answer) => match judge(check, &answer) {
            Ok(seen) => clock.finished(true, seen),
            Err(diagnostic) => clock.failed(diagnostic),
        },
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

/// The answer to one datagram.
async fn exchange(target: Target, send: &[u8]) -> Result<Vec<u8>, String> {
    let socket = socket::udp(target).await?;
    transmit(&socket, send).await?;
    receive(&socket).await
}

/// Sends one datagram. An ICMP error that an earlier one met is an error here.
pub(super) async fn transmit(socket: &UdpSocket, data: &[u8]) -> Result<(), String> {
    socket.send(data).await.map(drop).map_err(|error| socket::describe(&error))
}

/// Waits for one datagram, or for the ICMP error that comes instead.
pub(super) async fn receive(socket: &UdpSocket) -> Result<Vec<u8>, String> {
    let mut answer = vec![0; RECEIVE];
    let length = socket.recv(&mut answer).await.map_err(|error| socket::describe(&error))?;
    answer.truncate(length);
    Ok(answer)
}

fn judge(check: &UdpCheck, answer: &[u8]) -> Result<String, String> {
    let seen = format!("an answer of {} bytes", answer.len());
    let Some(wanted) = &check.receive else { return Ok(seen) };
    if answer.windows(wanted.len().max(1)).any(|window| window == wanted) {
        return Ok(seen);
    }
    Err(format!("\"{}\" is not in {seen}", wanted.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::net::UdpSocket;

    use crate::check::{Check, CheckKind, UdpCheck};
    use crate::probe::{Outcome, Target, run};

    async fn ask(address: SocketAddr, receive: Option<&str>, timeout: u64) -> Outcome {
        let receive = receive.map(|text| text.as_bytes().to_vec());
        let kind = CheckKind::Udp(UdpCheck { send: b"ping".to_vec(), receive });
        let timeout = Duration::from_millis(timeout);
        let check = Check { timeout, ..Check::new(kind) };
        let target = Target { address, source: None, mark: None, ttl: None };
        run(target, &check, address.ip()).await.outcome
    }

    /// Answers every datagram by `answer`, once it is seen to be the one that is sent.
    async fn serve(host: &str, answer: &'static [u8]) -> SocketAddr {
        let socket = UdpSocket::bind((host, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                assert_eq!(&buffer[..length], b"ping");
                socket.send_to(answer, from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn the_answer_must_hold_what_is_wanted() {
        for host in ["127.0.0.1", "::1"] {
            let address = serve(host, b"pong\0\xff").await;
            for (wanted, ok, diagnostic) in [
                (None, true, "an answer of 6 bytes"),
                (Some("ong\0"), true, "an answer of 6 bytes"),
                (Some("pingpong\n"), false, "\"pingpong\\n\" is not in an answer of 6 bytes"),
            ] {
                let outcome = ask(address, wanted, 20_000).await;
                assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (ok, diagnostic));
            }
        }
    }

    #[tokio::test]
    async fn an_empty_datagram_is_an_answer_but_holds_nothing() {
        let address = serve("127.0.0.1", b"").await;
        assert!(ask(address, None, 20_000).await.ok);
        let outcome = ask(address, Some("x"), 20_000).await;
        assert_eq!(outcome.diagnostic, "\"x\" is not in an answer of 0 bytes");
    }

    #[tokio::test]
    async fn a_closed_port_counts_at_once() {
        for host in ["127.0.0.1", "::1"] {
            let socket = UdpSocket::bind((host, 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            drop(socket);
            let outcome = ask(address, None, 20_000).await;
            assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, "connection refused"));
        }
    }

    #[tokio::test]
    async fn silence_times_out() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let outcome = ask(socket.local_addr().unwrap(), None, 200).await;
        assert!(!outcome.ok);
        assert_eq!(outcome.diagnostic, "timed out after 200 ms while waiting for an answer");
    }
}
