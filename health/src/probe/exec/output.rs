//! What a command says, as far as it is of interest.

use std::convert::Infallible;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Bytes that are kept. What comes after them is read all the same, so that nothing hangs.
const KEPT: usize = 4096;

/// Characters of a line that are shown.
const SHOWN: usize = 200;

/// The beginning of what was said.
#[derive(Debug, Default)]
pub(super) struct Output {
    kept: Vec<u8>,
}

impl Output {
    /// Reads for ever.
    pub(super) async fn follow(&mut self, pipe: &mut Receiver) -> Infallible {
        let mut buffer = [0; KEPT];
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            self.keep(buffer.get(..length).unwrap_or_default());
        }
        std::future::pending().await
    }

    /// Reads what is there already, as long as there is room for it.
    pub(super) fn rest(&mut self, pipe: &mut Receiver) {
        let mut buffer = [0; KEPT];
        while self.kept.len() < KEPT
            && let Ok(length @ 1..) = pipe.try_read(&mut buffer)
        {
            self.keep(buffer.get(..length).unwrap_or_default());
        }
    }

    fn keep(&mut self, data: &[u8]) {
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(data.get(..room).unwrap_or(data));
    }

    /// The first line that is not blank.
    pub(super) fn line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        Some(line.chars().take(SHOWN).map(plain).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_kept_within_bounds() {
        let line = |text: &[u8]| {
            let mut output = Output::default();
            text.chunks(1000).for_each(|part| output.keep(part));
            assert!(output.kept.len() <= KEPT);
            output.line()
        };
        assert_eq!(line(b""), None);
        assert_eq!(line(b" \n\n  a\x1b[b\xff \nc\n").as_deref(), Some("a [b\u{fffd}"));
        assert_eq!(line(&[b'x'; 3 * KEPT]), Some("x".repeat(SHOWN)));
    }
}
