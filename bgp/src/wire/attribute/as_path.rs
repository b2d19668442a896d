//! AS_PATH as a value: segments, length, prepending (RFC 4271 sections 4.3, 5.1.2 and 9.1.2.2).

use std::fmt;

/// The most AS numbers that one segment can hold on the wire.
pub(crate) const SEGMENT_MAX: usize = 255;

/// The ASes that a route went through, the nearest first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AsPath {
    /// Segments in wire order.
    pub segments: Vec<Segment>,
}

/// One segment of an AS_PATH.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// How the numbers are to be read.
    pub kind: SegmentKind,
    /// AS numbers, at least one.
    pub asns: Vec<u32>,
}

/// Segment types (RFC 4271 section 4.3, RFC 5065 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SegmentKind {
    /// AS_SET: unordered.
    Set = 1,
    /// AS_SEQUENCE: ordered.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE: ordered member ASes of a confederation.
    ConfedSequence = 3,
    /// AS_CONFED_SET: unordered member ASes of a confederation.
    ConfedSet = 4,
}

impl AsPath {
    /// A path of one sequence; empty if `asns` is.
    #[must_use]
    pub fn sequence(asns: impl IntoIterator<Item = u32>) -> Self {
        let asns: Vec<u32> = asns.into_iter().collect();
        let segments = asns
            .chunks(SEGMENT_MAX)
            .map(|part| Segment { kind: SegmentKind::Sequence, asns: part.to_vec() })
            .collect();
        Self { segments }
    }

    /// True for a route that its own AS originated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Length for route selection: a set counts one (RFC 4271 section 9.1.2.2), confederation
    /// segments nothing (RFC 5065 section 5.3).
    #[must_use]
    pub fn path_length(&self) -> usize {
        self.segments.iter().map(Segment::path_length).sum()
    }

    /// The neighbouring AS: the first number, if the path starts with a sequence.
    #[must_use]
    pub fn first_as(&self) -> Option<u32> {
        let first = self.segments.first()?;
        (first.kind == SegmentKind::Sequence).then(|| first.asns.first().copied())?
    }

    /// Whether `asn` occurs in any segment.
    #[must_use]
    pub fn contains(&self, asn: u32) -> bool {
        self.segments.iter().any(|segment| segment.asns.contains(&asn))
    }

    /// Puts `asn` in front `count` times, opening a new segment where one is full (RFC 4271
    /// section 5.1.2).
    pub fn prepend(&mut self, asn: u32, count: usize) {
        for _ in 0..count {
            match self.segments.first_mut() {
                Some(first)
                    if first.kind == SegmentKind::Sequence && first.asns.len() < SEGMENT_MAX =>
                {
                    first.asns.insert(0, asn);
                }
                _ => self
                    .segments
                    .insert(0, Segment { kind: SegmentKind::Sequence, asns: vec![asn] }),
            }
        }
    }
}

impl SegmentKind {
    /// Whether segments of this kind are about member ASes of a confederation (RFC 5065).
    #[must_use]
    pub const fn is_confederation(self) -> bool {
        matches!(self, Self::ConfedSequence | Self::ConfedSet)
    }

    /// Whether segments of this kind are unordered.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::Set | Self::ConfedSet)
    }
}

impl Segment {
    /// What the segment adds to [`AsPath::path_length`].
    pub(crate) fn path_length(&self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.asns.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }
}

impl fmt::Display for AsPath {
    /// `65001 65002 {65003 65004} (65101)`: sets in braces, confederation segments in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let (open, close) = match segment.kind {
                SegmentKind::Sequence => ("", ""),
                SegmentKind::Set => ("{", "}"),
                SegmentKind::ConfedSequence => ("(", ")"),
                SegmentKind::ConfedSet => ("({", "})"),
            };
            f.write_str(open)?;
            for (index, asn) in segment.asns.iter().enumerate() {
                write!(f, "{}{asn}", if index > 0 { " " } else { "" })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}
