//! Tests of the machine as a whole, on a virtual clock.

mod capabilities;
mod collisions;
mod config;
mod events;
mod exports;
mod fixture;
mod imports;
mod malformed;
mod pair;
mod peer;
mod properties;
mod restart;
mod superseded;
mod table;
