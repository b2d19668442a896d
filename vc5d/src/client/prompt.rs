//! The prompt: history and completion by rustyline, one command at a time.

use std::io;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::connection::{Connection, Error};
use super::print::Printer;
use crate::control::grammar::{self, Line};

/// Completes the words of commands.
struct Words;

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or(line);
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let words = grammar::complete(before).into_iter().map(|word| format!("{word} ")).collect();
        Ok((start, words))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// Reads commands until `quit`, `exit` or the end of input.
///
/// # Errors
/// The daemon has gone, or the terminal cannot be used.
pub fn run(connection: &mut Connection) -> Result<(), Error> {
    let terminal = |error: ReadlineError| Error::Talk(io::Error::other(error));
    // As in a shell and in birdc: the common beginning first, then a list.
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<Words, DefaultHistory> =
        Editor::with_config(config).map_err(terminal)?;
    editor.set_helper(Some(Words));
    println!("{}", connection.greeting());
    loop {
        let line = match editor.readline("vc5> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) => continue,
            Err(error) => return Err(terminal(error)),
        };
        match grammar::parse(&line) {
            Ok(Line::Empty) => continue,
            Ok(Line::Quit) => return Ok(()),
            // What this client does not understand, a newer daemon may.
            _ => {}
        }
        editor.add_history_entry(line.as_str()).map_err(terminal)?;
        let mut printer = Printer::new(io::stdout(), io::stderr());
        connection.command(&line, |code, text| printer.line(code, text))?;
        printer.finish()?;
    }
}
