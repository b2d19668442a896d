//! `vc5c`, the client of a running `vc5d`.

use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use vc5d::client::print::Printer;
use vc5d::client::{Connection, Error, prompt, words};
use vc5d::control::grammar::{self, Line};
use vc5d::control::reply::FIRST_ERROR;

/// Bytes of output that are written at a time.
const BUFFER: usize = 8192;

/// Look at a running vc5d and steer it.
///
/// Without a command this opens a prompt. Exit status: 0 the command succeeded, 1 it failed or no daemon answers,
/// 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, after_help = "Commands: vc5c help")]
struct Options {
    /// The daemon's control socket.
    #[arg(short, long, default_value = "/run/vc5/vc5.ctl", value_name = "PATH")]
    socket: PathBuf,
    /// Print JSON; for show commands and trace.
    #[arg(short, long, requires = "command")]
    json: bool,
    /// Allow only commands that look.
    #[arg(short, long)]
    restrict: bool,
    /// The command, for instance: show protocols all.
    command: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(code) if code < FIRST_ERROR => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        // The reader had enough: `vc5c show route | head`.
        Err(Error::Talk(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vc5c: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the code of the last reply.
fn run(options: &Options) -> Result<u16, Error> {
    let mut connection = Connection::open(&options.socket)?;
    if options.restrict {
        let code = connection.command("restrict", |_, _| Ok(()))?;
        if code >= FIRST_ERROR {
            return Ok(code);
        }
    }
    if options.command.is_empty() {
        return prompt::run(&mut connection).map(|()| 0);
    }
    let mut command = words::join(&options.command);
    if options.json {
        command.insert_str(0, "json ");
    }
    // New flows are to be seen when they come, everything else when it is whole.
    let follows = matches!(grammar::parse(&command), Ok(Line::Follow { .. }));
    let room = if follows { 0 } else { BUFFER };
    let mut printer = Printer::new(BufWriter::with_capacity(room, io::stdout()), io::stderr());
    let code = connection.command(&command, |code, text| printer.line(code, text))?;
    printer.finish().map_err(Error::Talk)?;
    Ok(code)
}
