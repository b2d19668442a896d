//! AS_PATH as a value: segments, length, prepending (RFC 4271 sections 4.3, 5.1.2 and 9.1.2.2).

use std::fmt;

/// The most AS numbers that one segment can hold on the wire.
pub(crate) const SEGMENT_MAX: usize = 255;

/// The ASes that a route went through, the nearest first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AsPath {
    /// Segments as they lie in a message, numbers in four octets, each segment with 1 to 255.
    octets: Vec<u8>,
}

/// An AS_PATH that lies in a message.
#[derive(Clone, Copy, Default)]
pub struct AsPathView<'a> {
    octets: &'a [u8],
    as4: bool,
}

/// One segment of an AS_PATH.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// How the numbers are to be read.
    pub kind: SegmentKind,
    octets: &'a [u8],
    as4: bool,
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
        let mut path = Self::default();
        path.push(SegmentKind::Sequence, asns);
        path
    }

    /// Appends a segment: none if `asns` is empty, several if it has more than 255 numbers.
    pub fn push(&mut self, kind: SegmentKind, asns: impl IntoIterator<Item = u32>) {
        let mut asns = asns.into_iter().peekable();
        while asns.peek().is_some() {
            let start = self.octets.len();
            self.octets.extend([kind as u8, 0]);
            for asn in asns.by_ref().take(SEGMENT_MAX) {
                self.octets.extend_from_slice(&asn.to_be_bytes());
            }
            let count = (self.octets.len() - start) / 4;
            if let Some(place) = self.octets.get_mut(start + 1) {
                *place = u8::try_from(count).unwrap_or(u8::MAX);
            }
        }
    }

    /// The path, to be read in the same way as one in a message.
    #[must_use]
    pub fn view(&self) -> AsPathView<'_> {
        AsPathView { octets: &self.octets, as4: true }
    }

    /// The segments, the nearest first.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.view().segments()
    }

    /// All AS numbers, the nearest first.
    pub fn asns(&self) -> impl Iterator<Item = u32> + '_ {
        self.view().asns()
    }

    /// True for a route that its own AS originated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Length for route selection: a set counts one (RFC 4271 section 9.1.2.2), confederation
    /// segments nothing (RFC 5065 section 5.3).
    #[must_use]
    pub fn path_length(&self) -> usize {
        self.view().path_length()
    }

    /// The neighbouring AS: the first number, if the path starts with a sequence.
    #[must_use]
    pub fn first_as(&self) -> Option<u32> {
        self.view().first_as()
    }

    /// Whether `asn` occurs in any segment.
    #[must_use]
    pub fn contains(&self, asn: u32) -> bool {
        self.view().contains(asn)
    }

    /// Puts `asn` in front `count` times, opening a new segment where one is full (RFC 4271
    /// section 5.1.2).
    pub fn prepend(&mut self, asn: u32, count: usize) {
        for _ in 0..count {
            match self.octets.as_mut_slice() {
                [kind, length, ..] if *kind == SegmentKind::Sequence as u8 && *length < u8::MAX => {
                    *length += 1;
                    self.octets.splice(2..2, asn.to_be_bytes());
                }
                _ => {
                    let [a, b, c, d] = asn.to_be_bytes();
                    self.octets.splice(..0, [SegmentKind::Sequence as u8, 1, a, b, c, d]);
                }
            }
        }
    }
}

impl<'a> AsPathView<'a> {
    /// The path in `octets`, which have been found to be one.
    pub(crate) const fn new(octets: &'a [u8], as4: bool) -> Self {
        Self { octets, as4 }
    }

    /// The segments, the nearest first.
    pub fn segments(self) -> impl Iterator<Item = Segment<'a>> {
        let mut rest = self.octets;
        std::iter::from_fn(move || {
            let (segment, behind) = Segment::take(rest, self.as4)?;
            rest = behind;
            Some(segment)
        })
    }

    /// All AS numbers, the nearest first.
    pub fn asns(self) -> impl Iterator<Item = u32> + 'a {
        self.segments().flat_map(Segment::asns)
    }

    /// True for a route that its own AS originated.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.octets.is_empty()
    }

    /// See [`AsPath::path_length`].
    #[must_use]
    pub fn path_length(self) -> usize {
        self.segments().map(Segment::path_length).sum()
    }

    /// See [`AsPath::first_as`].
    #[must_use]
    pub fn first_as(self) -> Option<u32> {
        let first = self.segments().next()?;
        (first.kind == SegmentKind::Sequence).then(|| first.asns().next())?
    }

    /// Whether `asn` occurs in any segment.
    #[must_use]
    pub fn contains(self, asn: u32) -> bool {
        self.asns().any(|one| one == asn)
    }

    /// The path for keeping.
    #[must_use]
    pub fn to_path(self) -> AsPath {
        if let Some(octets) = self.wide_octets() {
            return AsPath { octets: octets.to_vec() };
        }
        let mut path = AsPath::default();
        self.segments().for_each(|segment| path.push(segment.kind, segment.asns()));
        path
    }

    /// The octets of a path of 4-octet numbers; `None` of the others.
    pub(crate) const fn wide_octets(self) -> Option<&'a [u8]> {
        if self.as4 { Some(self.octets) } else { None }
    }
}

impl<'a> Segment<'a> {
    /// The first segment in `input` and what is behind it.
    pub(crate) fn take(input: &'a [u8], as4: bool) -> Option<(Self, &'a [u8])> {
        let (&[kind, count], rest) = input.split_first_chunk()?;
        let kind = SegmentKind::from_octet(kind)?;
        let width = if as4 { 4 } else { 2 };
        let (octets, rest) = rest.split_at_checked(usize::from(count) * width)?;
        Some((Self { kind, octets, as4 }, rest))
    }

    /// The AS numbers, in wire order.
    #[inline]
    pub fn asns(self) -> impl Iterator<Item = u32> + 'a {
        // One of the two is empty: their width is asked once, not of each number.
        let (wide, narrow) = if self.as4 { (self.octets, &[][..]) } else { (&[][..], self.octets) };
        let wide = wide.as_chunks().0.iter().map(|octets| u32::from_be_bytes(*octets));
        let narrow = narrow.as_chunks().0.iter().map(|octets| u16::from_be_bytes(*octets).into());
        wide.chain(narrow)
    }

    /// How many AS numbers there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.octets.len() / if self.as4 { 4 } else { 2 }
    }

    /// What the segment adds to [`AsPath::path_length`].
    pub(crate) const fn path_length(self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.count(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }

    /// Whether a number is 0, which no path may have (RFC 7607).
    pub(crate) fn has_zero(self) -> bool {
        if self.as4 {
            self.octets.as_chunks::<4>().0.contains(&[0; 4])
        } else {
            self.octets.as_chunks::<2>().0.contains(&[0; 2])
        }
    }
}

impl SegmentKind {
    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }

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

impl fmt::Display for AsPath {
    /// As [`AsPathView`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Debug for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Display for AsPathView<'_> {
    /// `65001 65002 {65003 65004} (65101)`: sets in braces, confederation segments in parentheses,
    /// as BIRD prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            let (open, close) = match segment.kind {
                SegmentKind::Sequence => ("", ""),
                SegmentKind::Set => ("{", "}"),
                SegmentKind::ConfedSequence => ("(", ")"),
                SegmentKind::ConfedSet => ("({", "})"),
            };
            write!(f, "{}{open}", if index > 0 { " " } else { "" })?;
            for (index, asn) in segment.asns().enumerate() {
                write!(f, "{}{asn}", if index > 0 { " " } else { "" })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPathView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.kind)?;
        f.debug_list().entries(self.asns()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_as_bird_shows_them() {
        let mut path = AsPath::sequence([65001, 4_200_000_000]);
        path.push(SegmentKind::Set, [1, 2]);
        path.push(SegmentKind::ConfedSequence, [64512]);
        path.push(SegmentKind::ConfedSet, [3, 4]);
        path.push(SegmentKind::Set, []);
        assert_eq!(path.to_string(), "65001 4200000000 {1 2} (64512) ({3 4})");
        assert_eq!(format!("{path:?}"), path.to_string());
        assert_eq!((path.path_length(), path.first_as()), (3, Some(65001)));
        assert!(path.contains(64512) && !path.contains(5));
        assert_eq!(path.asns().count(), 7);
        assert_eq!(format!("{:?}", path.segments().nth(1).unwrap()), "Set [1, 2]");
        assert_eq!(
            (AsPath::default().to_string().as_str(), AsPath::default().first_as()),
            ("", None)
        );
    }

    #[test]
    fn prepending_opens_a_segment_where_one_is_full() {
        let mut path = AsPath::sequence([7; 254]);
        path.prepend(8, 2);
        let counts: Vec<_> = path.segments().map(Segment::count).collect();
        assert_eq!(counts, [1, 255]);
        assert_eq!((path.path_length(), path.first_as()), (256, Some(8)));

        let mut path = AsPath::default();
        path.push(SegmentKind::Set, [1]);
        path.prepend(9, 2);
        assert_eq!(path.to_string(), "9 9 {1}");
        assert_eq!(AsPath::sequence([7; 256]).segments().map(Segment::count).sum::<usize>(), 256);
    }

    #[test]
    fn a_set_in_front_has_no_neighbouring_as() {
        let mut path = AsPath::default();
        path.push(SegmentKind::Set, [1]);
        assert_eq!((path.first_as(), path.is_empty()), (None, false));
    }
}
