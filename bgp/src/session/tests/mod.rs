//! Tests of the machine as a whole, on a virtual clock.

mod fixture;
mod pair;
mod properties;
mod table;
