//! Tests of the machine as a whole, on a virtual clock.

mod collisions;
mod events;
mod fixture;
mod malformed;
mod pair;
mod properties;
mod table;
