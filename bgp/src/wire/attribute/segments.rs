//! AS_PATH and AS4_PATH on the wire, and how the two become one (RFC 6793 section 4.2).

use nom::Parser;
use nom::multi::count;
use nom::number::complete::{be_u8, be_u16, be_u32};

use super::as_path::{AsPath, SEGMENT_MAX, Segment, SegmentKind};
use crate::wire::open::AS_TRANS;
use crate::wire::parse::{Complete, Parsed, fault};

/// A path to the end of `input`, its AS numbers in 4 octets if `as4`, else in 2.
///
/// Refuses what RFC 7606 section 7.2 calls malformed, and AS 0 (RFC 7607).
pub(crate) fn parse(mut input: &[u8], as4: bool) -> Complete<'_, AsPath> {
    let mut segments = Vec::new();
    while !input.is_empty() {
        let (rest, one) = segment(input, as4).map_err(|_| fault(input))?;
        segments.push(one);
        input = rest;
    }
    Ok(AsPath { segments })
}

fn segment(input: &[u8], as4: bool) -> Parsed<'_, Segment> {
    let (rest, (kind, length)) = (be_u8, be_u8).parse(input)?;
    let kind = SegmentKind::from_octet(kind).ok_or_else(|| fault(input))?;
    let number = |input| if as4 { be_u32(input) } else { be_u16.map(u32::from).parse(input) };
    let (rest, asns) = count(number, usize::from(length)).parse(rest)?;
    if asns.is_empty() || asns.contains(&0) {
        return Err(fault(input));
    }
    Ok((rest, Segment { kind, asns }))
}

impl SegmentKind {
    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Set, Self::Sequence, Self::ConfedSequence, Self::ConfedSet]
            .into_iter()
            .find(|kind| *kind as u8 == octet)
    }
}

/// Writes a path. A segment of more than 255 numbers becomes several.
pub(crate) fn put(path: &AsPath, as4: bool, out: &mut Vec<u8>) {
    for segment in &path.segments {
        for part in segment.asns.chunks(SEGMENT_MAX) {
            out.push(segment.kind as u8);
            out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            for asn in part {
                if as4 {
                    out.extend(asn.to_be_bytes());
                } else {
                    out.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
                }
            }
        }
    }
}

/// The AS4_PATH to send beside a 2-octet AS_PATH: needed if a number does not fit, and without
/// confederation segments (RFC 6793 section 4.2.2).
pub(crate) fn as4_path(path: &AsPath) -> Option<AsPath> {
    let wide = |asn: &u32| u16::try_from(*asn).is_err();
    if !path.segments.iter().any(|segment| segment.asns.iter().any(wide)) {
        return None;
    }
    let mut path = path.clone();
    drop_confederation(&mut path);
    (!path.is_empty()).then_some(path)
}

/// Removes confederation segments, which have no place in AS4_PATH (RFC 6793 section 6).
pub(crate) fn drop_confederation(path: &mut AsPath) {
    path.segments.retain(|segment| !segment.kind.is_confederation());
}

/// The true path of a route that a 2-octet speaker sent: what that speaker's side put in front,
/// then AS4_PATH (RFC 6793 section 4.2.3). An AS4_PATH longer than the path is disregarded.
pub(crate) fn merge(path: AsPath, as4_path: AsPath) -> AsPath {
    let Some(mut missing) = path.path_length().checked_sub(as4_path.path_length()) else {
        return path;
    };
    let mut segments = Vec::new();
    for mut segment in path.segments {
        let length = segment.path_length();
        if length > missing {
            if segment.kind == SegmentKind::Sequence && missing > 0 {
                segment.asns.truncate(missing);
                segments.push(segment);
            }
            break;
        }
        missing -= length;
        segments.push(segment);
    }
    let mut rest = as4_path.segments.into_iter();
    if let Some(first) = rest.next() {
        match segments.last_mut() {
            Some(last) if last.joins(&first) => last.asns.extend(first.asns),
            _ => segments.push(first),
        }
    }
    segments.extend(rest);
    AsPath { segments }
}

impl Segment {
    /// Whether `next` can be appended without changing what the path says.
    fn joins(&self, next: &Self) -> bool {
        self.kind == SegmentKind::Sequence
            && next.kind == SegmentKind::Sequence
            && self.asns.len() + next.asns.len() <= SEGMENT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(asns: &[u32]) -> AsPath {
        AsPath::sequence(asns.iter().copied())
    }

    #[test]
    fn malformed_segments_are_refused() {
        let bad: [&[u8]; 6] =
            [&[2], &[2, 0], &[0, 1, 0, 1], &[5, 1, 0, 1], &[2, 2, 0, 1], &[2, 1, 0, 0]];
        for octets in bad {
            assert!(parse(octets, false).is_err(), "{octets:?}");
        }
        assert_eq!(parse(&[2, 1, 0, 1], false).unwrap(), sequence(&[1]));
        assert_eq!(parse(&[2, 1, 0, 1, 0, 0], true).unwrap(), sequence(&[65536]));
    }

    #[test]
    fn the_old_speakers_own_hops_stay_in_front() {
        let merged = merge(sequence(&[10, 23456, 23456]), sequence(&[70000, 80000]));
        assert_eq!(merged, sequence(&[10, 70000, 80000]));
    }

    #[test]
    fn a_longer_as4_path_is_disregarded() {
        assert_eq!(merge(sequence(&[10]), sequence(&[70000, 80000])), sequence(&[10]));
    }

    #[test]
    fn leading_confederation_segments_survive_a_merge() {
        let confed = Segment { kind: SegmentKind::ConfedSequence, asns: vec![64512] };
        let mut path = sequence(&[23456]);
        path.segments.insert(0, confed.clone());
        let merged = merge(path, sequence(&[70000]));
        assert_eq!(merged.segments, [vec![confed], sequence(&[70000]).segments].concat());
    }

    #[test]
    fn a_set_counts_once_when_merging() {
        let set = Segment { kind: SegmentKind::Set, asns: vec![1, 2, 3] };
        let path =
            AsPath { segments: vec![sequence(&[9, 23456]).segments[0].clone(), set.clone()] };
        let as4 = AsPath { segments: vec![sequence(&[70000]).segments[0].clone(), set.clone()] };
        let expected = AsPath { segments: vec![sequence(&[9, 70000]).segments[0].clone(), set] };
        assert_eq!(merge(path, as4), expected);
    }

    #[test]
    fn as4_path_is_sent_only_when_needed() {
        assert_eq!(as4_path(&sequence(&[1, 65535])), None);
        assert_eq!(as4_path(&sequence(&[1, 65536])), Some(sequence(&[1, 65536])));
    }

    #[test]
    fn a_long_segment_is_cut_at_255() {
        let path =
            AsPath { segments: vec![Segment { kind: SegmentKind::Sequence, asns: vec![7; 256] }] };
        let mut out = Vec::new();
        put(&path, true, &mut out);
        assert_eq!(out.len(), 2 + 255 * 4 + 2 + 4);
        assert_eq!(parse(&out, true).unwrap().path_length(), 256);
    }
}
