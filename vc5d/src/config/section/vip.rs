//! `[vip.NAME]` and its services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::literal::is_link_local_v6;
use super::super::model::{AdminState, DataplaneMode, Pool, ProbePath, Protocol, Service, Vip};
use super::super::read::{At, Field, Table};
use super::super::tree::Place;
use super::pool::STATES;
use super::{Names, collect, port, seconds};

/// What a VIP has to fit to.
pub(super) struct Context<'a> {
    pub(super) names: &'a Names,
    pub(super) pools: &'a BTreeMap<String, Pool>,
    pub(super) dataplane: DataplaneMode,
}

type Owners = BTreeMap<IpAddr, (String, Place)>;

pub(super) fn vips(table: Table<'_>, context: &Context<'_>) -> BTreeMap<String, Vip> {
    let mut owners = Owners::new();
    collect(table, "vip.NAME", |name, table| Some(vip(name, table, context, &mut owners)))
}

fn vip(name: &str, mut table: Table<'_>, context: &Context<'_>, owners: &mut Owners) -> Vip {
    let addresses = table
        .need("addresses")
        .and_then(|field| addresses(&field, context, owners))
        .unwrap_or_default();
    let up_delay =
        table.get("up-delay").and_then(|field| field.duration(seconds(0)..=seconds(3600)));
    let state = table.get("state").and_then(|field| field.word(&STATES));
    let services = table
        .need("service")
        .and_then(|field| services(&field, context, &addresses))
        .unwrap_or_default();
    table.end();
    Vip {
        name: name.to_owned(),
        addresses,
        up_delay: up_delay.unwrap_or(seconds(5)),
        state: state.unwrap_or(AdminState::Enabled),
        services,
    }
}

fn addresses(field: &Field<'_>, context: &Context<'_>, owners: &mut Owners) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for At { place, value } in field.some(|item| address(item, context.dataplane))? {
        if let Some((owner, first)) = owners.get(&value) {
            let message = format!("{value} belongs to {owner} already ({})", field.show(*first));
            field.fail_at(place, &message);
            continue;
        }
        owners.insert(value, (field.parent().to_owned(), place));
        addresses.push(value);
    }
    Some(addresses)
}

fn address(item: &Field<'_>, dataplane: DataplaneMode) -> Option<IpAddr> {
    let address = item.host()?;
    if address.is_loopback() || is_link_local_v6(address) {
        return item.fail(&format!("{address} cannot be announced"));
    }
    if address.is_ipv6() && dataplane != DataplaneMode::Off {
        return item.fail(&format!(
            "{address}: the dataplane does not forward IPv6 yet; remove the address or set dataplane.mode = \"off\""
        ));
    }
    Some(address)
}

fn services(
    field: &Field<'_>,
    context: &Context<'_>,
    addresses: &[IpAddr],
) -> Option<Vec<Service>> {
    let list = field.some(|item| service(item, context, addresses))?;
    let mut seen: BTreeMap<(u16, Protocol), Place> = BTreeMap::new();
    let mut services = Vec::new();
    for At { place, value } in list {
        if let Some(first) = seen.insert((value.port, value.protocol), place) {
            let protocol = match value.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            let first = field.show(first);
            let message =
                format!("port {}/{protocol} is there twice; first at {first}", value.port);
            field.fail_at(place, &message);
        }
        services.push(value);
    }
    Some(services)
}

fn service(item: &Field<'_>, context: &Context<'_>, addresses: &[IpAddr]) -> Option<Service> {
    let mut table = item.table("vip.NAME.service")?;
    let port = table.need("port").and_then(|field| port(&field));
    let protocol = table
        .get("protocol")
        .and_then(|field| field.word(&[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]));
    let pool = table.need("pool").and_then(|field| {
        let name = field.reference("pool", &context.names.pools)?;
        if let Some(pool) = context.pools.get(&name) {
            same_family(&field, pool, addresses);
        }
        Some(name)
    });
    let need = table.get("need").and_then(|field| {
        let need = field.number(1..=4095_u32)?;
        match pool.as_ref().and_then(|name| context.pools.get(name)) {
            Some(pool) if need as usize > pool.backends.len() => field.fail(&format!(
                "{need} can never be met: the number of backends in pool `{}` is {}",
                pool.name,
                pool.backends.len()
            )),
            _ => Some(need),
        }
    });
    let checks = table.get("checks").and_then(|field| checks(&field, context.names));
    table.end();
    Some(Service {
        port: port?,
        protocol: protocol.unwrap_or(Protocol::Tcp),
        pool: pool?,
        need: need.unwrap_or(1),
        checks: checks.unwrap_or_default(),
    })
}

/// Packets keep their family on the way to a backend, so VIP and backend have to agree. Where the host
/// itself holds the VIP, the backend's address is only a name.
fn same_family(field: &Field<'_>, pool: &Pool, addresses: &[IpAddr]) {
    if pool.probe == ProbePath::Local {
        return;
    }
    for vip in addresses {
        let other = pool.backends.iter().find(|backend| backend.address.is_ipv4() != vip.is_ipv4());
        if let Some(backend) = other {
            field.fail::<()>(&format!(
                "backend {} of pool `{}` is of another address family than VIP {vip}",
                backend.address, pool.name
            ));
        }
    }
}

fn checks(field: &Field<'_>, names: &Names) -> Option<Vec<String>> {
    let mut checks: Vec<String> = Vec::new();
    for At { place, value } in field.list(|item| item.reference("check", &names.checks))? {
        if checks.contains(&value) {
            field.fail_at(place, &format!("check `{value}` is listed twice"));
            continue;
        }
        checks.push(value);
    }
    Some(checks)
}
