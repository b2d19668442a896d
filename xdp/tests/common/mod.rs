//! What the tests of the forwarding path share: frames, and a world to try them in, which is the
//! model and a loaded program side by side.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]
// Helpers of tests, which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

// The loader's own ways to read and clear many counters at once, and to make rings that Linux 6.1
// takes.
#[path = "../../src/maps/batch.rs"]
mod batch;
pub mod checksum;
pub mod extension;
pub mod frame;
#[path = "../../src/maps/inner.rs"]
mod inner;
pub mod kernel;
pub mod siphash;
pub mod standard;
pub mod world;
