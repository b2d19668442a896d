//! What an ICMP check sends.

/// The smallest payload, in bytes: what tells one request from any other.
pub const SIZE_MIN: usize = 16;

/// The largest payload, in bytes: with its headers it fits into a jumbo frame of 9000.
pub const SIZE_MAX: usize = 8952;

/// One echo request (RFC 792, RFC 4443 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpCheck {
    /// Bytes of payload, [`SIZE_MIN`] to [`SIZE_MAX`]. What the interface cannot carry in one packet
    /// goes in fragments.
    pub size: usize,
}

impl Default for IcmpCheck {
    /// 56 bytes, as `ping` does.
    fn default() -> Self {
        Self { size: 56 }
    }
}

impl IcmpCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        match self.size {
            SIZE_MIN..=SIZE_MAX => Ok(()),
            size => Err(format!("size {size} is not {SIZE_MIN} to {SIZE_MAX} bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_value_that_cannot_be_used() {
        let with = |size| IcmpCheck { size }.validate();
        assert_eq!(IcmpCheck::default().validate(), Ok(()));
        assert_eq!((with(SIZE_MIN), with(SIZE_MAX)), (Ok(()), Ok(())));
        for size in [0, SIZE_MIN - 1, SIZE_MAX + 1] {
            assert!(with(size).unwrap_err().contains(&format!("size {size} ")));
        }
    }
}
