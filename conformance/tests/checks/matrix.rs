//! The matrix of types and ways, as text, and below it what each scenario found.

use std::fmt::Write as _;
use std::path::Path;

use crate::row::{Finding, Row, Way};
use crate::rows::{CANNOT, KINDS};

/// The table, the reasons for what is not in it, and all diagnostics.
pub(crate) fn render(rows: &[Row], findings: &[Finding]) -> String {
    let mut text = format!("{:<19}", "");
    for kind in KINDS {
        let _ = write!(text, "{kind:<9}");
    }
    let mut notes = String::new();
    for (way, number) in Way::ALL.into_iter().zip(1..) {
        let _ = write!(text, "\n{:<19}", way.name());
        for kind in KINDS {
            let _ = write!(text, "{:<9}", cell(rows, findings, kind, way));
        }
        for (kinds, _, reason) in CANNOT.iter().filter(|(_, of, _)| *of == way) {
            let _ = writeln!(notes, "[{number}] {}: {reason}", kinds.join(", "));
        }
    }
    let _ = write!(text, "\n\neach cell: scenarios passed, of IPv4 and IPv6 together\n{notes}\n");
    for (index, row) in rows.iter().enumerate() {
        let head = format!("{:<8} {:<18} {}", row.kind, row.way.name(), row.what);
        let mut said: Vec<_> = findings
            .iter()
            .filter(|finding| finding.row == index)
            .map(|finding| {
                let verdict = if finding.outcome.ok { "passes" } else { "fails" };
                let late = finding.wrong(rows).map_or("", |_| " NOT AS WANTED");
                format!("{verdict}: {}{late}", finding.outcome.diagnostic)
            })
            .collect();
        said.dedup();
        let _ = writeln!(text, "{head:<60} {}", said.join(" / IPv6 "));
    }
    text
}

fn cell(rows: &[Row], findings: &[Finding], kind: &str, way: Way) -> String {
    let of_cell: Vec<_> = findings
        .iter()
        .filter(|finding| rows[finding.row].kind == kind && rows[finding.row].way == way)
        .collect();
    if of_cell.is_empty() {
        let number = Way::ALL.iter().position(|one| *one == way).unwrap() + 1;
        return if cannot(kind, way) { format!("[{number}]") } else { "-".to_owned() };
    }
    let passed = of_cell.iter().filter(|finding| finding.wrong(rows).is_none()).count();
    format!("{passed}/{}", of_cell.len())
}

fn cannot(kind: &str, way: Way) -> bool {
    CANNOT.iter().any(|(kinds, of, _)| *of == way && kinds.contains(&kind))
}

/// Cells that have neither a scenario nor a reason.
pub(crate) fn gaps(rows: &[Row]) -> Vec<String> {
    let cells = KINDS.iter().flat_map(|kind| Way::ALL.map(|way| (*kind, way)));
    cells
        .filter(|(kind, way)| !rows.iter().any(|row| row.kind == *kind && row.way == *way))
        .filter(|(kind, way)| !cannot(kind, *way))
        .map(|(kind, way)| format!("{kind}, {}", way.name()))
        .collect()
}

/// Writes it to `target/checks.txt`.
pub(crate) fn keep(text: &str) -> std::io::Result<()> {
    let tool = Path::new(env!("CARGO_BIN_EXE_vc5-lab"));
    let target = tool.parent().and_then(Path::parent).expect("target/PROFILE/vc5-lab");
    std::fs::write(target.join("checks.txt"), text)
}
