use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use vc5_bgp::policy::{Changes, Policy, PrefixMatch, Rule, Source, Then, Verdict};
use vc5_bgp::speaker::{FamilyConfig, LocalRoute, PeerConfig, SpeakerConfig};
use vc5_bgp::wire::{Community, Family};

use crate::config::model::{
    BgpProtocol, Channel, Config, Filter, FilterAction, FilterRule, RouteSource, Router,
};
use crate::core::Advert;

/// `[router]`
pub fn speaker(router: &Router) -> SpeakerConfig {
    SpeakerConfig { router_id: router.id, local_as: router.local_as, listen: router.listen.clone() }
}

/// `[protocol.bgp.*]`
pub fn peers(config: &Config) -> Vec<PeerConfig> {
    config.bgp.values().map(|protocol| peer(config, protocol)).collect()
}

/// The route of a VIP. Its name goes along, so that filters can ask for it. What its state says wins over what filters
/// set. One that is drained asks routers to prefer others (RFC 8326 section 4).
pub fn local_route(address: IpAddr, advert: &Advert) -> LocalRoute {
    let drained = advert.draining.then_some(Community::GRACEFUL_SHUTDOWN);
    let communities = advert.communities.iter().copied().map(Community);
    LocalRoute {
        prefix: IpNet::from(address),
        med: None,
        communities: Vec::new(),
        tag: Some(advert.name.clone()),
        last: Changes {
            med: advert.med,
            local_pref: advert.local_pref,
            add_communities: drained.into_iter().chain(communities).collect(),
            add_extended_communities: advert.bandwidth_community().into_iter().collect(),
            ..Changes::default()
        },
    }
}

fn peer(config: &Config, protocol: &BgpProtocol) -> PeerConfig {
    let channels = [
        (Family::IPV4_UNICAST, protocol.ipv4.as_ref()),
        (Family::IPV6_UNICAST, protocol.ipv6.as_ref()),
    ];
    let families: BTreeMap<_, _> = channels
        .into_iter()
        .filter_map(|(family, channel)| Some((family, family_config(config, channel?))))
        .collect();
    PeerConfig {
        port: protocol.port,
        source_address: protocol.source_address,
        passive: protocol.passive,
        interface: protocol.interface.clone(),
        multihop: protocol.multihop,
        ttl_security: protocol.ttl_security,
        password: protocol.password.clone(),
        automatic_start: !protocol.disable_after_error,
        graceful_restart: protocol.graceful_restart,
        extended_messages: protocol.extended_messages,
        enhanced_route_refresh: protocol.enhanced_route_refresh,
        local_role: protocol.local_role,
        require_role: protocol.require_roles,
        hostname: protocol.advertise_hostname.then(hostname).flatten(),
        allow_local_as: protocol.allow_local_as,
        enforce_first_as: protocol.enforce_first_as,
        allow_as_sets: protocol.allow_as_sets,
        delay_open_time: protocol.delay_open_time,
        send_hold_time: protocol.send_hold_time,
        hold_time: protocol.hold_time,
        keepalive_time: protocol.keepalive_time,
        connect_retry_time: protocol.connect_retry_time,
        connect_delay_time: protocol.connect_delay_time,
        startup_hold_time: protocol.startup_hold_time,
        error_wait_time: protocol.error_wait_time,
        error_forget_time: protocol.error_forget_time,
        shutdown_message: protocol.shutdown_message.clone(),
        families,
        ..PeerConfig::new(protocol.name.clone(), protocol.neighbor, protocol.neighbor_as)
    }
}

/// This host's name, if the kernel tells.
fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

fn family_config(config: &Config, channel: &Channel) -> FamilyConfig {
    FamilyConfig {
        import: policy(config, &channel.import),
        export: policy(config, &channel.export),
        next_hop: channel.next_hop,
        next_hop_self: channel.next_hop_self,
        extended_next_hop: channel.extended_next_hop,
        add_path_receive: channel.add_paths,
        import_limit: channel.import_limit,
    }
}

/// The configuration has been checked: every name is that of a filter or built in.
fn policy(config: &Config, name: &str) -> Policy {
    match (name, config.filters.get(name)) {
        ("all", _) => Policy::all(),
        (_, Some(filter)) => translate(filter),
        (_, None) => Policy::none(),
    }
}

fn translate(filter: &Filter) -> Policy {
    Policy {
        name: filter.name.clone(),
        default: match filter.default {
            FilterAction::Accept => Verdict::Accept,
            FilterAction::Reject | FilterAction::Continue => Verdict::Reject,
        },
        rules: filter.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &FilterRule) -> Rule {
    Rule {
        source: rule.source.map(|source| match source {
            RouteSource::Vip => Source::Local,
            RouteSource::Bgp => Source::Bgp,
        }),
        prefixes: rule
            .prefixes
            .iter()
            .map(|m| PrefixMatch { prefix: m.prefix, min: m.min, max: m.max })
            .collect(),
        tags: rule.vips.clone(),
        set: Changes {
            med: rule.med,
            local_pref: rule.local_pref,
            add_communities: rule.add_communities.iter().copied().map(Community).collect(),
            add_extended_communities: rule.add_extended_communities.clone(),
            add_large_communities: rule.add_large_communities.clone(),
            prepend: rule.prepend,
        },
        then: match rule.then {
            FilterAction::Accept => Then::Accept,
            FilterAction::Reject => Then::Reject,
            FilterAction::Continue => Then::Continue,
        },
    }
}
