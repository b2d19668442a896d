//! What a session has negotiated, by the bits of one octet.

use vc5_bgp::wire::{DecodeContext, EncodeContext, Family, FamilySet};

use crate::LONGEST;

/// 1: 4-octet AS numbers; 2: external; 4: AS_SETs are taken; 8 and 16: no IPv4, no IPv6; 32: path
/// identifiers; 64: IPv6 next hops of IPv4 routes.
#[must_use]
pub fn decode(choice: u8) -> DecodeContext {
    let has = |bit: u8| choice & bit != 0;
    let families = [(Family::IPV4_UNICAST, !has(8)), (Family::IPV6_UNICAST, !has(16))];
    DecodeContext {
        as4: has(1),
        ebgp: has(2),
        allow_as_sets: has(4),
        families: families
            .into_iter()
            .filter(|(_, with)| *with)
            .map(|(family, _)| family)
            .collect(),
        add_path: if has(32) { FamilySet::ALL } else { FamilySet::NONE },
        extended_next_hop: has(64),
    }
}

/// What writes so that `ctx` reads it.
#[must_use]
pub fn encode(ctx: &DecodeContext) -> EncodeContext {
    EncodeContext {
        as4: ctx.as4,
        max_len: LONGEST,
        add_path: ctx.add_path,
        extended_next_hop: ctx.extended_next_hop,
    }
}
