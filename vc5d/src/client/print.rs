//! Replies as a person or a script sees them: the look of birdc, and JSON in one piece.

use std::io::{self, Write};

use crate::control::reply::{FIRST_ERROR, code};

/// Writes the lines of one reply.
#[derive(Debug)]
pub struct Printer<O, E> {
    out: O,
    err: E,
    in_json: bool,
}

impl<O: Write, E: Write> Printer<O, E> {
    /// Writes what was asked for to `out` and what went wrong to `err`.
    pub fn new(out: O, err: E) -> Self {
        Self { out, err, in_json: false }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// Those of writing.
    pub fn line(&mut self, code: u16, text: &str) -> io::Result<()> {
        let json = code == code::JSON;
        if self.in_json && !json {
            writeln!(self.out)?;
        }
        self.in_json = json;
        match code {
            code::OK => Ok(()),
            code::JSON => self.out.write_all(text.as_bytes()),
            code if code >= FIRST_ERROR => writeln!(self.err, "{text}"),
            _ => writeln!(self.out, "{text}"),
        }
    }

    /// Makes sure all of it is out.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines<'a> = &'a [(u16, &'a str)];

    fn printed(lines: Lines<'_>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(&mut out, &mut err);
        for (code, text) in lines {
            printer.line(*code, text).unwrap();
        }
        printer.finish().unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn text_is_printed_by_line_json_in_one_and_errors_apart() {
        let table: [(Lines<'_>, &str, &str); 3] = [
            (&[(2101, "Name"), (1101, "www"), (0, "")], "Name\nwww\n", ""),
            (&[(1100, "[1,"), (1100, "2]"), (0, "")], "[1,2]\n", ""),
            (&[(8001, "There is no VIP x")], "", "There is no VIP x\n"),
        ];
        for (lines, out, err) in table {
            assert_eq!(printed(lines), (out.to_owned(), err.to_owned()));
        }
    }
}
