//! `[template.bgp.NAME]` and `[protocol.bgp.NAME]`.
//!
//! Both have the same keys, all optional as far as reading goes. A protocol's own value of a key comes
//! before its template's, in channels key by key as well. What must be there, and what must fit
//! together, is asked of the merged keys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::super::literal::is_link_local_v6;
use super::super::log::Log;
use super::super::model::{BgpProtocol, Channel};
use super::super::read::{At, Field, Table};
use super::super::tree::Place;
use super::daemon::as_number;
use super::{Names, collect, milliseconds, port, seconds};

/// The keys of one table, as written.
#[derive(Clone, Default)]
pub(super) struct Keys {
    description: Option<String>,
    neighbor: Option<At<IpAddr>>,
    port: Option<u16>,
    neighbor_as: Option<u32>,
    source_address: Option<At<IpAddr>>,
    passive: Option<bool>,
    multihop: Option<bool>,
    hold_time: Option<Duration>,
    keepalive_time: Option<At<Duration>>,
    connect_retry_time: Option<Duration>,
    connect_delay_time: Option<Duration>,
    startup_hold_time: Option<Duration>,
    error_wait_time: Option<(Duration, Duration)>,
    shutdown_message: Option<String>,
    ipv4: Option<At<ChannelKeys>>,
    ipv6: Option<At<ChannelKeys>>,
}

#[derive(Clone, Default)]
struct ChannelKeys {
    import: Option<String>,
    export: Option<String>,
    next_hop: Option<IpAddr>,
}

/// Keys of DESIGN's vocabulary that this version does not implement.
const LATER: [&str; 10] = [
    "allow-local-as",
    "bfd",
    "enforce-first-as",
    "graceful-restart",
    "import-limit",
    "local-role",
    "next-hop-self",
    "password-file",
    "send-hold-time",
    "ttl-security",
];

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
    let mut neighbors: BTreeMap<IpAddr, (String, Place)> = BTreeMap::new();
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
        multihop: table.get("multihop").and_then(|field| field.boolean()),
        hold_time: table.get("hold-time").and_then(|field| hold_time(&field, true)),
        keepalive_time: table
            .get("keepalive-time")
            .and_then(|field| field.at(|field| field.duration(seconds(1)..=seconds(21_845)))),
        connect_retry_time: table
            .get("connect-retry-time")
            .and_then(|field| field.duration(pace.clone())),
        connect_delay_time: table
            .get("connect-delay-time")
            .and_then(|field| field.duration(zero_or_more)),
        startup_hold_time: table
            .get("startup-hold-time")
            .and_then(|field| hold_time(&field, false)),
        error_wait_time: table
            .get("error-wait-time")
            .and_then(|field| shortest_and_longest(&field, pace)),
        shutdown_message: table.get("shutdown-message").and_then(|field| shutdown_message(&field)),
        ipv4: channel(&mut table, "ipv4", names),
        ipv6: channel(&mut table, "ipv6", names),
    };
    table.not_yet(&LATER);
    table.end();
    keys
}

fn neighbor(field: &Field<'_>) -> Option<IpAddr> {
    let address = field.host()?;
    if is_link_local_v6(address) {
        return field.fail(&format!("{address}: link-local neighbors are not supported yet"));
    }
    Some(address)
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

fn channel(table: &mut Table<'_>, family: &'static str, names: &Names) -> Option<At<ChannelKeys>> {
    let field = table.get(family)?;
    let mut channel = field.table("protocol.bgp.NAME.ipv4")?;
    // An unknown name has its error; it must not be one for a missing filter as well.
    let filter = |field: Field<'_>| {
        let name = field.reference("filter", &names.filters);
        name.or_else(|| Some("none".to_owned()))
    };
    let keys = ChannelKeys {
        import: channel.get("import").and_then(filter),
        export: channel.get("export").and_then(filter),
        next_hop: channel.get("next-hop-address").and_then(|field| next_hop(&field, family)),
    };
    channel.end();
    Some(At { place: field.place(), value: keys })
}

fn next_hop(field: &Field<'_>, family: &str) -> Option<IpAddr> {
    let address = field.host()?;
    if address.is_ipv4() != (family == "ipv4") {
        return field.fail(&format!("{address} is not an address of the {family} channel"));
    }
    Some(address)
}

impl Keys {
    /// These keys, and those of `base` where there are none.
    fn over(self, base: Keys) -> Keys {
        Keys {
            description: self.description.or(base.description),
            neighbor: self.neighbor.or(base.neighbor),
            port: self.port.or(base.port),
            neighbor_as: self.neighbor_as.or(base.neighbor_as),
            source_address: self.source_address.or(base.source_address),
            passive: self.passive.or(base.passive),
            multihop: self.multihop.or(base.multihop),
            hold_time: self.hold_time.or(base.hold_time),
            keepalive_time: self.keepalive_time.or(base.keepalive_time),
            connect_retry_time: self.connect_retry_time.or(base.connect_retry_time),
            connect_delay_time: self.connect_delay_time.or(base.connect_delay_time),
            startup_hold_time: self.startup_hold_time.or(base.startup_hold_time),
            error_wait_time: self.error_wait_time.or(base.error_wait_time),
            shutdown_message: self.shutdown_message.or(base.shutdown_message),
            ipv4: channel_over(self.ipv4, base.ipv4),
            ipv6: channel_over(self.ipv6, base.ipv6),
        }
    }
}

fn channel_over(
    own: Option<At<ChannelKeys>>,
    base: Option<At<ChannelKeys>>,
) -> Option<At<ChannelKeys>> {
    let (own, base) = match (own, base) {
        (Some(own), Some(base)) => (own, base.value),
        (own, base) => return own.or(base),
    };
    let value = ChannelKeys {
        import: own.value.import.or(base.import),
        export: own.value.export.or(base.export),
        next_hop: own.value.next_hop.or(base.next_hop),
    };
    Some(At { place: own.place, value })
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

    fn unique(&self, keys: &Keys, neighbors: &mut BTreeMap<IpAddr, (String, Place)>) {
        let Some(neighbor) = keys.neighbor else { return };
        if let Some((other, place)) = neighbors.get(&neighbor.value) {
            let first = self.log.show(*place);
            let message = format!(
                ".neighbor: {} is the neighbor of {other} as well ({first})",
                neighbor.value
            );
            return self.fail(neighbor.place, &message);
        }
        neighbors.insert(neighbor.value, (self.path.clone(), neighbor.place));
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
        let (neighbor, neighbor_as) = (keys.neighbor?.value, keys.neighbor_as?);
        let hold_time = keys.hold_time.unwrap_or(seconds(9));
        self.fit_together(neighbor, hold_time, &keys);
        let external = neighbor_as != local_as;
        Some(BgpProtocol {
            name: name.to_owned(),
            description: keys.description,
            neighbor,
            port: keys.port.unwrap_or(179),
            neighbor_as,
            source_address: keys.source_address.map(|address| address.value),
            passive: keys.passive.unwrap_or(false),
            multihop: keys.multihop.unwrap_or(false),
            hold_time,
            keepalive_time: keys.keepalive_time.map(|time| time.value),
            connect_retry_time: keys.connect_retry_time.unwrap_or(seconds(5)),
            connect_delay_time: keys.connect_delay_time.unwrap_or(Duration::ZERO),
            startup_hold_time: keys.startup_hold_time.unwrap_or(seconds(240)),
            error_wait_time: keys.error_wait_time.unwrap_or((seconds(1), seconds(60))),
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
        }
    }
}
