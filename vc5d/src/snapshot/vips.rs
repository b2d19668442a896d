//! All VIPs, each shared with the pictures before in which it was the same.

use std::iter::Map;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Vip;

/// One per address of each `[vip.NAME]`, in the order of names and addresses.
#[derive(Clone, Debug, Default)]
pub struct Vips(Vec<Arc<Vip>>);

/// Goes through [`Vips`].
pub type VipsIter<'a> = Map<slice::Iter<'a, Arc<Vip>>, fn(&'a Arc<Vip>) -> &'a Vip>;

impl Vips {
    /// All of them.
    pub fn iter(&self) -> VipsIter<'_> {
        self.0.iter().map(Deref::deref)
    }

    /// All of them for a change; what another picture shares is copied first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Vip> {
        self.0.iter_mut().map(Arc::make_mut)
    }
}

impl FromIterator<Arc<Vip>> for Vips {
    fn from_iter<I: IntoIterator<Item = Arc<Vip>>>(vips: I) -> Self {
        Self(vips.into_iter().collect())
    }
}

impl FromIterator<Vip> for Vips {
    fn from_iter<I: IntoIterator<Item = Vip>>(vips: I) -> Self {
        vips.into_iter().map(Arc::new).collect()
    }
}

impl<'a> IntoIterator for &'a Vips {
    type Item = &'a Vip;
    type IntoIter = VipsIter<'a>;

    fn into_iter(self) -> VipsIter<'a> {
        self.iter()
    }
}

impl Serialize for Vips {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

#[cfg(test)]
impl std::ops::Index<usize> for Vips {
    type Output = Vip;

    fn index(&self, at: usize) -> &Vip {
        &self.0[at]
    }
}

#[cfg(test)]
impl std::ops::IndexMut<usize> for Vips {
    fn index_mut(&mut self, at: usize) -> &mut Vip {
        Arc::make_mut(&mut self.0[at])
    }
}
