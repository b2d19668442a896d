//! Bytes of a client to command lines, with a bound on how long a line may be. No input or output here.

/// Longest command line in bytes, without its newline.
pub const MAX_COMMAND: usize = 4096;

/// Why a line is no command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAX_COMMAND`].
    #[error("the line is longer than {MAX_COMMAND} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the line is not UTF-8 text")]
    NotUtf8,
}

/// Collects bytes into lines. A line that is too long is reported once, at its newline, and costs no memory
/// beyond the bound; the lines after it are read as ever.
#[derive(Debug, Default)]
pub struct Lines {
    /// Bytes of the line that has not ended yet; never more than the bound and one read.
    partial: Vec<u8>,
    /// Bytes of that line were thrown away.
    overlong: bool,
}

impl Lines {
    /// Takes bytes off the front of `input` up to and with the next newline; returns the line, if one ended.
    /// Call again until it returns none: `input` is empty then.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Result<String, Error>> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (line, rest) = input.split_at(end.unwrap_or(input.len()));
        if self.partial.len() + line.len() > MAX_COMMAND {
            self.overlong = true;
            self.partial = Vec::new();
        }
        if !self.overlong {
            self.partial.extend_from_slice(line);
        }
        if end.is_none() {
            *input = rest;
            return None;
        }
        *input = rest.get(1..).unwrap_or_default();
        let line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.overlong) {
            return Some(Err(Error::TooLong));
        }
        Some(String::from_utf8(line).map_err(|_| Error::NotUtf8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(pieces: &[&[u8]]) -> Vec<Result<String, Error>> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = lines.next(&mut input) {
                out.push(line);
            }
            assert!(input.is_empty());
            assert!(lines.partial.len() <= MAX_COMMAND);
        }
        out
    }

    #[test]
    fn lines_come_out_however_the_bytes_come_in() {
        let expected = vec![Ok("show status".to_owned()), Ok(String::new()), Ok("quit".to_owned())];
        assert_eq!(feed(&[b"show status\n\nquit\nrest"]), expected);
        assert_eq!(feed(&[b"show st", b"", b"atus\n", b"\nqu", b"it\n"]), expected);
    }

    #[test]
    fn a_bad_line_costs_only_itself() {
        let long = vec![b'x'; MAX_COMMAND + 1];
        let just = vec![b'y'; MAX_COMMAND];
        let got = feed(&[&long, &long, b"\nquit\n\xff\n", &just, b"\nexit\n"]);
        let just = String::from_utf8(just).unwrap();
        assert_eq!(
            got,
            [
                Err(Error::TooLong),
                Ok("quit".to_owned()),
                Err(Error::NotUtf8),
                Ok(just),
                Ok("exit".to_owned())
            ]
        );
    }
}
