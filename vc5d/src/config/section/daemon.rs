//! What concerns the daemon as a whole: `[router]`, `[control]`, `[metrics]`, `[probe]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::super::model::{Control, Metrics, ProbeSettings, Router};
use super::super::read::{Field, Table};
use super::seconds;
use crate::signal::path::OnLoss;

/// Reserved for the time when AS numbers had two octets (RFC 6793 section 9).
const AS_TRANS: u32 = 23456;

/// An AS number that a speaker can have (RFC 7607 excludes 0).
pub(super) fn as_number(field: &Field<'_>) -> Option<u32> {
    let number = field.number(1..=u32::MAX)?;
    if number == AS_TRANS {
        return field.fail("23456 is reserved (AS_TRANS, RFC 6793)");
    }
    Some(number)
}

pub(super) fn router(mut table: Table<'_>) -> Router {
    let id = table.need("id").and_then(|field| router_id(&field));
    let local_as = table.need("as").and_then(|field| as_number(&field));
    let listen = table.get("listen").and_then(|field| listen(&field));
    let learn_time =
        table.get("learn-time").and_then(|field| field.duration(seconds(0)..=seconds(3600)));
    table.end();
    Router {
        id: id.unwrap_or(Ipv4Addr::UNSPECIFIED),
        local_as: local_as.unwrap_or_default(),
        listen: listen.unwrap_or_else(|| {
            vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 179)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 179)),
            ]
        }),
        learn_time: learn_time.unwrap_or(seconds(10)),
    }
}

fn router_id(field: &Field<'_>) -> Option<Ipv4Addr> {
    let id: Ipv4Addr = field.parsed("an IPv4 address such as \"192.0.2.1\"")?;
    if id.is_unspecified() {
        return field.fail("a router id must not be 0.0.0.0 (RFC 6286)");
    }
    Some(id)
}

pub(super) fn socket_address(field: &Field<'_>) -> Option<SocketAddr> {
    field.parsed("an address and port such as \"127.0.0.1:179\" or \"[::1]:179\"")
}

fn listen(field: &Field<'_>) -> Option<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for item in field.items()? {
        match socket_address(&item) {
            Some(address) if addresses.contains(&address) => {
                item.fail::<()>(&format!("{address} is listed twice"));
            }
            Some(address) => addresses.push(address),
            None => {}
        }
    }
    Some(addresses)
}

/// The longest path that fits into `sockaddr_un`, with its final zero.
const SOCKET_PATH_MAX: usize = 107;

pub(super) fn socket_path(field: &Field<'_>) -> Option<PathBuf> {
    let path = field.absolute_path()?;
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return field.fail(&format!("a socket path has at most {SOCKET_PATH_MAX} bytes"));
    }
    Some(path)
}

pub(super) fn control(mut table: Table<'_>) -> Control {
    let socket = table.get("socket").and_then(|field| socket_path(&field));
    let state_directory = table.get("state-directory").and_then(|field| field.absolute_path());
    let history = table.get("history").and_then(|field| field.number(0..=1_000_000_usize));
    table.end();
    Control {
        socket: socket.unwrap_or_else(|| PathBuf::from("/run/vc5/vc5.ctl")),
        state_directory: state_directory.unwrap_or_else(|| PathBuf::from("/var/lib/vc5")),
        history: history.unwrap_or(4096),
    }
}

pub(super) fn metrics(mut table: Table<'_>) -> Metrics {
    let listen = table.get("listen").and_then(|field| match field.text()? {
        "off" => Some(None),
        _ => field.parsed("an address and port such as \"127.0.0.1:9324\", or \"off\"").map(Some),
    });
    table.end();
    Metrics {
        listen: listen
            .unwrap_or_else(|| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9324))),
    }
}

/// The words of `on-path-loss`.
const ON_PATH_LOSS: [(&str, OnLoss); 2] = [("hold", OnLoss::Hold), ("withdraw", OnLoss::Withdraw)];

pub(super) fn probe(mut table: Table<'_>) -> ProbeSettings {
    let mark_mask = table.get("mark-mask").and_then(|field| mark_mask(&field));
    // Below 256 are the tables of the kernel and of /etc/iproute2/rt_tables; above, room for 65536 of ours.
    let table_base = table.get("table-base").and_then(|field| field.number(256..=0xffff_0000_u32));
    // The rules have to come before `lookup main`, which is 32766.
    let rule_priority = table.get("rule-priority").and_then(|field| field.number(1..=32_000_u32));
    let on_path_loss = table.get("on-path-loss").and_then(|field| field.word(&ON_PATH_LOSS));
    table.end();
    ProbeSettings {
        mark_mask: mark_mask.unwrap_or(0x7fff_8000),
        table_base: table_base.unwrap_or(0x5643_0000),
        rule_priority: rule_priority.unwrap_or(20_000),
        on_path_loss: on_path_loss.unwrap_or(OnLoss::Withdraw),
    }
}

fn mark_mask(field: &Field<'_>) -> Option<u32> {
    let mask = field.number(1..=u32::MAX)?;
    let contiguous = (mask >> mask.trailing_zeros()).trailing_ones() == mask.count_ones();
    if contiguous && mask.count_ones() >= 16 {
        return Some(mask);
    }
    field.fail(&format!("{mask:#010x}: the bits must be contiguous and at least 16"))
}
