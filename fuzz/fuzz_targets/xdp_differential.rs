//! Whatever frames come and whatever changes between them, the loaded program does what the model
//! does: the same to every frame, with the same counters and records. Needs the right to load it.
//!
//! The octets mean what they mean to `xdp_model`, so that both share a corpus.

#![no_main]

use std::cell::RefCell;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use vc5_fuzz::{path::world::World, traffic::Scene};

thread_local! {
    // The second has a program beside that only tells what it would do.
    static SCENES: RefCell<[Scene; 2]> = RefCell::new(
        [World::standard(), World::standard_traced()].map(|world| Scene::new(vec![world])),
    );
}

fuzz_target!(|data: &[u8]| {
    // Not the octets that are used, which begin at both ends.
    let traced = data.get(data.len() / 2).is_some_and(|octet| octet % 8 == 0);
    SCENES.with_borrow_mut(|scenes| play(&mut scenes[usize::from(traced)], data));
});

fn play(scene: &mut Scene, data: &[u8]) {
    // Octets that run out end the story, which is no finding.
    let _ = scene.play(&mut Unstructured::new(data), |worlds, _, frame| {
        for world in worlds {
            let seen = world.process(frame);
            assert!(world.differences.is_empty(), "{seen:?}: {}", world.differences.join("\n"));
        }
    });
    for world in &mut scene.worlds {
        world.check();
        assert!(world.differences.is_empty(), "{}", world.differences.join("\n"));
    }
}
