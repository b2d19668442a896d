//! `[template.bgp.NAME]` and `[protocol.bgp.NAME]`.
//!
//! Both have the same keys, all optional as far as reading goes. A protocol's own value of a key comes
//! before its template's, in channels key by key as well. What must be there, and what must fit
//! together, is asked of the merged keys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vc5_bgp::session::{GracefulRestart, Password};
use vc5_bgp::wire::BgpRole;

use super::super::literal::is_link_local_v6;
use super::super::log::Log;
use super::super::model::{BgpProtocol, Channel};
use super::super::read::{At, Field, Table};
use super::super::tree::Place;
use super::channel::{ChannelKeys, channel, channel_over};
use super::daemon::as_number;
use super::{Names, collect, milliseconds, port, seconds};

/// The keys of one table, as written.
#[derive(Clone, Default)]
pub(super) struct Keys {
    description: Option<String>,
    neighbor: Option<At<Neighbor>>,
    interface: Option<At<String>>,
    port: Option<u16>,
    neighbor_as: Option<u32>,
    source_address: Option<At<IpAddr>>,
    passive: Option<bool>,
    /// `Some(None)` for `false`.
    multihop: Option<Option<u8>>,
    password: Option<Password>,
    delay_open_time: Option<Duration>,
    send_hold_time: Option<Duration>,
    ttl_security: Option<bool>,
    disable_after_error: Option<bool>,
    graceful_restart: Option<GracefulRestart>,
    extended_messages: Option<bool>,
    enhanced_route_refresh: Option<bool>,
    local_role: Option<At<BgpRole>>,
    require_roles: Option<bool>,
    advertise_hostname: Option<bool>,
    allow_local_as: Option<u8>,
    enforce_first_as: Option<bool>,
    allow_as_sets: Option<bool>,
    hold_time: Option<Duration>,
    keepalive_time: Option<At<Duration>>,
    connect_retry_time: Option<Duration>,
    connect_delay_time: Option<Duration>,
    startup_hold_time: Option<Duration>,
    error_wait_time: Option<(Duration, Duration)>,
    error_forget_time: Option<Duration>,
    shutdown_message: Option<String>,
    ipv4: Option<At<ChannelKeys>>,
    ipv6: Option<At<ChannelKeys>>,
}

/// Keys of DESIGN's vocabulary that this version does not implement.
const LATER: [&str; 1] = ["bfd"];

pub(super) fn templates(mut table: Table<'_>, names: &Names) -> BTreeMap<String, Keys> {
    let templates =
        collect(table.section("bgp", "template.bgp"), "template.bgp.NAME", |_, mut table| {
            table.not_yet(&["template"]);
            Some(read_keys(table, names))
        });
    table.end();
    templates
}

pub(super) fn protocols(
    mut table: Table<'_>,
    names: &Names,
    templates: &BTreeMap<String, Keys>,
    local_as: u32,
) -> BTreeMap<String, BgpProtocol> {
    let mut neighbors: BTreeMap<(IpAddr, String), (String, Place)> = BTreeMap::new();
    let protocols =
        collect(table.section("bgp", "protocol.bgp"), "protocol.bgp.NAME", |name, mut table| {
            let template = table
                .get("template")
                .and_then(|field| field.reference("template", &names.templates))
                .and_then(|template| templates.get(&template));
            let template_is_lost = table.has("template") && template.is_none();
            if name == "all" {
                table.fail("`all` is a word of the commands; choose another name");
            }
            let whole = Whole { log: table.log, path: table.path.clone(), place: table.place };
            // What is there but wrong has its own error already and is not missing.
            let written = ["neighbor", "neighbor-as", "ipv4", "ipv6"]
                .map(|key| template_is_lost || table.has(key));
            let keys = read_keys(table, names).over(template.cloned().unwrap_or_default());
            whole.unique(&keys, &mut neighbors);
            whole.complete(name, keys, written, local_as)
        });
    table.end();
    protocols
}

fn read_keys(mut table: Table<'_>, names: &Names) -> Keys {
    let zero_or_more = Duration::ZERO..=seconds(3600);
    let pace = milliseconds(100)..=seconds(3600);
    let keys = Keys {
        description: table.get("description").and_then(|field| Some(field.text()?.to_owned())),
        neighbor: table.get("neighbor").and_then(|field| field.at(neighbor)),
        port: table.get("neighbor-port").and_then(|field| port(&field)),
        neighbor_as: table.get("neighbor-as").and_then(|field| as_number(&field)),
        source_address: table.get("source-address").and_then(|field| field.at(Field::host)),
        passive: table.get("passive").and_then(|field| field.boolean()),
        interface: table.get("interface").and_then(|field| field.at(interface)),
        multihop: table.get("multihop").and_then(|field| multihop(&field)),
        password: password(&mut table),
        delay_open_time: table
            .get("delay-open-time")
            .and_then(|field| field.duration(zero_or_more.clone())),
        send_hold_time: table
            .get("send-hold-time")
            .and_then(|field| field.duration(Duration::ZERO..=seconds(65_535))),
        ttl_security: table.get("ttl-security").and_then(|field| field.boolean()),
        disable_after_error: table.get("disable-after-error").and_then(|field| field.boolean()),
        graceful_restart: table
            .get("graceful-restart")
            .and_then(|field| field.word(&RESTART_WORDS)),
        extended_messages: table.get("extended-messages").and_then(|field| field.boolean()),
        enhanced_route_refresh: table
            .get("enhanced-route-refresh")
            .and_then(|field| field.boolean()),
        local_role: table
            .get("local-role")
            .and_then(|field| field.at(|field| field.word(&ROLE_WORDS))),
        require_roles: table.get("require-roles").and_then(|field| field.boolean()),
        advertise_hostname: table.get("advertise-hostname").and_then(|field| field.boolean()),
        allow_local_as: table.get("allow-local-as").and_then(|field| field.number(0..=10_u8)),
        enforce_first_as: table.get("enforce-first-as").and_then(|field| field.boolean()),
        allow_as_sets: table.get("allow-as-sets").and_then(|field| field.boolean()),
        hold_time: table.get("hold-time").and_then(|field| hold_time(&field, true)),
        keepalive_time: table
            .get("keepalive-time")
            .and_then(|field| field.at(|field| field.duration(seconds(1)..=seconds(21_845)))),
        connect_retry_time: table
            .get("connect-retry-time")
            .and_then(|field| field.duration(pace.clone())),
        connect_delay_time: table
            .get("connect-delay-time")
            .and_then(|field| field.duration(zero_or_more.clone())),
        startup_hold_time: table
            .get("startup-hold-time")
            .and_then(|field| hold_time(&field, false)),
        error_wait_time: table
            .get("error-wait-time")
            .and_then(|field| shortest_and_longest(&field, pace.clone())),
        error_forget_time: table.get("error-forget-time").and_then(|field| field.duration(pace)),
        shutdown_message: table.get("shutdown-message").and_then(|field| shutdown_message(&field)),
        ipv4: channel(&mut table, "ipv4", names),
        ipv6: channel(&mut table, "ipv6", names),
    };
    table.not_yet(&LATER);
    table.end();
    keys
}

/// A neighbor's address, and the interface written behind a link-local one.
#[derive(Clone)]
struct Neighbor {
    address: IpAddr,
    interface: Option<String>,
}

/// An address, or `fe80::1%eth0`.
fn neighbor(field: &Field<'_>) -> Option<Neighbor> {
    let Some((address, name)) = field.text_or_none().and_then(|text| text.split_once('%')) else {
        return Some(Neighbor { address: field.host()?, interface: None });
    };
    match address.parse() {
        Ok(address) if is_link_local_v6(address) => {
            let interface = Some(interface_name(field, name)?);
            Some(Neighbor { address, interface })
        }
        _ => field.fail(&format!("`{address}` is not a link-local IPv6 address; drop `%{name}`")),
    }
}

fn interface(field: &Field<'_>) -> Option<String> {
    interface_name(field, field.text()?)
}

/// The kernel's limits: 1 to 15 octets, no slash, no space.
fn interface_name(field: &Field<'_>, name: &str) -> Option<String> {
    let valid = |c: char| c.is_ascii_graphic() && c != '/' && c != '%';
    if !(1..=15).contains(&name.len()) || !name.chars().all(valid) {
        return field.fail(&format!("`{name}` is not the name of an interface"));
    }
    Some(name.to_owned())
}

/// BIRD's number where none is written.
const MULTIHOP: u8 = 64;

/// `true`, `false` or how many hops there may be.
fn multihop(field: &Field<'_>) -> Option<Option<u8>> {
    if field.is_boolean() {
        return Some(field.boolean()?.then_some(MULTIHOP));
    }
    if field.is_integer() {
        return Some(Some(field.number(1..=u8::MAX)?));
    }
    field.fail("expected true, false or a number of hops")
}

const RESTART_WORDS: [(&str, GracefulRestart); 2] =
    [("aware", GracefulRestart::Aware), ("off", GracefulRestart::Off)];

const ROLE_WORDS: [(&str, BgpRole); 5] = [
    ("provider", BgpRole::Provider),
    ("rs-server", BgpRole::RouteServer),
    ("rs-client", BgpRole::RouteServerClient),
    ("customer", BgpRole::Customer),
    ("peer", BgpRole::Peer),
];

/// `password`, or the first line of `password-file`.
fn password(table: &mut Table<'_>) -> Option<Password> {
    let written = table.get("password");
    let file = table.get("password-file");
    match (written, file) {
        (Some(_), Some(file)) => file.fail("there is a `password` as well; keep one of the two"),
        (Some(field), None) => key(&field, field.text()?),
        (None, Some(field)) => {
            let path = field.directory().join(field.text()?);
            match std::fs::read_to_string(&path) {
                Ok(text) => key(&field, text.lines().next().unwrap_or_default()),
                Err(error) => field.fail(&format!("{}: {error}", path.display())),
            }
        }
        (None, None) => None,
    }
}

fn key(field: &Field<'_>, text: &str) -> Option<Password> {
    let password = Password::new(text);
    if password.is_none() {
        return field.fail(&format!("a key has 1 to 80 bytes, not {}", text.len()));
    }
    password
}

/// The wire has whole seconds in 16 bits; 1 and 2 are not allowed (RFC 4271 section 4.2).
fn hold_time(field: &Field<'_>, may_be_zero: bool) -> Option<Duration> {
    let time = field.duration(Duration::ZERO..=seconds(65_535))?;
    if time.subsec_millis() != 0 {
        return field.fail("a hold time is a whole number of seconds");
    }
    match time.as_secs() {
        0 if may_be_zero => Some(time),
        0..=2 => {
            let zero = if may_be_zero { "0s or " } else { "" };
            field.fail(&format!("must be {zero}at least 3s (RFC 4271 section 4.2)"))
        }
        _ => Some(time),
    }
}

fn shortest_and_longest(
    field: &Field<'_>,
    range: std::ops::RangeInclusive<Duration>,
) -> Option<(Duration, Duration)> {
    let items = field.items()?;
    let [shortest, longest] = items.as_slice() else {
        return field.fail("expected two durations, the shortest and the longest wait");
    };
    let (shortest, longest) = (shortest.duration(range.clone())?, longest.duration(range)?);
    if shortest > longest {
        return field.fail("the shortest wait comes first");
    }
    Some((shortest, longest))
}

fn shutdown_message(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() > 255 {
        return field.fail(&format!("{} bytes; RFC 9003 allows 255", text.len()));
    }
    Some(text.to_owned())
}

impl Keys {
    /// The interface, as a key or behind the address.
    fn interface(&self) -> Option<String> {
        let scope = self.neighbor.as_ref().and_then(|neighbor| neighbor.value.interface.clone());
        scope.or_else(|| self.interface.as_ref().map(|interface| interface.value.clone()))
    }

    /// These keys, and those of `base` where there are none.
    fn over(self, base: Keys) -> Keys {
        Keys {
            description: self.description.or(base.description),
            neighbor: self.neighbor.or(base.neighbor),
            port: self.port.or(base.port),
            neighbor_as: self.neighbor_as.or(base.neighbor_as),
            source_address: self.source_address.or(base.source_address),
            passive: self.passive.or(base.passive),
            interface: self.interface.or(base.interface),
            multihop: self.multihop.or(base.multihop),
            password: self.password.or(base.password),
            delay_open_time: self.delay_open_time.or(base.delay_open_time),
            send_hold_time: self.send_hold_time.or(base.send_hold_time),
            ttl_security: self.ttl_security.or(base.ttl_security),
            disable_after_error: self.disable_after_error.or(base.disable_after_error),
            graceful_restart: self.graceful_restart.or(base.graceful_restart),
            extended_messages: self.extended_messages.or(base.extended_messages),
            enhanced_route_refresh: self.enhanced_route_refresh.or(base.enhanced_route_refresh),
            local_role: self.local_role.or(base.local_role),
            require_roles: self.require_roles.or(base.require_roles),
            advertise_hostname: self.advertise_hostname.or(base.advertise_hostname),
            allow_local_as: self.allow_local_as.or(base.allow_local_as),
            enforce_first_as: self.enforce_first_as.or(base.enforce_first_as),
            allow_as_sets: self.allow_as_sets.or(base.allow_as_sets),
            hold_time: self.hold_time.or(base.hold_time),
            keepalive_time: self.keepalive_time.or(base.keepalive_time),
            connect_retry_time: self.connect_retry_time.or(base.connect_retry_time),
            connect_delay_time: self.connect_delay_time.or(base.connect_delay_time),
            startup_hold_time: self.startup_hold_time.or(base.startup_hold_time),
            error_wait_time: self.error_wait_time.or(base.error_wait_time),
            error_forget_time: self.error_forget_time.or(base.error_forget_time),
            shutdown_message: self.shutdown_message.or(base.shutdown_message),
            ipv4: channel_over(self.ipv4, base.ipv4),
            ipv6: channel_over(self.ipv6, base.ipv6),
        }
    }
}

/// A protocol's table as a whole, for errors about the merged keys.
struct Whole<'a> {
    log: &'a Log,
    path: String,
    place: Place,
}

impl Whole<'_> {
    fn fail(&self, place: Place, message: &str) {
        self.log.push(place, &format!("{}{message}", self.path));
    }

    /// The interface matters only where the address means something on it alone.
    fn unique(&self, keys: &Keys, neighbors: &mut BTreeMap<(IpAddr, String), (String, Place)>) {
        let Some(neighbor) = &keys.neighbor else { return };
        let address = neighbor.value.address;
        let scope = keys.interface().filter(|_| is_link_local_v6(address)).unwrap_or_default();
        if let Some((other, place)) = neighbors.get(&(address, scope.clone())) {
            let first = self.log.show(*place);
            let message =
                format!(".neighbor: {address} is the neighbor of {other} as well ({first})");
            return self.fail(neighbor.place, &message);
        }
        neighbors.insert((address, scope), (self.path.clone(), neighbor.place));
    }

    /// Fills in the defaults and checks that the keys fit together.
    fn complete(
        &self,
        name: &str,
        keys: Keys,
        written: [bool; 4],
        local_as: u32,
    ) -> Option<BgpProtocol> {
        let [has_neighbor, has_as, has_ipv4, has_ipv6] = written;
        if keys.neighbor.is_none() && !has_neighbor {
            self.fail(self.place, ".neighbor: required key is missing");
        }
        if keys.neighbor_as.is_none() && !has_as {
            self.fail(
                self.place,
                ".neighbor-as: required key is missing (here or in the template)",
            );
        }
        if keys.ipv4.is_none() && keys.ipv6.is_none() && !has_ipv4 && !has_ipv6 {
            self.fail(
                self.place,
                ": no address family: add ipv4 = { import = \"none\", export = \"FILTER\" } or ipv6 alike",
            );
        }
        let interface = keys.interface();
        let (neighbor, neighbor_as) = (keys.neighbor.as_ref()?.value.address, keys.neighbor_as?);
        let hold_time = keys.hold_time.unwrap_or(seconds(9));
        let external = neighbor_as != local_as;
        self.fit_together(neighbor, hold_time, &keys);
        self.scope(&keys);
        self.role(&keys, external);
        let hops = keys.multihop.flatten();
        Some(BgpProtocol {
            name: name.to_owned(),
            description: keys.description,
            neighbor,
            port: keys.port.unwrap_or(179),
            neighbor_as,
            source_address: keys.source_address.map(|address| address.value),
            passive: keys.passive.unwrap_or(false),
            interface,
            multihop: hops,
            ttl_security: keys.ttl_security.unwrap_or(false),
            password: keys.password,
            disable_after_error: keys.disable_after_error.unwrap_or(false),
            graceful_restart: keys.graceful_restart.unwrap_or_default(),
            extended_messages: keys.extended_messages.unwrap_or(false),
            enhanced_route_refresh: keys.enhanced_route_refresh.unwrap_or(true),
            local_role: keys.local_role.map(|role| role.value),
            require_roles: keys.require_roles.unwrap_or(false),
            advertise_hostname: keys.advertise_hostname.unwrap_or(false),
            allow_local_as: keys.allow_local_as.unwrap_or(0),
            enforce_first_as: keys.enforce_first_as.unwrap_or(true),
            allow_as_sets: keys.allow_as_sets.unwrap_or(false),
            delay_open_time: keys.delay_open_time.unwrap_or(Duration::ZERO),
            send_hold_time: keys.send_hold_time,
            hold_time,
            keepalive_time: keys.keepalive_time.map(|time| time.value),
            connect_retry_time: keys.connect_retry_time.unwrap_or(seconds(5)),
            connect_delay_time: keys.connect_delay_time.unwrap_or(Duration::ZERO),
            startup_hold_time: keys.startup_hold_time.unwrap_or(seconds(240)),
            error_wait_time: keys.error_wait_time.unwrap_or((seconds(1), seconds(60))),
            error_forget_time: keys.error_forget_time.unwrap_or(seconds(300)),
            shutdown_message: keys.shutdown_message,
            ipv4: keys.ipv4.map(|channel| self.channel("ipv4", channel, external)),
            ipv6: keys.ipv6.map(|channel| self.channel("ipv6", channel, external)),
        })
    }

    fn fit_together(&self, neighbor: IpAddr, hold_time: Duration, keys: &Keys) {
        if let Some(source) = keys.source_address
            && source.value.is_ipv4() != neighbor.is_ipv4()
        {
            let message =
                format!(".source-address: {} is of another family than {neighbor}", source.value);
            self.fail(source.place, &message);
        }
        if let Some(keepalive) = keys.keepalive_time
            && !hold_time.is_zero()
            && keepalive.value >= hold_time
        {
            self.fail(keepalive.place, ".keepalive-time: must be shorter than the hold time");
        }
    }

    /// A link-local address needs its interface, once.
    fn scope(&self, keys: &Keys) {
        let Some(At { place, value: neighbor }) = &keys.neighbor else { return };
        match (&neighbor.interface, &keys.interface) {
            (Some(behind), Some(key)) if *behind != key.value => {
                let message =
                    format!(".interface: {} here, but {behind} behind the neighbor", key.value);
                self.fail(key.place, &message);
            }
            (None, None) if is_link_local_v6(neighbor.address) => {
                let address = neighbor.address;
                let message = format!(
                    ".neighbor: {address} is link-local: write the interface behind it, \"{address}%eth0\""
                );
                self.fail(*place, &message);
            }
            _ => {}
        }
    }

    /// Roles are a matter between ASes (RFC 9234 section 4.1).
    fn role(&self, keys: &Keys, external: bool) {
        if let Some(role) = &keys.local_role
            && !external
        {
            self.fail(role.place, ".local-role: is for external neighbors only (RFC 9234)");
        }
        if keys.require_roles == Some(true) && keys.local_role.is_none() {
            self.fail(self.place, ".require-roles: needs a `local-role`");
        }
    }

    /// Nothing goes in or out of an external session unless the user said so (RFC 8212); for an internal
    /// one the defaults are BIRD's.
    fn channel(&self, family: &str, keys: At<ChannelKeys>, external: bool) -> Channel {
        let filter = |direction: &str, name: Option<String>, default: &str| {
            if name.is_none() && external {
                let message = format!(
                    ".{family}.{direction}: required with an external neighbor (RFC 8212): a filter, \"all\" or \"none\""
                );
                self.fail(keys.place, &message);
            }
            name.unwrap_or_else(|| default.to_owned())
        };
        Channel {
            import: filter("import", keys.value.import, "all"),
            export: filter("export", keys.value.export, "none"),
            next_hop: keys.value.next_hop,
            next_hop_self: keys.value.next_hop_self.unwrap_or(false),
            extended_next_hop: keys.value.extended_next_hop.unwrap_or(false),
            add_paths: keys.value.add_paths.unwrap_or(false),
            import_limit: keys.value.import_limit,
        }
    }
}
