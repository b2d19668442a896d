//! A command line taken apart: words, quoted strings, and the errors that name the offending one.

/// One word of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The text without quotes.
    pub(crate) text: String,
    /// It stood in quotes, so it is never a keyword.
    pub(crate) quoted: bool,
}

/// Why a command line cannot be understood; the text of the 9001 reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

/// Splits a line at white space. `"..."` and `'...'` are one word each, as BIRD's strings and symbols are; a
/// quote inside them cannot be escaped, as in BIRD.
pub(crate) fn split(line: &str) -> Result<Vec<Word>, Error> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (text, quoted, tail) = if matches!(first, '"' | '\'') {
            let inner = rest.get(1..).unwrap_or_default();
            let (text, tail) = inner
                .split_once(first)
                .ok_or_else(|| Error(format!("{rest}: the closing quote is missing")))?;
            (text, true, tail)
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (text, tail) = rest.split_at(end);
            (text, false, tail)
        };
        words.push(Word { text: text.to_owned(), quoted });
        rest = tail.trim_start();
    }
    Ok(words)
}

/// What a word stands for among `choices`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// The word itself or its only extension.
    One(&'a str),
    /// Several choices begin so.
    Ambiguous(Vec<&'a str>),
    /// No choice begins so.
    Unknown,
}

/// Finds the choice that `word` is, or is the beginning of.
pub(crate) fn choose<'a>(word: &str, choices: impl IntoIterator<Item = &'a str>) -> Choice<'a> {
    let mut candidates: Vec<&str> = Vec::new();
    for choice in choices {
        if choice == word {
            return Choice::One(choice);
        }
        if !word.is_empty() && choice.starts_with(word) && !candidates.contains(&choice) {
            candidates.push(choice);
        }
    }
    match candidates.as_slice() {
        [] => Choice::Unknown,
        [one] => Choice::One(one),
        _ => Choice::Ambiguous(candidates),
    }
}

/// The words after a command, taken one by one.
pub(crate) struct Arguments<'a> {
    command: String,
    words: &'a [Word],
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(command: String, words: &'a [Word]) -> Self {
        Self { command, words }
    }

    /// Takes the next word, if there is one.
    pub(crate) fn next(&mut self) -> Option<&'a Word> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// Takes the next word or fails, saying what is missing.
    pub(crate) fn need(&mut self, what: &str) -> Result<&'a Word, Error> {
        self.next().ok_or_else(|| Error(format!("{}: {what} is missing", self.command)))
    }

    /// Fails if words are left.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        self.next().map_or(Ok(()), |word| Err(self.unexpected(word)))
    }

    /// The error for a word that has no place here.
    pub(crate) fn unexpected(&self, word: &Word) -> Error {
        self.wrong(word, "is not expected here")
    }

    /// The error for a word that is not what it should be.
    pub(crate) fn wrong(&self, word: &Word, why: &str) -> Error {
        Error(format!("{}: \"{}\" {why}", self.command, word.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_into_words_and_strings() {
        let word = |text: &str, quoted| Word { text: text.into(), quoted };
        assert_eq!(
            split("  disable \"tor*\"\t'a b' x\"y ").unwrap(),
            [word("disable", false), word("tor*", true), word("a b", true), word("x\"y", false)]
        );
        assert_eq!(split("").unwrap(), []);
        assert_eq!(split("\"\"é").unwrap(), [word("", true), word("é", false)]);
        assert_eq!(
            split("show \"abc").unwrap_err().to_string(),
            "\"abc: the closing quote is missing"
        );
    }

    #[test]
    fn beginnings_stand_for_their_only_extension() {
        let choices = ["vip", "vips", "status"];
        assert_eq!(choose("vip", choices), Choice::One("vip"));
        assert_eq!(choose("s", choices), Choice::One("status"));
        assert_eq!(choose("v", choices), Choice::Ambiguous(vec!["vip", "vips"]));
        assert_eq!(choose("x", choices), Choice::Unknown);
        assert_eq!(choose("", choices), Choice::Unknown);
    }
}
