//! Which backend has which mark.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::error::Error;

/// Most backends that can be told apart: a mark has 16 bits, and 0 means unmarked.
pub(super) const MAX_ID: u16 = u16::MAX;

/// Ids by backend address. A backend keeps its id while it is wanted; the lowest free id is given
/// out next, so that the rule tree stays small.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    by_backend: BTreeMap<IpAddr, u16>,
}

impl Ids {
    /// The ids for exactly these backends: known ones keep theirs, others get a free one.
    pub(super) fn updated(&self, backends: &BTreeSet<IpAddr>) -> Result<Self, Error> {
        if backends.len() > usize::from(MAX_ID) {
            let limit = usize::from(MAX_ID);
            return Err(Error::TooManyBackends { backends: backends.len(), limit });
        }
        let mut by_backend = self.by_backend.clone();
        by_backend.retain(|backend, _| backends.contains(backend));
        let used: BTreeSet<u16> = by_backend.values().copied().collect();
        let mut free = (1..=MAX_ID).filter(|id| !used.contains(id));
        for &backend in backends {
            by_backend.entry(backend).or_insert_with(|| {
                // As many as are needed exist: the number of backends was checked above.
                free.next().unwrap_or(MAX_ID)
            });
        }
        Ok(Self { by_backend })
    }

    pub(super) fn get(&self, backend: IpAddr) -> Option<u16> {
        self.by_backend.get(&backend).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
        self.by_backend.iter().map(|(&backend, &id)| (backend, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backends(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<IpAddr> {
        numbers.into_iter().map(|n| IpAddr::V4(n.into())).collect()
    }

    #[test]
    fn an_id_is_reused_only_after_removal() {
        let first = Ids::default().updated(&backends([1, 2, 3])).unwrap();
        let id_of_2 = first.get(IpAddr::V4(2.into())).unwrap();
        let second = first.updated(&backends([1, 3, 4])).unwrap();
        assert_eq!(second.get(IpAddr::V4(2.into())), None);
        assert_eq!(second.get(IpAddr::V4(4.into())), Some(id_of_2));
    }

    #[test]
    fn takes_as_many_as_there_are_marks_and_no_more() {
        let full = Ids::default().updated(&backends(0..65_535)).unwrap();
        assert_eq!(full.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 65_535);
        assert_eq!(
            full.updated(&backends(0..65_536)).unwrap_err().to_string(),
            "65536 backends are more than the 65535 that can be probed at once"
        );
    }

    proptest! {
        #[test]
        fn ids_are_stable_unique_and_not_zero(
            sets in prop::collection::vec(prop::collection::btree_set(0u32..40, 0..30), 1..12)
        ) {
            let mut ids = Ids::default();
            for set in sets {
                let next = ids.updated(&backends(set.iter().copied())).unwrap();
                let given: BTreeSet<u16> = next.iter().map(|(_, id)| id).collect();
                prop_assert_eq!(given.len(), set.len());
                prop_assert!(!given.contains(&0));
                for (backend, id) in ids.iter() {
                    prop_assert!(next.get(backend).is_none_or(|now| now == id));
                }
                ids = next;
            }
        }
    }
}
