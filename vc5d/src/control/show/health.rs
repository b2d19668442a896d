//! `show vips`, `show vip`, `show services` and `show backends`.

use std::net::IpAddr;

use super::super::clock::Clock;
use super::super::reply::{Reply, code};
use super::{find_vips, gate, said};
use crate::admin::Word;
use crate::snapshot::{Backend, CheckResult, Service, Snapshot, Vip, VipState};

/// Slots of a ring in all.
const RING_SLOTS: f64 = 65536.0;

/// One row for each VIP address.
pub(super) fn vips(snapshot: &Snapshot, clock: &Clock) -> Reply {
    let row = |name: &str, address: &str, state: &str, since: &str, reason: &str| {
        format!("{name:<16} {address:<24} {state:<11} {since:<19}  {reason}")
    };
    let mut reply =
        Reply::one(code::VIP_HEADING, row("Name", "Address", "State", "Since", "Reason"));
    for vip in &snapshot.vips {
        let since = clock.table(vip.since);
        let address = vip.address.to_string();
        reply.push(code::VIP, row(&vip.name, &address, state(vip.state), &since, &vip.reason));
    }
    reply.done()
}

/// Why a VIP is or is not announced, in one line; then what that hangs on.
pub(super) fn vip(snapshot: &Snapshot, name: &str, clock: &Clock) -> Reply {
    let vips = match find_vips(snapshot, name) {
        Ok(vips) => vips,
        Err(reply) => return reply,
    };
    let mut reply = Reply::new();
    for vip in vips {
        let since = clock.table(vip.since);
        let state = state(vip.state);
        let text = format!("{} {} {state} since {since}: {}", vip.name, vip.address, vip.reason);
        reply.push(code::VIP_DETAIL, text);
        if let Some(said) = &vip.admin {
            reply.push(code::VIP_DETAIL, format!("  {}", word(said, clock)));
        }
        for line in gate::lines(vip, clock) {
            reply.push(code::VIP_DETAIL, format!("  {line}"));
        }
        for service in &vip.services {
            reply.push(code::VIP_DETAIL, service_line(service, clock));
            for backend in &service.backends {
                reply.push(code::VIP_DETAIL, backend_line(backend, clock));
                for line in said::lines(backend, clock) {
                    reply.push(code::VIP_DETAIL, format!("      {line}"));
                }
                for (name, check) in &backend.checks {
                    reply.push(code::VIP_DETAIL, format!("      {name}: {}", last(check, clock)));
                }
            }
        }
    }
    reply.done()
}

/// One row for each service of each VIP address.
pub(super) fn services(snapshot: &Snapshot, clock: &Clock) -> Reply {
    let row = |vip: &str, service: &str, pool: &str, state: &str, healthy: &str, since: &str| {
        format!("{vip:<16} {service:<28} {pool:<16} {state:<6} {healthy:<16}  {since}")
    };
    let mut reply = Reply::one(
        code::SERVICE_HEADING,
        row("VIP", "Service", "Pool", "State", "Healthy", "Since"),
    );
    for (vip, service) in each_service(snapshot) {
        let healthy = format!(
            "{} of {}, need {}",
            service.own_healthy(),
            service.own_backends(),
            service.need
        );
        let text = row(
            &vip.name,
            &endpoint(vip, service),
            &service.pool,
            service.word(),
            &healthy,
            &clock.table(service.since),
        );
        reply.push(code::SERVICE, text);
    }
    reply.done()
}

/// One row for each backend of each service of each VIP address.
pub(super) fn backends(snapshot: &Snapshot, clock: &Clock) -> Reply {
    let row = |backend: &str, service: &str, state: &str, weight: &str, since: &str, ok: &str| {
        format!("{backend:<24} {service:<28} {state:<9} {weight:<6} {since:<19}  {ok}")
    };
    let mut reply = Reply::one(
        code::BACKEND_HEADING,
        row("Backend", "Service", "State", "Weight", "Since", "Checks"),
    );
    for (vip, service) in each_service(snapshot) {
        for backend in &service.backends {
            let mut checks: Vec<String> = backend
                .checks
                .iter()
                .map(|(name, check)| match check.ok {
                    None => format!("{name}: not probed yet"),
                    Some(_) => {
                        let past = past_failure(check, clock).map(|past| format!(" ({past})"));
                        format!("{name}: {}{}", check.diagnostic, past.unwrap_or_default())
                    }
                })
                .collect();
            checks.extend(said::said(backend));
            let text = row(
                &backend.address.to_string(),
                &endpoint(vip, service),
                backend.state.word(),
                &backend.weight.to_string(),
                &clock.table(backend.since),
                &checks.join("; "),
            );
            reply.push(code::BACKEND, text);
        }
    }
    reply.done()
}

fn each_service(snapshot: &Snapshot) -> impl Iterator<Item = (&Vip, &Service)> {
    snapshot.vips.iter().flat_map(|vip| vip.services.iter().map(move |service| (vip, service)))
}

fn service_line(service: &Service, clock: &Clock) -> String {
    format!(
        "  {}/{} pool {}: {} since {}, {} of {} healthy, need {}{}",
        service.protocol,
        service.ports,
        service.pool,
        service.word(),
        clock.table(service.since),
        service.own_healthy(),
        service.own_backends(),
        service.need,
        service_remarks(service)
    )
}

/// What else there is to say of a service.
fn service_remarks(service: &Service) -> String {
    let mut remarks = String::new();
    if let Some(pool) = &service.backup {
        let used = if service.on_backup { " in use" } else { "" };
        remarks += &format!(", backup pool {pool}{used}");
    }
    if !service.gating {
        remarks += ", not gating";
    }
    remarks
}

fn backend_line(backend: &Backend, clock: &Clock) -> String {
    let share = f64::from(backend.ring_slots) * 100.0 / RING_SLOTS;
    format!(
        "    {}{} {} since {}, weight {}, {share:.1} % of the ring, MAC {}{}",
        if backend.backup { "backup " } else { "" },
        backend.address,
        backend.state.word(),
        clock.table(backend.since),
        backend.weight,
        backend.mac.as_deref().unwrap_or("unknown"),
        backend.admin.as_ref().map(|w| format!(", {}", word(w, clock))).unwrap_or_default()
    )
}

/// `drained by the administrator at ... until ...: kernel upgrade`
pub(super) fn word(word: &Word, clock: &Clock) -> String {
    let until = word.until.map(|at| format!(" until {}", clock.table(at))).unwrap_or_default();
    format!("{} (since {}{until})", word.cause(), clock.table(word.since))
}

fn last(check: &CheckResult, clock: &Clock) -> String {
    let (verdict, last) = match (check.up, check.ok) {
        (_, None) => return "not probed yet".to_owned(),
        (verdict, Some(ok)) => (verdict, if ok { "passed" } else { "failed" }),
    };
    let verdict = verdict.map_or("undecided", up);
    format!(
        "{verdict}, last probe {last} {} ago in {:.1} ms: {} ({} passed, {} failed{})",
        clock.ago(check.at),
        check.took_ms,
        check.diagnostic,
        check.passed,
        check.failed,
        past_failure(check, clock).map(|failure| format!("; {failure}")).unwrap_or_default()
    )
}

/// What failed last, of a check whose last probe passed: why it was down is still to be known when it is up again.
pub(super) fn past_failure(check: &CheckResult, clock: &Clock) -> Option<String> {
    let failure = check.last_failure.as_ref().filter(|_| check.ok == Some(true))?;
    Some(format!("last failure {} ago: {}", clock.ago(failure.at), failure.diagnostic))
}

/// `192.0.2.1:80/tcp` or `[2001:db8::1]:80/tcp`.
pub(super) fn endpoint(vip: &Vip, service: &Service) -> String {
    match vip.address {
        IpAddr::V4(address) => format!("{address}:{}/{}", service.ports, service.protocol),
        IpAddr::V6(address) => format!("[{address}]:{}/{}", service.ports, service.protocol),
    }
}

fn up(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

fn state(state: VipState) -> &'static str {
    match state {
        VipState::Down => "down",
        VipState::Waiting => "waiting",
        VipState::Up => "up",
        VipState::Withdrawing => "withdrawing",
        VipState::Disabled => "disabled",
    }
}
