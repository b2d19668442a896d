//! One client's conversation: a line goes in, what to do about it comes out. No input or output here.

use super::clock::{Clock, TimeFormat};
use super::command::Command;
use super::grammar::{self, Ask, Line, Spec};
use super::lines;
use super::question::Question;
use super::reply::{Reply, code};
use super::show;
use crate::snapshot::Snapshot;

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Reply(Reply),
    /// Send this and close.
    Close(Reply),
    /// Have the core carry this out and send what comes of it.
    Command(Command),
    /// Ask the dataplane and send its answer.
    Ask {
        /// What.
        question: Question,
        /// As JSON.
        json: bool,
    },
    /// Send new flows as they come.
    Follow {
        /// So many; `None`: until the client has enough.
        count: Option<u64>,
        /// As JSON, one document a line.
        json: bool,
    },
    /// Nothing: an empty line has no answer.
    Nothing,
}

/// What a client has set for its own connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    restricted: bool,
    format: Option<TimeFormat>,
}

impl Session {
    /// The first line a client gets.
    #[must_use]
    pub fn greeting(snapshot: &Snapshot) -> Reply {
        Reply::one(code::WELCOME, format!("vc5 {} ready.", snapshot.status.version))
    }

    /// Answers a line. `now` is in Unix seconds, `zone` gives the seconds east of Greenwich at such a time.
    pub fn handle(
        &mut self,
        line: &Result<String, lines::Error>,
        snapshot: &Snapshot,
        now: f64,
        zone: fn(i64) -> i64,
    ) -> Step {
        let line = match line {
            Ok(line) => grammar::parse(line).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let clock = Clock { now, zone, format: self.format };
        match line {
            Err(error) => Step::Reply(Reply::one(code::PARSE_ERROR, error)),
            Ok(Line::Empty) => Step::Nothing,
            Ok(Line::Show { what, json: true }) => Step::Reply(show::json(snapshot, &what)),
            Ok(Line::Show { what, json: false }) => {
                Step::Reply(show::text(snapshot, &what, &clock))
            }
            Ok(Line::Daemon(_)) if self.restricted => {
                Step::Reply(Reply::one(code::ACCESS_DENIED, "Access denied"))
            }
            Ok(Line::Daemon(command)) => Step::Command(command),
            Ok(Line::Ask { what, json }) => match question(what, snapshot) {
                Ok(question) => Step::Ask { question, json },
                Err(reply) => Step::Reply(reply),
            },
            Ok(Line::Follow { count, json }) => Step::Follow { count, json },
            Ok(Line::Restrict) => {
                self.restricted = true;
                Step::Reply(Reply::one(code::RESTRICTED, "Access restricted"))
            }
            Ok(Line::EchoOff) => Step::Reply(Reply::new().done()),
            Ok(Line::TimeFormat(format)) => {
                self.format = Some(format);
                Step::Reply(Reply::new().done())
            }
            Ok(Line::Help(specs)) => Step::Reply(help(&specs)),
            Ok(Line::Quit) => Step::Close(Reply::new().done()),
        }
    }
}

/// The question with names looked up, or the reply that there is none of that name.
fn question(ask: Ask, snapshot: &Snapshot) -> Result<Question, Reply> {
    Ok(match ask {
        Ask::Trace(question) => Question::Trace(question),
        Ask::Flows { all } => Question::Flows { all },
        Ask::Flow(tuple) => Question::Flow(tuple),
        Ask::Maglev { vip, filter } => Question::Maglev(show::services_of(snapshot, &vip, filter)?),
    })
}

/// Commands and what they do, in birdc's columns.
fn help(specs: &[&'static Spec]) -> Reply {
    let mut reply = Reply::new();
    for spec in specs {
        let command = format!("{} {}", spec.words.join(" "), spec.arguments);
        reply.push(code::HELP, format!("{command:<45}  {}", spec.help));
    }
    reply.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(session: &mut Session, line: &str) -> Step {
        session.handle(&Ok(line.to_owned()), &Snapshot::default(), 0.0, |_| 0)
    }

    fn code_of(step: &Step) -> u16 {
        match step {
            Step::Reply(reply) | Step::Close(reply) => reply.code(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_restricted_session_looks_but_does_not_touch() {
        let mut session = Session::default();
        assert_eq!(say(&mut session, "down"), Step::Command(Command::Down));
        assert_eq!(
            say(&mut session, "restrict"),
            Step::Reply(Reply::one(code::RESTRICTED, "Access restricted"))
        );
        for line in ["down", "configure", "configure check", "disable all", "enable x"] {
            assert_eq!(code_of(&say(&mut session, line)), code::ACCESS_DENIED, "{line}");
        }
        assert_eq!(code_of(&say(&mut session, "show status")), code::STATUS);
        assert_eq!(code_of(&say(&mut session, "help")), code::OK);
    }

    #[test]
    fn a_time_format_lasts_for_the_session() {
        let mut session = Session::default();
        let server_time = |step| match step {
            Step::Reply(reply) => reply.lines()[3].text.clone(),
            other => panic!("{other:?}"),
        };
        let before = server_time(say(&mut session, "show status"));
        assert_eq!(before, "Current server time is 1970-01-01 00:00:00.000");
        assert_eq!(code_of(&say(&mut session, "timeformat iso short")), code::OK);
        let after = server_time(say(&mut session, "show status"));
        assert_eq!(after, "Current server time is 00:00:00");
    }

    #[test]
    fn bad_lines_get_a_parse_error_and_empty_ones_nothing() {
        let mut session = Session::default();
        assert_eq!(say(&mut session, "  "), Step::Nothing);
        assert_eq!(code_of(&say(&mut session, "nonsense")), code::PARSE_ERROR);
        let bad = session.handle(&Err(lines::Error::NotUtf8), &Snapshot::default(), 0.0, |_| 0);
        assert_eq!(code_of(&bad), code::PARSE_ERROR);
    }

    #[test]
    fn quitting_closes_after_an_answer() {
        let mut session = Session::default();
        assert_eq!(say(&mut session, "quit"), Step::Close(Reply::new().done()));
    }

    #[test]
    fn every_command_has_a_line_of_help() {
        let Step::Reply(reply) = say(&mut Session::default(), "?") else { panic!() };
        assert_eq!(reply.lines().len(), grammar::COMMANDS.len() + 1);
        assert!(reply.lines()[0].text.starts_with("configure [\"FILE\"] [soft]"));
    }
}
