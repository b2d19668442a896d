//! Backends that say their names, and a client that asks them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::*;

/// A lab with backends that answer each byte by their name, also on the IPv6 address given, and
/// what else has to run in it.
pub(super) fn lab_with_servers(vips: &[IpAddr]) -> (Lab, Running) {
    let lab = Lab::new(&[("b1", 11), ("b2", 12), ("client", 100)]);
    for vip in vips {
        for host in ["b1", "b2"] {
            lab.add_vip(host, *vip);
            let listener = lab.within(host, || TcpListener::bind((*vip, PORT)).unwrap());
            std::thread::spawn(move || serve(&listener, host));
        }
        lab.route_vip("client", *vip);
    }
    // The balancer's veth can only transmit if its peer runs an XDP program too: one without VIPs.
    let peer = DataplaneConfig {
        interfaces: vec!["lb".into()],
        mode: AttachMode::Native,
        ..config(&lab, false)
    };
    let peer = Running::start_on(&lab, "switch", peer).unwrap();
    (lab, peer)
}

fn serve(listener: &TcpListener, name: &'static str) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        std::thread::spawn(move || {
            let mut byte = [0];
            while stream.write_all(format!("{name}\n").as_bytes()).is_ok() {
                if !matches!(stream.read(&mut byte), Ok(1)) {
                    return;
                }
            }
        });
    }
}

/// Connects from the client to the VIP and returns who answered.
pub(super) fn ask(lab: &Lab) -> String {
    Held::new(lab, VIP).name
}

/// A connection from the client that stands.
pub(super) struct Held {
    stream: BufReader<TcpStream>,
    /// Who answered first.
    pub(super) name: String,
}

impl Held {
    pub(super) fn new(lab: &Lab, vip: IpAddr) -> Self {
        let address = SocketAddr::from((vip, PORT));
        let stream = lab.within("client", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap()
        });
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut held = Self { stream: BufReader::new(stream), name: String::new() };
        held.name = held.line();
        held
    }

    /// One that this backend has.
    pub(super) fn with(lab: &Lab, name: &str) -> Self {
        let mut held = (0..100).map(|_| Self::new(lab, VIP));
        held.find(|held| held.name == name).unwrap_or_else(|| panic!("nothing went to {name}"))
    }

    /// Who answers now.
    pub(super) fn ask(&mut self) -> String {
        self.stream.get_mut().write_all(b"?").unwrap();
        self.line()
    }

    /// The client's end.
    pub(super) fn source(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
