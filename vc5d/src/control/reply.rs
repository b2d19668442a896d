//! Replies and their framing on the wire, as BIRD's clients read it.
//!
//! A reply is a list of lines, each with a four-digit code. On the wire every line but the last is
//! `DDDD-text`, or one space and the text when it repeats the code of the line before it; the last is
//! `DDDD text`. Codes 0xxx mean done, 1xxx are rows of data, 2xxx headings, 8xxx errors at run time and 9xxx
//! errors in the command. This module does no input or output.

/// Longest line on the wire in bytes, without the newline; readers in the field use buffers of 1 KiB.
pub const MAX_LINE: usize = 1023;

/// Room for text in a line: what four digits and the separator leave.
const MAX_TEXT: usize = MAX_LINE - 5;

/// First code that means failure.
pub const FIRST_ERROR: u16 = 8000;

/// The codes vc5 answers with: BIRD's where BIRD has one, 11xx and 21xx for what only vc5 has.
pub mod code {
    /// Done, without a text.
    pub const OK: u16 = 0;
    /// The greeting.
    pub const WELCOME: u16 = 1;
    /// Reading a configuration file.
    pub const READING: u16 = 2;
    /// The new configuration is in force.
    pub const RECONFIGURED: u16 = 3;
    /// Shutdown requested.
    pub const SHUTDOWN: u16 = 7;
    /// It was already disabled.
    pub const ALREADY_DISABLED: u16 = 8;
    /// Now disabled.
    pub const DISABLED: u16 = 9;
    /// It was already enabled.
    pub const ALREADY_ENABLED: u16 = 10;
    /// Now enabled.
    pub const ENABLED: u16 = 11;
    /// Restarted.
    pub const RESTARTED: u16 = 12;
    /// Last line of `show status`.
    pub const STATUS: u16 = 13;
    /// Total of a route count.
    pub const ROUTE_COUNT: u16 = 14;
    /// The session may only look from now on.
    pub const RESTRICTED: u16 = 16;
    /// The configuration file is valid.
    pub const CONFIG_OK: u16 = 20;
    /// Name and version.
    pub const VERSION: u16 = 1000;
    /// An interface.
    pub const INTERFACE: u16 = 1001;
    /// Row of `show protocols`.
    pub const PROTOCOL: u16 = 1002;
    /// Details of an interface.
    pub const INTERFACE_DETAIL: u16 = 1004;
    /// Details of a protocol.
    pub const PROTOCOL_DETAIL: u16 = 1006;
    /// A route.
    pub const ROUTE: u16 = 1007;
    /// Type of a route.
    pub const ROUTE_TYPE: u16 = 1008;
    /// A symbol.
    pub const SYMBOL: u16 = 1010;
    /// Lines of `show status`.
    pub const UPTIME: u16 = 1011;
    /// Attributes of a route.
    pub const ROUTE_ATTRIBUTE: u16 = 1012;
    /// A piece of JSON text; the pieces joined are one document.
    pub const JSON: u16 = 1100;
    /// Row of `show vips`.
    pub const VIP: u16 = 1101;
    /// Row of `show services`.
    pub const SERVICE: u16 = 1102;
    /// Row of `show backends`.
    pub const BACKEND: u16 = 1103;
    /// Lines of `show vip`.
    pub const VIP_DETAIL: u16 = 1104;
    /// Lines of `help`.
    pub const HELP: u16 = 1105;
    /// Lines of `trace`.
    pub const TRACE: u16 = 1106;
    /// Lines and rows of `show maglev`.
    pub const MAGLEV: u16 = 1107;
    /// Lines and rows of `show flows`, lines of `show flow`.
    pub const FLOWS: u16 = 1108;
    /// A new flow.
    pub const NEW_FLOW: u16 = 1109;
    /// Row of `show counters`.
    pub const COUNTERS: u16 = 1110;
    /// Row of `show history`.
    pub const HISTORY: u16 = 1112;
    /// Lines of `explain`.
    pub const EXPLAIN: u16 = 1113;
    /// A whole JSON document.
    pub const JSON_LINE: u16 = 1111;
    /// Heading of `show protocols`.
    pub const PROTOCOL_HEADING: u16 = 2002;
    /// Heading of `show vips`.
    pub const VIP_HEADING: u16 = 2101;
    /// Heading of `show services`.
    pub const SERVICE_HEADING: u16 = 2102;
    /// Heading of `show backends`.
    pub const BACKEND_HEADING: u16 = 2103;
    /// Heading of `show maglev`.
    pub const MAGLEV_HEADING: u16 = 2107;
    /// Heading of `show flows`.
    pub const FLOWS_HEADING: u16 = 2108;
    /// Heading of `show counters`.
    pub const COUNTERS_HEADING: u16 = 2110;
    /// Heading of `show history`.
    pub const HISTORY_HEADING: u16 = 2112;
    /// The daemon could not carry out a command for a reason without a code of its own.
    pub const FAILED: u16 = 8000;
    /// There is nothing of that name or destination.
    pub const NOT_FOUND: u16 = 8001;
    /// The configuration file is not valid.
    pub const CONFIG_ERROR: u16 = 8002;
    /// No protocol has such a name.
    pub const NO_PROTOCOL: u16 = 8003;
    /// A restricted session asked for a change.
    pub const ACCESS_DENIED: u16 = 8007;
    /// The command cannot be understood.
    pub const PARSE_ERROR: u16 = 9001;
}

/// One line of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Four-digit code, 0 to 9999.
    pub code: u16,
    /// The text without the framing.
    pub text: String,
}

/// A whole reply; its last line ends it on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    lines: Vec<Line>,
}

impl Reply {
    /// A reply without lines, to be filled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A reply of one line.
    #[must_use]
    pub fn one(code: u16, text: impl Into<String>) -> Self {
        let mut reply = Self::new();
        reply.push(code, text);
        reply
    }

    /// Appends a line. A text of several lines becomes several lines of the same code.
    pub fn push(&mut self, code: u16, text: impl Into<String>) {
        self.lines.push(Line { code, text: text.into() });
    }

    /// Appends the closing line of a listing, `0000` without a text.
    #[must_use]
    pub fn done(mut self) -> Self {
        self.push(code::OK, "");
        self
    }

    /// The lines in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Code of the last line: the outcome. An empty reply is a success.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.lines.last().map_or(code::OK, |line| line.code)
    }

    /// The bytes for the wire. Control characters other than a tab become spaces, so that a text from
    /// outside can break neither the framing nor a terminal; a text too long for a line is cut into several
    /// lines of the same code.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut pieces = self.pieces();
        if pieces.is_empty() {
            pieces.push((code::OK, String::new()));
        }
        frame(&pieces)
    }

    /// As [`Self::encode`], with more lines to follow later.
    #[must_use]
    pub fn encode_part(&self) -> Vec<u8> {
        let lines = self.pieces().into_iter().map(|(code, text)| format!("{code:04}-{text}\n"));
        lines.collect::<String>().into_bytes()
    }

    fn pieces(&self) -> Vec<(u16, String)> {
        let mut pieces: Vec<(u16, String)> = Vec::new();
        for line in &self.lines {
            for text in line.text.split('\n') {
                let text = printable(text);
                pieces.extend(chunks(&text, MAX_TEXT).map(|chunk| (line.code, chunk.to_owned())));
            }
        }
        pieces
    }
}

/// A line that belongs to no reply: clients of BIRD's protocol take no notice of it.
pub const SIGN_OF_LIFE: &[u8] = b"+\n";

fn frame(pieces: &[(u16, String)]) -> Vec<u8> {
    let mut out = String::new();
    let mut previous = None;
    for (index, (code, text)) in pieces.iter().enumerate() {
        if index + 1 == pieces.len() {
            out.push_str(&format!("{code:04} "));
        } else if previous == Some(*code) {
            out.push(' ');
        } else {
            out.push_str(&format!("{code:04}-"));
        }
        out.push_str(text);
        out.push('\n');
        previous = Some(*code);
    }
    out.into_bytes()
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

/// Cuts `text` into pieces of at most `limit` bytes between characters; an empty text is one empty piece.
pub(crate) fn chunks(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= limit {
            return Some(text);
        }
        let cut = (1..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let (piece, tail) = text.split_at(cut);
        rest = (!tail.is_empty()).then_some(tail);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        String::from_utf8(reply.encode()).unwrap()
    }

    #[test]
    fn repeated_codes_shrink_to_a_space_and_the_last_line_is_always_whole() {
        let mut reply = Reply::one(code::VERSION, "vc5 1");
        reply.push(code::UPTIME, "a");
        reply.push(code::UPTIME, "b");
        assert_eq!(wire(&reply), "1000-vc5 1\n1011-a\n1011 b\n");
        assert_eq!(wire(&reply.done()), "1000-vc5 1\n1011-a\n b\n0000 \n");
    }

    #[test]
    fn an_empty_reply_is_a_success() {
        assert_eq!(wire(&Reply::new()), "0000 \n");
        assert_eq!(Reply::new().code(), code::OK);
    }

    #[test]
    fn text_from_outside_cannot_break_the_framing() {
        let reply = Reply::one(code::VIP_DETAIL, "evil\n0000 \r\u{1b}[2J\u{9b}x\ty");
        assert_eq!(wire(&reply.done()), "1104-evil\n 0000   [2J x\ty\n0000 \n");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "é".repeat(1200);
        let bytes = Reply::one(code::CONFIG_ERROR, text.clone()).encode();
        let lines: Vec<&str> = std::str::from_utf8(&bytes).unwrap().lines().collect();
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE));
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("8002-é") && lines[1].starts_with(" é"));
        assert!(lines[2].starts_with("8002 é"));
        let joined: String = lines.iter().flat_map(|l| l.chars().filter(|c| *c == 'é')).collect();
        assert_eq!(joined, text);
    }
}
