//! From checks to backend to service to VIP. Pure functions of what is known now.
//!
//! Everything is tri-state. `Unknown` means that outcomes still to come can make it either; a
//! result is given as soon as they no longer can.

use crate::verdict::Verdict;

/// The state of a service or a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServiceState {
    /// Not decided yet.
    #[default]
    Unknown,
    /// Enough backends are up.
    Up,
    /// Enough backends can no longer be up.
    Down,
}

impl std::fmt::Display for ServiceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// A state with the counts that it follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// The state.
    pub state: ServiceState,
    /// Members that are up.
    pub up: usize,
    /// Members that are down.
    pub down: usize,
    /// Members not decided yet.
    pub unknown: usize,
    /// Members that have to be up.
    pub need: usize,
}

/// How many of its checks a backend has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Join {
    /// All of them: up when all are up, down when any is down.
    #[default]
    All,
    /// One of them: up when any is up, down when all are down.
    Any,
}

/// One backend of one service by its checks. Without checks it counts as up.
#[must_use]
pub fn backend(join: Join, checks: impl IntoIterator<Item = Verdict>) -> Verdict {
    // What one check alone decides, and what takes all of them.
    let (decisive, other) = match join {
        Join::All => (Verdict::Down, Verdict::Up),
        Join::Any => (Verdict::Up, Verdict::Down),
    };
    let (mut verdict, mut none) = (other, true);
    for check in checks {
        none = false;
        if check == decisive {
            return decisive;
        }
        if check == Verdict::Unknown {
            verdict = Verdict::Unknown;
        }
    }
    if none { Verdict::Up } else { verdict }
}

/// A service: up when at least `need` of its backends are. `need` 0 is always up. Backends that are
/// administratively out must be left out by the caller.
#[must_use]
pub fn service(need: usize, backends: impl IntoIterator<Item = Verdict>) -> Health {
    let mut health = Health { need, ..Health::default() };
    for verdict in backends {
        match verdict {
            Verdict::Up => health.up += 1,
            Verdict::Down => health.down += 1,
            Verdict::Unknown => health.unknown += 1,
        }
    }
    health.decide();
    health
}

/// A VIP: up when all of its gating services are, down when any is. A VIP on which no service gates
/// is unknown: nothing says that it works.
#[must_use]
pub fn vip(gating: impl IntoIterator<Item = ServiceState>) -> Health {
    let mut health = Health::default();
    for state in gating {
        match state {
            ServiceState::Up => health.up += 1,
            ServiceState::Down => health.down += 1,
            ServiceState::Unknown => health.unknown += 1,
        }
    }
    health.need = health.up + health.down + health.unknown;
    if health.need > 0 {
        health.decide();
    }
    health
}

impl Health {
    fn decide(&mut self) {
        self.state = if self.up >= self.need {
            ServiceState::Up
        } else if self.up + self.unknown < self.need {
            ServiceState::Down
        } else {
            ServiceState::Unknown
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(Verdict::Unknown), Just(Verdict::Up), Just(Verdict::Down)]
    }

    fn any_state() -> impl Strategy<Value = ServiceState> {
        prop_oneof![Just(ServiceState::Unknown), Just(ServiceState::Up), Just(ServiceState::Down)]
    }

    #[test]
    fn a_backend_needs_all_of_its_checks() {
        use Verdict::{Down, Unknown, Up};
        assert_eq!(backend(Join::All, []), Up);
        assert_eq!(backend(Join::All, [Up, Up]), Up);
        assert_eq!(backend(Join::All, [Up, Unknown]), Unknown);
        assert_eq!(backend(Join::All, [Unknown, Down]), Down);
    }

    #[test]
    fn or_any_of_its_checks() {
        use Verdict::{Down, Unknown, Up};
        assert_eq!(backend(Join::Any, []), Up);
        assert_eq!(backend(Join::Any, [Down, Up]), Up);
        assert_eq!(backend(Join::Any, [Down, Unknown]), Unknown);
        assert_eq!(backend(Join::Any, [Unknown, Up]), Up);
        assert_eq!(backend(Join::Any, [Down, Down]), Down);
    }

    #[test]
    fn a_service_needs_so_many_backends() {
        use Verdict::{Down, Unknown, Up};
        assert_eq!(service(0, []).state, ServiceState::Up);
        assert_eq!(service(1, []).state, ServiceState::Down);
        assert_eq!(
            service(2, [Up, Down, Unknown]),
            Health { state: ServiceState::Unknown, up: 1, down: 1, unknown: 1, need: 2 }
        );
        assert_eq!(service(2, [Up, Down, Down]).state, ServiceState::Down);
        assert_eq!(service(1, [Up, Unknown]).state, ServiceState::Up);
    }

    #[test]
    fn a_vip_needs_all_of_its_gating_services() {
        assert_eq!(vip([]).state, ServiceState::Unknown);
        assert_eq!(vip([ServiceState::Up]).state, ServiceState::Up);
        assert_eq!(vip([ServiceState::Up, ServiceState::Unknown]).state, ServiceState::Unknown);
        assert_eq!(vip([ServiceState::Unknown, ServiceState::Down]).state, ServiceState::Down);
    }

    /// Every way the unknown ones can turn out.
    fn completions(verdicts: &[Verdict]) -> Vec<Vec<Verdict>> {
        verdicts.iter().fold(vec![vec![]], |partial, &verdict| {
            let choices = match verdict {
                Verdict::Unknown => vec![Verdict::Up, Verdict::Down],
                known => vec![known],
            };
            partial
                .iter()
                .flat_map(|p| choices.iter().map(move |&c| [p.as_slice(), &[c]].concat()))
                .collect()
        })
    }

    proptest! {
        /// Decided exactly when the undecided members no longer matter.
        #[test]
        fn unknown_means_that_both_are_possible(
            need in 0usize..6, backends in prop::collection::vec(any_verdict(), 0..7)
        ) {
            let now = service(need, backends.iter().copied()).state;
            let mut ends: Vec<_> =
                completions(&backends).into_iter().map(|c| service(need, c).state).collect();
            ends.dedup();
            prop_assert!(!ends.contains(&ServiceState::Unknown));
            let expected = match ends.as_slice() {
                [only] => *only,
                _ => ServiceState::Unknown,
            };
            prop_assert_eq!(now, expected);
        }

        /// A backend is decided exactly when its undecided checks no longer matter.
        #[test]
        fn a_backend_is_what_all_or_any_of_its_checks_are(
            checks in prop::collection::vec(any_verdict(), 1..7)
        ) {
            let up = |checks: &[Verdict], join| match join {
                Join::All => checks.iter().all(|check| *check == Verdict::Up),
                Join::Any => checks.contains(&Verdict::Up),
            };
            for join in [Join::All, Join::Any] {
                let mut ends: Vec<_> =
                    completions(&checks).iter().map(|checks| up(checks, join)).collect();
                ends.sort_unstable();
                ends.dedup();
                let expected = match ends.as_slice() {
                    [true] => Verdict::Up,
                    [false] => Verdict::Down,
                    _ => Verdict::Unknown,
                };
                prop_assert_eq!(backend(join, checks.iter().copied()), expected);
            }
        }

        #[test]
        fn order_does_not_matter_and_counts_add_up(
            need in 0usize..6, mut backends in prop::collection::vec(any_verdict(), 0..9)
        ) {
            let forward = service(need, backends.iter().copied());
            prop_assert_eq!(forward.up + forward.down + forward.unknown, backends.len());
            backends.reverse();
            prop_assert_eq!(service(need, backends), forward);
        }

        /// A VIP is a service that needs every member, except that none at all decides nothing.
        #[test]
        fn a_vip_is_the_conjunction(services in prop::collection::vec(any_state(), 1..7)) {
            let state = vip(services.iter().copied()).state;
            prop_assert_eq!(
                state == ServiceState::Up, services.iter().all(|&s| s == ServiceState::Up));
            prop_assert_eq!(
                state == ServiceState::Down, services.contains(&ServiceState::Down));
        }
    }
}
