//! One backend's service stops and returns.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cast::{Cast, ROUTE};
use super::narrator::{Narrator, seconds};
use crate::lab::client::Transfer;
use crate::tool::unix_now;

/// The backend whose service stops.
const VICTIM: usize = 1;
const TRANSFER_SECONDS: u64 = 7;
const LIMIT: Duration = Duration::from_secs(15);

/// The service stops under load.
pub(super) fn stops(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    let victim = cast.backends.get(VICTIM).context("no victim")?;
    let (name, address) = (victim.name().to_owned(), victim.address());
    narrator.act(&format!("The service on {name} stops, under 500 requests a second"));
    let transfers = others(cast, &name)?;
    narrator.say(format!("{} long transfers run on the other backends", transfers.len()));

    let client = cast.client();
    let mut arguments = client.requests(2500);
    arguments.rate = 500;
    let load = client.begin(&arguments)?;
    thread::sleep(Duration::from_secs(1));
    let stopped = unix_now();
    cast.backends.get_mut(VICTIM).context("no victim")?.stop()?;
    let detected = cast.await_verdict(&[address], "down", LIMIT)?;
    narrator.expect(
        detected - stopped < 3.0,
        format!("both nodes have detected it {}", after(stopped, detected)),
    );
    let changed = cast.await_ring(address, false, LIMIT)?;
    let report = load.finish()?;

    let before = report.between(0.0, changed);
    let since = report.between(changed, f64::INFINITY);
    narrator.say(format!(
        "until the rings had changed, {} of {} requests failed{}",
        before.failures().count(),
        before.requests.len(),
        super::detail(before.failures().next()),
    ));
    let failed = since.failures().count();
    narrator.expect(
        failed == 0 && since.requests.len() > 200,
        format!(
            "after that {failed} of {} requests failed{}",
            since.requests.len(),
            super::detail(since.failures().next())
        ),
    );
    let (was, is) = (report.between(0.0, stopped).by_backend().len(), since.by_backend());
    narrator.expect(
        was == 3 && is.len() == 2 && !is.contains_key(name.as_str()),
        format!("its share has moved to the others: {is:?}"),
    );
    narrator.expect(cast.router.next_hops(ROUTE)?.len() == 2, "the VIP stays announced by both");
    for transfer in transfers {
        let end = transfer.finish(LIMIT)?;
        narrator.expect(
            end.complete && end.longest_gap < 1.0,
            format!("transfer on {}: {}", end.backend, super::transferred(&end)),
        );
    }
    Ok(())
}

/// Transfers until both other backends have one; those on the victim are given up.
fn others(cast: &Cast, victim: &str) -> Result<Vec<Transfer>> {
    let mut kept: Vec<(String, Transfer)> = Vec::new();
    for number in 0..32 {
        let transfer = cast.client().transfer(&format!("transfer{number}"), TRANSFER_SECONDS)?;
        let backend = transfer.progress().context("no progress")?.backend;
        if backend != victim && !kept.iter().any(|(name, _)| *name == backend) {
            kept.push((backend, transfer));
        }
        if kept.len() == cast.backends.len() - 1 {
            break;
        }
    }
    Ok(kept.into_iter().map(|(_, transfer)| transfer).collect())
}

/// The service returns under load.
pub(super) fn returns(cast: &mut Cast, narrator: &mut Narrator) -> Result<()> {
    let victim = cast.backends.get_mut(VICTIM).context("no victim")?;
    let (name, address) = (victim.name().to_owned(), victim.address());
    narrator.act(&format!("The service on {name} returns, under 1,000 new connections a second"));
    let client = cast.client();
    let mut arguments = client.requests(3000);
    arguments.rate = 1000;
    let load = client.begin(&arguments)?;
    thread::sleep(Duration::from_millis(300));
    let started = unix_now();
    cast.backends.get_mut(VICTIM).context("no victim")?.start()?;
    let detected = cast.await_verdict(&[address], "up", LIMIT)?;
    narrator.expect(true, format!("both nodes find it healthy {}", after(started, detected)));
    let changed = cast.await_ring(address, true, LIMIT)?;
    let report = load.finish()?;

    let failed = report.failures().count();
    let since = report.between(changed, f64::INFINITY);
    narrator.expect(
        since.requests.len() > 200,
        format!(
            "the ring changed back with {} of the connections yet to come",
            since.requests.len()
        ),
    );
    narrator.expect(
        failed == 0 && report.requests.len() == 3000,
        format!(
            "{failed} of {} connections failed{}",
            report.requests.len(),
            super::detail(report.failures().next())
        ),
    );
    let shares = since.by_backend();
    narrator.expect(shares.len() == 3, format!("it has its share again: {shares:?}"));
    Ok(())
}

fn after(from: f64, to: f64) -> String {
    format!("after {}", seconds(Duration::from_secs_f64((to - from).clamp(0.0, 1e6))))
}
