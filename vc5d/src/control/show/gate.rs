//! What decides about the route of a VIP beside health, and what goes out with it, in words.

use super::super::clock::Clock;
use crate::snapshot::{Capacity, Damping, Told, Vip};

/// The lines on flap damping, capacity and attributes that there is something to say of.
pub(super) fn lines(vip: &Vip, clock: &Clock) -> Vec<String> {
    let Capacity { weight, full, percent } = vip.capacity;
    let mut lines = Vec::new();
    lines.extend(vip.damping.as_ref().map(|damping| damped(vip, damping, clock)));
    match &vip.told {
        Some(told) => lines.extend(told_line(told, vip.capacity, clock)),
        None if weight < full => {
            lines
                .push(format!("{percent} % of its capacity is healthy: weight {weight} of {full}"));
        }
        None => {}
    }
    lines
}

/// `withdrawn 3 times without being asked; the penalty for that is 1500, and it is suppressed above 2000`
fn damped(vip: &Vip, damping: &Damping, clock: &Clock) -> String {
    let times = match vip.flaps {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        many => format!("{many} times"),
    };
    let penalty = damping.penalty_at(clock.now);
    let so = match damping.suppressed_until.filter(|until| *until > clock.now) {
        Some(until) => format!("it is suppressed until {}", clock.table(until)),
        None => format!("above {} it is suppressed", damping.suppress),
    };
    format!("withdrawn {times} by its health or the dataplane: penalty {penalty:.0}, {so}")
}

/// `routers are told of 60 % of its capacity: link bandwidth 75000000 bytes/s, MED 200`
fn told_line(told: &Told, capacity: Capacity, clock: &Clock) -> Option<String> {
    let mut with = Vec::new();
    with.extend(told.draining.then(|| "GRACEFUL_SHUTDOWN".to_owned()));
    with.extend(told.link_bandwidth.map(|bytes| format!("link bandwidth {bytes:.0} bytes/s")));
    with.extend(told.med.map(|med| format!("MED {med}")));
    with.extend(told.local_pref.map(|preference| format!("LOCAL_PREF {preference}")));
    with.extend(told.communities.iter().map(|community| format!("community {community}")));
    let with = with.join(", ");
    let Some(percent) = told.percent else {
        return (!with.is_empty()).then(|| format!("it goes out with {with}"));
    };
    let Capacity { weight, full, percent: healthy } = capacity;
    let with = if with.is_empty() { with } else { format!(": {with}") };
    let due = told.next.map(|at| {
        let left = (at - clock.now).max(0.0);
        format!("; more or less is told in {left:.0} s if this lasts")
    });
    let due = due.unwrap_or_default();
    Some(format!(
        "routers are told of {percent} % of its capacity{with}; {healthy} % is healthy, weight {weight} of {full}{due}"
    ))
}
