//! What the loader decides once, before the program is loaded.

/// Version of everything in this crate that a pinned map or a running program depends on.
pub const LAYOUT_VERSION: u32 = 4;

/// Name of the read-only global of type [`Settings`] that the loader overrides.
pub const SETTINGS: &str = "SETTINGS";

/// [`Settings::before_mask`] of a program that has one flow table alone.
pub const NO_TABLE: u32 = u32::MAX;

/// Constants of one loaded program. The verifier sees their values and drops what they exclude.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Key of the fleet's flow hash, the same on every node: two little-endian words.
    pub hash_key: [u64; 2],
    /// [`LAYOUT_VERSION`].
    pub layout_version: u32,
    /// Unit of age: 2^`age_shift` jiffies; see [`age_shift`].
    pub age_shift: u32,
    /// Buckets of the flow table, less one; a power of two less one. See [`Active`](crate::Active).
    pub flow_mask: u32,
    /// Buckets of the embryonic table, less one; a power of two less one.
    pub embryonic_mask: u32,
    /// Buckets of the table of fragments, less one; a power of two less one.
    pub fragment_mask: u32,
    /// One in 2^`sample_shift` new flows is told to user space; 32 or more: none.
    pub sample_shift: u32,
    /// Buckets of the flow table in use before this one, less one; [`NO_TABLE`] if there is none.
    pub before_mask: u32,
    /// Units of age after which a UDP flow to a draining real is over.
    pub udp_idle: u8,
    /// Units of age after which the 5-tuple of a closed TCP flow may be used anew.
    pub closing_idle: u8,
    /// Units of age for which a SYN's choice is remembered.
    pub embryonic_idle: u8,
    /// Units of age for which the backend of a fragmented packet is remembered.
    pub fragment_idle: u8,
    /// 1 in a program that only tells what it would do ([`Trace`](crate::Trace)) and writes to no
    /// other table.
    pub trace: u8,
    /// Zero.
    pub pad: [u8; 7],
}

impl Settings {
    /// Settings that work everywhere (250 jiffies a second assumed): what the object holds as built.
    pub const DEFAULT: Self = Self {
        hash_key: [0, 0],
        layout_version: LAYOUT_VERSION,
        age_shift: age_shift(250),
        flow_mask: 16384 - 1,
        embryonic_mask: 1024 - 1,
        fragment_mask: 256 - 1,
        sample_shift: 32,
        before_mask: NO_TABLE,
        udp_idle: 8,
        closing_idle: 4,
        embryonic_idle: 16,
        fragment_idle: 5,
        trace: 0,
        pad: [0; 7],
    };
}

/// Shift that turns jiffies into units of age of 4 to 8 seconds, where `hz` is the number of
/// jiffies a second (10^9 / resolution of `CLOCK_MONOTONIC_COARSE` in nanoseconds).
#[must_use]
pub const fn age_shift(hz: u32) -> u32 {
    hz.saturating_mul(4).next_power_of_two().trailing_zeros()
}

const _: () = assert!(size_of::<Settings>() == 56);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_age_is_four_to_eight_seconds() {
        for hz in [100, 250, 300, 1000] {
            let unit = f64::from(1u32 << age_shift(hz)) / f64::from(hz);
            assert!((4.0..8.0).contains(&unit), "{hz} Hz: {unit} s");
        }
    }
}
