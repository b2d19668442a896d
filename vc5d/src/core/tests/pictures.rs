//! Pictures of VIPs: drawn anew only where something in them is new.

use std::sync::Arc;

use super::*;
use crate::core::view::Clock;

#[test]
fn a_picture_is_drawn_anew_after_a_change_and_when_the_clock_has_been_set() {
    let mut world = World::up();
    let (now, later) = (world.now, world.now + Duration::from_secs(60));
    let vip = &mut world.state.vips[0];
    let first = vip.picture(now, &Clock { instant: now, unix: 1_000_000.0 });
    let adjusted = Clock { instant: later, unix: 1_000_060.4 };
    assert!(Arc::ptr_eq(&first, &vip.picture(later, &adjusted)));
    for step in [3600.0, -3600.0] {
        let set = Clock { instant: later, unix: 1_000_060.0 + step };
        let anew = vip.picture(later, &set);
        assert!((anew.since - first.since - step).abs() < 0.001, "{} {}", anew.since, first.since);
        assert!(Arc::ptr_eq(&anew, &vip.picture(later, &set)));
        vip.change();
        assert!(!Arc::ptr_eq(&anew, &vip.picture(later, &set)));
    }
}
