//! Lines from the wire back to codes and texts. No input or output here.

/// A line that the daemon sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A line of a reply.
    Line {
        /// Its code.
        code: u16,
        /// Its text.
        text: String,
        /// It ends the reply.
        last: bool,
    },
    /// A line that belongs to no reply.
    Async(String),
}

/// A line that is not in the control protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon sent a line that is not in the control protocol: {0:?}")]
pub struct Error(pub String);

/// Remembers the code that a line without one repeats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    previous: Option<u16>,
}

impl Decoder {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// The line begins neither with a code nor with a space after a line that had one.
    pub fn line(&mut self, line: &str) -> Result<Received, Error> {
        let error = || Error(line.chars().take(80).collect());
        if let Some(text) = line.strip_prefix('+') {
            return Ok(Received::Async(text.to_owned()));
        }
        if let Some(text) = line.strip_prefix(' ') {
            let code = self.previous.ok_or_else(error)?;
            return Ok(Received::Line { code, text: text.to_owned(), last: false });
        }
        let (digits, rest) = line.split_at_checked(4).ok_or_else(error)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error());
        }
        let code = digits.parse().map_err(|_| error())?;
        let (text, last) = match (rest.strip_prefix('-'), rest.strip_prefix(' ')) {
            (Some(text), _) => (text, false),
            (None, Some(text)) => (text, true),
            (None, None) => return Err(error()),
        };
        self.previous = (!last).then_some(code);
        Ok(Received::Line { code, text: text.to_owned(), last })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::control::reply::{MAX_LINE, Reply};
    use super::*;

    /// Lines of a whole reply; the last, and only the last, ends it.
    fn decode(bytes: &[u8]) -> Vec<(u16, String)> {
        let text = std::str::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap().split('\n').collect();
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            assert!(line.len() <= MAX_LINE);
            let Received::Line { code, text, last } = decoder.line(line).unwrap() else { panic!() };
            assert_eq!(last, index + 1 == lines.len());
            out.push((code, text));
        }
        out
    }

    #[test]
    fn lines_outside_the_protocol_are_refused() {
        for line in ["", "x", "00", "12345", "0001", "0001x", " no code before", "١٢٣٤ x", "+123-"]
        {
            let result = Decoder::default().line(line);
            assert_eq!(result.is_ok(), line.starts_with('+'), "{line}");
        }
        let mut decoder = Decoder::default();
        decoder.line("1000 the end").unwrap();
        assert!(decoder.line(" more").is_err());
    }

    proptest! {
        #[test]
        fn short_lines_come_back_as_they_went(
            lines in prop::collection::vec((0u16..10_000, "[ -~äλ語🦀\t]{0,100}"), 1..20),
        ) {
            let mut reply = Reply::new();
            for (code, text) in &lines {
                reply.push(*code, text.clone());
            }
            prop_assert_eq!(decode(&reply.encode()), lines);
        }

        #[test]
        fn long_texts_come_back_in_pieces_of_one_code(
            code in 0u16..10_000,
            text in "[a-zä語🦀 ]{900,4000}",
        ) {
            let pieces = decode(&Reply::one(code, text.clone()).encode());
            prop_assert!(pieces.iter().all(|piece| piece.0 == code));
            let joined: String = pieces.into_iter().map(|piece| piece.1).collect();
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn any_text_keeps_the_framing(code in 0u16..10_000, text in any::<String>()) {
            let pieces = decode(&Reply::one(code, text).encode());
            prop_assert!(pieces.iter().all(|piece| piece.0 == code));
            prop_assert!(pieces.iter().all(|piece| !piece.1.contains(|c: char| c.is_control() && c != '\t')));
        }

        #[test]
        fn any_line_is_read_or_refused(line in any::<String>()) {
            if let Ok(Received::Line { code, .. }) = Decoder::default().line(&line) {
                prop_assert!(code < 10_000);
            }
        }
    }
}
