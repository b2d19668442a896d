//! Maglev consistent hashing: which backend owns which of the 65536 slots of a ring.
//!
//! The method is that of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer" (NSDI 2016), section 3.4, with two changes that make shares exact:
//!
//! * The permutations run over the prime 65537 but slot 65536 can never be claimed, so that the
//!   ring has a power of two of slots without the unevenness of cutting a slot off afterwards.
//! * Each backend gets a quota of slots by the largest-remainder method, and the turns are laid
//!   out by the quotas, so that every backend ends within one slot of its weighted share.
//!
//! A ring is a function of the fleet's hash key and of the set of members alone: nodes with the
//! same key and the same members choose alike. That is a contract between releases, so a change
//! to anything here that changes a ring must raise [`VERSION`].

mod free;
mod permutation;
mod quota;

use std::collections::BTreeMap;
use std::net::IpAddr;

use free::Free;
use permutation::Permutation;
pub(crate) use permutation::words;

/// Version of the function from (key, members) to ring. It is part of what is hashed.
pub const VERSION: u8 = 1;

/// Slots in a ring.
pub const SLOTS: usize = 65_536;

/// The most backends one ring may have: with more, a share is too few slots to be even.
pub const MAX_MEMBERS: usize = 4_095;

/// The id in a slot that nobody owns.
pub const NOBODY: u16 = 0;

/// One backend of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The backend's address: it alone decides where on the ring the backend's slots lie.
    pub address: IpAddr,
    /// Its weight relative to the other members'; a member of weight 0 gets no slot.
    pub weight: u32,
    /// What is written to the slots it owns; not [`NOBODY`].
    pub id: u16,
}

/// Why a ring could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// More than [`MAX_MEMBERS`] members.
    #[error("{0} backends in one ring; at most {MAX_MEMBERS} are possible")]
    TooManyMembers(usize),
}

/// A complete ring: the owner of each slot.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    slots: Box<[u16; SLOTS]>,
}

impl Ring {
    /// The ring in which nobody owns anything.
    pub fn empty() -> Self {
        Self { slots: boxed_slots() }
    }

    /// Builds the ring of `members` under the fleet's hash key. The order of `members` and the
    /// ids they carry do not influence who owns which slot.
    ///
    /// # Errors
    /// [`RingError::TooManyMembers`] beyond [`MAX_MEMBERS`].
    pub fn build(key: &[u8; 16], members: &[Member]) -> Result<Self, RingError> {
        if members.len() > MAX_MEMBERS {
            return Err(RingError::TooManyMembers(members.len()));
        }
        let (sorted, quotas) = quotas(members);
        let mut permutations: Vec<Permutation> =
            sorted.iter().map(|m| Permutation::new(key, m.address)).collect();

        let mut slots = boxed_slots();
        let mut free = Free::all();
        quota::for_each_turn_in_order(&quotas, |turn| {
            let turn = usize::from(turn);
            if let (Some(permutation), Some(member)) =
                (permutations.get_mut(turn), sorted.get(turn))
                && let Some(owner) = free.claim(permutation).and_then(|slot| slots.get_mut(slot))
            {
                *owner = member.id;
            }
        });
        Ok(Self { slots })
    }

    /// The ring of these slots.
    pub(crate) fn from_slots(slots: &[u16; SLOTS]) -> Self {
        let mut copy = boxed_slots();
        copy.copy_from_slice(slots);
        Self { slots: copy }
    }

    /// The owner of each slot, [`NOBODY`] where there is none.
    pub fn slots(&self) -> &[u16; SLOTS] {
        &self.slots
    }

    /// How many slots each id owns that owns any, [`NOBODY`] among them.
    pub fn shares(&self) -> BTreeMap<u16, u32> {
        let mut counts: Vec<u32> = Vec::new();
        for owner in self.slots.iter() {
            let owner = usize::from(*owner);
            if owner >= counts.len() {
                counts.resize(owner + 1, 0);
            }
            if let Some(count) = counts.get_mut(owner) {
                *count += 1;
            }
        }
        (0..).zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// A digest of the whole ring, for golden vectors and comparisons between releases:
    /// SipHash-1-3 under the zero key over the slots as little-endian 16-bit words.
    pub fn digest(&self) -> u64 {
        let bytes: Vec<u8> = self.slots.iter().flat_map(|owner| owner.to_le_bytes()).collect();
        vc5_ebpf_path::siphash13([0; 2], &bytes)
    }
}

/// The members that can have slots, in the order of their turns, and how many slots each gets.
fn quotas(members: &[Member]) -> (Vec<Member>, Vec<u32>) {
    let mut sorted: Vec<Member> = members.iter().filter(|m| m.weight > 0).copied().collect();
    sorted.sort_unstable_by_key(|m| (m.address, m.id));
    let weights: Vec<u32> = sorted.iter().map(|m| m.weight).collect();
    let quotas = quota::by_largest_remainder(&weights, SLOTS as u32);
    (sorted, quotas)
}

/// How many slots each member, by its id, has in the ring of these.
pub(crate) fn shares(members: &[Member]) -> Vec<(u16, u32)> {
    let (sorted, quotas) = quotas(members);
    sorted.iter().map(|member| member.id).zip(quotas).collect()
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({:016x})", self.digest())
    }
}

/// 128 KiB of empty slots, built on the heap so that they never cross the stack.
fn boxed_slots() -> Box<[u16; SLOTS]> {
    match vec![NOBODY; SLOTS].into_boxed_slice().try_into() {
        Ok(slots) => slots,
        Err(_) => unreachable!("the vector above has exactly SLOTS elements"),
    }
}

#[cfg(test)]
mod tests;
