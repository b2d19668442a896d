//! Our rules and routes as netlink messages, and back.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
    RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};

use super::plan::{Family, RouteKey, RouteTarget};
use super::tree::{Action, Rule, Space};

/// The origin number (`proto`) that all rules and routes of ours carry. Not in use by any routing
/// daemon that is listed in iproute2's `rt_protos`.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(245);

pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

fn host_length(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

pub(super) fn rule(family: Family, rule: Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: address_family(family),
        action: match rule.action {
            Action::Goto(_) => RuleAction::Goto,
            Action::Lookup(_) => RuleAction::ToTable,
            Action::Nop => RuleAction::Nop,
        },
        ..RuleHeader::default()
    };
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(PROTOCOL));
    if rule.mark.1 != 0 {
        attributes.push(RuleAttribute::FwMark(rule.mark.0));
        attributes.push(RuleAttribute::FwMask(rule.mark.1));
    }
    match rule.action {
        Action::Goto(target) => attributes.push(RuleAttribute::Goto(target)),
        Action::Lookup(table) => attributes.push(RuleAttribute::Table(table)),
        Action::Nop => {}
    }
    message
}

pub(super) fn rule_is_ours(space: Space, family: Family, message: &RuleMessage) -> bool {
    let priority = message.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    message.header.family == address_family(family)
        && message.attributes.contains(&RuleAttribute::Protocol(PROTOCOL))
        && priority.is_some_and(|priority| space.owns_priority(priority))
}

/// `None` if it is none that this program makes.
pub(super) fn parse_rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    if header.dst_len != 0 || header.src_len != 0 || header.tos != 0 {
        return None;
    }
    let (mut priority, mut mark, mut mask, mut goto, mut table) = (None, 0, 0, None, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(value) => priority = Some(*value),
            RuleAttribute::FwMark(value) => mark = *value,
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::Goto(value) => goto = Some(*value),
            RuleAttribute::Table(value) => table = Some(*value),
            RuleAttribute::Iifname(_) | RuleAttribute::Oifname(_) => return None,
            _ => {}
        }
    }
    let action = match header.action {
        RuleAction::Goto => Action::Goto(goto?),
        RuleAction::ToTable => Action::Lookup(table?),
        RuleAction::Nop => Action::Nop,
        _ => return None,
    };
    Some(Rule { priority: priority?, mark: (mark, mask), action })
}

pub(super) fn route(key: RouteKey, target: &RouteTarget) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: address_family(key.family),
        destination_prefix_length: key.destination.map_or(0, |_| host_length(key.family)),
        protocol: PROTOCOL,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let header = &mut message.header;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(key.table));
    if let Some(ip) = key.destination {
        attributes.push(RouteAttribute::Destination(ip.into()));
    }
    match target {
        RouteTarget::Unreachable => header.kind = RouteType::Unreachable,
        RouteTarget::Via { gateway, interface, source } => {
            header.flags = RouteFlags::Onlink;
            attributes.push(RouteAttribute::Gateway((*gateway).into()));
            attributes.push(RouteAttribute::Oif(*interface));
            if let Some(source) = source {
                attributes.push(RouteAttribute::PrefSource((*source).into()));
            }
        }
        RouteTarget::Link(interfaces) => {
            header.scope = RouteScope::Link;
            let hops = interfaces.iter().map(|&index| {
                let mut hop = RouteNextHop::default();
                hop.interface_index = index;
                hop
            });
            attributes.push(RouteAttribute::MultiPath(hops.collect()));
        }
    }
    message
}

pub(super) fn route_is_ours(space: Space, family: Family, message: &RouteMessage) -> bool {
    message.header.address_family == address_family(family)
        && message.header.protocol == PROTOCOL
        && table(message).is_some_and(|table| space.owns_table(table))
}

fn table(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    })
}

/// Takes the `onlink` flag away; returns whether it was there.
pub(super) fn clear_onlink(message: &mut RouteMessage) -> bool {
    let there = message.header.flags.contains(RouteFlags::Onlink);
    message.header.flags.remove(RouteFlags::Onlink);
    there
}

/// What the kernel sets for a route that is added without a metric.
fn default_metric(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => 1024,
    }
}

/// `None` if it is none that this program makes.
pub(super) fn parse_route(
    family: Family,
    message: &RouteMessage,
) -> Option<(RouteKey, RouteTarget)> {
    let (mut destination, mut gateway, mut source, mut interface) = (None, None, None, None);
    let mut hops = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => destination = Some(address(ip)?),
            RouteAttribute::Gateway(ip) => gateway = Some(address(ip)?),
            RouteAttribute::PrefSource(ip) => source = Some(address(ip)?),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::MultiPath(list) => hops = Some(list),
            // Stands beside ours and may win over it.
            RouteAttribute::Priority(metric) if *metric != default_metric(family) => return None,
            _ => {}
        }
    }
    let length = if destination.is_some() { host_length(family) } else { 0 };
    if message.header.destination_prefix_length != length {
        return None;
    }
    let key = RouteKey { family, table: table(message)?, destination };
    let target = match (message.header.kind, gateway, interface, hops) {
        (RouteType::Unreachable, ..) => RouteTarget::Unreachable,
        (RouteType::Unicast, Some(gateway), Some(interface), None) => {
            RouteTarget::Via { gateway, interface, source }
        }
        (RouteType::Unicast, None, Some(interface), None) => RouteTarget::Link([interface].into()),
        (RouteType::Unicast, None, None, Some(hops)) => {
            RouteTarget::Link(hops.iter().map(|hop| hop.interface_index).collect())
        }
        _ => return None,
    };
    Some((key, target))
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: Space =
        Space { mark_mask: 0xffff_0000, table_base: 1_000_000, rule_priority: 10_000 };

    #[test]
    fn rules_survive_the_way_to_a_message_and_back() {
        for one in super::super::tree::rules(SPACE, [1, 0xffff], true) {
            for family in Family::BOTH {
                let message = rule(family, one);
                assert_eq!(parse_rule(&message), Some(one));
                assert!(rule_is_ours(SPACE, family, &message));
            }
        }
    }

    #[test]
    fn rules_of_others_are_not_ours() {
        let one = Rule { priority: 10_000, mark: (0, 0), action: Action::Nop };
        let mut message = rule(Family::V4, one);
        assert!(!rule_is_ours(SPACE, Family::V6, &message));
        let elsewhere = Rule { priority: 9_999, ..one };
        assert!(!rule_is_ours(SPACE, Family::V4, &rule(Family::V4, elsewhere)));
        message.attributes.retain(|a| !matches!(a, RuleAttribute::Protocol(_)));
        assert!(!rule_is_ours(SPACE, Family::V4, &message));
    }

    #[test]
    fn routes_survive_the_way_to_a_message_and_back() {
        for (family, vip, gateway, source) in [
            (Family::V4, "192.0.2.1", "10.0.0.9", "10.0.0.1"),
            (Family::V6, "2001:db8::1", "2001:db8:1::9", "2001:db8:1::1"),
        ] {
            let [vip, gateway, source]: [IpAddr; 3] =
                [vip, gateway, source].map(|text| text.parse().unwrap());
            for (destination, target) in [
                (None, RouteTarget::Unreachable),
                (Some(vip), RouteTarget::Via { gateway, interface: 2, source: Some(source) }),
                (Some(vip), RouteTarget::Via { gateway, interface: 2, source: None }),
                (Some(vip), RouteTarget::Link([2, 3].into())),
            ] {
                let key = RouteKey { family, table: 1_000_001, destination };
                let message = route(key, &target);
                assert_eq!(parse_route(family, &message), Some((key, target)));
                assert!(route_is_ours(SPACE, family, &message));
            }
        }
    }

    #[test]
    fn a_route_with_a_metric_is_none_of_this_program() {
        for (family, vip, usual, other) in [
            (Family::V4, "192.0.2.1", 0, 1024),
            (Family::V6, "2001:db8::1", 1024, 0),
            (Family::V6, "2001:db8::1", 1024, 512),
        ] {
            let key = RouteKey { family, table: 1_000_001, destination: vip.parse().ok() };
            let with = |metric| {
                let mut message = route(key, &RouteTarget::Unreachable);
                message.attributes.push(RouteAttribute::Priority(metric));
                parse_route(family, &message)
            };
            assert_eq!(with(usual), Some((key, RouteTarget::Unreachable)));
            assert_eq!(with(other), None);
        }
    }
}
