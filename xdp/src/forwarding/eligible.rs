//! Which backends of a service a ring is to be built of.
//!
//! `has` tells who is in the ring in force.

use super::Backend;
use crate::maglev::Member;

/// Who is in the ring: live backends that answer on the link layer. If none of them does, those
/// that did once: better to send their packets where they were than nowhere, while the owner is
/// told that the VIP is not ready and withdraws it. And if all were replaced by such as were never
/// reached, those of the ring in force that drain.
pub(super) fn members(backends: &[Backend], has: impl Fn(&Backend) -> bool) -> Vec<Member> {
    let wanted = reached(|| backends.iter().filter(|b| b.is_wanted_in_ring()));
    if !wanted.is_empty() || !are_replaced(backends, &has) {
        return wanted;
    }
    let is_leaving = |b: &&Backend| b.has_flows_to_leave() && b.spec.weight > 0 && has(b);
    reached(|| backends.iter().filter(is_leaving))
}

/// Those that answer; if none does, those that did once.
fn reached<'b, I: Iterator<Item = &'b Backend>>(backends: impl Fn() -> I) -> Vec<Member> {
    let answering = of(backends().filter(|b| b.answers()));
    if answering.is_empty() { of(backends().filter(|b| b.answered_once())) } else { answering }
}

/// Whether no ring can stand for the one in force, which is all of leaving backends: those of an
/// earlier run have weights that are not known, so that none can be built of them anew.
pub(super) fn has_no_other(backends: &[Backend], has: impl Fn(&Backend) -> bool) -> bool {
    let present = || backends.iter().filter(|b| has(b));
    are_replaced(backends, &has)
        && present().any(Backend::answered_once)
        && present().all(|b| b.has_flows_to_leave() && b.spec.weight == 0)
}

/// Whether there are backends that are wanted in the ring, and none of them is in that in force.
fn are_replaced(backends: &[Backend], has: impl Fn(&Backend) -> bool) -> bool {
    let mut wanted = backends.iter().filter(|b| b.is_wanted_in_ring()).peekable();
    wanted.peek().is_some() && !wanted.any(has)
}

fn of<'b>(backends: impl Iterator<Item = &'b Backend>) -> Vec<Member> {
    let member = |backend: &Backend| Member {
        address: backend.spec.address,
        weight: backend.spec.weight,
        id: backend.number,
    };
    backends.map(member).collect()
}
