//! One bucket of a flow table: look-up and replacement.

use vc5_ebpf_abi::{BUCKET_WAYS, FlowEntry};

use crate::{tables::Way, verifier::sign};

/// What a new record displaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displaced {
    /// Nothing: an empty way, or an older record of the same flow.
    Nothing,
    /// A flow that was closing.
    Closing,
    /// The flow idle for longest.
    Oldest,
}

/// The way that holds the flow with this hash; of two, as two CPUs can make, its own, else the first.
#[inline(always)]
pub fn find(ways: &[Way; BUCKET_WAYS], hash: u64) -> Option<&Way> {
    let own = own(hash);
    let is_own = |way: &&Way| (way.get() ^ hash) >> FlowEntry::TAG_SHIFT == 0;
    let index = if ways.get(own).filter(is_own).is_some() { own } else { search(ways, hash) };
    ways.get(index & WAY_MASK).filter(|way| FlowEntry(way.get()).matches(hash))
}

/// The record that [`find`] finds, an empty one if there is none, without a branch: for where it is
/// the verifier's walk that counts.
#[inline(always)]
pub fn record(ways: &[Way; BUCKET_WAYS], hash: u64) -> FlowEntry {
    let matches = |word: u64| sign(((word ^ hash) >> FlowEntry::TAG_SHIFT).wrapping_sub(1));
    let word = |way: usize| ways.get(way & WAY_MASK).map_or(0, Way::get);
    let own = word(own(hash));
    let found = word(search(ways, hash));
    let is_own = matches(own);
    FlowEntry(own.wrapping_mul(is_own) | found.wrapping_mul(matches(found) & (1 ^ is_own)))
}

/// The way that a flow is put into if that is empty. As at most three of eight ways are in use of a
/// table that can grow, most flows are there.
#[inline(always)]
fn own(hash: u64) -> usize {
    salt(hash) as usize ^ WAY_MASK
}

/// Bits of the hash that neither tag nor bucket use.
#[inline(always)]
fn salt(hash: u64) -> u64 {
    hash >> 27 & WAY_MASK as u64
}

/// The number of the first way that holds the flow, any other number if none does.
///
/// Without a branch per way: eight equally likely outcomes would be mispredicted on most packets,
/// and the verifier would walk all that follows eight times.
#[inline(always)]
fn search(ways: &[Way; BUCKET_WAYS], hash: u64) -> usize {
    let mut matching = 0;
    for (i, way) in (0u32..).zip(ways) {
        let differing = (way.get() ^ hash) >> FlowEntry::TAG_SHIFT;
        // Shifted down it has no sign bit, so that only zero less one is negative.
        matching |= sign(differing.wrapping_sub(1)) << (LANE_BITS * i);
    }
    let first = matching & matching.wrapping_neg();
    // One bit at the start of the way's lane: the product has the way's number on top.
    (first.wrapping_mul(LANE_NUMBERS) >> (64 - WAY_BITS)) as usize
}

/// The way to put a new record into, and what that displaces: empty before closing before open, and
/// among equals the one idle for longest.
///
/// Among those of the same age the hash decides, by [`salt`]: age is coarse, and under a flood a fixed
/// order would leave all but one way to the first comers.
#[inline(always)]
pub fn victim(ways: &[Way; BUCKET_WAYS], hash: u64, now: u8) -> Option<(&Way, Displaced)> {
    let (salt, own) = (salt(hash), ways.get(own(hash))?);
    // It would come out so.
    if own.get() == 0 {
        return Some((own, Displaced::Nothing));
    }
    let [a, b, c, d, e, f, g, h] = ways;
    // Rank above, and below it the way in an order of the hash's choice.
    let ranked = |way: &Way, i: u64| rank(FlowEntry(way.get()), now) << WAY_BITS | (i ^ salt);
    let pair = |first: &Way, second: &Way, i| max(ranked(first, i), ranked(second, i + 1));
    // As in a tournament: one after the other, each would wait for the one before.
    let best = max(max(pair(a, b, 0), pair(c, d, 2)), max(pair(e, f, 4), pair(g, h, 6)));
    let displaced = match best >> WAY_BITS {
        EMPTY.. => Displaced::Nothing,
        CLOSING.. => Displaced::Closing,
        _ => Displaced::Oldest,
    };
    Some((ways.get((best ^ salt) as usize & WAY_MASK)?, displaced))
}

const WAY_MASK: usize = BUCKET_WAYS - 1;
const WAY_BITS: u32 = BUCKET_WAYS.trailing_zeros();

/// Bits that each way has of a word for all of them.
const LANE_BITS: u32 = 64 / BUCKET_WAYS as u32;

/// Shifted up by the lanes before a way's own, it has the way's number in its upper bits.
const LANE_NUMBERS: u64 = {
    let mut numbers = 0;
    let mut way = 0;
    while way < BUCKET_WAYS as u64 {
        numbers |= way << (64 - WAY_BITS as u64 - LANE_BITS as u64 * way);
        way += 1;
    }
    numbers
};

const CLOSING: u64 = 0x100;
const EMPTY: u64 = 0x200;

#[inline(always)]
fn rank(entry: FlowEntry, now: u8) -> u64 {
    // The sign bit of x | -x is set unless x is zero.
    let used = sign(entry.0 | entry.0.wrapping_neg());
    let closing = u64::from(entry.closing());
    (1 ^ used) * EMPTY + closing * CLOSING + u64::from(entry.idle(now))
}

/// The greater of two numbers below 2^63, without a branch.
#[inline(always)]
fn max(a: u64, b: u64) -> u64 {
    let excess = b.wrapping_sub(a);
    a.wrapping_add(excess.wrapping_mul(1 ^ sign(excess)))
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    const NOW: u8 = 3;

    fn full() -> [Way; BUCKET_WAYS] {
        core::array::from_fn(|i| {
            Cell::new(FlowEntry::new((i as u64 + 1) << 40, 1, 0, NOW - 1 - i as u8 % 2).0)
        })
    }

    fn put(ways: &[Way; BUCKET_WAYS], hash: u64) -> Displaced {
        let (way, displaced) = victim(ways, hash, NOW).unwrap();
        way.set(FlowEntry::new(hash, 2, 0, NOW).0);
        displaced
    }

    #[test]
    fn an_empty_way_is_taken_first() {
        let ways = full();
        ways[5].set(0);
        ways[2].set(FlowEntry(ways[2].get()).touched(NOW, true).0);
        assert_eq!(put(&ways, 99 << 40), Displaced::Nothing);
        assert!(find(&ways, 99 << 40).is_some_and(|w| core::ptr::eq(w, &ways[5])));
    }

    #[test]
    fn then_a_closing_one_however_young() {
        let ways = full();
        ways[2].set(FlowEntry(ways[2].get()).touched(NOW, true).0);
        assert_eq!(put(&ways, 99 << 40), Displaced::Closing);
        assert!(find(&ways, 99 << 40).is_some_and(|w| core::ptr::eq(w, &ways[2])));
    }

    #[test]
    fn then_the_oldest_across_the_wrap() {
        let ways = full();
        ways[6].set(FlowEntry(ways[6].get()).touched(255, false).0);
        assert_eq!(put(&ways, 99 << 40), Displaced::Oldest);
        assert!(find(&ways, 99 << 40).is_some_and(|w| core::ptr::eq(w, &ways[6])));
    }

    #[test]
    fn among_equals_the_hash_decides() {
        let mut taken = [false; BUCKET_WAYS];
        for salt in 0..BUCKET_WAYS as u64 {
            let ways: [Way; BUCKET_WAYS] = core::array::from_fn(|i| {
                Cell::new(FlowEntry::new((i as u64 + 1) << 40, 1, 0, 0).0)
            });
            let hash = 99 << 40 | salt << 27;
            assert_eq!(put(&ways, hash), Displaced::Oldest);
            taken[ways.iter().position(|w| FlowEntry(w.get()).matches(hash)).unwrap()] = true;
        }
        assert_eq!(taken, [true; BUCKET_WAYS]);
    }

    #[test]
    fn of_two_records_of_a_flow_its_own_is_found_else_the_first() {
        for (first, second, salt) in pairs() {
            let (ways, hash) = (full(), 99 << 40 | salt << 27);
            ways[first].set(FlowEntry::new(hash, 5, 0, 0).0);
            ways[second].set(FlowEntry::new(hash, 6, 0, 0).0);
            let found = find(&ways, hash).unwrap();
            let expected = if second == own(hash) { second } else { first };
            assert!(core::ptr::eq(found, &ways[expected]), "{first} and {second}, salt {salt}");
            assert_eq!(record(&ways, hash).0, found.get());
            assert_eq!(record(&ways, hash ^ 1 << 41), FlowEntry(0));
        }
    }

    fn pairs() -> impl Iterator<Item = (usize, usize, u64)> {
        let pairs =
            (0..BUCKET_WAYS).flat_map(|first| (first..BUCKET_WAYS).map(move |s| (first, s)));
        pairs.flat_map(|(first, second)| (0..8).map(move |salt| (first, second, salt)))
    }

    #[test]
    fn of_several_empty_ways_the_own_is_taken() {
        for salt in 0..BUCKET_WAYS as u64 {
            let ways: [Way; BUCKET_WAYS] = core::array::from_fn(|_| Cell::new(0));
            let hash = 99 << 40 | salt << 27;
            assert_eq!(put(&ways, hash), Displaced::Nothing);
            assert!(find(&ways, hash).is_some_and(|way| core::ptr::eq(way, &ways[own(hash)])));
        }
    }

    #[test]
    fn a_bucket_holds_eight_flows() {
        let ways: [Way; BUCKET_WAYS] = core::array::from_fn(|_| Cell::new(0));
        for flow in 1..=8u64 {
            assert_eq!(put(&ways, flow << 40 | (flow & 7) << 27), Displaced::Nothing);
        }
        assert!((1..=8u64).all(|flow| find(&ways, flow << 40).is_some()));
        assert_eq!(put(&ways, 9 << 40), Displaced::Oldest);
    }
}
