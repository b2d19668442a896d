//! UDP: a service that tells its name, and a client that asks it from many ports.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};

/// Answers every datagram with the name, from the address it was sent to.
pub(super) fn serve(name: &str, listen: SocketAddrV4) -> Result<()> {
    let socket = UdpSocket::bind(listen).with_context(|| format!("cannot bind {listen}"))?;
    let mut buffer = [0; 512];
    loop {
        let (_, client) = socket.recv_from(&mut buffer)?;
        socket.send_to(name.as_bytes(), client)?;
    }
}

/// Asks from as many ports as told, `times` from each, and prints in JSON the names that answered each port.
pub(super) fn ask(target: SocketAddrV4, ports: u16, times: u16) -> Result<()> {
    let mut answers: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for _ in 0..ports {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let port = socket.local_addr()?.port();
        for _ in 0..times {
            socket.send(b"?")?;
            let mut buffer = [0; 512];
            let count = socket.recv(&mut buffer).with_context(|| format!("port {port}"))?;
            let name = buffer.get(..count).unwrap_or_default();
            answers.entry(port).or_default().push(String::from_utf8_lossy(name).into_owned());
        }
    }
    println!("{}", serde_json::to_string(&answers)?);
    Ok(())
}
