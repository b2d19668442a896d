//! AS_PATH and AS4_PATH on the wire, and how the two become one (RFC 6793 section 4.2).

use super::as_path::{AsPath, AsPathView, SEGMENT_MAX, Segment, SegmentKind};
use super::code;
use super::encode::put_header;
use crate::wire::error::EncodeError;
use crate::wire::open::AS_TRANS;
use crate::wire::parse::{Complete, fault};

/// The path that `input` is, its AS numbers in 4 octets if `as4`, else in 2.
///
/// Refuses what RFC 7606 section 7.2 calls malformed, AS 0 (RFC 7607), and segments of a kind that
/// `allowed` does not like.
pub(crate) fn check(
    input: &[u8],
    as4: bool,
    allowed: impl Fn(SegmentKind) -> bool,
) -> Complete<'_, AsPathView<'_>> {
    let mut rest = input;
    while !rest.is_empty() {
        match Segment::take(rest, as4) {
            Some((segment, behind))
                if segment.count() > 0 && !segment.has_zero() && allowed(segment.kind) =>
            {
                rest = behind;
            }
            _ => return Err(fault(rest)),
        }
    }
    Ok(AsPathView::new(input, as4))
}

/// Writes a path, with numbers of 2 octets unless `as4`.
pub(crate) fn put(path: AsPathView<'_>, as4: bool, out: &mut Vec<u8>) {
    match path.wide_octets() {
        Some(octets) if as4 => out.extend_from_slice(octets),
        _ => path.segments().for_each(|segment| put_segment(segment, as4, out)),
    }
}

fn put_segment(segment: Segment<'_>, as4: bool, out: &mut Vec<u8>) {
    out.extend([segment.kind as u8, u8::try_from(segment.count()).unwrap_or(u8::MAX)]);
    for asn in segment.asns() {
        if as4 {
            out.extend_from_slice(&asn.to_be_bytes());
        } else {
            out.extend_from_slice(&u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes());
        }
    }
}

/// Octets that [`put`] writes.
pub(crate) fn wire_len(path: AsPathView<'_>, as4: bool) -> usize {
    match path.wide_octets() {
        Some(octets) if as4 => octets.len(),
        _ => path.segments().map(|segment| segment_len(segment, as4)).sum(),
    }
}

const fn segment_len(segment: Segment<'_>, as4: bool) -> usize {
    2 + segment.count() * if as4 { 4 } else { 2 }
}

/// Writes AS4_PATH beside a 2-octet AS_PATH where it is needed: because a number does not fit. It
/// has no confederation segments (RFC 6793 section 4.2.2).
pub(crate) fn put_as4_path(flags: u8, path: &AsPath, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if path.asns().all(|asn| u16::try_from(asn).is_ok()) {
        return Ok(());
    }
    let plain = || path.segments().filter(|segment| !segment.kind.is_confederation());
    let length: usize = plain().map(|segment| segment_len(segment, true)).sum();
    if length > 0 {
        put_header(flags, code::AS4_PATH, length, out)?;
        plain().for_each(|segment| put_segment(segment, true, out));
    }
    Ok(())
}

/// The true path of a route that a 2-octet speaker sent: what that speaker's side put in front,
/// then AS4_PATH (RFC 6793 section 4.2.3). An AS4_PATH longer than the path is disregarded, as are
/// confederation segments in it (section 6).
pub(crate) fn merge(path: AsPathView<'_>, as4_path: AsPathView<'_>) -> AsPath {
    let Some(mut missing) = path.path_length().checked_sub(as4_path.path_length()) else {
        return path.to_path();
    };
    let mut merged: Vec<(SegmentKind, Vec<u32>)> = Vec::new();
    for segment in path.segments() {
        let length = segment.path_length();
        if length > missing {
            if segment.kind == SegmentKind::Sequence && missing > 0 {
                merged.push((segment.kind, segment.asns().take(missing).collect()));
            }
            break;
        }
        missing -= length;
        merged.push((segment.kind, segment.asns().collect()));
    }
    let mut rest = as4_path.segments().filter(|segment| !segment.kind.is_confederation());
    if let Some(first) = rest.next() {
        match merged.last_mut() {
            Some((SegmentKind::Sequence, last))
                if first.kind == SegmentKind::Sequence
                    && last.len() + first.count() <= SEGMENT_MAX =>
            {
                last.extend(first.asns());
            }
            _ => merged.push((first.kind, first.asns().collect())),
        }
    }
    let mut path = AsPath::default();
    merged.into_iter().for_each(|(kind, asns)| path.push(kind, asns));
    rest.for_each(|segment| path.push(segment.kind, segment.asns()));
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(asns: &[u32]) -> AsPath {
        AsPath::sequence(asns.iter().copied())
    }

    fn parse(octets: &[u8], as4: bool) -> Option<AsPath> {
        check(octets, as4, |_| true).ok().map(AsPathView::to_path)
    }

    fn merged(path: &AsPath, as4_path: &AsPath) -> String {
        let mut narrow = Vec::new();
        put(path.view(), false, &mut narrow);
        merge(AsPathView::new(&narrow, false), as4_path.view()).to_string()
    }

    #[test]
    fn malformed_segments_are_refused() {
        let bad: [&[u8]; 6] =
            [&[2], &[2, 0], &[0, 1, 0, 1], &[5, 1, 0, 1], &[2, 2, 0, 1], &[2, 1, 0, 0]];
        for octets in bad {
            assert_eq!(parse(octets, false), None, "{octets:?}");
        }
        assert_eq!(parse(&[2, 1, 0, 1], false), Some(sequence(&[1])));
        assert_eq!(parse(&[2, 1, 0, 1, 0, 0], true), Some(sequence(&[65536])));
        assert_eq!(parse(&[2, 1, 0, 0, 0, 0], true), None);
        assert!(check(&[1, 1, 0, 1], false, |kind| !kind.is_set()).is_err());
    }

    #[test]
    fn the_old_speakers_own_hops_stay_in_front() {
        let path = sequence(&[10, 70000, 80000]);
        assert_eq!(merged(&path, &sequence(&[70000, 80000])), "10 70000 80000");
        assert_eq!(merged(&path, &path), "10 70000 80000");
    }

    #[test]
    fn a_longer_as4_path_is_disregarded() {
        assert_eq!(merged(&sequence(&[10]), &sequence(&[70000, 80000])), "10");
    }

    #[test]
    fn leading_confederation_segments_survive_a_merge() {
        let mut path = AsPath::default();
        path.push(SegmentKind::ConfedSequence, [64512]);
        path.push(SegmentKind::Sequence, [70000]);
        assert_eq!(merged(&path, &sequence(&[70000])), "(64512) 70000");
    }

    #[test]
    fn confederation_segments_of_as4_path_are_dropped() {
        let mut as4_path = AsPath::default();
        as4_path.push(SegmentKind::ConfedSequence, [64512]);
        as4_path.push(SegmentKind::Sequence, [70000]);
        as4_path.push(SegmentKind::ConfedSet, [64513]);
        assert_eq!(merged(&sequence(&[1, 70000]), &as4_path), "1 70000");
    }

    #[test]
    fn a_set_counts_once_when_merging() {
        let mut path = sequence(&[9, 70000]);
        path.push(SegmentKind::Set, [1, 2, 3]);
        let mut as4_path = sequence(&[70000]);
        as4_path.push(SegmentKind::Set, [1, 2, 3]);
        assert_eq!(merged(&path, &as4_path), "9 70000 {1 2 3}");
    }

    #[test]
    fn a_full_segment_is_not_joined() {
        let path = sequence(&[&[9; 200][..], &[70000; 100]].concat());
        let joined = merged(&path, &sequence(&[70000; 100]));
        assert_eq!(joined, path.to_string());
    }

    #[test]
    fn as4_path_is_sent_only_when_needed() {
        let sent = |path: &AsPath| {
            let mut out = Vec::new();
            put_as4_path(0xC0, path, &mut out).unwrap();
            out
        };
        assert_eq!(sent(&sequence(&[1, 65535])), []);
        let mut only_inside = AsPath::default();
        only_inside.push(SegmentKind::ConfedSequence, [70000]);
        assert_eq!(sent(&only_inside), []);
        let wide = sequence(&[1, 65536]);
        assert_eq!(sent(&wide), [0xC0, 17, 10, 2, 2, 0, 0, 0, 1, 0, 1, 0, 0]);
    }

    #[test]
    fn numbers_that_do_not_fit_become_as_trans() {
        let mut out = Vec::new();
        put(sequence(&[1, 70000]).view(), false, &mut out);
        assert_eq!(out, [2, 2, 0, 1, 0x5B, 0xA0]);
        let mut wide = Vec::new();
        put(AsPathView::new(&out, false), true, &mut wide);
        assert_eq!(wide, [2, 2, 0, 0, 0, 1, 0, 0, 0x5B, 0xA0]);
    }
}
