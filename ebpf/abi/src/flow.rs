//! Flow records: how a flow is packed into 64 bits and where it lies.

use crate::MAX_REALS;

/// Ways of a bucket.
pub const BUCKET_WAYS: usize = 8;
/// Most buckets of a table (a power of two, like any number of buckets).
pub const MAX_BUCKETS: u32 = 1 << 27;

/// How much of the flow table is in use: the one element of `ACTIVE`.
///
/// A table that has room for millions of flows is spread over more memory than the caches and the
/// TLB hold, and the few flows of a quiet time over all of it. So only its first buckets are in use
/// until they fill. User space doubles their number then: it clears the bit here that is used of the
/// hash from then on, by one store, and copies the records to as many buckets that follow, as a record
/// does not tell that bit. Until it has, the program looks for a flow where it lay before too. The
/// copies that are in the wrong half are found by nobody.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Bits of [`Settings::flow_mask`](crate::Settings::flow_mask), the upper ones, that number no
    /// buckets yet. Zero, as the map is made: all are in use.
    pub unused: u32,
    /// 1 while the records are being copied that lie where half as many buckets put them.
    pub copying: u32,
}

impl Active {
    /// Buckets in use at first, if the table has as many: 2 MiB of them, for 262,144 flows.
    pub const FIRST: u32 = 1 << 15;

    /// So many buckets (a power of two) in use, or all of a table that has fewer.
    #[inline(always)]
    #[must_use]
    pub const fn new(flow_mask: u32, buckets: u32) -> Self {
        Self { unused: flow_mask & !(buckets.wrapping_sub(1)), copying: 0 }
    }

    /// Number of buckets in use, less one.
    #[inline(always)]
    #[must_use]
    pub const fn mask(self, flow_mask: u32) -> u32 {
        flow_mask & !self.unused
    }

    /// The same before, while records are being copied.
    #[inline(always)]
    #[must_use]
    pub const fn former_mask(self, flow_mask: u32) -> Option<u32> {
        if self.copying == 0 { None } else { Some(self.mask(flow_mask) >> 1) }
    }
}

/// A bucket: one cache line of flow entries. All zero is empty.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(pub [u64; BUCKET_WAYS]);

/// Index of the bucket of a flow, where `mask` is the number of buckets of the table less one.
///
/// All CPUs share one table. Packets of one flow do meet several CPUs (receive packet steering, a
/// changed number of queues, fragments, ICMP errors), and a flow that only one CPU knows is lost
/// then. A record is one aligned word, so that CPUs can read and write it without a lock.
#[inline(always)]
#[must_use]
pub const fn bucket_index(hash: u64, mask: u32) -> u32 {
    hash as u32 & mask
}

/// A flow in 64 bits, from the top: tag 33, real id 18, generation 5, closing 1, age 7.
///
/// The tag is the upper 33 bits of the flow hash, the bucket its lower 27 at most. A look-up
/// compares the tag with 8 ways, so that a flow without an entry takes another's for its own with
/// probability 8 x 2^-33 = 9.3 x 10^-10 at most, less than 10^-9. As the ring's slot is the upper
/// 16 bits of the same hash, even then both flows share a slot, and so the backend if they are of
/// the same service, unless the ring changed between them.
///
/// The age is the low 7 bits of a clock of 4 to 8 seconds ([`age_shift`](crate::age_shift)), and so
/// wraps after 8 to 17 minutes: a record idle for longer looks young again. It serves to choose a
/// way for replacement and to notice idle UDP flows, where that does no harm.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEntry(pub u64);

impl FlowEntry {
    /// Bits of the tag.
    pub const TAG_BITS: u32 = 33;
    /// Bits of [`Real::generation`](crate::Real::generation) that are kept.
    pub const GENERATION_BITS: u32 = 5;

    /// Bits of the age.
    pub const AGE_BITS: u32 = 7;
    /// Bits of the real id.
    pub const REAL_BITS: u32 = 18;

    /// Where the tag begins, in the entry as in the hash.
    pub const TAG_SHIFT: u32 = 64 - Self::TAG_BITS;
    const REAL_SHIFT: u32 = 13;
    const GENERATION_SHIFT: u32 = 8;
    const CLOSING: u64 = 1 << 7;
    const AGE: u64 = (1 << Self::AGE_BITS) - 1;

    /// The entry of a flow with this hash. Empty (all zero) only for real id 0, which no flow has.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, real: u32, generation: u8, age: u8) -> Self {
        let tag = hash >> Self::TAG_SHIFT << Self::TAG_SHIFT;
        let generation = generation as u64 & ((1 << Self::GENERATION_BITS) - 1);
        Self(
            tag | (real as u64 & ((1 << Self::REAL_BITS) - 1)) << Self::REAL_SHIFT
                | generation << Self::GENERATION_SHIFT
                | age as u64 & Self::AGE,
        )
    }

    /// Whether the entry can be that of a flow with this hash.
    #[inline(always)]
    #[must_use]
    pub const fn matches(self, hash: u64) -> bool {
        self.has_tag_of(hash) && self.real() != 0
    }

    /// The same, or an empty way that happens to look so.
    #[inline(always)]
    #[must_use]
    pub const fn has_tag_of(self, hash: u64) -> bool {
        (self.0 ^ hash) >> Self::TAG_SHIFT == 0
    }

    /// Real id; 0 in an empty way.
    #[inline(always)]
    #[must_use]
    pub const fn real(self) -> u32 {
        (self.0 >> Self::REAL_SHIFT) as u32 & ((1 << Self::REAL_BITS) - 1)
    }

    /// Low bits of the real's generation at the time of the insert.
    #[inline(always)]
    #[must_use]
    pub const fn generation(self) -> u8 {
        (self.0 >> Self::GENERATION_SHIFT) as u8 & ((1 << Self::GENERATION_BITS) - 1)
    }

    /// Whether the real of this generation is the one that the flow was given to.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, generation: u8) -> bool {
        (self.generation() ^ generation) & ((1 << Self::GENERATION_BITS) - 1) == 0
    }

    /// Whether a FIN or RST was seen.
    #[inline(always)]
    #[must_use]
    pub const fn closing(self) -> bool {
        self.0 & Self::CLOSING != 0
    }

    /// Clock at the last packet, in units of age.
    #[inline(always)]
    #[must_use]
    pub const fn age(self) -> u8 {
        (self.0 & Self::AGE) as u8
    }

    /// Units of age since the last packet, modulo 128.
    #[inline(always)]
    #[must_use]
    pub const fn idle(self, now: u8) -> u8 {
        now.wrapping_sub(self.age()) & Self::AGE as u8
    }

    /// The entry as refreshed now, marked as closing or not.
    #[inline(always)]
    #[must_use]
    pub const fn touched(self, now: u8, closing: bool) -> Self {
        Self(
            self.0 & !(Self::CLOSING | Self::AGE)
                | (closing as u64) << Self::AGE_BITS
                | now as u64 & Self::AGE,
        )
    }
}

const _: () = {
    assert!(size_of::<Active>() == 8);
    assert!(Active::FIRST.is_power_of_two() && Active::FIRST <= MAX_BUCKETS);
    assert!(size_of::<Bucket>() == 64);
    assert!(size_of::<FlowEntry>() == 8);
    assert!(MAX_BUCKETS.ilog2() <= FlowEntry::TAG_SHIFT);
    assert!(MAX_REALS == 1 << FlowEntry::REAL_BITS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_buckets_are_active_as_are_told_and_there() {
        for (mask, buckets, active) in [(0, 8, 0), (7, 8, 7), (15, 8, 7), (15, 32, 15)] {
            assert_eq!(Active::new(mask, buckets).mask(mask), active);
        }
        assert_eq!(Active::default().mask(15), 15);
        assert_eq!(Active::default().former_mask(15), None);
        assert_eq!(Active { copying: 1, ..Active::new(15, 8) }.former_mask(15), Some(3));
    }

    #[test]
    fn fields_do_not_overlap() {
        assert_eq!(FlowEntry::new(u64::MAX, 0, 0, 0).0, u64::MAX << 31);
        assert_eq!(FlowEntry::new(0, u32::MAX, 0, 0).0, 0x3_ffff << 13);
        assert_eq!(FlowEntry::new(0, 0, u8::MAX, 0).0, 0x1f << 8);
        assert_eq!(FlowEntry::new(0, 0, 0, 7).touched(255, true).0, 0xff);
    }

    #[test]
    fn fields_come_back() {
        let e = FlowEntry::new(0x1234_5678_9abc_def0, 0x2_beef, 0x33, 100);
        assert_eq!((e.real(), e.generation(), e.age(), e.closing()), (0x2_beef, 0x13, 100, false));
        assert!(e.is_of(0x13) && e.is_of(0x33) && !e.is_of(0x14));
        assert_eq!(e.idle(10), 38);
        let closing = e.touched(101, true);
        assert_eq!((closing.real(), closing.age(), closing.closing()), (0x2_beef, 101, true));
        assert!(closing.matches(0x1234_5678_9abc_def0));
    }

    #[test]
    fn only_the_upper_bits_of_the_hash_are_the_tag() {
        let e = FlowEntry::new(0x1234_5678_9abc_def0, 1, 0, 0);
        assert!(e.matches(0x1234_5678_9abc_def0 ^ ((1 << 31) - 1)));
        assert!(!e.matches(0x1234_5678_9abc_def0 ^ (1 << 31)));
        assert!(!FlowEntry(0).matches(0), "an empty way matches nothing");
    }
}
