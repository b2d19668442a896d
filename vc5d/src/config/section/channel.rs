//! `ipv4` and `ipv6` of BGP protocols and their templates.

use std::net::IpAddr;

use vc5_bgp::session::{LimitAction, PrefixLimit};

use super::super::read::{At, Field, Table};
use super::{Names, seconds};

/// The keys of one channel, as written.
#[derive(Clone, Default)]
pub(super) struct ChannelKeys {
    pub(super) import: Option<String>,
    pub(super) export: Option<String>,
    pub(super) next_hop: Option<IpAddr>,
    pub(super) next_hop_self: Option<bool>,
    pub(super) extended_next_hop: Option<bool>,
    pub(super) add_paths: Option<bool>,
    pub(super) import_limit: Option<PrefixLimit>,
}

pub(super) fn channel(
    table: &mut Table<'_>,
    family: &'static str,
    names: &Names,
) -> Option<At<ChannelKeys>> {
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
        next_hop_self: channel.get("next-hop-self").and_then(|field| field.boolean()),
        extended_next_hop: channel
            .get("extended-next-hop")
            .and_then(|field| extended_next_hop(&field, family)),
        add_paths: channel
            .get("add-paths")
            .and_then(|field| field.word(&[("off", false), ("rx", true)])),
        import_limit: channel.get("import-limit").and_then(|field| import_limit(&field)),
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

fn extended_next_hop(field: &Field<'_>, family: &str) -> Option<bool> {
    let wanted = field.boolean()?;
    if wanted && family == "ipv6" {
        return field.fail("only IPv4 routes can have a next hop of the other family (RFC 8950)");
    }
    Some(wanted)
}

/// What the next route does, before it is known how long a restart waits.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    Warn,
    Block,
    Restart,
    Disable,
}

fn import_limit(field: &Field<'_>) -> Option<PrefixLimit> {
    let mut table = field.table("protocol.bgp.NAME.ipv4.import-limit")?;
    let words = [
        ("warn", Word::Warn),
        ("block", Word::Block),
        ("restart", Word::Restart),
        ("disable", Word::Disable),
    ];
    let max = table.need("max").and_then(|field| field.number(1..=u32::MAX));
    let action = table.get("action").map(|field| field.word(&words));
    // BIRD's default.
    let action = action.unwrap_or(Some(Word::Disable));
    let after = table.get("after").and_then(|field| {
        if action.is_some_and(|action| action != Word::Restart) {
            return field.fail("is about action = \"restart\"");
        }
        field.duration(seconds(1)..=seconds(86_400))
    });
    table.end();
    let action = match action? {
        Word::Warn => LimitAction::Warn,
        Word::Block => LimitAction::Block,
        Word::Restart => LimitAction::Restart(after),
        Word::Disable => LimitAction::Disable,
    };
    Some(PrefixLimit { max: max?, action })
}

/// A channel's own keys, and those of its template's where there are none.
pub(super) fn channel_over(
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
        next_hop_self: own.value.next_hop_self.or(base.next_hop_self),
        extended_next_hop: own.value.extended_next_hop.or(base.extended_next_hop),
        add_paths: own.value.add_paths.or(base.add_paths),
        import_limit: own.value.import_limit.or(base.import_limit),
    };
    Some(At { place: own.place, value })
}
