//! The SYN check: a connection is answered, and never made.

use super::{Clock, Finished, Target, socket};

/// Sends a SYN (RFC 9293 section 3.5) and answers the SYN-ACK by RST: the server's program never
/// hears of it.
///
/// An ordinary socket does that if it is to hold back the ACK that ends the handshake: Linux gives
/// it 200 ms to come with the first data (`TCP_DELACK_MAX`), and the socket is closed by RST before
/// that. So the kernel looks after retransmission, ICMP errors and ports as for any connection.
/// Should this process be held up for longer than that, the server gets a connection which is reset.
pub(super) async fn probe(target: Target, clock: Clock) -> Finished {
    match clock.stage("waiting for the SYN-ACK", socket::half_open(target)).await {
        Ok(_stream) => clock.finished(true, "SYN-ACK".into()),
        Err(diagnostic) => clock.failed(diagnostic),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use crate::check::{Check, CheckKind};
    use crate::probe::{Outcome, Target, run};

    async fn ask(address: SocketAddr, timeout: u64) -> Outcome {
        let timeout = Duration::from_millis(timeout);
        let check = Check { timeout, ..Check::new(CheckKind::Syn) };
        let target = Target { address, source: None, mark: None, ttl: None };
        run(target, &check, address.ip()).await.outcome
    }

    #[tokio::test]
    async fn an_open_port_answers_and_has_no_connection_to_accept() {
        for host in ["127.0.0.1", "::1"] {
            let listener = TcpListener::bind((host, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            for _ in 0..100 {
                let outcome = ask(address, 20_000).await;
                assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (true, "SYN-ACK"));
                assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
            }
            // The same with the ACK, so that the above is known to be able to fail.
            let target = Target { address, source: None, mark: None, ttl: None };
            run(target, &Check::new(CheckKind::Tcp), address.ip()).await;
            listener.accept().unwrap();
        }
    }

    #[tokio::test]
    async fn a_closed_port_counts_at_once() {
        for host in ["127.0.0.1", "::1"] {
            let address = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap();
            let outcome = ask(address, 20_000).await;
            assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, "connection refused"));
        }
    }

    /// A listener with a full backlog drops what comes.
    #[tokio::test]
    async fn silence_times_out() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _filling = std::net::TcpStream::connect(address).unwrap();
        let outcome = ask(address, 200).await;
        let said = "timed out after 200 ms while waiting for the SYN-ACK";
        assert_eq!((outcome.ok, outcome.diagnostic.as_str()), (false, said));
    }
}
