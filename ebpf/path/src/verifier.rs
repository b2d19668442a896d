//! Arithmetic where a branch is not wanted.
//!
//! The kernel's verifier walks both ways of each branch with all that it knows about each, so that
//! ten branches in a row can cost it a thousand walks. What it knows only as "some number" it walks
//! once. On the host these functions are what their names say and nothing more.

use vc5_ebpf_abi::{REASON_COUNT, Reason};

/// The value, as one that the compiler knows nothing of: it would turn arithmetic back into the
/// branches that it replaces.
#[inline(always)]
#[must_use]
pub fn opaque(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    let value = {
        let mut value = value;
        // A move rather than nothing: the kernel refuses two line numbers for one instruction.
        // SAFETY: leaves the register as it is.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
        value
    };
    value
}

/// The value, of which the verifier then knows no more than that it is at most `MASK` (one less than
/// a power of two, and no less than the value). `unknown` is any number read from the packet.
///
/// Ways that come together after different constants are then walked on as one.
#[inline(always)]
pub(crate) fn forget<const MASK: usize>(value: usize, unknown: u64) -> usize {
    forget_word(value as u64, unknown) as usize & MASK
}

/// The value, of which the verifier then knows nothing.
#[inline(always)]
pub(crate) fn forget_word(value: u64, unknown: u64) -> u64 {
    let unknown = opaque(unknown);
    opaque(value ^ unknown) ^ unknown
}

/// The truth, of which the verifier does not know whether it is.
#[inline(always)]
pub(crate) fn forget_bool(value: bool, unknown: u64) -> bool {
    forget::<1>(usize::from(value), unknown) != 0
}

/// The reason, as one of which the verifier does not know which it is.
#[inline(always)]
pub(crate) fn forget_reason(reason: Reason, unknown: u64) -> Reason {
    const MASK: usize = REASON_COUNT.next_power_of_two() as usize - 1;
    let number = forget::<MASK>(reason as usize, unknown) as u32;
    // SAFETY: the number that it was before.
    unsafe { core::mem::transmute::<u32, Reason>(number) }
}

/// One of the values of an enum of one byte, as one of which the verifier does not know which it is.
#[inline(always)]
pub(crate) fn forget_which<E: Copy>(value: E, unknown: u64) -> E {
    const { assert!(size_of::<E>() == 1) };
    // SAFETY: of one byte, and initialised.
    let byte: u8 = unsafe { core::mem::transmute_copy(&value) };
    let byte = forget::<0xff>(usize::from(byte), unknown) as u8;
    // SAFETY: the byte that it was before.
    unsafe { core::mem::transmute_copy(&byte) }
}

/// The sign bit, to multiply with where a branch is not wanted.
///
/// Not a mask of all ones to combine with: newer verifiers follow the two values of such a mask
/// apart, as if it were a branch.
#[inline(always)]
pub(crate) fn sign(value: u64) -> u64 {
    opaque(opaque(value) >> 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Segment;

    #[test]
    fn they_keep_the_value() {
        assert_eq!(opaque(7), 7);
        assert_eq!(forget::<0xff>(54, 0x1234), 54);
        assert!(forget_bool(true, 6) && !forget_bool(false, 7));
        assert_eq!(forget_which(Segment::Later, 99), Segment::Later);
        for &reason in Reason::ALL {
            assert_eq!(forget_reason(reason, 0xffff_0000_1234_5678), reason);
        }
        assert_eq!((sign(0), sign(u64::MAX), sign(1 << 63)), (0, 1, 1));
    }
}
