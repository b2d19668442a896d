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

/// Calls `visit` for each turn in which a backend claims a slot, with its index into `quotas`. There
/// are as many rounds as the largest quota; a backend spreads its turns evenly over them, turn `t`
/// of `q` in round `t * rounds / q`, and within a round the order is that of `quotas`.
pub(super) fn for_each_turn_in_order(quotas: &[u32], mut visit: impl FnMut(u16)) {
    let rounds = quotas.iter().copied().max().unwrap_or(0);
    if quotas.iter().all(|quota| rounds - quota <= 1) {
        return for_each_turn_of_equals(quotas, rounds, visit);
    }
    // A counting sort by round: first how many turns each round has, then where it begins.
    let mut places = vec![0u32; rounds as usize];
    for_each_round(quotas, rounds, |_, round| {
        if let Some(count) = places.get_mut(round) {
            *count += 1;
        }
    });
    let mut total = 0;
    for place in &mut places {
        total += std::mem::replace(place, total);
    }
    let mut turns = vec![0; total as usize];
    for_each_round(quotas, rounds, |index, round| {
        if let Some(place) = places.get_mut(round)
            && let Some(turn) = turns.get_mut(*place as usize)
        {
            *turn = index;
            *place += 1;
        }
    });
    turns.into_iter().for_each(&mut visit);
}

/// With quotas that differ by one at most nothing needs sorting: turn `t` of the lesser quota, one
/// less than `rounds`, comes in round `t * rounds / (rounds - 1)`, which is `t`.
fn for_each_turn_of_equals(quotas: &[u32], rounds: u32, mut visit: impl FnMut(u16)) {
    for round in 0..rounds {
        for (index, quota) in (0u16..).zip(quotas) {
            if round < *quota {
                visit(index);
            }
        }
    }
}

/// Calls `visit` with index and round for each turn of each backend.
fn for_each_round(quotas: &[u32], rounds: u32, mut visit: impl FnMut(u16, usize)) {
    for (index, &quota) in (0u16..).zip(quotas).filter(|(_, quota)| **quota > 0) {
        // The quotient `turn * rounds / quota` without a division for each turn.
        let (step, remainder) = ((rounds / quota) as usize, rounds % quota);
        let (mut round, mut fraction) = (0, 0);
        for _ in 0..quota {
            visit(index, round);
            round += step;
            fraction += remainder;
            if fraction >= quota {
                fraction -= quota;
                round += 1;
            }
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
        let turns = |quotas: &[u32]| {
            let mut turns = Vec::new();
            for_each_turn_in_order(quotas, |index| turns.push(index));
            turns
        };
        assert_eq!(turns(&[4, 2, 1]), [0, 1, 2, 0, 0, 1, 0]);
        assert_eq!(turns(&[2, 2, 1]), [0, 1, 2, 0, 1]);
        assert_eq!(turns(&[0, 2]), [1, 1]);
        assert_eq!(turns(&[]), [0u16; 0]);
    }
}
