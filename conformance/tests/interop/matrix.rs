//! The matrix of peers and scenarios, as text.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How a scenario with a peer ended.
#[derive(Debug)]
pub(crate) enum Cell {
    Passed(Duration),
    /// Why this peer cannot play it.
    Cannot(&'static str),
    Failed(String),
}

/// All scenarios with one peer.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) peer: &'static str,
    pub(crate) cells: Vec<(&'static str, Cell)>,
    pub(crate) took: Duration,
}

/// What `VC5_INTEROP` leaves: part of a peer's name, part of a scenario's.
pub(crate) fn selection() -> (String, String) {
    let text = std::env::var("VC5_INTEROP").unwrap_or_default().to_lowercase();
    let (peer, scenario) = text.split_once(':').unwrap_or((&text, ""));
    (peer.to_owned(), scenario.to_owned())
}

/// The table, then the reasons.
pub(crate) fn render(columns: &[Column]) -> String {
    let mut text = format!("{:<44}", "vc5d beside");
    for column in columns {
        let _ = write!(text, "{:<14}", column.peer);
    }
    text.push('\n');
    let mut notes = String::new();
    let mut count = 0;
    let rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        let _ = write!(text, "{:<44}", columns[0].cells[row].0);
        for column in columns {
            let (name, cell) = &column.cells[row];
            let word = match cell {
                Cell::Passed(took) => format!("passed {:.1}s", took.as_secs_f64()),
                Cell::Cannot(reason) => {
                    count += 1;
                    let _ = writeln!(notes, "[{count}] {}, {name}: {reason}", column.peer);
                    format!("[{count}]")
                }
                Cell::Failed(reason) => {
                    let _ = writeln!(notes, "FAILED {}, {name}: {reason}\n", column.peer);
                    "FAILED".to_owned()
                }
            };
            let _ = write!(text, "{word:<14}");
        }
        text.push('\n');
    }
    let _ = write!(text, "{:<44}", "all of it");
    for column in columns {
        let _ = write!(text, "{:<14}", format!("{:.0} s", column.took.as_secs_f64()));
    }
    format!("{text}\n{notes}")
}

/// Writes it to `target/interop.txt`.
pub(crate) fn keep(text: &str) -> std::io::Result<()> {
    let tool = Path::new(env!("CARGO_BIN_EXE_vc5-lab"));
    let target = tool.parent().and_then(Path::parent).expect("target/PROFILE/vc5-lab");
    std::fs::write(target.join("interop.txt"), text)
}
