//! "Did you mean": the known word nearest to a mistyped one.

/// The candidate with the fewest typing errors, unless it is too far off to be meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: Vec<char> = word.chars().collect();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().collect();
            let limit = (word.len().max(letters.len()) / 3).max(1);
            if word.len().abs_diff(letters.len()) > limit {
                return None;
            }
            let distance = distance(&word, &letters);
            (distance <= limit).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut left_of_a = None;
    for (row, &letter) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut left_of_b = None;
        for (column, &other) in b.iter().enumerate() {
            let at =
                |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX);
            let mut best = (at(&last, column + 1) + 1)
                .min(at(&current, column) + 1)
                .min(at(&last, column) + usize::from(letter != other));
            if left_of_a == Some(other) && left_of_b == Some(letter) && column > 0 {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
            left_of_b = Some(other);
        }
        left_of_a = Some(letter);
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_word() {
        let keys = ["hold-time", "keepalive-time", "multihop", "passive"];
        for (typed, expected) in [
            ("hold-tme", Some("hold-time")),
            ("hold_time", Some("hold-time")),
            ("hodl-time", Some("hold-time")),
            ("Hold-Time", Some("hold-time")),
            ("keepalive", None),
            ("multi-hop", Some("multihop")),
            ("passiv", Some("passive")),
            ("", None),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(typed, keys), expected, "{typed}");
        }
    }

    #[test]
    fn counts_single_edits_and_swaps_as_one() {
        let cases =
            [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("pool", "pol", 1), ("abc", "xyz", 3)];
        for (a, b, expected) in cases {
            let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
            assert_eq!(distance(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(distance(&b, &a), expected, "{b:?} {a:?}");
        }
    }
}
