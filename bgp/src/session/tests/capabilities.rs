//! What two OPENs come to, and what follows from it.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::fixture::*;
use crate::policy::{Policy, Rule, Source, Then};
use crate::rib::{LearnedFrom, Origin, Route};
use crate::session::{
    Event, FamilyConfig, GracefulRestart, PeerConfig, PeerEvent, Role, StateName, StopCause,
};
use crate::wire::{
    self, AddPath, AsPath, Attributes, BgpRole, Capability, DecodeContext, Decoded,
    EXTENDED_MAX_LEN, EncodeContext, ExtendedNextHop, Family, FamilySet, Message, MpReach, NextHop,
    Nlri, Notification, Open, RefreshSubtype, RouteRefresh, Update, decode, encode, frame,
};

const IPV4: Family = Family::IPV4_UNICAST;
const US_AT: Role = Role::Incoming;

fn passive(config: PeerConfig) -> PeerConfig {
    PeerConfig { passive: true, ..config }
}

fn family(config: &mut PeerConfig) -> &mut FamilyConfig {
    config.families.get_mut(&IPV4).unwrap()
}

/// Brings a session up with a neighbour whose OPEN has these capabilities beside the usual ones.
fn with(
    config: PeerConfig,
    capabilities: &[Capability],
    interface: &[IpNet],
    local: IpAddr,
) -> Bench {
    let mut bench = Bench::new(passive(config));
    bench.start();
    bench.handle(Event::TcpConnected { role: US_AT, local, interface });
    let mut open = their_open();
    open.capabilities.extend_from_slice(capabilities);
    bench.receive(US_AT, &Message::Open(open));
    bench.receive(US_AT, &Message::Keepalive);
    bench
}

fn session(config: PeerConfig, capabilities: &[Capability]) -> Bench {
    let mut bench = with(config, capabilities, &[], address(&US));
    assert_eq!(bench.peer.state(), StateName::Established);
    let _ = bench.sent(US_AT);
    bench.events.clear();
    bench
}

fn receive(bench: &mut Bench, message: &Message, ctx: &EncodeContext) {
    let octets = encode(message, ctx).unwrap();
    bench.handle(Event::Received { role: US_AT, bytes: &octets });
}

fn announcement(nlri: impl IntoIterator<Item = Nlri<Ipv4Net>>) -> Message {
    Message::Update(Update {
        attributes: Attributes {
            as_path: AsPath::sequence([THEM.local_as]),
            next_hop: Some(THEM.router_id),
            ..Attributes::default()
        },
        nlri: nlri.into_iter().collect(),
        ..Update::default()
    })
}

fn v4(last: u8) -> Ipv4Net {
    Ipv4Net::new([198, 51, 100, last].into(), 32).unwrap()
}

#[test]
fn the_open_says_what_is_configured() {
    let capabilities = |config: PeerConfig| {
        let mut bench = Bench::new(config);
        bench.start();
        bench.connected(Role::Outgoing);
        match &bench.sent(Role::Outgoing)[..] {
            [Decoded::Open(open)] => open.capabilities.clone(),
            other => panic!("{other:?}"),
        }
    };
    let usual = capabilities(config(&THEM));
    let aware = wire::GracefulRestart { notification: true, ..Default::default() };
    assert_eq!(
        usual,
        [
            Capability::Multiprotocol(IPV4),
            Capability::RouteRefresh,
            Capability::FourOctetAs(US.local_as),
            Capability::EnhancedRouteRefresh,
            Capability::GracefulRestart(aware),
        ]
    );
    let mut all = PeerConfig {
        extended_messages: true,
        enhanced_route_refresh: false,
        graceful_restart: GracefulRestart::Off,
        local_role: Some(BgpRole::Customer),
        hostname: Some("lb1".to_owned()),
        ..config(&THEM)
    };
    family(&mut all).extended_next_hop = true;
    family(&mut all).add_path_receive = true;
    assert_eq!(
        capabilities(all)[3..],
        [
            Capability::ExtendedMessage,
            Capability::ExtendedNextHop(vec![ExtendedNextHop { family: IPV4, next_hop_afi: 2 }]),
            Capability::AddPath(vec![AddPath { family: IPV4, receive: true, send: false }]),
            Capability::Role(BgpRole::Customer),
            Capability::Fqdn { host: "lb1".to_owned(), domain: String::new() },
        ]
    );
}

#[test]
fn roles_have_to_fit() {
    use BgpRole::{Customer, Peer, Provider, RouteServer, RouteServerClient};
    let all = [Provider, RouteServer, RouteServerClient, Customer, Peer];
    let pairs = [
        (Provider, Customer),
        (Customer, Provider),
        (RouteServer, RouteServerClient),
        (RouteServerClient, RouteServer),
        (Peer, Peer),
    ];
    let outcome = |ours, require_role, theirs: &[BgpRole]| {
        let config = PeerConfig { local_role: ours, require_role, ..config(&THEM) };
        let theirs: Vec<_> = theirs.iter().copied().map(Capability::Role).collect();
        let mut bench = with(config, &theirs, &[], address(&US));
        match bench.notified(US_AT) {
            None => bench.peer.state() == StateName::Established,
            Some(mismatch) => {
                assert_eq!(mismatch, (2, 11));
                false
            }
        }
    };
    for ours in all {
        for theirs in all {
            let fits = pairs.contains(&(ours, theirs));
            assert_eq!(outcome(Some(ours), false, &[theirs]), fits, "{ours:?} {theirs:?}");
            assert!(outcome(None, false, &[theirs]));
        }
        assert!(outcome(Some(ours), false, &[]), "not strict");
        assert!(!outcome(Some(ours), true, &[]), "strict");
    }
    assert!(outcome(Some(Provider), true, &[Customer, Customer]));
    assert!(!outcome(Some(Provider), true, &[Customer, Peer]));
}

/// RFC 9234 section 5: what comes in.
#[test]
fn only_to_customer_coming_in() {
    use BgpRole::{Customer, Peer, Provider, RouteServer, RouteServerClient};
    let them = THEM.local_as;
    for (ours, received, kept) in [
        (Provider, Some(7), None),
        (RouteServer, Some(them), None),
        (Peer, Some(7), None),
        (Peer, Some(them), Some(Some(them))),
        (Peer, None, Some(Some(them))),
        (Customer, None, Some(Some(them))),
        (Customer, Some(7), Some(Some(7))),
        (RouteServerClient, None, Some(Some(them))),
        (Provider, None, Some(None)),
        (RouteServer, None, Some(None)),
    ] {
        let mut bench = session(PeerConfig { local_role: Some(ours), ..config(&THEM) }, &[]);
        let Message::Update(mut update) = announcement([v4(1).into()]) else { unreachable!() };
        update.attributes.only_to_customer = received;
        bench.receive(US_AT, &Message::Update(update));
        let learned = bench.events.iter().find_map(|event| match event {
            PeerEvent::Learned(_, route) => Some(route.attributes.only_to_customer),
            _ => None,
        });
        assert_eq!(learned, kept, "{ours:?} gets {received:?}");
    }
}

/// RFC 9234 section 5: what goes out, of ours and of what was learned elsewhere.
#[test]
fn only_to_customer_going_out() {
    use BgpRole::{Customer, Peer, Provider, RouteServer, RouteServerClient};
    let us = US.local_as;
    for (ours, marked, sent) in [
        (Provider, None, Some(Some(us))),
        (Provider, Some(7), Some(Some(7))),
        (Peer, None, Some(Some(us))),
        (RouteServer, None, Some(Some(us))),
        (Peer, Some(7), None),
        (Customer, Some(7), None),
        (RouteServerClient, Some(7), None),
        (Customer, None, Some(None)),
    ] {
        let mut bench = session(PeerConfig { local_role: Some(ours), ..config(&THEM) }, &[]);
        let attributes = Attributes { only_to_customer: marked, ..Attributes::default() };
        bench.peer.export(net("203.0.113.0/24"), Some(&learned(attributes)));
        assert_eq!(
            exported(&mut bench).map(|(a, _)| a.only_to_customer),
            sent,
            "{ours:?} {marked:?}"
        );
    }
    let mut bench = session(PeerConfig { local_role: Some(Provider), ..config(&THEM) }, &[]);
    bench.peer.export(net("203.0.113.0/24"), Some(&route(1)));
    assert_eq!(exported(&mut bench).unwrap().0.only_to_customer, Some(us), "our own");
}

fn learned(attributes: Attributes) -> Route {
    let from = LearnedFrom {
        peer: "another".into(),
        address: "192.0.2.77".parse().unwrap(),
        router_id: [192, 0, 2, 77].into(),
        external: true,
    };
    let next_hop = Some(NextHop::Ipv4([192, 0, 2, 77].into()));
    Route {
        origin: Origin::Learned(from.into()),
        attributes: Attributes { as_path: AsPath::sequence([9]), ..attributes }.into(),
        next_hop,
        ..route(0)
    }
}

/// The one route that is sent now, with its next hop.
fn exported(bench: &mut Bench) -> Option<(Attributes, NextHop)> {
    let ctx = DecodeContext {
        ebgp: bench.peer.session().unwrap().negotiated.external,
        families: FamilySet::ALL,
        extended_next_hop: true,
        ..Default::default()
    };
    let octets = bench.peer.poll_transmit(US_AT)?;
    let message = frame(&octets, EXTENDED_MAX_LEN).unwrap().unwrap();
    let Ok(Decoded::Update(decoded)) = decode(message, &ctx) else { panic!() };
    assert!(decoded.errors.is_empty(), "{:?}", decoded.errors);
    let next_hop = decoded.update.announcements().next()?.1;
    Some((decoded.update.attributes, next_hop))
}

#[test]
fn long_messages_only_where_both_said_so() {
    let long = announcement((0..=255).flat_map(|_| (0..=3).map(v4)).map(Nlri::from));
    let ctx = EncodeContext { max_len: EXTENDED_MAX_LEN, ..EncodeContext::default() };
    assert!(encode(&long, &ctx).unwrap().len() > 4096);
    for (ours, theirs) in [(false, false), (true, false), (false, true), (true, true)] {
        let config = PeerConfig { extended_messages: ours, ..config(&THEM) };
        let capability = [Capability::ExtendedMessage];
        let mut bench = session(config, if theirs { &capability } else { &[] });
        for last in 0..=255 {
            for third in 0..16 {
                let prefix = net(&format!("10.0.{third}.{last}/32"));
                bench.peer.export(prefix, Some(&route(1)));
            }
        }
        let longest = std::iter::from_fn(|| bench.peer.poll_transmit(US_AT))
            .flat_map(|octets| lengths(&octets))
            .max()
            .unwrap();
        assert_eq!(longest > 4096, ours && theirs, "{longest} octets");
        receive(&mut bench, &long, &ctx);
        // RFC 8654 section 4: who announced it takes them, whatever the neighbour announced.
        let expected = if ours { StateName::Established } else { StateName::Idle };
        assert_eq!(bench.peer.state(), expected);
        if !ours {
            assert_eq!(bench.notified(US_AT), Some((1, 2)));
        }
    }
}

fn lengths(mut octets: &[u8]) -> Vec<usize> {
    let mut all = Vec::new();
    while let Some(message) = frame(octets, EXTENDED_MAX_LEN).unwrap() {
        all.push(message.bytes.len());
        octets = &octets[message.bytes.len()..];
    }
    all
}

#[test]
fn several_paths_to_a_prefix() {
    let path = |id| Nlri { prefix: v4(1), path_id: Some(id) };
    let mut config = config(&THEM);
    family(&mut config).add_path_receive = true;
    let sends =
        |send, receive| [Capability::AddPath(vec![AddPath { family: IPV4, receive, send }])];
    let mut bench = session(config.clone(), &sends(true, false));
    let ctx = EncodeContext { add_path: FamilySet::from(IPV4), ..EncodeContext::default() };
    receive(&mut bench, &announcement([path(1), path(2)]), &ctx);
    let withdrawn = Update { withdrawn: vec![path(1)], ..Update::default() };
    receive(&mut bench, &Message::Update(withdrawn), &ctx);
    let ids: Vec<_> = bench
        .events
        .iter()
        .map(|event| match event {
            PeerEvent::Learned(_, route) => (true, route.path_id),
            PeerEvent::Unlearned(_, path_id) => (false, *path_id),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [(true, 1), (true, 2), (false, 1)]);
    let rib = &bench.peer.session().unwrap().channels[&IPV4].adj_in;
    assert!(rib.get(&(net("198.51.100.1/32"), 2)).is_some());
    // What we send has no identifiers.
    bench.peer.export(net("203.0.113.0/24"), Some(&route(1)));
    assert_eq!(bench.sent(US_AT).len(), 1);
    // A neighbour that only receives sends none either, nor does one that we did not ask.
    for (config, theirs) in
        [(config, sends(false, true)), (super::fixture::config(&THEM), sends(true, true))]
    {
        let mut bench = session(config, &theirs);
        bench.receive(US_AT, &announcement([v4(1).into()]));
        assert!(matches!(&bench.events[..], [PeerEvent::Learned(_, route)] if route.path_id == 0));
    }
}

#[test]
fn ipv4_routes_by_ipv6_next_hops() {
    let both =
        [Capability::ExtendedNextHop(vec![ExtendedNextHop { family: IPV4, next_hop_afi: 2 }])];
    let mut offered = config(&THEM);
    family(&mut offered).extended_next_hop = true;
    let interface = [net("2001:db8::1/64"), net("fe80::1/64"), net("192.0.2.1/24")];
    let next_hop =
        |config: &PeerConfig, theirs: &[Capability], interface: &[IpNet], local: &str| {
            let mut bench = with(config.clone(), theirs, interface, local.parse().unwrap());
            let _ = bench.sent(US_AT);
            bench.peer.export(net("203.0.113.0/24"), Some(&route(1)));
            exported(&mut bench).map(|(_, next_hop)| next_hop.to_string())
        };
    for (config, theirs, interface, local, expected) in [
        (&offered, &both[..], &interface[..], "2001:db8::1", Some("2001:db8::1")),
        (&offered, &both, &interface, "fe80::1", Some("2001:db8::1 fe80::1")),
        (&offered, &both, &interface[1..2], "fe80::1", Some("fe80::1")),
        (&offered, &both, &interface, "192.0.2.1", Some("192.0.2.1")),
        // Not agreed on: an IPv4 address of the interface, or nothing at all.
        (&offered, &[], &interface, "2001:db8::1", Some("192.0.2.1")),
        (&config(&THEM), &both, &interface[..2], "2001:db8::1", None),
    ] {
        let got = next_hop(config, theirs, interface, local);
        assert_eq!(got.as_deref(), expected, "{local}, {} addresses", interface.len());
    }
    // And the other way.
    let reach = MpReach {
        family: IPV4,
        next_hop: NextHop::Ipv6("fe80::2".parse().unwrap()),
        nlri: vec![net("198.51.100.1/32").into()],
    };
    let attributes =
        Attributes { as_path: AsPath::sequence([THEM.local_as]), ..Attributes::default() };
    let update = Update { attributes, mp_reach: Some(reach), ..Update::default() };
    let ctx = EncodeContext { extended_next_hop: true, ..EncodeContext::default() };
    let mut bench = session(offered, &both);
    receive(&mut bench, &Message::Update(update), &ctx);
    let learned = bench.events.iter().find_map(|event| match event {
        PeerEvent::Learned(_, route) => route.next_hop.map(|next_hop| next_hop.to_string()),
        _ => None,
    });
    assert_eq!(learned.as_deref(), Some("fe80::2"));
}

#[test]
fn a_refresh_sweeps_what_it_leaves_out() {
    let mark = |subtype| Message::RouteRefresh(RouteRefresh { family: IPV4, subtype });
    for enhanced in [true, false] {
        let capability = [Capability::EnhancedRouteRefresh];
        let mut bench = session(config(&THEM), if enhanced { &capability } else { &[] });
        bench.receive(US_AT, &announcement([1, 2, 3].map(v4).map(Nlri::from)));
        bench.receive(US_AT, &mark(RefreshSubtype::BeginningOfRefresh));
        bench.receive(US_AT, &announcement([v4(2).into()]));
        bench.events.clear();
        bench.receive(US_AT, &mark(RefreshSubtype::EndOfRefresh));
        let rib = &bench.peer.session().unwrap().channels[&IPV4].adj_in;
        assert_eq!(rib.accepted(), if enhanced { 1 } else { 3 });
        assert_eq!(bench.events.len(), if enhanced { 2 } else { 0 });
        // A second end without a beginning sweeps nothing.
        bench.receive(US_AT, &mark(RefreshSubtype::EndOfRefresh));
        let rib = &bench.peer.session().unwrap().channels[&IPV4].adj_in;
        assert_eq!(rib.accepted(), if enhanced { 1 } else { 3 });
    }
}

#[test]
fn a_refresh_is_answered() {
    let prefix = net("203.0.113.0/24");
    for enhanced in [true, false] {
        let capability = [Capability::EnhancedRouteRefresh];
        let mut bench = session(config(&THEM), if enhanced { &capability } else { &[] });
        let ours = route(1);
        bench.peer.export_all([(&prefix, &ours)].into_iter());
        assert_eq!(bench.sent(US_AT).len(), 2, "the route and End-of-RIB");
        bench.receive(US_AT, &Message::RouteRefresh(RouteRefresh::request(IPV4)));
        let kinds: Vec<_> = bench
            .sent(US_AT)
            .into_iter()
            .map(|message| match message {
                Decoded::RouteRefresh(refresh) => format!("{:?}", refresh.subtype),
                Decoded::Update(update) => {
                    format!("{} routes", update.update.announcements().count())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: &[&str] = if enhanced {
            &["BeginningOfRefresh", "1 routes", "EndOfRefresh"]
        } else {
            &["1 routes"]
        };
        assert_eq!(kinds, expected);
        bench.receive(
            US_AT,
            &Message::RouteRefresh(RouteRefresh::request(Family { afi: 1, safi: 128 })),
        );
        assert!(bench.sent(US_AT).is_empty(), "a family that was not negotiated");
    }
}

/// RFC 8538: a stop for good is a hard reset where both sides know it; anything else is not.
#[test]
fn hard_resets() {
    let aware = |notification| {
        [Capability::GracefulRestart(wire::GracefulRestart { notification, ..Default::default() })]
    };
    let off = PeerConfig { graceful_restart: GracefulRestart::Off, ..config(&THEM) };
    for (config, theirs, cause, expected) in [
        (config(&THEM), &aware(true)[..], StopCause::Shutdown, (6, 9)),
        (config(&THEM), &aware(true), StopCause::Deconfigured, (6, 9)),
        (config(&THEM), &aware(true), StopCause::Reset, (6, 4)),
        (config(&THEM), &aware(true), StopCause::ConfigChange, (6, 6)),
        (config(&THEM), &aware(false), StopCause::Shutdown, (6, 2)),
        (config(&THEM), &[], StopCause::Shutdown, (6, 2)),
        (off, &aware(true), StopCause::Shutdown, (6, 2)),
    ] {
        let mut bench = session(config, theirs);
        bench.handle(Event::Stop { cause, message: Some("tea") });
        let Some(Decoded::Notification(sent)) = bench.sent(US_AT).pop() else { panic!() };
        assert_eq!((sent.code.0, sent.subcode), expected);
        let reason = sent.hard_reset_reason().unwrap_or(sent);
        let text =
            matches!(cause, StopCause::Shutdown | StopCause::Reset).then(|| "tea".to_owned());
        assert_eq!(reason.shutdown_text(), text, "{cause:?}");
    }
    // The other way: the reason inside decides whether it is held against the neighbour.
    for (inner, state) in
        [(Notification::cease(2), StateName::Active), (Notification::cease(1), StateName::Idle)]
    {
        let mut bench = session(config(&THEM), &aware(true));
        bench.receive(US_AT, &Message::Notification(Notification::hard_reset(&inner)));
        assert_eq!(bench.peer.state(), state);
    }
}

#[test]
fn neighbours_with_two_octets() {
    let us = crate::session::LocalSpeaker { local_as: 4_200_000_000, ..US };
    let mut bench = Bench::new(passive(config(&THEM)));
    bench.peer = crate::session::Peer::new(bench.now, us, passive(config(&THEM)).into(), 1);
    bench.start();
    bench.connected(US_AT);
    let Some(Decoded::Open(open)) = bench.sent(US_AT).pop() else { panic!() };
    assert_eq!((open.my_as, open.four_octet_as()), (23456, Some(4_200_000_000)));
    let open = Open { capabilities: vec![Capability::Multiprotocol(IPV4)], ..their_open() };
    bench.receive(US_AT, &Message::Open(open));
    bench.receive(US_AT, &Message::Keepalive);
    assert!(!bench.peer.session().unwrap().negotiated.as4);
    let _ = bench.sent(US_AT);
    bench.peer.export(net("203.0.113.0/24"), Some(&route(1)));
    let octets = bench.peer.poll_transmit(US_AT).unwrap();
    let two = DecodeContext { as4: false, ..DecodeContext::default() };
    let message = frame(&octets, 4096).unwrap().unwrap();
    let Ok(Decoded::Update(decoded)) = decode(message, &two) else { panic!() };
    assert_eq!(decoded.update.attributes.as_path.to_string(), "4200000000", "by AS4_PATH");
    let short = [0x40, 2, 4, 2, 1, 0x5B, 0xA0];
    assert!(octets.windows(short.len()).any(|part| part == short), "AS_TRANS in AS_PATH");
}

#[test]
fn learned_routes_inside_with_our_own_next_hop() {
    let inside = crate::session::LocalSpeaker { local_as: US.local_as, ..THEM };
    for (next_hop_self, expected) in [(false, "192.0.2.77"), (true, "192.0.2.1")] {
        let mut config = config(&inside);
        let mut export = Policy::none();
        export.rules = vec![Rule { source: Some(Source::Bgp), ..Rule::always(Then::Accept) }];
        *family(&mut config) = FamilyConfig { export, next_hop_self, ..FamilyConfig::default() };
        let mut bench = Bench::new(passive(config));
        bench.start();
        bench.connected(US_AT);
        bench.receive(US_AT, &Message::Open(Open::new(US.local_as, 90, THEM.router_id, &[IPV4])));
        bench.receive(US_AT, &Message::Keepalive);
        let _ = bench.sent(US_AT);
        bench.peer.export(net("203.0.113.0/24"), Some(&learned(Attributes::default())));
        let (_, next_hop) = exported(&mut bench).unwrap();
        assert_eq!(next_hop.to_string(), expected);
    }
}

#[test]
fn only_global_addresses_are_next_hops() {
    for (address, expected) in
        [("fe80::1/64", false), ("::1/128", false), ("2001:db8::1/64", true), ("fd00::1/64", true)]
    {
        let mut config = config(&THEM);
        let six = config.families[&IPV4].clone();
        config.families.insert(Family::IPV6_UNICAST, six);
        let six = [Capability::Multiprotocol(Family::IPV6_UNICAST)];
        let bench = with(config, &six, &[net("192.0.2.1/24"), net(address)], address_of_us());
        let channel = &bench.peer.session().unwrap().channels[&Family::IPV6_UNICAST];
        assert_eq!(channel.next_hop.is_ok(), expected, "{address}");
    }
}

fn address_of_us() -> IpAddr {
    address(&US)
}

#[test]
fn a_refresh_is_asked_for() {
    let mut bench = session(config(&THEM), &[]);
    bench.handle(Event::Refresh);
    let request = RouteRefresh::request(IPV4);
    assert_eq!(bench.sent(US_AT), [Decoded::RouteRefresh(request)]);
    let mut bench = Bench::at(config(&THEM), StateName::OpenConfirm, Role::Outgoing);
    bench.handle(Event::Refresh);
    assert!(bench.sent(Role::Outgoing).is_empty());
    let plain = Open { capabilities: vec![], ..their_open() };
    let mut bench = Bench::at(config(&THEM), StateName::OpenSent, Role::Outgoing);
    bench.receive(Role::Outgoing, &Message::Open(plain));
    bench.receive(Role::Outgoing, &Message::Keepalive);
    let _ = bench.sent(Role::Outgoing);
    bench.handle(Event::Refresh);
    assert!(bench.sent(Role::Outgoing).is_empty(), "the neighbour would not understand");
}
