//! `[vip.NAME]` and its services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vc5_xdp::{OnDown, Ports, Unknown};

use super::super::literal::{self, is_link_local_v6};
use super::super::model::{AdminState, Check, Join, Need, Pool, Protocol, Service, Vip};
use super::super::read::{At, Field, Table};
use super::super::tree::Place;
use super::capacity::capacity;
use super::pool::{ON_DOWN, STATES};
use super::{Names, collect, port, seconds};
use crate::gate::DampingSettings;

/// What a VIP has to fit to.
pub(super) struct Context<'a> {
    pub(super) names: &'a Names,
    pub(super) pools: &'a BTreeMap<String, Pool>,
    pub(super) checks: &'a BTreeMap<String, Check>,
}

const UNKNOWN: [(&str, Unknown); 3] =
    [("drop", Unknown::Drop), ("pass", Unknown::Pass), ("reject", Unknown::Reject)];

type Owners = BTreeMap<IpAddr, (String, Place)>;

pub(super) fn vips(table: Table<'_>, context: &Context<'_>) -> BTreeMap<String, Vip> {
    let mut owners = Owners::new();
    collect(table, "vip.NAME", |name, table| Some(vip(name, table, context, &mut owners)))
}

fn vip(name: &str, mut table: Table<'_>, context: &Context<'_>, owners: &mut Owners) -> Vip {
    let addresses =
        table.need("addresses").and_then(|field| addresses(&field, owners)).unwrap_or_default();
    let up_delay =
        table.get("up-delay").and_then(|field| field.duration(seconds(0)..=seconds(3600)));
    let down_delay =
        table.get("down-delay").and_then(|field| field.duration(seconds(0)..=seconds(3600)));
    let drain_time =
        table.get("drain-time").and_then(|field| field.duration(seconds(0)..=seconds(3600)));
    let damping = table.get("damping").and_then(|field| damping(&field));
    let drain_local_pref =
        table.get("drain-local-pref").and_then(|field| field.number(0..=u32::MAX));
    let capacity = table.get("capacity").and_then(|field| capacity(&field));
    let group = table.get("group").and_then(|field| field.text().map(str::to_owned));
    let state = table.get("state").and_then(|field| field.word(&STATES));
    let unknown_port = table.get("unknown-port").and_then(|field| field.word(&UNKNOWN));
    let services = table
        .need("service")
        .and_then(|field| services(&field, context, &addresses))
        .unwrap_or_default();
    table.end();
    Vip {
        name: name.to_owned(),
        addresses,
        up_delay: up_delay.unwrap_or(seconds(5)),
        down_delay: down_delay.unwrap_or_default(),
        drain_time: drain_time.unwrap_or(seconds(10)),
        damping,
        drain_local_pref: drain_local_pref.unwrap_or(0),
        capacity,
        group,
        state: state.unwrap_or(AdminState::Enabled),
        unknown_port: unknown_port.unwrap_or_default(),
        services,
    }
}

/// The figures of RFC 2439; the defaults are those that routers have.
fn damping(field: &Field<'_>) -> Option<DampingSettings> {
    let mut table = field.table("vip.NAME.damping")?;
    let mut time = |key, default| {
        let read = table.get(key).map(|field| field.duration(seconds(1)..=seconds(86_400)));
        read.unwrap_or(Some(seconds(default)))
    };
    let (half_life, max_suppress) = (time("half-life", 900), time("max-suppress", 3600));
    let mut figure = |key, default| {
        let read = table.get(key).map(|field| field.number(1..=1_000_000_u32));
        read.unwrap_or(Some(default))
    };
    let penalty = figure("penalty", 1000);
    let (suppress, reuse) = (figure("suppress", 2000), figure("reuse", 750));
    table.end();
    let settings = DampingSettings {
        half_life: half_life?,
        penalty: penalty?,
        suppress: suppress?,
        reuse: reuse?,
        max_suppress: max_suppress?,
    };
    if settings.reuse >= settings.suppress {
        return field.fail("`reuse` must be less than `suppress`");
    }
    if settings.ceiling() <= f64::from(settings.suppress) {
        return field.fail(
            "the penalty can never exceed `suppress`: `max-suppress` is too short for this `half-life`",
        );
    }
    Some(settings)
}

fn addresses(field: &Field<'_>, owners: &mut Owners) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for At { place, value } in field.some(address)? {
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

fn address(item: &Field<'_>) -> Option<IpAddr> {
    let address = item.host()?;
    if address.is_loopback() || is_link_local_v6(address) {
        return item.fail(&format!("{address} cannot be announced"));
    }
    Some(address)
}

fn services(
    field: &Field<'_>,
    context: &Context<'_>,
    addresses: &[IpAddr],
) -> Option<Vec<Service>> {
    let mut services: Vec<At<Service>> = Vec::new();
    for At { place, value } in field.some(|item| service(item, context, addresses))? {
        let clash = services.iter().find(|first| overlap(&first.value, &value));
        if let Some(At { place: first, value: other }) = clash {
            let (own, first) = (name(&value), field.show(*first));
            let message = match other.ports == value.ports {
                true => format!("port {own} is there twice; first at {first}"),
                false => format!("port {own} overlaps {} at {first}", name(other)),
            };
            field.fail_at(place, &message);
        }
        services.push(At { place, value });
    }
    if !services.is_empty() && services.iter().all(|service| !service.value.gating) {
        return field.fail("at least one service must gate: nothing would say that the VIP works");
    }
    Some(services.into_iter().map(|service| service.value).collect())
}

/// Whether two services claim the same port. `all` is what the others leave.
fn overlap(a: &Service, b: &Service) -> bool {
    let bounds = |ports| match ports {
        Ports::One(port) => Some((port, port)),
        Ports::Range(first, last) => Some((first, last)),
        Ports::All => None,
    };
    let common = match (bounds(a.ports), bounds(b.ports)) {
        (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
        (None, None) => true,
        _ => false,
    };
    a.protocol == b.protocol && common
}

/// `80/tcp`
fn name(service: &Service) -> String {
    let protocol = match service.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", service.ports)
}

fn service(item: &Field<'_>, context: &Context<'_>, addresses: &[IpAddr]) -> Option<Service> {
    let mut table = item.table("vip.NAME.service")?;
    let ports = table.need("port").and_then(|field| ports(&field));
    let protocol = table
        .get("protocol")
        .and_then(|field| field.word(&[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]));
    let pool = table.need("pool").and_then(|field| pool(&field, context, addresses));
    let known = pool.as_ref().and_then(|name| context.pools.get(name));
    let need = table.get("need").and_then(|field| need(&field, known, addresses));
    let gating = table.get("gating").and_then(|field| field.boolean());
    let panic = table.get("panic-threshold").and_then(|field| field.literal(literal::percent));
    let sticky = table.get("sticky").and_then(|field| field.boolean());
    let on_down = table.get("on-down").and_then(|field| field.word(&ON_DOWN));
    let checks = table.get("checks").and_then(|field| checks(&field, context, ports));
    let checks_need = table
        .get("checks-need")
        .and_then(|field| field.word(&[("all", Join::All), ("any", Join::Any)]));
    table.end();
    Some(Service {
        ports: ports?,
        protocol: protocol.unwrap_or(Protocol::Tcp),
        need: need.unwrap_or(Need::Count(1)),
        gating: gating.unwrap_or(true),
        panic_threshold: panic,
        sticky: sticky.unwrap_or(false),
        on_down: on_down.or(known.map(|pool| pool.on_down)).unwrap_or(OnDown::Reselect),
        pool: pool?,
        checks: checks.unwrap_or_default(),
        checks_need: checks_need.unwrap_or_default(),
    })
}

fn ports(field: &Field<'_>) -> Option<Ports> {
    match field.is_text() {
        true => field.literal(literal::ports),
        false => port(field).map(Ports::One),
    }
}

/// The name of a pool that has backends for each of the addresses.
fn pool(field: &Field<'_>, context: &Context<'_>, addresses: &[IpAddr]) -> Option<String> {
    let name = field.reference("pool", &context.names.pools)?;
    let own = context.pools.get(&name);
    let backup = own.and_then(|pool| context.pools.get(pool.backup.as_ref()?));
    for pool in own.into_iter().chain(backup) {
        let alone = addresses.iter().find(|vip| pool.backends_for(**vip).next().is_none());
        if let Some(vip) = alone {
            let family = family(*vip);
            let (pool, role) = (&pool.name, if *pool.name == name { "" } else { ", the backup," });
            field.fail::<()>(&format!("pool `{pool}`{role} has no {family} backend for VIP {vip}"));
        }
    }
    Some(name)
}

fn need(field: &Field<'_>, pool: Option<&Pool>, addresses: &[IpAddr]) -> Option<Need> {
    if field.is_text() {
        return field.literal(literal::percent).map(Need::Percent);
    }
    let need = field.number(1..=4095_u32)?;
    let Some(pool) = pool else { return Some(Need::Count(need)) };
    for vip in addresses {
        let count = pool.backends_for(*vip).count();
        // Without any it is the pool that is wrong.
        if count > 0 && need as usize > count {
            return field.fail(&format!(
                "{need} can never be met: the number of {} backends in pool `{}` is {count}",
                family(*vip),
                pool.name
            ));
        }
    }
    Some(Need::Count(need))
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn checks(field: &Field<'_>, context: &Context<'_>, ports: Option<Ports>) -> Option<Vec<String>> {
    let mut checks: Vec<String> = Vec::new();
    for At { place, value } in field.list(|item| item.reference("check", &context.names.checks))? {
        if checks.contains(&value) {
            field.fail_at(place, &format!("check `{value}` is listed twice"));
            continue;
        }
        if let Some((ports, check)) = ports.zip(context.checks.get(&value))
            && check.port_for(ports).is_none()
        {
            let message = format!(
                "check `{value}` has no port to connect to: a service on the ports {ports} needs checks with a `port`"
            );
            field.fail_at(place, &message);
        }
        checks.push(value);
    }
    Some(checks)
}
