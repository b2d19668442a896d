//! What a UDP check sends, and which answers it takes.

/// The largest datagram that a check sends, in bytes: with its headers it fits into the smallest
/// MTU that IPv6 allows (RFC 8200 section 5).
pub const SEND_MAX: usize = 1232;

/// One datagram, and the answer that passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpCheck {
    /// The payload that is sent: at most [`SEND_MAX`] bytes, and may be empty.
    pub send: Vec<u8>,
    /// Bytes that must occur in the answer. `None` takes any answer; without one the check fails
    /// in any case.
    pub receive: Option<Vec<u8>>,
}

impl UdpCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.send.len() > SEND_MAX {
            return Err(format!("{} bytes to send are more than {SEND_MAX}", self.send.len()));
        }
        match &self.receive {
            Some(wanted) if wanted.is_empty() => Err("what is received must not be empty".into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_value_that_cannot_be_used() {
        let check = |send: usize, receive: Option<&str>| {
            let receive = receive.map(|text| text.as_bytes().to_vec());
            UdpCheck { send: vec![b'x'; send], receive }.validate()
        };
        assert_eq!(check(0, None), Ok(()));
        assert_eq!(check(SEND_MAX, Some("y")), Ok(()));
        assert!(check(SEND_MAX + 1, None).unwrap_err().contains("1233 bytes"));
        assert!(check(1, Some("")).unwrap_err().contains("must not be empty"));
    }
}
