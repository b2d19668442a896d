//! Asking the kernel and telling it, by netlink.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteHeader, RouteMessage};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion, MulticastGroup};
use tokio::task::AbortHandle;

use super::host::{Address, Host, Interface};
use super::message;
use super::plan::{Family, Plan, RouteKey, RouteTarget};
use super::tree::{Rule, Space};
use crate::error::Error;

/// A netlink socket, served by a task of the current runtime.
pub(super) struct Kernel {
    handle: Handle,
    task: AbortHandle,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is there under our protocol number in our ranges.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What this program could have made.
    pub(super) plan: Plan,
    /// What it could not: to be removed as it is.
    pub(super) stray_rules: Vec<RuleMessage>,
    /// As for rules.
    pub(super) stray_routes: Vec<RouteMessage>,
}

impl Found {
    /// Whether nothing is there that this program could not have made.
    pub(super) fn is_clean(&self) -> bool {
        self.stray_rules.is_empty() && self.stray_routes.is_empty()
    }
}

impl Kernel {
    pub(super) fn open() -> Result<Self, Error> {
        // Strict checking makes the kernel filter dumps, so that a full table is not copied.
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()
            .map_err(|source| Error::Netlink { action: "open a netlink socket".into(), source })?;
        Ok(Self { handle, task: tokio::spawn(connection).abort_handle() })
    }

    pub(super) async fn host(&self) -> Result<Host, Error> {
        let asked = failed("list interfaces");
        let mut links = std::pin::pin!(self.handle.link().get().execute());
        let mut interfaces = BTreeMap::new();
        while let Some(link) = links.try_next().await.map_err(&asked)? {
            interfaces.insert(link.header.index, interface(&link));
        }
        let asked = failed("list addresses");
        let mut messages = std::pin::pin!(self.handle.address().get().execute());
        let mut addresses = Vec::new();
        while let Some(message) = messages.try_next().await.map_err(&asked)? {
            addresses.extend(address(&message));
        }
        Ok(Host { interfaces, addresses })
    }

    pub(super) async fn ours(&self, space: Space) -> Result<Found, Error> {
        let mut found = Found::default();
        for family in Family::BOTH {
            self.rules(space, family, &mut found).await?;
            self.routes(space, family, &mut found).await?;
        }
        Ok(found)
    }

    async fn rules(&self, space: Space, family: Family, found: &mut Found) -> Result<(), Error> {
        let version = match family {
            Family::V4 => IpVersion::V4,
            Family::V6 => IpVersion::V6,
        };
        let asked = failed("list policy rules");
        let mut rules = std::pin::pin!(self.handle.rule().get(version).execute());
        while let Some(raw) = supported(rules.try_next().await.map_err(&asked))? {
            if !message::rule_is_ours(space, family, &raw) {
                continue;
            }
            match message::parse_rule(&raw) {
                // A second copy of a rule is a stray too.
                Some(rule) if found.plan.rules.insert((family, rule)) => {}
                _ => found.stray_rules.push(raw),
            }
        }
        Ok(())
    }

    async fn routes(&self, space: Space, family: Family, found: &mut Found) -> Result<(), Error> {
        let asked = failed("list routes");
        let mut request = RouteMessage::default();
        request.header = RouteHeader {
            address_family: message::address_family(family),
            protocol: message::PROTOCOL,
            ..RouteHeader::default()
        };
        let mut routes = std::pin::pin!(self.handle.route().get(request).execute());
        while let Some(raw) = supported(routes.try_next().await.map_err(&asked))? {
            if !message::route_is_ours(space, family, &raw) {
                continue;
            }
            match message::parse_route(family, &raw) {
                Some((key, target)) => {
                    found.plan.routes.insert(key, target);
                }
                None => found.stray_routes.push(raw),
            }
        }
        Ok(())
    }

    pub(super) async fn add_rule(&self, family: Family, rule: Rule) -> Result<(), Error> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = message::rule(family, rule);
        request.execute().await.map_err(failed(format!("add {rule}")))
    }

    /// Adds a route, or changes the one that is there.
    pub(super) async fn set_route(&self, key: RouteKey, target: &RouteTarget) -> Result<(), Error> {
        let failed = failed(format!("add {key} {target}"));
        let mut message = message::route(key, target);
        let done = self.handle.route().add(message.clone()).replace().execute().await;
        let done = done.map_err(&failed);
        // IPv6 refuses `onlink` where the main table has a more specific route to the gateway by
        // another interface. Without the flag the route to the subnet is enough.
        if key.family == Family::V6 && message::clear_onlink(&mut message) && is_invalid(&done) {
            let again = self.handle.route().add(message).replace().execute().await;
            return again.map_err(&failed);
        }
        done
    }

    pub(super) async fn delete_rule(&self, raw: RuleMessage) -> Result<(), Error> {
        let done = self.handle.rule().del(raw).execute().await;
        gone_is_fine(done.map_err(failed("remove a policy rule")))
    }

    pub(super) async fn delete_route(&self, raw: RouteMessage) -> Result<(), Error> {
        let done = self.handle.route().del(raw).execute().await;
        gone_is_fine(done.map_err(failed("remove a route")))
    }
}

/// Something may be different: an interface or address changed, a rule of ours was removed, or news
/// were lost. Ends when the netlink socket fails.
pub(crate) type Changes = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// Listens from now on.
pub(crate) fn changes() -> Result<Changes, Error> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)
        .map_err(|source| Error::Netlink { action: "listen for netlink events".into(), source })?;
    tokio::spawn(connection);
    Ok(Box::pin(messages.filter_map(move |(message, _)| {
        // The connection ends with its last handle.
        let _open = &handle;
        std::future::ready(matters(&message).then_some(()))
    })))
}

fn matters(message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRule(rule)) => {
            rule.attributes.contains(&RuleAttribute::Protocol(message::PROTOCOL))
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRule(_)) => false,
        // An overrun: the socket's buffer was full (ENOBUFS).
        NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => true,
        _ => false,
    }
}

fn interface(link: &LinkMessage) -> Interface {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    Interface {
        name: name.unwrap_or_else(|| link.header.index.to_string()),
        up: link.header.flags.contains(LinkFlags::Up),
        loopback: link.header.flags.contains(LinkFlags::Loopback),
    }
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut subnet) = (None, None);
    let flags = message.header.flags;
    let mut usable = !flags.contains(AddressHeaderFlags::Tentative);
    let mut lasting =
        !flags.intersects(AddressHeaderFlags::Secondary | AddressHeaderFlags::Deprecated);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => subnet = Some(*ip),
            AddressAttribute::Flags(flags) => {
                usable = !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
                lasting = !flags.intersects(AddressFlags::Secondary | AddressFlags::Deprecated);
            }
            _ => {}
        }
    }
    let subnet: IpAddr = subnet.or(local)?;
    Some(Address {
        interface: message.header.index,
        local: local.unwrap_or(subnet),
        subnet,
        prefix_len: message.header.prefix_len,
        usable,
        lasting,
    })
}

/// Makes our error from netlink's.
fn failed(action: impl Into<String>) -> impl Fn(rtnetlink::Error) -> Error {
    let action = action.into();
    move |error| {
        let source = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        };
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NoPermission,
            _ => Error::Netlink { action: action.clone(), source },
        }
    }
}

/// A kernel without IPv6 or without policy rules holds none of ours.
fn supported<T>(listed: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match listed {
        Err(Error::Netlink { source, .. })
            if matches!(source.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) =>
        {
            Ok(None)
        }
        other => other,
    }
}

fn is_invalid(done: &Result<(), Error>) -> bool {
    matches!(done, Err(Error::Netlink { source, .. }) if source.raw_os_error() == Some(libc::EINVAL))
}

fn gone_is_fine(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(Error::Netlink { source, .. })
            if matches!(source.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) =>
        {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_rules_of_ours_and_lost_news_matter() {
        let rule = |protocol| {
            let mut rule = RuleMessage::default();
            rule.attributes.push(RuleAttribute::Protocol(protocol));
            rule
        };
        let told = |message| NetlinkPayload::InnerMessage(message);
        let others = rtnetlink::packet_route::route::RouteProtocol::Boot;
        for (payload, expected) in [
            (told(RouteNetlinkMessage::DelRule(rule(message::PROTOCOL))), true),
            (told(RouteNetlinkMessage::DelRule(rule(others))), false),
            (told(RouteNetlinkMessage::NewRule(rule(message::PROTOCOL))), false),
            (told(RouteNetlinkMessage::NewLink(LinkMessage::default())), true),
            (told(RouteNetlinkMessage::DelAddress(AddressMessage::default())), true),
            (NetlinkPayload::Overrun(Vec::new()), true),
            (NetlinkPayload::Noop, false),
        ] {
            let message = NetlinkMessage::new(Default::default(), payload);
            assert_eq!(matters(&message), expected, "{message:?}");
        }
    }

    fn listed(attributes: Vec<AddressAttribute>) -> Option<Address> {
        let mut message = AddressMessage::default();
        message.header.index = 3;
        message.header.prefix_len = 64;
        message.attributes = attributes;
        address(&message)
    }

    #[test]
    fn an_ipv6_address_alone_is_the_hosts_and_with_a_local_one_the_peers() {
        let [own, peer]: [IpAddr; 2] =
            ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let alone = listed(vec![AddressAttribute::Address(own)]).unwrap();
        assert_eq!((alone.local, alone.subnet), (own, own));
        assert!(alone.usable && alone.lasting);
        let both = listed(vec![AddressAttribute::Local(own), AddressAttribute::Address(peer)]);
        assert_eq!(both.map(|both| (both.local, both.subnet)), Some((own, peer)));
        assert_eq!(listed(vec![]), None);
    }

    #[test]
    fn flags_tell_which_addresses_to_send_from() {
        let with = |flags| {
            let own = "2001:db8::1".parse().unwrap();
            let all = vec![AddressAttribute::Address(own), AddressAttribute::Flags(flags)];
            listed(all).map(|address| (address.usable, address.lasting))
        };
        assert_eq!(with(AddressFlags::Permanent | AddressFlags::Nodad), Some((true, true)));
        assert_eq!(with(AddressFlags::Tentative), Some((false, true)));
        assert_eq!(with(AddressFlags::Dadfailed), Some((false, true)));
        assert_eq!(with(AddressFlags::Deprecated), Some((true, false)));
        // In IPv6 this bit says that the address is temporary.
        assert_eq!(with(AddressFlags::Secondary), Some((true, false)));
    }
}
