//! Requests are spread over backends and nodes, and answers go past the nodes.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::cast::Cast;
use super::narrator::Narrator;
use crate::lab::{Counters, fabric};

const REQUESTS: u32 = 3000;
/// The nodes read their counters every second.
const COUNTERS: Duration = Duration::from_millis(1500);
/// Large against what the client sends for it, so that answers stand out in byte counters.
const ANSWER: u64 = 8192;

/// 3,000 requests on an undisturbed network.
pub(super) fn spread(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    narrator.act("3,000 requests from the client, each over a connection of its own");
    let before = Reading::take(cast)?;
    let client = cast.client();
    let mut arguments = client.requests(REQUESTS);
    arguments.bytes = ANSWER;
    let report = client.run(&arguments)?;
    thread::sleep(COUNTERS);
    let after = Reading::take(cast)?;

    let failed = report.failures().count();
    let first = report.failures().next();
    let total = report.requests.len();
    narrator.expect(
        failed == 0 && total == 3000,
        format!("{} of {total} requests answered{}", total - failed, super::detail(first)),
    );
    let counts = report.by_backend();
    narrator.expect(
        counts.len() == 3 && counts.values().all(|count| (700..=1300).contains(count)),
        format!("spread over the three backends: {counts:?}"),
    );
    let mut forwarded = Vec::new();
    for (index, node) in cast.nodes.iter().enumerate() {
        let packets = after.forwarded(index) - before.forwarded(index);
        forwarded.push(packets);
        narrator.expect(packets > 1000, format!("{} forwarded {packets} packets", node.name()));
    }
    let client = after.client.since(before.client);
    for (index, node) in cast.nodes.iter().enumerate() {
        let sent = after.node(index).since(before.node(index)).tx_bytes;
        narrator.expect(
            sent * 4 < client.rx_bytes,
            format!(
                "answers go past {}: the client received {} kB, the node sent {} kB",
                node.name(),
                client.rx_bytes / 1000,
                sent / 1000
            ),
        );
    }
    Ok(())
}

/// Counters of all that is looked at.
struct Reading {
    forwarded: Vec<u64>,
    nodes: Vec<Counters>,
    client: Counters,
}

impl Reading {
    fn take(cast: &Cast) -> Result<Self> {
        let counters = |node: &crate::lab::Node| node.namespace().counters(fabric::INTERFACE);
        Ok(Self {
            forwarded: cast.views()?.iter().map(|vip| vip.traffic.packets).collect(),
            nodes: cast.nodes.iter().map(counters).collect::<Result<_>>()?,
            client: cast.fabric.client.counters(fabric::INTERFACE)?,
        })
    }

    fn forwarded(&self, node: usize) -> u64 {
        self.forwarded.get(node).copied().unwrap_or_default()
    }

    fn node(&self, node: usize) -> Counters {
        self.nodes.get(node).copied().unwrap_or_default()
    }
}
