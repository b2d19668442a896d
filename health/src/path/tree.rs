//! The rule tree that finds a marked packet's table.
//!
//! The kernel walks policy rules one by one, for every packet of the host that has no cached route,
//! so a flat list of one rule per backend would burden everybody. Here the first rule sends
//! unmarked traffic past all others, and the rest branch by the four hexadecimal digits of the id:
//!
//! ```text
//! BASE            fwmark 0/MASK goto END
//! root block      fwmark 0x1.../0xf... goto its block, ...
//!   block of 1    fwmark 0x12../0xff.. goto its block, ...
//!     block of 123  fwmark 0x1234/0xffff lookup TABLE, ...
//! END             nop
//! END + 1         lookup the rp_filter helper's table, where it is needed
//! ```
//!
//! All rules of a block share one priority, which follows from the digits alone; the priority after
//! it ends the block by `goto END`, so that a mark which is not ours costs little too.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::Error;

/// The part of the host's marks, rule priorities and tables that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) mark_mask: u32,
    pub(super) table_base: u32,
    pub(super) rule_priority: u32,
}

/// The priority of the kernel's rule for the main table.
const MAIN_PRIORITY: u32 = 32_766;

/// Hexadecimal digits in an id.
const DIGITS: u32 = 4;

/// Blocks of all levels: 1 + 16 + 256 + 4096.
const BLOCKS: u32 = 4369;

/// Priorities from the first rule to the last, both counted.
pub const RULE_PRIORITIES: u32 = 1 + 2 * BLOCKS + 2;

/// Tables: one per id, and that of the rp_filter helper in the place of id 0.
pub(super) const TABLES: u32 = 1 << 16;

impl Space {
    /// Checks that the ranges exist and hold what is needed.
    pub(super) fn new(mark_mask: u32, table_base: u32, rule_priority: u32) -> Result<Self, Error> {
        let bits = mark_mask.count_ones();
        if bits < 16 || mark_mask.leading_zeros() + bits + mark_mask.trailing_zeros() != 32 {
            return Err(Error::Config(format!(
                "mark mask {mark_mask:#x} must be one run of at least 16 bits"
            )));
        }
        // 253 to 255 are the kernel's own.
        if !(256..=u32::MAX - TABLES).contains(&table_base) {
            return Err(Error::Config(format!(
                "table base {table_base} must be from 256 to {}",
                u32::MAX - TABLES
            )));
        }
        let last = MAIN_PRIORITY - RULE_PRIORITIES;
        if rule_priority == 0 || rule_priority > last {
            return Err(Error::Config(format!(
                "rule priority {rule_priority} must be from 1 to {last}, so that all rules are \
                 between those of the local and the main table"
            )));
        }
        Ok(Self { mark_mask, table_base, rule_priority })
    }

    pub(super) fn mark(self, id: u16) -> u32 {
        u32::from(id) << self.mark_mask.trailing_zeros()
    }

    pub(super) fn table(self, id: u16) -> u32 {
        self.table_base + u32::from(id)
    }

    pub(super) fn helper_table(self) -> u32 {
        self.table_base
    }

    pub(super) fn owns_table(self, table: u32) -> bool {
        (self.table_base..self.table_base + TABLES).contains(&table)
    }

    pub(super) fn owns_priority(self, priority: u32) -> bool {
        (self.rule_priority..self.rule_priority + RULE_PRIORITIES).contains(&priority)
    }

    fn end(self) -> u32 {
        self.rule_priority + 1 + 2 * BLOCKS
    }

    /// The priority of the block of all ids that begin with the `level` digits of `prefix`.
    fn block(self, level: u32, prefix: u32) -> u32 {
        // 1 + 16 + ... + 16^(level - 1) blocks come before those of this level.
        let before = ((1 << (4 * level)) - 1) / 15;
        self.rule_priority + 1 + 2 * (before + prefix)
    }

    /// The mask of the first `digits` digits of the id, and of the bits of our mask above them.
    fn digits_mask(self, digits: u32) -> u32 {
        let low = self.mark_mask.trailing_zeros() + 4 * (DIGITS - digits);
        self.mark_mask & u32::MAX.checked_shl(low).unwrap_or(0)
    }
}

/// What a rule does with a packet that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Action {
    Goto(u32),
    Lookup(u32),
    Nop,
}

/// A policy rule of ours, in one address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Rule {
    pub(super) priority: u32,
    /// Mark and mask; a mask of 0 matches every packet.
    pub(super) mark: (u32, u32),
    pub(super) action: Action,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}:", self.priority)?;
        if self.mark.1 != 0 {
            write!(f, " fwmark {:#x}/{:#x}", self.mark.0, self.mark.1)?;
        }
        match self.action {
            Action::Goto(priority) => write!(f, " goto {priority}"),
            Action::Lookup(table) => write!(f, " lookup {table}"),
            Action::Nop => write!(f, " nop"),
        }
    }
}

/// The rules that lead each id's mark to its table; none without ids. `helper` adds the look-up of
/// the rp_filter helper's table for unmarked packets.
pub(super) fn rules(
    space: Space,
    ids: impl IntoIterator<Item = u16>,
    helper: bool,
) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for id in ids {
        add_id(&mut rules, space, id);
    }
    if !rules.is_empty() {
        let end = space.end();
        let unmarked = (0, space.mark_mask);
        let skip = Action::Goto(end);
        rules.insert(Rule { priority: space.rule_priority, mark: unmarked, action: skip });
        rules.insert(Rule { priority: end, mark: (0, 0), action: Action::Nop });
        if helper {
            let action = Action::Lookup(space.helper_table());
            rules.insert(Rule { priority: end + 1, mark: (0, 0), action });
        }
    }
    rules
}

/// Adds the rules on the way from the root to one leaf.
fn add_id(rules: &mut BTreeSet<Rule>, space: Space, id: u16) {
    for level in 0..DIGITS {
        let prefix = |digits: u32| u32::from(id) >> (4 * (DIGITS - digits));
        let priority = space.block(level, prefix(level));
        let mask = space.digits_mask(level + 1);
        let action = if level + 1 == DIGITS {
            Action::Lookup(space.table(id))
        } else {
            Action::Goto(space.block(level + 1, prefix(level + 1)))
        };
        rules.insert(Rule { priority, mark: (space.mark(id) & mask, mask), action });
        let action = Action::Goto(space.end());
        rules.insert(Rule { priority: priority + 1, mark: (0, 0), action });
    }
}

/// The order to add rules in: whatever a rule jumps to is there before it, and unmarked packets are
/// sent past the tree before it grows. Removal goes the other way.
pub(super) fn build_order(space: Space, rule: &Rule) -> (u8, std::cmp::Reverse<u32>) {
    let stage = match rule.priority {
        p if p >= space.end() => 0,
        p if p == space.rule_priority => 1,
        _ => 2,
    };
    (stage, std::cmp::Reverse(rule.priority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: Space =
        Space { mark_mask: 0xffff_0000, table_base: 1_000_000, rule_priority: 10_000 };

    /// The rules from a priority on.
    fn from(rules: &BTreeSet<Rule>, priority: u32) -> impl Iterator<Item = &Rule> {
        rules.range(Rule { priority, mark: (0, 0), action: Action::Goto(0) }..)
    }

    /// Walks the rules as the kernel does. Gives the tables looked up, and the rules visited.
    fn walk(rules: &BTreeSet<Rule>, mark: u32) -> (Vec<u32>, usize) {
        let (mut tables, mut visited, mut next) = (Vec::new(), 0, 0);
        'jump: loop {
            for rule in from(rules, next) {
                visited += 1;
                if mark & rule.mark.1 != rule.mark.0 {
                    continue;
                }
                match rule.action {
                    Action::Goto(target) => {
                        assert!(target > rule.priority, "{rule}: only forward jumps are possible");
                        let there = from(rules, target).next().map(|rule| rule.priority);
                        assert_eq!(there, Some(target), "{rule}: no target");
                        next = target;
                        continue 'jump;
                    }
                    Action::Lookup(table) => tables.push(table),
                    Action::Nop => {}
                }
            }
            return (tables, visited);
        }
    }

    #[test]
    fn spaces_that_cannot_work_are_refused() {
        assert!(Space::new(0xffff, 256, 1).is_ok());
        assert!(Space::new(u32::MAX, u32::MAX - TABLES, MAIN_PRIORITY - RULE_PRIORITIES).is_ok());
        let refused =
            |mask, table, priority| Space::new(mask, table, priority).unwrap_err().to_string();
        assert!(refused(0, 256, 1).contains("mark mask 0x0"));
        assert!(refused(0x7fff, 256, 1).contains("mark mask 0x7fff"));
        assert!(refused(0xff00_ff00, 256, 1).contains("one run"));
        assert!(refused(0xffff, 255, 1).contains("table base 255"));
        assert!(refused(0xffff, u32::MAX, 1).contains("table base"));
        assert!(refused(0xffff, 256, 0).contains("rule priority 0"));
        assert!(refused(0xffff, 256, 32_000).contains("rule priority 32000"));
    }

    #[test]
    fn no_ids_need_no_rules() {
        assert_eq!(rules(SPACE, [], true), BTreeSet::new());
    }

    #[test]
    fn one_backend_reads_like_this() {
        let text: Vec<_> = rules(SPACE, [0x1234], true).iter().map(Rule::to_string).collect();
        assert_eq!(
            text,
            [
                "rule 10000: fwmark 0x0/0xffff0000 goto 18739",
                "rule 10001: fwmark 0x10000000/0xf0000000 goto 10005",
                "rule 10002: goto 18739",
                "rule 10005: fwmark 0x12000000/0xff000000 goto 10071",
                "rule 10006: goto 18739",
                "rule 10071: fwmark 0x12300000/0xfff00000 goto 11129",
                "rule 10072: goto 18739",
                "rule 11129: fwmark 0x12340000/0xffff0000 lookup 1004660",
                "rule 11130: goto 18739",
                "rule 18739: nop",
                "rule 18740: lookup 1000000",
            ]
        );
    }

    #[test]
    fn the_whole_space_fits_its_priorities() {
        let all = rules(SPACE, 1..=u16::MAX, true);
        let last = all.last().unwrap().priority;
        assert_eq!(last, SPACE.rule_priority + RULE_PRIORITIES - 1);
        assert!(all.iter().all(|rule| SPACE.owns_priority(rule.priority)));
        assert!(!SPACE.owns_priority(last + 1) && !SPACE.owns_priority(SPACE.rule_priority - 1));
    }

    #[test]
    fn ten_thousand_backends_cost_few_rules() {
        let all = rules(SPACE, 1..=10_000, false);
        assert_eq!(walk(&all, 0), (vec![], 2), "unmarked");
        assert_eq!(walk(&all, 0x1234).1, 2, "marked by others, outside our mask");
        let worst = (1..=10_000).map(|id| walk(&all, SPACE.mark(id)).1).max();
        assert!(worst <= Some(1 + 4 * 16), "{worst:?}");
        let absent = walk(&all, SPACE.mark(60_000));
        assert!(absent.0.is_empty() && absent.1 <= 20, "{absent:?}");
    }

    proptest! {
        /// Every id finds its table and no other; every other mark finds none.
        #[test]
        fn marks_resolve(
            ids in prop::collection::btree_set(1u16.., 1..40),
            other in any::<u32>(),
            mask in prop_oneof![
                Just(0xffff_0000u32), Just(0x0000_ffff), Just(0x00ff_ff00), Just(0xfff_fff0),
                Just(u32::MAX)
            ],
        ) {
            let space = Space { mark_mask: mask, ..SPACE };
            let all = rules(space, ids.iter().copied(), false);
            for &id in &ids {
                // Bits outside our mask belong to others and must not matter.
                let mark = space.mark(id) | other & !mask;
                prop_assert_eq!(walk(&all, mark).0, vec![space.table(id)]);
            }
            let ours = ids.iter().any(|&id| space.mark(id) == other & mask);
            prop_assert_eq!(walk(&all, other).0.len(), usize::from(ours));
        }

        #[test]
        fn built_in_an_order_without_dangling_jumps(
            ids in prop::collection::btree_set(1u16.., 1..40)
        ) {
            let mut all: Vec<_> = rules(SPACE, ids, true).into_iter().collect();
            all.sort_by_key(|rule| build_order(SPACE, rule));
            let mut there = BTreeSet::new();
            for rule in all {
                if let Action::Goto(target) = rule.action {
                    prop_assert!(there.contains(&target), "{}", rule);
                }
                there.insert(rule.priority);
            }
        }
    }
}
