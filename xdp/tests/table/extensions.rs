//! IPv6 extension headers (RFC 8200 section 4): walked, up to a bound.

use vc5_ebpf_abi::{Reason, maps::FRAGMENTS};

use crate::{
    common::{
        extension::{
            AUTHENTICATION, DESTINATION_OPTIONS, ESP, Extension, HOP_BY_HOP, NO_NEXT, ROUTING,
            authentication, destination_options, fragment, hop_by_hop, routing, routing_on,
        },
        frame::{ACK, Family, Frame, PORT, SYN},
        standard::{CHOSEN, PASSING, STRANGER, VIP},
        world::World,
    },
    row::{Row, forwarded, sent, untouched},
};

fn tcp(extensions: impl Into<Vec<Extension>>) -> Frame {
    Frame::tcp(Family::V6, ACK).with_extensions(extensions)
}

/// Without a body: the last header says what comes next.
fn ending(extensions: impl Into<Vec<Extension>>, next: u8) -> Frame {
    Frame::raw(Family::V6, next, &[]).with_extensions(extensions)
}

fn walked(name: &str, frame: &Frame) -> Row {
    sent(name, frame, Reason::Ring, CHOSEN)
}

pub fn rows() -> Vec<Row> {
    [kinds(), orders(), depth(), others(), cut(), lengths()].into_iter().flatten().collect()
}

fn kinds() -> Vec<Row> {
    vec![
        walked("hop-by-hop options", &tcp([hop_by_hop(0)])),
        walked("destination options", &tcp([destination_options(0)])),
        walked("routing header of type 0", &tcp([routing(0, 2)])),
        walked("routing header of type 2", &tcp([routing(2, 2)])),
        walked("segment routing header", &tcp([routing(4, 4)])),
        walked("atomic fragment", &tcp([fragment(0, false, 77)]))
            .then("not noted", |w| w.taken(FRAGMENTS) == 0),
        walked("hop-by-hop options of 64 bytes", &tcp([hop_by_hop(7)])),
        walked("hop-by-hop options of 2,048 bytes", &tcp([hop_by_hop(255)])),
        walked("destination options of 512 bytes", &tcp([destination_options(63)])),
        walked(
            "UDP behind options",
            &Frame::udp(Family::V6).with_extensions([destination_options(0)]),
        ),
        walked("SYN behind options", &Frame::tcp(Family::V6, SYN).with_extensions([hop_by_hop(0)])),
    ]
}

/// Only for hop-by-hop options there is but one place.
fn orders() -> Vec<Row> {
    let second = |first| tcp([first, hop_by_hop(0)]);
    vec![
        walked("hop-by-hop, destination", &tcp([hop_by_hop(0), destination_options(0)])),
        walked(
            "all in the recommended order",
            &tcp([
                hop_by_hop(0),
                destination_options(0),
                routing(4, 2),
                fragment(0, false, 1),
                destination_options(1),
            ]),
        ),
        walked("destination before routing", &tcp([destination_options(0), routing(2, 2)])),
        walked("routing before destination", &tcp([routing(2, 2), destination_options(0)])),
        walked("destination options twice", &tcp([destination_options(0), destination_options(0)])),
        walked("fragment header first", &tcp([fragment(0, false, 1), routing(4, 0)])),
        untouched(
            "hop-by-hop behind destination options",
            &second(destination_options(0)),
            Reason::ExtensionHeaders,
        ),
        untouched("hop-by-hop twice", &second(hop_by_hop(0)), Reason::ExtensionHeaders),
        untouched("hop-by-hop behind routing", &second(routing(4, 0)), Reason::ExtensionHeaders),
        untouched(
            "hop-by-hop behind a fragment header",
            &second(fragment(0, false, 1)),
            Reason::ExtensionHeaders,
        ),
    ]
}

fn depth() -> Vec<Row> {
    let many = |count| tcp(vec![destination_options(0); count]);
    let mixed = |count: usize| {
        let kinds = [hop_by_hop(0), routing(4, 2), fragment(0, false, 1), destination_options(3)];
        let more = std::iter::repeat_n(destination_options(0), count - 4);
        tcp(kinds.into_iter().chain(more).collect::<Vec<_>>())
    };
    vec![
        walked("five headers", &many(5)),
        walked("six headers", &many(6)),
        untouched("seven headers", &many(7), Reason::ExtensionHeaders),
        // The destination is not where such a packet is to end.
        untouched("segments left", &tcp([routing_on(4, 2)]), Reason::ExtensionHeaders),
        untouched(
            "segments left behind options",
            &tcp([hop_by_hop(0), routing_on(0, 2)]),
            Reason::ExtensionHeaders,
        ),
        untouched("twenty headers", &many(20), Reason::ExtensionHeaders),
        walked("six different headers", &mixed(6)),
        untouched("seven different headers", &mixed(7), Reason::ExtensionHeaders),
        untouched(
            "seven headers, no VIP",
            &many(7).to(Family::V6.vip(STRANGER), PORT),
            Reason::NotVip,
        ),
    ]
}

/// What is no header to walk is a protocol that is not balanced.
fn others() -> Vec<Row> {
    let unknown = |name: &str, frame: Frame| untouched(name, &frame, Reason::UnknownProtocol);
    let passing = |frame: Frame| frame.to(Family::V6.vip(PASSING), PORT);
    let data = |protocol| Frame::raw(Family::V6, protocol, &[0x5a; 40]);
    vec![
        unknown("ESP", data(ESP)),
        unknown("ESP behind options", data(ESP).with_extensions([hop_by_hop(0)])),
        unknown("authentication header", tcp([authentication()])),
        unknown("authentication behind routing", tcp([routing(4, 0), authentication()])),
        unknown("no next header", ending([], NO_NEXT)),
        unknown("no next header behind options", ending([destination_options(0)], NO_NEXT)),
        unknown("no next header, but more bytes", data(NO_NEXT)),
        unknown("mobility header", data(135)),
        unknown("host identity", data(139)),
        unknown("SCTP", data(132)),
        unknown("IPv4 in IPv6", data(4)),
        unknown("IPv6 in IPv6", data(41)),
        unknown("for experiments", data(253)),
        untouched("ESP, passed", &passing(data(ESP)), Reason::UnknownPassed),
        untouched(
            "authentication header, passed",
            &passing(tcp([authentication()])),
            Reason::UnknownPassed,
        ),
        untouched("no next header, passed", &passing(ending([], NO_NEXT)), Reason::UnknownPassed),
        untouched(
            "seven headers are not passed",
            &passing(tcp(vec![destination_options(0); 7])),
            Reason::ExtensionHeaders,
        ),
    ]
}

/// Packets that end, honestly, in or right behind a header.
fn cut() -> Vec<Row> {
    let truncated = |name: &str, frame: Frame| untouched(name, &frame, Reason::Truncated);
    // Without room for all its bytes a header is part of the body here.
    let part = |kind, header: &Extension, length: usize| {
        Frame::raw(Family::V6, kind, &header.bytes(6)[..length])
    };
    let behind = |kind, header: &Extension, length| {
        part(kind, header, length).with_extensions([routing(4, 0)])
    };
    vec![
        truncated("one byte of hop-by-hop options", part(HOP_BY_HOP, &hop_by_hop(0), 1)),
        truncated("hop-by-hop options less a byte", part(HOP_BY_HOP, &hop_by_hop(0), 7)),
        truncated(
            "long options less a byte",
            part(DESTINATION_OPTIONS, &destination_options(2), 23),
        ),
        truncated("routing header less a byte", part(ROUTING, &routing(2, 2), 23)),
        truncated("fragment header less a byte", part(44, &fragment(0, false, 1), 7)),
        truncated("two bytes of a fragment header", part(44, &fragment(0, false, 1), 2)),
        truncated(
            "second header less a byte",
            behind(DESTINATION_OPTIONS, &destination_options(0), 7),
        ),
        truncated(
            "second header of no bytes",
            behind(DESTINATION_OPTIONS, &destination_options(0), 0),
        ),
        truncated("options, then no TCP", ending([destination_options(0)], 6)),
        truncated("options, then TCP less a byte", Frame { cut: Some(19), ..tcp([hop_by_hop(0)]) }),
        truncated(
            "options, then UDP less a byte",
            Frame { cut: Some(7), ..Frame::udp(Family::V6).with_extensions([hop_by_hop(0)]) },
        ),
        truncated("atomic fragment, then TCP less a byte", {
            Frame { cut: Some(19), ..tcp([fragment(0, false, 1)]) }
        }),
        truncated("atomic fragment of nothing", ending([fragment(0, false, 1)], 6)),
    ]
}

/// Length fields that lie.
fn lengths() -> Vec<Row> {
    let tcp_only = tcp([]);
    let lying = |length| Frame { length: Some(length), ..tcp([hop_by_hop(0)]) };
    let mut version = tcp_only.bytes();
    version[14] = 0x45;
    vec![
        untouched("version 4 in IPv6", version, Reason::Malformed),
        untouched("payload length beyond frame", &lying(34), Reason::Malformed),
        untouched("payload length far beyond frame", &lying(0xffff), Reason::Malformed),
        untouched("payload length zero", &lying(0), Reason::Truncated),
        untouched(
            "payload length zero, TCP at once",
            &Frame { length: Some(0), ..tcp_only.clone() },
            Reason::Truncated,
        ),
        untouched("payload length ends in the header", &lying(7), Reason::Truncated),
        untouched("payload length ends behind the header", &lying(8), Reason::Truncated),
        untouched("payload length ends in TCP", &lying(27), Reason::Truncated),
        walked("payload length ends behind TCP", &lying(28)),
        untouched(
            "header claims more than there is",
            &tcp([destination_options(0).claiming(4)]),
            Reason::Truncated,
        ),
        untouched(
            "header claims most",
            &tcp([destination_options(0).claiming(255)]),
            Reason::Truncated,
        ),
        untouched(
            "header claims to end where TCP does",
            &tcp([destination_options(0).claiming(3)]),
            Reason::Truncated,
        ),
        untouched(
            "header claims more than there is, and nothing behind it",
            &ending([destination_options(0).claiming(1)], NO_NEXT),
            Reason::Truncated,
        ),
        walked(
            "fragment header's reserved byte is no length",
            &tcp([fragment(0, false, 1).claiming(9)]),
        ),
        walked("padding behind the packet", &Frame { padding: 6, ..tcp([hop_by_hop(0)]) }),
        untouched(
            "TCP only in the padding",
            &Frame { cut: Some(0), padding: 20, ..tcp([hop_by_hop(0)]) },
            Reason::Truncated,
        ),
        untouched(
            "next header of the padding",
            &Frame { padding: 8, ..ending([hop_by_hop(0)], AUTHENTICATION) },
            Reason::UnknownProtocol,
        ),
    ]
}

/// The longest headers there may be, which are too long for a test run of the kernel; what was wrong.
pub fn longest(mut world: World) -> Vec<String> {
    let frame = tcp(vec![destination_options(255); 6]);
    let quoted = tcp([]).from(Family::V6.vip(VIP), PORT).to(Family::V6.client(7), 40000);
    let quoted = quoted.with_extensions(vec![destination_options(255); 6]);
    let error = Frame::icmp(Family::V6, 2, 0, [0; 4], &quoted.packet());
    for (frame, reason) in [(frame, Reason::Ring), (error, Reason::IcmpError)] {
        let seen = world.process(&frame.bytes());
        if seen.reason != reason || seen.frame != forwarded(&frame, CHOSEN).bytes() {
            world.differences.push(format!("{:?} rather than {reason:?}", seen.reason));
        }
    }
    world.differences
}
