//! How many slots each backend gets, and in which order the backends take turns.

use std::cmp::Reverse;

/// Splits `slots` by `weights`: everyone gets the whole part of its share, and the slots left
/// over go one each to the largest remainders (the earlier one wins a tie). The quotas add up to
/// `slots` unless there is no weight at all; each is within one of its exact share.
pub(super) fn by_largest_remainder(weights: &[u32], slots: u32) -> Vec<u32> {
    let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let shares: Vec<u64> = weights.iter().map(|w| u64::from(*w) * u64::from(slots)).collect();
    let mut quotas: Vec<u32> = shares.iter().map(|s| (s / total) as u32).collect();
    let left_over = slots - quotas.iter().sum::<u32>();

    let mut by_remainder: Vec<(Reverse<u64>, &mut u32)> =
        shares.iter().map(|s| Reverse(s % total)).zip(&mut quotas).collect();
    by_remainder.sort_by_key(|(remainder, _)| *remainder);
    for (_, quota) in by_remainder.into_iter().take(left_over as usize) {
        *quota += 1;
    }
    quotas
}

/// The turns in which the backends claim slots, as indices into `quotas`. There are as many
/// rounds as the largest quota; a backend spreads its turns evenly over them, beginning with the
/// first, and within a round the order is that of `quotas`.
pub(super) fn turns(quotas: &[u32]) -> Vec<u16> {
    let rounds = quotas.iter().copied().max().unwrap_or(0);
    let round_of =
        |turn: u32, quota: u32| (u64::from(turn) * u64::from(rounds) / u64::from(quota)) as usize;
    // A counting sort by round: first how many turns each round has, then where it begins.
    let mut places = vec![0; rounds as usize];
    for_each_turn(quotas, |_, turn, quota| {
        if let Some(count) = places.get_mut(round_of(turn, quota)) {
            *count += 1;
        }
    });
    let mut total = 0;
    for place in &mut places {
        total += std::mem::replace(place, total);
    }
    let mut turns = vec![0; total];
    for_each_turn(quotas, |index, turn, quota| {
        if let Some(place) = places.get_mut(round_of(turn, quota))
            && let Some(slot) = turns.get_mut(*place)
        {
            *slot = index;
            *place += 1;
        }
    });
    turns
}

/// Calls `visit` with index, number and quota for each turn of each backend.
fn for_each_turn(quotas: &[u32], mut visit: impl FnMut(u16, u32, u32)) {
    for (index, quota) in (0u16..).zip(quotas) {
        for turn in 0..*quota {
            visit(index, turn, *quota);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_follow_the_remainders() {
        assert_eq!(by_largest_remainder(&[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(by_largest_remainder(&[6, 3, 1], 12), [7, 4, 1]);
        assert_eq!(by_largest_remainder(&[u32::MAX, u32::MAX], 4), [2, 2]);
        assert_eq!(by_largest_remainder(&[0, 0], 4), [0, 0]);
        assert_eq!(by_largest_remainder(&[], 4), [0; 0]);
    }

    #[test]
    fn turns_are_spread_over_the_rounds() {
        assert_eq!(turns(&[4, 2, 1]), [0, 1, 2, 0, 0, 1, 0]);
        assert_eq!(turns(&[2, 2, 1]), [0, 1, 2, 0, 1]);
        assert_eq!(turns(&[0, 2]), [1, 1]);
        assert_eq!(turns(&[]), [0u16; 0]);
    }
}
