//! The arguments of `trace`, `show flow`, `show maglev` and `show new-flows`.

use std::net::{IpAddr, SocketAddr};

use vc5_xdp::{L4, TcpKind, TraceQuestion, Tuple};

use super::words::{Arguments, Choice, Error, Word, choose};

/// The source port of a traced packet when none is given: the first of the dynamic ones (RFC 6335 section 6).
const SOURCE_PORT: u16 = 49152;

/// An Ethernet header.
const SHORTEST_FRAME: usize = 14;

pub(super) const TRACE_KEYWORDS: [&str; 9] =
    ["to", "tcp", "udp", "syn", "data", "fin", "rst", "via", "vlan"];

/// `SRC[:PORT] to VIP:PORT [tcp|udp] [syn|data|fin|rst] [via IFACE] [vlan N]`
pub(super) fn trace(arguments: &mut Arguments<'_>) -> Result<TraceQuestion, Error> {
    let word = arguments.need("the source address")?;
    let source = endpoint(arguments, word, Some(SOURCE_PORT))?;
    let destination = destination(arguments, source)?;
    let (mut protocol, mut flags, mut interface, mut vlan) = (None, None, None, None);
    while let Some(word) = arguments.next() {
        let doubled = match choose(&word.text, TRACE_KEYWORDS) {
            Choice::One("tcp") => protocol.replace(L4::Tcp).is_some(),
            Choice::One("udp") => protocol.replace(L4::Udp).is_some(),
            Choice::One("syn") => flags.replace(TcpKind::Syn).is_some(),
            Choice::One("data") => flags.replace(TcpKind::Data).is_some(),
            Choice::One("fin") => flags.replace(TcpKind::Fin).is_some(),
            Choice::One("rst") => flags.replace(TcpKind::Rst).is_some(),
            Choice::One("via") => interface.replace(via(arguments)?).is_some(),
            Choice::One("vlan") => vlan.replace(vlan_id(arguments)?).is_some(),
            _ => return Err(arguments.unexpected(word)),
        };
        if doubled {
            return Err(arguments.wrong(word, "says the same thing a second time"));
        }
        if protocol == Some(L4::Udp) && flags.is_some() {
            return Err(arguments.wrong(word, "does not fit: UDP has no such packets"));
        }
    }
    Ok(TraceQuestion::Tuple {
        source: source.ip(),
        source_port: source.port(),
        destination: destination.ip(),
        port: destination.port(),
        protocol: protocol.unwrap_or(L4::Tcp),
        flags: flags.unwrap_or_default(),
        interface,
        vlan,
    })
}

/// `HEX [via IFACE]`
pub(super) fn trace_frame(arguments: &mut Arguments<'_>) -> Result<TraceQuestion, Error> {
    let word = arguments.need("the frame in hexadecimal digits")?;
    let bytes = hexadecimal(&word.text)
        .ok_or_else(|| arguments.wrong(word, "is not an even number of hexadecimal digits"))?;
    if bytes.len() < SHORTEST_FRAME {
        return Err(arguments.wrong(word, "is shorter than an Ethernet header"));
    }
    let interface = match arguments.next() {
        None => None,
        Some(word) if choose(&word.text, ["via"]) == Choice::One("via") => Some(via(arguments)?),
        Some(word) => return Err(arguments.unexpected(word)),
    };
    Ok(TraceQuestion::Frame { bytes, interface })
}

/// `SRC:PORT to VIP:PORT [tcp|udp]`
pub(super) fn tuple(arguments: &mut Arguments<'_>) -> Result<Tuple, Error> {
    let word = arguments.need("the source address and port")?;
    let source = endpoint(arguments, word, None)?;
    let destination = destination(arguments, source)?;
    let protocol = match arguments.next() {
        None => L4::Tcp,
        Some(word) => protocol(&word.text).ok_or_else(|| arguments.unexpected(word))?,
    };
    Ok(Tuple {
        source: source.ip(),
        source_port: source.port(),
        destination: destination.ip(),
        port: destination.port(),
        protocol,
    })
}

/// Which of a VIP's services are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceFilter {
    /// Those that have this port; `None`: any.
    pub port: Option<u16>,
    /// Those of this protocol; `None`: any.
    pub protocol: Option<L4>,
}

/// `[PORT] [tcp|udp]`
pub(super) fn service_filter(arguments: &mut Arguments<'_>) -> Result<ServiceFilter, Error> {
    let mut filter = ServiceFilter::default();
    while let Some(word) = arguments.next() {
        match (word.text.parse(), protocol(&word.text)) {
            (Ok(port @ 1..), _) if filter == ServiceFilter::default() => filter.port = Some(port),
            (_, Some(protocol)) if filter.protocol.is_none() => filter.protocol = Some(protocol),
            _ => return Err(arguments.unexpected(word)),
        }
    }
    Ok(filter)
}

/// `[COUNT]`, at least 1.
pub(super) fn count(arguments: &mut Arguments<'_>) -> Result<Option<u64>, Error> {
    let Some(word) = arguments.next() else { return Ok(None) };
    match word.text.parse() {
        Ok(count @ 1..) => Ok(Some(count)),
        _ => Err(arguments.wrong(word, "is not a number from 1 on")),
    }
}

/// `to VIP:PORT`, of the family of the source.
fn destination(arguments: &mut Arguments<'_>, source: SocketAddr) -> Result<SocketAddr, Error> {
    let to = arguments.need("to")?;
    if to.text != "to" {
        return Err(arguments.wrong(to, "stands where `to` is expected"));
    }
    let word = arguments.need("the VIP's address and port")?;
    let destination = endpoint(arguments, word, None)?;
    if destination.is_ipv4() != source.is_ipv4() {
        return Err(arguments.wrong(word, "is of another address family than the source"));
    }
    Ok(destination)
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`, or an address alone where a port need not be given.
fn endpoint(
    arguments: &Arguments<'_>,
    word: &Word,
    default_port: Option<u16>,
) -> Result<SocketAddr, Error> {
    if let Ok(endpoint) = word.text.parse::<SocketAddr>() {
        return Ok(endpoint);
    }
    let bare = word.text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match (bare.unwrap_or(&word.text).parse::<IpAddr>(), default_port) {
        (Ok(address), Some(port)) => Ok(SocketAddr::new(address, port)),
        (Ok(_), None) => Err(arguments
            .wrong(word, "has no port: write 192.0.2.1:80, or [2001:db8::1]:80 with brackets")),
        (Err(_), _) => Err(arguments
            .wrong(word, "is no address and port such as 192.0.2.1:80 or [2001:db8::1]:80")),
    }
}

fn protocol(text: &str) -> Option<L4> {
    match choose(text, ["tcp", "udp"]) {
        Choice::One("tcp") => Some(L4::Tcp),
        Choice::One("udp") => Some(L4::Udp),
        _ => None,
    }
}

fn via(arguments: &mut Arguments<'_>) -> Result<String, Error> {
    Ok(arguments.need("the interface's name")?.text.clone())
}

fn vlan_id(arguments: &mut Arguments<'_>) -> Result<u16, Error> {
    let word = arguments.need("the VLAN's id")?;
    match word.text.parse() {
        Ok(id @ 1..=4094) => Ok(id),
        _ => Err(arguments.wrong(word, "is no VLAN id: 1 to 4094")),
    }
}

/// Bytes from digits, with colons, dashes or white space between them as other programs print them.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let between = |c: &char| !(matches!(c, ':' | '-') || c.is_whitespace());
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(between)
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
