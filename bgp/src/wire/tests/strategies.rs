//! Generators of messages in the form that decoding returns them.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::wire::nlri::Prefix;

pub(super) fn ipv4_nets(count: Range<usize>) -> impl Strategy<Value = Vec<Ipv4Net>> {
    let net = (any::<u32>(), 0..=32_u8)
        .prop_map(|(bits, length)| Ipv4Net::new(bits.into(), length).unwrap().trunc())
        .prop_filter("routable", |net| net.is_routable());
    vec(net, count)
}

pub(super) fn ipv6_nets(count: Range<usize>) -> impl Strategy<Value = Vec<IpNet>> {
    let net = (any::<u128>(), 0..=128_u8)
        .prop_map(|(bits, length)| Ipv6Net::new(bits.into(), length).unwrap().trunc())
        .prop_filter("routable", |net| net.is_routable())
        .prop_map(IpNet::V6);
    vec(net, count)
}

/// Sequences and sets; numbers of both widths.
pub(super) fn as_path() -> impl Strategy<Value = AsPath> {
    let asn = prop_oneof![1..=65535_u32, 65536..=u32::MAX];
    let kind = prop_oneof![Just(SegmentKind::Sequence), Just(SegmentKind::Set)];
    vec((kind, vec(asn, 1..20)), 1..4).prop_map(|segments| {
        let mut path = AsPath::default();
        segments.into_iter().for_each(|(kind, asns)| path.push(kind, asns));
        path
    })
}

/// Attributes as an internal peer sends them, without NEXT_HOP.
pub(super) fn attributes() -> impl Strategy<Value = Attributes> {
    (plain_attributes(), newer_attributes(), opaque()).prop_map(|(plain, newer, opaque)| {
        Attributes {
            originator_id: newer.originator_id,
            cluster_list: newer.cluster_list,
            extended_communities: newer.extended_communities,
            aigp: newer.aigp,
            large_communities: newer.large_communities,
            only_to_customer: newer.only_to_customer,
            opaque,
            ..plain
        }
    })
}

/// Those of RFC 4271 and COMMUNITIES.
fn plain_attributes() -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    let aggregator = (1..=u32::MAX, any::<u32>())
        .prop_map(|(asn, address)| Aggregator { asn, address: address.into() });
    (
        origin,
        vec(1..=u32::MAX, 0..300).prop_map(AsPath::sequence),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        any::<bool>(),
        option::of(aggregator),
        vec(any::<u32>().prop_map(Community), 0..100),
    )
        .prop_map(
            |(origin, as_path, med, local_pref, atomic_aggregate, aggregator, communities)| {
                Attributes {
                    origin,
                    as_path,
                    med,
                    local_pref,
                    atomic_aggregate,
                    aggregator,
                    communities,
                    ..Attributes::default()
                }
            },
        )
}

/// Those of later RFCs.
fn newer_attributes() -> impl Strategy<Value = Attributes> {
    let large = any::<[u32; 3]>().prop_map(|[a, b, c]| LargeCommunity::new(a, b, c));
    (
        option::of(any::<u32>().prop_map(Into::into)),
        vec(any::<u32>().prop_map(Into::into), 0..4),
        vec(any::<[u8; 8]>().prop_map(ExtendedCommunity), 0..10),
        option::of(any::<u64>()),
        btree_set(large, 0..10).prop_map(|values| values.into_iter().collect()),
        option::of(any::<u32>()),
    )
        .prop_map(|(originator_id, cluster_list, extended, aigp, large, only_to_customer)| {
            Attributes {
                originator_id,
                cluster_list,
                extended_communities: extended,
                aigp,
                large_communities: large,
                only_to_customer,
                ..Attributes::default()
            }
        })
}

/// Unknown transitive attributes, Partial as they are kept, and known ones without a field.
fn opaque() -> impl Strategy<Value = Vec<OpaqueAttribute>> {
    let unknown = btree_map(200..=255_u8, vec(any::<u8>(), 0..300), 0..4);
    let known = option::of(any::<[u8; 20]>());
    (known, unknown).prop_map(|(known, unknown)| {
        let known = known.map(|value| OpaqueAttribute {
            flags: 0xC0,
            code: 25,
            value: Bytes::copy_from_slice(&value),
        });
        let unknown = unknown.into_iter().map(|(code, value)| OpaqueAttribute {
            flags: 0xE0,
            code,
            value: Bytes::from(value),
        });
        known.into_iter().chain(unknown).collect()
    })
}

pub(super) fn next_hop() -> impl Strategy<Value = NextHop> {
    prop_oneof![
        any::<u128>().prop_map(|bits| NextHop::Ipv6(bits.into())),
        any::<[u128; 2]>().prop_map(|[global, link_local]| NextHop::Ipv6LinkLocal {
            global: global.into(),
            link_local: link_local.into(),
        }),
    ]
}

fn plain<P>(nets: Vec<P>) -> Vec<Nlri<P>> {
    nets.into_iter().map(Nlri::from).collect()
}

/// Updates in which no prefix is both withdrawn and announced.
pub(super) fn update() -> impl Strategy<Value = Update> {
    let reach = (next_hop(), ipv6_nets(0..20)).prop_map(|(next_hop, nets)| MpReach {
        family: Family::IPV6_UNICAST,
        next_hop,
        nlri: plain(nets),
    });
    let unreach = ipv6_nets(0..20)
        .prop_map(|nets| MpUnreach { family: Family::IPV6_UNICAST, nlri: plain(nets) });
    (
        ipv4_nets(0..30),
        attributes(),
        1..=0x0FFF_FFFF_u32,
        ipv4_nets(0..30),
        option::of(reach),
        option::of(unreach),
    )
        .prop_map(|(mut withdrawn, mut attributes, hop, nlri, mp_reach, mut mp_unreach)| {
            let nlri = plain(nlri);
            if nlri.is_empty() && mp_reach.is_none() {
                attributes = Attributes::default();
            }
            attributes.next_hop = (!nlri.is_empty()).then(|| (hop | 0x0100_0000).into());
            withdrawn.retain(|prefix| !nlri.contains(&(*prefix).into()));
            if let (Some(unreach), Some(reach)) = (&mut mp_unreach, &mp_reach) {
                unreach.nlri.retain(|nlri| !reach.nlri.contains(nlri));
            }
            Update { withdrawn: plain(withdrawn), attributes, nlri, mp_reach, mp_unreach }
        })
}

fn family() -> impl Strategy<Value = Family> {
    (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| Family { afi, safi })
}

fn capability() -> impl Strategy<Value = Capability> {
    let unknown = (76..=255_u8, vec(any::<u8>(), 0..60))
        .prop_map(|(code, value)| Capability::Unknown { code, value: Bytes::from(value) });
    prop_oneof![
        family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedMessage),
        Just(Capability::EnhancedRouteRefresh),
        (1..=u32::MAX).prop_map(Capability::FourOctetAs),
        restart_capability(),
        tuple_capability(),
        ("[a-z.é]{0,60}", "[a-z.]{0,60}")
            .prop_map(|(host, domain)| Capability::Fqdn { host, domain }),
        "[a-z. ]{0,60}".prop_map(Capability::SoftwareVersion),
        unknown,
    ]
}

/// Graceful restart, short and long.
fn restart_capability() -> impl Strategy<Value = Capability> {
    let restart = (family(), any::<bool>())
        .prop_map(|(family, forwarding)| RestartFamily { family, forwarding });
    let long =
        (family(), any::<bool>(), 0..=0xFF_FFFF_u64).prop_map(|(family, forwarding, time)| {
            LongLivedFamily { family, forwarding, stale_time: Duration::from_secs(time) }
        });
    let graceful = (any::<bool>(), any::<bool>(), 0..=4095_u64, vec(restart, 0..5)).prop_map(
        |(restart_state, notification, time, families)| {
            let restart_time = Duration::from_secs(time);
            let value = GracefulRestart { restart_state, notification, restart_time, families };
            Capability::GracefulRestart(value)
        },
    );
    prop_oneof![graceful, vec(long, 0..5).prop_map(Capability::LongLivedGracefulRestart)]
}

/// Those that are lists of tuples.
fn tuple_capability() -> impl Strategy<Value = Capability> {
    let next_hop = (family(), any::<u16>())
        .prop_map(|(family, next_hop_afi)| ExtendedNextHop { family, next_hop_afi });
    let mode = prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))];
    let add_path =
        (family(), mode).prop_map(|(family, (receive, send))| AddPath { family, receive, send });
    prop_oneof![
        vec(next_hop, 0..5).prop_map(Capability::ExtendedNextHop),
        vec(add_path, 0..5).prop_map(Capability::AddPath),
    ]
}

fn open() -> impl Strategy<Value = Open> {
    let hold_time = prop_oneof![Just(0), 3..=u16::MAX];
    (1..=65535_u32, hold_time, 1..=u32::MAX, vec(capability(), 0..20)).prop_map(
        |(my_as, hold_time, identifier, mut capabilities)| {
            // Only one role, or none.
            capabilities.extend((my_as < 30_000).then_some(Capability::Role(BgpRole::Customer)));
            Open { version: 4, my_as, hold_time, identifier: identifier.into(), capabilities }
        },
    )
}

/// Any message.
pub(super) fn any_message() -> impl Strategy<Value = Message> {
    let data = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let notification = (any::<u8>(), any::<u8>(), data).prop_map(|(code, subcode, data)| {
        Message::Notification(Notification { code: ErrorCode(code), subcode, data })
    });
    let refresh = (any::<u16>(), any::<u8>(), any::<u8>()).prop_map(|(afi, subtype, safi)| {
        let family = Family { afi, safi };
        Message::RouteRefresh(RouteRefresh { family, subtype: subtype.into() })
    });
    prop_oneof![
        open().prop_map(Message::Open),
        update().prop_map(Message::Update),
        notification,
        Just(Message::Keepalive),
        refresh,
    ]
}

/// Anything a session may have negotiated.
pub(super) fn any_context() -> impl Strategy<Value = DecodeContext> {
    any::<[bool; 8]>().prop_map(|[as4, ebgp, allow_as_sets, v4, v6, path4, path6, extended]| {
        let set = |v4: bool, v6: bool| {
            let ipv4 = v4.then_some(Family::IPV4_UNICAST);
            ipv4.into_iter().chain(v6.then_some(Family::IPV6_UNICAST)).collect()
        };
        DecodeContext {
            as4,
            ebgp,
            allow_as_sets,
            families: set(v4, v6),
            add_path: set(path4, path6),
            extended_next_hop: extended,
        }
    })
}

/// UPDATE bodies that are nearly right: attributes of known codes with any flags, any length and
/// any value, so that arbitrary octets get past the first check.
pub(super) fn nearly_an_update() -> impl Strategy<Value = Vec<u8>> {
    let code =
        prop_oneof![1..=10_u8, 14..=18_u8, Just(25), Just(26), Just(32), Just(35), any::<u8>()];
    let flags = prop_oneof![Just(0x40_u8), Just(0x80), Just(0xC0), any::<u8>()];
    let attribute = (flags, code, vec(any::<u8>(), 0..40)).prop_map(|(flags, code, value)| {
        let length = u8::try_from(value.len()).unwrap();
        [&[flags & !0x10, code, length][..], &value].concat()
    });
    let prefixes = || btree_set(0..=32_u8, 0..4);
    (prefixes(), vec(attribute, 0..8), prefixes(), vec(any::<u8>(), 0..3)).prop_map(
        |(withdrawn, attributes, nlri, stray)| {
            let list = |lengths: std::collections::BTreeSet<u8>| -> Vec<u8> {
                let one = |length: u8| {
                    [vec![length], vec![0x0A; usize::from(length).div_ceil(8)]].concat()
                };
                lengths.into_iter().flat_map(one).collect()
            };
            let block = |octets: Vec<u8>| {
                let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
                [length.to_vec(), octets].concat()
            };
            let attributes = [attributes.concat(), stray].concat();
            [block(list(withdrawn)), block(attributes), list(nlri)].concat()
        },
    )
}
