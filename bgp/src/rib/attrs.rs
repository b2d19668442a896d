//! Interning: equal attribute sets share one allocation.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// A pool of shared values; a value that nobody else holds any more is dropped in time.
#[derive(Debug)]
pub struct Interner<T> {
    values: HashSet<Arc<T>>,
    sweep_at: usize,
}

/// The pool is not swept while it is smaller than this.
const SWEEP_MIN: usize = 64;

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), sweep_at: SWEEP_MIN }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The shared copy of `value`.
    pub fn intern(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.values.get(&value) {
            return known.clone();
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = SWEEP_MIN.max(2 * self.values.len());
        }
        let shared = Arc::new(value);
        self.values.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared_and_unused_ones_dropped() {
        let mut pool = Interner::default();
        let first = pool.intern(7);
        assert!(Arc::ptr_eq(&first, &pool.intern(7)));
        for value in 100..100 + 10 * SWEEP_MIN {
            pool.intern(value);
        }
        assert!(pool.values.len() <= SWEEP_MIN + 1, "{} kept", pool.values.len());
        assert!(Arc::ptr_eq(&first, &pool.intern(7)));
    }
}
