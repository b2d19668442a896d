//! Whatever frames come and whatever changes between them, the forwarding path keeps to its rules.
//!
//! The octets choose changes and frames, see `traffic`; two models alike go through all of it.

#![no_main]

use std::cell::RefCell;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use vc5_ebpf_abi::Settings;
use vc5_fuzz::{
    model::Model,
    path::world::{SETTINGS, World},
    traffic::{Scene, rules},
};

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::new(Scene::new((0..2).map(|_| world()).collect()));
}

/// The model alone, which tells of every second flow.
fn world() -> World {
    let mut world = World::standard_model();
    world.model = Model::new(Settings { sample_shift: 1, ..SETTINGS });
    world.furnish();
    world
}

fuzz_target!(|data: &[u8]| {
    let u = &mut Unstructured::new(data);
    // Octets that run out end the story, which is no finding.
    let _ = SCENE.with_borrow_mut(|scene| scene.play(u, rules::check));
});
