//! The forwarding path under traffic: the octets choose changes to the tables and frames in turn.

mod change;
mod frame;
mod headers;
pub mod rules;

use std::collections::{BTreeMap, VecDeque};

use arbitrary::{Result, Unstructured};
use vc5_ebpf_abi::{Bucket, Real, RealState};

use crate::path::{
    frame::Frame,
    standard::{ALL_PAGE, EXACT_PAGE, RANGE_PAGE, STICKY_PAGE, WEB_PAGE, real, real_id},
    world::{TABLES, World},
};

/// Most frames for one input.
const FRAMES: usize = 16;
/// Frames whose flows go on.
const FLOWS: usize = 3;

/// Worlds to which the same happens.
pub struct Scene {
    /// As the tests of the path know them.
    pub worlds: Vec<World>,
    /// All reals, as a world does not tell of them.
    reals: BTreeMap<u32, Real>,
    /// The last frames that had fields.
    last: VecDeque<Frame>,
}

impl Scene {
    /// Of worlds that have their rings.
    #[must_use]
    pub fn new(worlds: Vec<World>) -> Self {
        Self { worlds, reals: BTreeMap::new(), last: VecDeque::new() }
    }

    /// Puts frames through `process`, which is told what each real is, and changes the tables between
    /// them. Counters go on from one input to the next; all else begins anew.
    ///
    /// # Errors
    ///
    /// The octets have run out.
    pub fn play(
        &mut self,
        u: &mut Unstructured<'_>,
        mut process: impl FnMut(&mut [World], &BTreeMap<u32, Real>, &[u8]),
    ) -> Result<()> {
        self.begin();
        self.change_iface(u)?;
        for _ in 0..u.int_in_range(0..=3)? {
            self.change_real(u)?;
        }
        if u.ratio(1, 3u8)? {
            self.crowd(u)?;
        }
        let mut frames = 0;
        while frames < FRAMES && !u.is_empty() {
            let bytes = match u.int_in_range(0..=15u8)? {
                0..=3 => {
                    self.change(u)?;
                    continue;
                }
                4 if u.ratio(1, 4u8)? => frame::raw(u)?,
                5..=8 if !self.last.is_empty() => {
                    let at = u.int_in_range(0..=self.last.len() - 1)?;
                    let frame = frame::next(u, &self.last[at])?;
                    frame::damaged(u, &frame)?
                }
                _ => {
                    let frame = frame::structured(u)?;
                    let bytes = frame::damaged(u, &frame)?;
                    self.last.push_front(frame);
                    self.last.truncate(FLOWS);
                    bytes
                }
            };
            frames += 1;
            process(&mut self.worlds, &self.reals, &bytes);
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.last.clear();
        self.reals.clear();
        for page in [WEB_PAGE, RANGE_PAGE, ALL_PAGE, EXACT_PAGE, STICKY_PAGE] {
            let ids = (1..=4).map(|member| real_id(page, member));
            self.reals.extend(ids.map(|id| (id, real(id, RealState::Live))));
        }
        for world in &mut self.worlds {
            world.furnish_all_but_rings();
            for (table, mask) in TABLES {
                (0..=mask).for_each(|index| world.set_bucket(table, index, Bucket::default()));
            }
        }
    }

    fn set_real(&mut self, id: u32, real: Real) {
        self.reals.insert(id, real);
        self.worlds.iter_mut().for_each(|world| world.set_real(id, real));
    }
}
