//! All backends stop: the route goes. They return: it comes back.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::cast::{Cast, ROUTE};
use super::narrator::Narrator;

const LIMIT: Duration = Duration::from_secs(15);
/// From the last verdict to the withdraw on the wire, at most.
const SOON: Duration = Duration::from_millis(5);

/// All three services stop at once.
pub(super) fn begins(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("All backends' services stop");
    let marks: Vec<usize> = cast.nodes.iter().map(|node| node.log().len()).collect();
    let start = Instant::now();
    for backend in &mut cast.backends {
        backend.stop()?;
    }
    let gone = cast.await_next_hops(0, LIMIT).map(|_| start.elapsed());
    narrator.expect_time(&format!("router: {ROUTE} has left the table"), gone);
    let mut fastest = Duration::MAX;
    for (node, mark) in cast.nodes.iter().zip(marks) {
        let took = verdict_to_wire(node.log().get(mark..).unwrap_or_default());
        fastest = fastest.min(took.unwrap_or(Duration::MAX));
        let text = took.map_or_else(|| "not logged".to_owned(), |took| format!("{took:?}"));
        narrator.expect(
            took.is_some(),
            format!("{}: last failing verdict to withdraw on the wire: {text}", node.name()),
        );
        narrator.expect(
            cast.router.established(node.name())?,
            format!("the session with {} stays Established", node.name()),
        );
    }
    // A busy machine may hold up either; hardly both.
    narrator.expect(fastest < SOON, format!("the faster one took less than {SOON:?}"));
    Ok(())
}

/// The last withdraw in a log: from the verdict to the write of the UPDATE.
fn verdict_to_wire(log: &str) -> Option<Duration> {
    const FIELD: &str = "verdict_to_wire_us=";
    let rest = log.get(log.rfind(FIELD)? + FIELD.len()..)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(Duration::from_micros)
}

/// They return.
pub(super) fn ends(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("The services return");
    let start = Instant::now();
    for backend in &mut cast.backends {
        backend.start()?;
    }
    let back = cast.await_next_hops(2, LIMIT).map(|_| start.elapsed());
    narrator.expect_time(&format!("router: {ROUTE} with two next hops again"), back);
    cast.await_verdict(&cast.addresses(), "up", LIMIT)?;
    let client = cast.client();
    let report = client.run(&client.requests(300))?;
    let failed = report.failures().count();
    narrator.expect(
        failed == 0,
        format!("{failed} of 300 requests failed{}", super::detail(report.failures().next())),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_withdraw_of_a_log_counts() {
        let log = "gate: up\ngate: withdrawn verdict_to_wire_us=900 vip=www\n\
                   gate: withdrawn verdict_to_wire_us=412\n";
        assert_eq!(verdict_to_wire(log), Some(Duration::from_micros(412)));
        assert_eq!(verdict_to_wire("gate: up"), None);
    }
}
