//! Tests of the machine as a whole, on a virtual clock.

mod capabilities;
mod collisions;
mod events;
mod exports;
mod fixture;
mod imports;
mod malformed;
mod pair;
mod properties;
mod restart;
mod table;
