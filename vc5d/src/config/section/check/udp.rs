//! The keys of a datagram and of the answer to it.

use vc5_health::UdpCheck;
use vc5_health::check::udp::SEND_MAX;

use super::super::super::read::{Field, Table};

pub(super) const KEYS: [&str; 2] = ["send", "receive"];

/// What stands before bytes that are written in hexadecimal.
const HEX: &str = "hex:";

pub(super) fn read(table: &mut Table<'_>) -> UdpCheck {
    let send = table.get("send").and_then(|field| {
        let bytes = bytes(&field)?;
        if bytes.len() > SEND_MAX {
            return field.fail(&format!("{} bytes are more than {SEND_MAX}", bytes.len()));
        }
        Some(bytes)
    });
    let receive = table.get("receive").and_then(|field| {
        let bytes = bytes(&field)?;
        if bytes.is_empty() {
            return field.fail("must not be empty");
        }
        Some(bytes)
    });
    UdpCheck { send: send.unwrap_or_default(), receive }
}

/// A text as it stands, or `hex:` and pairs of hexadecimal digits.
fn bytes(field: &Field<'_>) -> Option<Vec<u8>> {
    let text = field.text()?;
    let Some(digits) = text.strip_prefix(HEX) else { return Some(text.as_bytes().to_vec()) };
    match from_hex(digits) {
        Some(bytes) => Some(bytes),
        None => field
            .fail(&format!("`{text}` is not \"{HEX}\" and pairs of hexadecimal digits after it")),
    }
}

/// Pairs of hexadecimal digits, with spaces anywhere.
pub(super) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).and_then(|value| u8::try_from(value).ok());
    let digits = digits.chars().filter(|c| *c != ' ').map(digit).collect::<Option<Vec<u8>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::from_hex;

    #[test]
    fn hexadecimal_is_read_in_pairs() {
        assert_eq!(from_hex("00ff 1A"), Some(vec![0, 255, 26]));
        assert_eq!(from_hex(""), Some(vec![]));
        assert_eq!(from_hex("123"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
