//! Best routes into the Adj-RIB-Out (RFC 4271 sections 5.1 and 9.1.3).

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::config::{LocalSpeaker, PeerConfig};
use super::established::Session;
use crate::policy::{Direction, Source, Subject, Verdict};
use crate::rib::{Origin, OutSet, Route};
use crate::wire::{Attributes, BgpRole, Community, Family, NextHop, OpaqueAttribute};

/// LOCAL_PREF sent to internal neighbours when nothing else says.
const DEFAULT_LOCAL_PREF: u32 = 100;
/// Attribute flag: transitive (RFC 4271 section 4.3).
const TRANSITIVE: u8 = 0x40;
/// Attribute flag: partial.
const PARTIAL: u8 = 0x20;

/// Why a route is not sent.
enum Refusal {
    /// By the rules of BGP.
    Rejected,
    /// By the policy.
    Filtered,
}

impl Session {
    /// The best route to `prefix` is `route` now; `None` if there is none any more.
    pub(super) fn export(
        &mut self,
        prefix: IpNet,
        route: Option<&Route>,
        local: &LocalSpeaker,
        config: &PeerConfig,
    ) {
        let verdict = route.map(|route| self.outgoing(prefix, route, local, config));
        let Some(channel) = self.channels.get_mut(&Family::of(&prefix)) else { return };
        let updates = &mut channel.counters.export_updates;
        let wanted = match verdict {
            Some(result) => {
                updates.received += 1;
                match result {
                    Ok(set) => {
                        updates.accepted += 1;
                        Some(set)
                    }
                    Err(Refusal::Rejected) => {
                        updates.rejected += 1;
                        None
                    }
                    Err(Refusal::Filtered) => {
                        updates.filtered += 1;
                        None
                    }
                }
            }
            None => None,
        };
        let withdrawn = wanted.is_none();
        let changed = channel.adj_out.set(prefix, wanted);
        let withdraws = &mut channel.counters.export_withdraws;
        withdraws.received += u64::from(route.is_none());
        withdraws.accepted += u64::from(withdrawn && changed);
    }

    /// Replaces everything the neighbour is to know by `routes`. The first time in a session the
    /// End-of-RIB markers are due afterwards (RFC 4724 section 2).
    pub(super) fn export_all<'a>(
        &mut self,
        routes: impl Iterator<Item = (&'a IpNet, &'a Route)>,
        local: &LocalSpeaker,
        config: &PeerConfig,
    ) {
        let known = self.channels.values().flat_map(|channel| channel.adj_out.prefixes()).copied();
        let mut gone: BTreeSet<IpNet> = known.collect();
        for (prefix, route) in routes {
            gone.remove(prefix);
            self.export(*prefix, Some(route), local, config);
        }
        for prefix in gone {
            self.export(prefix, None, local, config);
        }
        if !std::mem::replace(&mut self.dumped, true) {
            self.channels.values_mut().for_each(|channel| channel.adj_out.end_of_rib());
        }
    }

    fn outgoing(
        &self,
        prefix: IpNet,
        route: &Route,
        local: &LocalSpeaker,
        config: &PeerConfig,
    ) -> Result<OutSet, Refusal> {
        let family = Family::of(&prefix);
        let channel = self.channels.get(&family).ok_or(Refusal::Rejected)?;
        let settings = config.families.get(&family).ok_or(Refusal::Rejected)?;
        let external = self.negotiated.external;
        let mut attributes = Attributes::clone(&route.attributes);
        let (source, tag, last) = match &route.origin {
            Origin::Local { tag, last } => (Source::Local, tag.as_deref(), last.as_deref()),
            Origin::Learned(from) => {
                let own = from.peer == self.from.peer;
                // RFC 4271 section 9.2: no internal route to another internal neighbour.
                let reflected = !from.external && !external;
                let leaked =
                    attributes.only_to_customer.is_some() && self.role(config).is_some_and(goes_up);
                if own || reflected || leaked || !may_pass(&attributes, external) {
                    return Err(Refusal::Rejected);
                }
                pass_on(&mut attributes, external);
                (Source::Bgp, None, None)
            }
        };
        let subject = Subject { prefix, source, tag };
        let prepend_as = external.then_some(local.local_as);
        let export = &settings.export;
        if export.evaluate(&subject, Direction::Export, prepend_as, &mut attributes)
            == Verdict::Reject
        {
            return Err(Refusal::Filtered);
        }
        if let Some(last) = last {
            last.apply(prepend_as, &mut attributes);
        }
        attributes.next_hop = None;
        if external {
            attributes.as_path.prepend(local.local_as, 1);
            attributes.local_pref = None;
            if self.role(config).is_some_and(goes_down) {
                attributes.only_to_customer.get_or_insert(local.local_as);
            }
        } else {
            attributes.local_pref = attributes.local_pref.or(Some(DEFAULT_LOCAL_PREF));
        }
        // RFC 4271 section 5.1.3: the next hop of a learned route stays within the AS.
        let replaced = external || settings.next_hop_self || settings.next_hop.is_some();
        let kept = route.next_hop.filter(|_| !replaced).and_then(|hop| self.kept(family, hop));
        let own = || channel.next_hop.as_ref().ok().copied();
        let next_hop = kept.or_else(own).ok_or(Refusal::Rejected)?;
        Ok(OutSet { attributes, next_hop })
    }

    /// The next hop of our routes in `family`: as configured, else our end of the session, else an
    /// address of that family on the same interface (RFC 4271 section 5.1.3). IPv4 routes may have
    /// one of IPv6 where that was negotiated (RFC 8950).
    pub(super) fn next_hop(&self, family: Family, config: &PeerConfig) -> Result<NextHop, String> {
        let configured = config.families.get(&family).and_then(|family| family.next_hop);
        if let Some(address) = configured {
            let fits = |address: &IpAddr| self.fits(family, *address);
            return Some(address).filter(fits).map(NextHop::from).ok_or_else(|| {
                format!("next hop {address} is not an address of {family}: nothing is exported")
            });
        }
        if self.fits(family, self.local) {
            return Ok(self.own_end());
        }
        self.lowest_global(family == Family::IPV4_UNICAST).map(NextHop::from).ok_or_else(|| {
            format!(
                "the interface of {} has no global {family} address and no next hop is configured: \
                 nothing is exported",
                self.local
            )
        })
    }

    /// Whether a next hop in `family` can be this address.
    fn fits(&self, family: Family, address: IpAddr) -> bool {
        let ipv4 = family == Family::IPV4_UNICAST;
        let extended = ipv4 && self.negotiated.extended_next_hop;
        let right = address.is_ipv4() == ipv4 || extended && address.is_ipv6();
        right && !address.is_unspecified()
    }

    /// The next hop of a learned route as another internal speaker can use it: its link-local address
    /// means nothing on another link (RFC 2545 section 3).
    fn kept(&self, family: Family, next_hop: NextHop) -> Option<NextHop> {
        let address = next_hop.address();
        (is_global(address) && self.fits(family, address)).then(|| address.into())
    }

    /// Our end of the session as a next hop: a link-local one goes beside a global one of its
    /// interface, if there is one (RFC 2545 section 3).
    fn own_end(&self) -> NextHop {
        let IpAddr::V6(link_local) = self.local else { return self.local.into() };
        match self.lowest_global(false) {
            Some(IpAddr::V6(global)) if link_local.is_unicast_link_local() => {
                NextHop::Ipv6LinkLocal { global, link_local }
            }
            _ => NextHop::Ipv6(link_local),
        }
    }

    /// The lowest address of a family that the interface has and other hosts can use, so that it does
    /// not depend on the order in which the kernel lists them.
    fn lowest_global(&self, ipv4: bool) -> Option<IpAddr> {
        let addresses = self.interface.iter().map(IpNet::addr);
        addresses.filter(|address| address.is_ipv4() == ipv4 && is_global(*address)).min()
    }
}

fn is_global(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified()
}

/// Whether the neighbour lies above us or beside us: what is for customers only does not go there
/// (RFC 9234 section 5, egress).
fn goes_up(role: BgpRole) -> bool {
    matches!(role, BgpRole::Customer | BgpRole::Peer | BgpRole::RouteServerClient)
}

/// Whether what the neighbour gets may go on to its customers only.
fn goes_down(role: BgpRole) -> bool {
    matches!(role, BgpRole::Provider | BgpRole::Peer | BgpRole::RouteServer)
}

/// Well-known communities of a learned route (RFC 1997).
fn may_pass(attributes: &Attributes, external: bool) -> bool {
    let has = |community| attributes.communities.contains(&community);
    let internal_only = has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED);
    !(has(Community::NO_ADVERTISE) || external && internal_only)
}

/// What a learned route loses on its way out: what is about one AS at the border of that (RFC 4271
/// sections 5.1.4 and 5.1.5, RFC 4456 section 8, RFC 4360 section 6, RFC 7311 section 3), and unknown
/// attributes that are not transitive (RFC 4271 section 5).
fn pass_on(attributes: &mut Attributes, external: bool) {
    if external {
        attributes.med = None;
        attributes.local_pref = None;
        attributes.aigp = None;
        attributes.originator_id = None;
        attributes.cluster_list.clear();
        attributes.extended_communities.retain(|community| community.is_transitive());
    }
    attributes.opaque.retain(|attribute| attribute.flags & TRANSITIVE != 0);
    for OpaqueAttribute { flags, .. } in &mut attributes.opaque {
        *flags |= PARTIAL;
    }
}
