//! What no neighbour should send, with what has to come of it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use vc5_bgp::wire::{EncodeContext, Family, Message, Open, RouteRefresh, encode};

use super::rng::Rng;
use super::stats::Fault;
use super::tap::{Injection, Outcome};

/// Who seems to send it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) asn: u32,
    pub(crate) identifier: Ipv4Addr,
    pub(crate) address: IpAddr,
    /// The receiver is in another AS.
    pub(crate) external: bool,
    /// A number that no other injection has.
    pub(crate) serial: u16,
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    out.extend((19 + body.len() as u16).to_be_bytes());
    out.push(kind);
    out.extend(body);
    out
}

fn encoded(message: &Message) -> Vec<u8> {
    encode(message, &EncodeContext::default()).unwrap().to_vec()
}

fn plain(fault: Fault, octets: Vec<u8>) -> Injection {
    Injection { octets, crafted: Vec::new(), fault }
}

fn fatal(fault: Fault, octets: Vec<u8>, code: u8, subcode: u8) -> Injection {
    let outcome = Outcome::Fatal(vec![(code, subcode)]);
    Injection { crafted: vec![(octets.clone(), outcome)], octets, fault }
}

/// Octets that are no header.
pub(crate) fn random_octets(rng: &mut Rng) -> Injection {
    let count = rng.between(1, 40);
    plain(Fault::RandomOctets, rng.octets(count))
}

/// A header that RFC 4271 section 6.1 refuses.
pub(crate) fn bad_header(rng: &mut Rng) -> Injection {
    let mut octets = message(4, &[]);
    match rng.below(4) {
        0 => octets[rng.below(16)] ^= 1 << rng.below(8),
        1 => octets[18] = rng.pick(&[0, 6, 7, 128, 255]),
        2 => {
            let (kind, length) =
                rng.pick(&[(4, 18), (4, 20), (2, 22), (1, 28), (3, 20), (4, 0), (1, 5000)]);
            octets[18] = kind;
            octets[16..18].copy_from_slice(&u16::to_be_bytes(length));
        }
        _ => octets[16..18].copy_from_slice(&rng.pick(&[0_u16, 18, 4097]).to_be_bytes()),
    }
    plain(Fault::BadHeader, octets)
}

/// An OPEN that RFC 4271 section 6.2 refuses.
pub(crate) fn bad_open(rng: &mut Rng, sender: Sender) -> Injection {
    let open = Open::new(sender.asn, 90, sender.identifier, &[Family::IPV4_UNICAST]);
    let (octets, subcode) = match rng.below(5) {
        0 => (encoded(&Message::Open(Open { version: rng.pick(&[3, 5]), ..open })), 1),
        1 => {
            let other = Open::new(64_999, 90, sender.identifier, &[Family::IPV4_UNICAST]);
            (encoded(&Message::Open(other)), 2)
        }
        2 => {
            let none = Open { identifier: Ipv4Addr::UNSPECIFIED, ..open };
            (encoded(&Message::Open(none)), 3)
        }
        3 => {
            let [high, low] = u16::try_from(sender.asn).unwrap_or(23_456).to_be_bytes();
            let [a, b, c, d] = sender.identifier.octets();
            (message(1, &[4, high, low, 0, 90, a, b, c, d, 4, 99, 2, 0, 0]), 4)
        }
        _ => (encoded(&Message::Open(Open { hold_time: rng.pick(&[1, 2]), ..open })), 6),
    };
    fatal(Fault::BadOpen, octets, 2, subcode)
}

/// An UPDATE or ROUTE-REFRESH that ends the session even under RFC 7606.
pub(crate) fn bad_update(rng: &mut Rng, sender: Sender) -> Injection {
    let (octets, code, subcode) = match rng.below(4) {
        0 => (update(Some(200), &[], None, &[]), 3, 1),
        1 => (update(None, &[], Some(200), &[]), 3, 1),
        2 => (update(None, &attributes(sender, 0), None, &[33, 198, 18, 0, 0, 0]), 3, 10),
        _ => (message(5, &[0, 1, 0]), 7, 1),
    };
    fatal(Fault::BadUpdate, octets, code, subcode)
}

/// A route, then the same with an error that leaves the session alone (RFC 7606).
pub(crate) fn treat_as_withdraw(rng: &mut Rng, sender: Sender) -> Injection {
    let [high, low] = sender.serial.to_be_bytes();
    let nlri = [32, 198, 18, high, low];
    let prefix = IpNet::V4(format!("198.18.{high}.{low}/32").parse().unwrap());
    let good = update(None, &attributes(sender, 0), None, &nlri);
    let bad = match rng.below(4) {
        0 => attributes(sender, 9),
        1 => [attributes(sender, 0), vec![0x80, 4, 3, 0, 0, 1]].concat(),
        2 => [attributes(sender, 0), vec![0xC0, 8, 5, 0, 0, 0, 1, 2]].concat(),
        // No ORIGIN.
        _ => attributes(sender, 0).split_off(4),
    };
    let bad = update(None, &bad, None, &nlri);
    Injection {
        octets: [good.clone(), bad.clone()].concat(),
        crafted: vec![(good, Outcome::Learned(prefix)), (bad, Outcome::Withdrawn(prefix))],
        fault: Fault::TreatAsWithdraw,
    }
}

/// A message that is right by itself.
pub(crate) fn wrong_time(rng: &mut Rng, sender: Sender) -> Injection {
    let octets = match rng.below(4) {
        0 => message(4, &[]),
        1 => message(2, &[0, 0, 0, 0]),
        2 => encoded(&Message::RouteRefresh(RouteRefresh::request(Family::IPV4_UNICAST))),
        _ => {
            let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];
            encoded(&Message::Open(Open::new(sender.asn, 90, sender.identifier, &families)))
        }
    };
    plain(Fault::WrongTime, octets)
}

/// A NOTIFICATION that the neighbour did not send.
pub(crate) fn notification(rng: &mut Rng) -> Injection {
    let (code, subcode) = rng.pick(&[
        (6, 2),
        (6, 4),
        (6, 5),
        (6, 7),
        (4, 0),
        (2, 1),
        (2, 2),
        (2, 4),
        (2, 4),
        (2, 4),
        (3, 11),
        (9, 9),
    ]);
    plain(Fault::ForeignNotification, message(3, &[code, subcode]))
}

fn update(
    withdrawn_length: Option<u16>,
    attributes: &[u8],
    attributes_length: Option<u16>,
    nlri: &[u8],
) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(withdrawn_length.unwrap_or(0).to_be_bytes());
    body.extend(attributes_length.unwrap_or(attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(nlri);
    message(2, &body)
}

/// ORIGIN first, then what a route needs.
fn attributes(sender: Sender, origin: u8) -> Vec<u8> {
    let mut out = vec![0x40, 1, 1, origin];
    if sender.external {
        out.extend([0x40, 2, 6, 2, 1]);
        out.extend(sender.asn.to_be_bytes());
    } else {
        out.extend([0x40, 2, 0]);
    }
    out.extend([0x40, 3, 4]);
    if let IpAddr::V4(address) = sender.address {
        out.extend(address.octets());
    }
    if !sender.external {
        out.extend([0x40, 5, 4, 0, 0, 0, 100]);
    }
    out
}
