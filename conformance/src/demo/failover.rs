//! A node dies with a transfer on it; then a node is stopped in good order.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cast::{Cast, ROUTE};
use super::narrator::Narrator;
use crate::lab::{fabric, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// SIGKILL and link down for the node that carries a long transfer.
pub(super) fn node_dies(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("The node that carries a long transfer is killed and its interface goes down");
    // A port used a moment ago may still stand in the node's flow table with the backend of that time, and only
    // there: the other node would choose by the ring.
    cast.fabric.client.sysctl(&[("net/ipv4/ip_local_port_range", "20000 29999")])?;
    let transfer = cast.client().transfer("failover", 10)?;
    let carrier = carrier(cast)?;
    let Some(carrier) = carrier else {
        narrator.expect(false, "one node's counters rise with the transfer");
        return Ok(());
    };
    let name = cast.nodes.get(carrier).context("no carrier")?.name().to_owned();
    narrator.say(format!("the counters of {name} rise with the transfer"));

    let start = Instant::now();
    let node = cast.nodes.get_mut(carrier).context("no carrier")?;
    node.daemon()?.kill()?;
    node.namespace().ip(&format!("link set {} down", fabric::INTERFACE))?;
    let moved = cast.await_next_hops(1, LIMIT).map(|_| start.elapsed());
    narrator.expect_time("router: one next hop is left", moved);
    let end = transfer.finish(LIMIT)?;
    narrator.expect(
        end.complete,
        format!("the transfer completes by the other node: {}", super::transferred(&end)),
    );

    narrator.say(format!("{name} starts again"));
    let start = Instant::now();
    let node = cast.nodes.get_mut(carrier).context("no carrier")?;
    node.namespace().ip(&format!("link set {} up", fabric::INTERFACE))?;
    node.namespace().ip(&format!("route replace default via {}", fabric::ROUTER))?;
    node.start()?;
    let back = cast.await_next_hops(2, LIMIT).map(|_| start.elapsed());
    narrator.expect_time("router: two next hops again", back);
    both_forward(cast, narrator)
}

/// Requests until both nodes' counters have risen.
fn both_forward(cast: &Cast, narrator: &mut Narrator) -> Result<()> {
    let packets = || -> Result<Vec<u64>> {
        Ok(cast.views()?.iter().map(|vip| vip.traffic.packets).collect())
    };
    let before = packets()?;
    let client = cast.client();
    let report = client.run(&client.requests(300))?;
    let risen = wait::until_true("both counters rise", Duration::from_secs(2), || {
        Ok(packets()?.iter().zip(&before).all(|(now, before)| now > before))
    });
    let failed = report.failures().count();
    narrator.expect(
        failed == 0 && risen.is_ok(),
        format!(
            "both nodes forward, {failed} of 300 requests failed{}",
            super::detail(report.failures().next())
        ),
    );
    Ok(())
}

/// The node whose forwarding counters rise while nothing but one transfer runs. Counters are up to a second old, so
/// that at first those of the requests before may still come in.
fn carrier(cast: &Cast) -> Result<Option<usize>> {
    for _ in 0..3 {
        if let [only] = rising(cast)?.as_slice() {
            return Ok(Some(*only));
        }
    }
    Ok(None)
}

/// The nodes that forward more than a few packets in a second.
fn rising(cast: &Cast) -> Result<Vec<usize>> {
    let before: Vec<u64> = cast.views()?.iter().map(|vip| vip.traffic.packets).collect();
    thread::sleep(Duration::from_secs(1));
    let now = cast.views()?;
    let rises = now.iter().zip(before).map(|(vip, before)| vip.traffic.packets > before + 5);
    Ok(rises.enumerate().filter_map(|(index, rises)| rises.then_some(index)).collect())
}

/// SIGTERM: the route is withdrawn first, then the session ends.
pub(super) fn orderly_stop(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    let name = cast.nodes.first().context("no node")?.name().to_owned();
    narrator.act(&format!("SIGTERM to {name}, under 500 requests a second"));
    cast.await_verdict(&cast.addresses(), "up", LIMIT)?;
    let client = cast.client();
    let mut arguments = client.requests(1500);
    arguments.rate = 500;
    let load = client.begin(&arguments)?;
    thread::sleep(Duration::from_millis(500));
    let mark = cast.router.log().len();
    let start = Instant::now();
    let stopped =
        cast.nodes.first_mut().context("no node")?.daemon()?.terminate(Duration::from_secs(10));
    narrator.expect_time("vc5d has ended in good order", stopped.map(|()| start.elapsed()));
    let ended = wait::until("NOTIFICATION", LIMIT, || {
        Ok(event(since(&cast.router.log(), mark), &name, "Received: "))
    });
    let log = cast.router.log();
    let withdrawn = event(since(&log, mark), &name, "> removed");
    let ended = ended.ok().map(|(event, _)| event);
    for (_, line) in withdrawn.iter().chain(&ended) {
        narrator.say(format!("router's log: {line}"));
    }
    narrator.expect(
        matches!((withdrawn, ended), (Some((first, _)), Some((second, _))) if first < second),
        "router: the withdraw came before the Cease NOTIFICATION",
    );
    let report = load.finish()?;
    let failed = report.failures().count();
    narrator.expect(
        failed == 0,
        format!(
            "{failed} of {} requests failed{}",
            report.requests.len(),
            super::detail(report.failures().next())
        ),
    );
    narrator.expect(cast.router.next_hops(ROUTE)?.len() == 1, "router: one next hop is left");
    Ok(())
}

fn since(log: &str, mark: usize) -> &str {
    log.get(mark..).unwrap_or_default()
}

/// The first line that speaks of a neighbour and has a word, with its number. The order of lines tells more than
/// their times: BIRD reads its clock once for all that it finds waiting.
fn event(log: &str, name: &str, word: &str) -> Option<(usize, String)> {
    log.lines()
        .enumerate()
        .find(|(_, line)| line.contains(name) && line.contains(word))
        .map(|(number, line)| (number, line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_ordered_by_line() {
        let log = "09:28:08.68 <TRACE> node2.ipv4 > removed [sole] 203.0.113.10/32\n\
                   09:28:08.68 <TRACE> node1.ipv4 > removed [sole] 203.0.113.10/32\n\
                   09:28:08.68 <RMT> node1: Received: Administrative shutdown\n";
        assert_eq!(event(log, "node1", "> removed").map(|(line, _)| line), Some(1));
        assert_eq!(event(log, "node1", "Received: ").map(|(line, _)| line), Some(2));
        assert_eq!(event(log, "node3", "> removed"), None);
    }
}
