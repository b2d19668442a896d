//! The words of a shell's command line to a line for the daemon. No input or output here.

/// Joins `words` into one command.
///
/// The shell has taken quotes off: a word with white space in it, or an empty one, gets them back. A single word
/// is a whole command already, as in `vc5c 'disable tor1 "moving racks"'`.
#[must_use]
pub fn join(words: &[String]) -> String {
    let [single] = words else {
        return words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
    };
    single.clone()
}

fn quote(word: &str) -> String {
    let quoted = word.starts_with(['"', '\'']);
    let plain = !word.is_empty() && !word.contains(char::is_whitespace);
    match (quoted || plain, word.contains('"')) {
        (true, _) => word.to_owned(),
        (false, false) => format!("\"{word}\""),
        (false, true) => format!("'{word}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_that_the_shell_took_come_back() {
        let table: [(&[&str], &str); 7] = [
            (&["show", "protocols"], "show protocols"),
            (&["show protocols all"], "show protocols all"),
            (&["disable", "tor1", "moving racks"], "disable tor1 \"moving racks\""),
            (&["disable", "tor1", ""], "disable tor1 \"\""),
            (&["disable", "tor*", "say \"hi\" first"], "disable tor* 'say \"hi\" first'"),
            (&["disable", "\"tor 1\""], "disable \"tor 1\""),
            (&[], ""),
        ];
        for (words, line) in table {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(join(&words), line);
        }
    }
}
