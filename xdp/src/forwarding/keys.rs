//! Addresses and services as the tables have them, and their names.

use std::net::{IpAddr, Ipv6Addr};

use vc5_ebpf_abi::{Address, ServiceKey, mapped};

use crate::{L4, Ports};

/// An address as the tables have it.
pub(crate) fn octets(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An address of the tables.
pub(crate) fn address_of(octets: Address) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
}

/// The port by which a service is found.
pub(crate) fn service_port(ports: Ports) -> u16 {
    match ports {
        Ports::One(port) | Ports::Range(port, _) => port,
        Ports::All => 0,
    }
}

/// The key of a service.
pub(crate) fn service_key(vip: IpAddr, ports: Ports, protocol: L4) -> ServiceKey {
    ServiceKey::new(octets(vip), service_port(ports), protocol.number())
}

/// The keys that services of a VIP can have.
pub(super) fn keys_of(vip: IpAddr) -> std::ops::RangeInclusive<ServiceKey> {
    let addr = octets(vip);
    ServiceKey::new(addr, 0, 0)..=ServiceKey::new(addr, u16::MAX, u8::MAX)
}

/// `192.0.2.1:80/tcp`.
pub(crate) fn name(key: ServiceKey) -> String {
    let vip = match address_of(key.addr) {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    match u16::from_be_bytes(key.port) {
        0 => format!("{vip}:all/{}", protocol_of(key)),
        port => format!("{vip}:{port}/{}", protocol_of(key)),
    }
}

/// The protocol of a service.
pub(crate) fn protocol_of(key: ServiceKey) -> L4 {
    L4::from_number(key.protocol).unwrap_or(L4::Tcp)
}
