//! The backends of a service: their numbers, and the real ids that go with these.

use std::net::IpAddr;

use vc5_ebpf_abi::{MAX_MEMBER, PAGE_REALS, Real, RealState as AbiState, SERVICE_PAGES};

use super::{Pages, Shared, octets};
use crate::maps::{TableError, Tables};
use crate::neighbour::Hop;
use crate::{BackendSpec, Mac, RealState};

/// One backend of a service in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) spec: BackendSpec,
    /// Its number within the service.
    pub(crate) number: u16,
    /// Its real id.
    pub(crate) id: u32,
    /// What stands in the table.
    pub(crate) real: Real,
    /// How it is reached, as far as known.
    pub(crate) hop: Hop,
    /// It is no more among those wanted.
    pub(super) leaving: Option<Leaving>,
}

/// How far a backend that is no more wanted has come on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It keeps its flows until then (ns).
    Draining(u64),
    /// It has no flows; a ring that may still be looked into has slots of it.
    Down,
    /// No ring that may be looked into has slots of it from then on (ns).
    Resting(u64),
}

impl Backend {
    pub(super) fn new(spec: BackendSpec, number: u16, id: u32, real: Real) -> Self {
        Self { spec, number, id, real, hop: Hop::NoPath, leaving: None }
    }

    /// The MAC address packets are sent to, if one was ever known.
    pub(crate) fn mac(&self) -> Option<Mac> {
        (self.real.mac != [0; 6]).then_some(Mac(self.real.mac))
    }

    /// Whether it is no more among those wanted.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// What it may be used for, by what is wanted and how far it is on its way out.
    pub(crate) fn state(&self) -> RealState {
        match self.leaving {
            None => self.spec.state,
            Some(Leaving::Draining(_)) => RealState::Draining,
            Some(Leaving::Down | Leaving::Resting(_)) => RealState::Down,
        }
    }

    /// It takes new flows as far as it is reached.
    pub(super) fn is_wanted_in_ring(&self) -> bool {
        self.state() == RealState::Live && self.spec.weight > 0
    }

    /// It is on its way out, and has its flows yet.
    pub(super) fn has_flows_to_leave(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Draining(_)))
    }

    /// It is reached: the kernel has its MAC address, or is asking for it again where it was.
    pub(super) fn answers(&self) -> bool {
        match self.hop {
            Hop::Resolved { .. } => true,
            Hop::Pending(path) => {
                self.mac().is_some()
                    && (path.ifindex, path.vlan) == (self.real.ifindex, self.real.vlan)
            }
            Hop::Failed(_) | Hop::NoPath => false,
        }
    }

    /// It was reached once, and there is still a way to where it was.
    pub(super) fn answered_once(&self) -> bool {
        self.mac().is_some() && self.hop != Hop::NoPath
    }

    /// What has to stand in the table, but for the state.
    fn wanted_real(&self, ttl: u8) -> Real {
        let addr = octets(self.spec.address);
        let mut real = Real { addr, ttl, member: self.number, ..self.real };
        match self.hop {
            Hop::Resolved { path, mac } => {
                (real.ifindex, real.vlan, real.tx) = (path.ifindex, path.vlan, path.tx);
                (real.mac, real.src_mac) = (mac.0, path.src_mac.0);
            }
            // A neighbour that is lost keeps the address it had: its flows may still get through.
            Hop::Pending(path) | Hop::Failed(path)
                if (path.ifindex, path.vlan) == (real.ifindex, real.vlan) =>
            {
                (real.tx, real.src_mac) = (path.tx, path.src_mac.0);
            }
            Hop::Pending(_) | Hop::Failed(_) | Hop::NoPath => {}
        }
        real
    }

    /// Writes the real if it differs from what stands in the table. `state` chooses between the
    /// state wanted and the one that stands.
    pub(super) fn write(
        &mut self,
        ttl: u8,
        tables: &mut impl Tables,
        state: impl Fn(AbiState, AbiState) -> AbiState,
    ) -> Result<(), TableError> {
        let wanted = match self.state() {
            RealState::Live => AbiState::Live,
            RealState::Draining => AbiState::Draining,
            RealState::Down | RealState::Undecided => AbiState::Down,
        };
        let mut real = self.wanted_real(ttl);
        real.state = state(wanted, AbiState::from_u8(self.real.state)) as u8;
        if real != self.real {
            tables.set_real(self.id, &real)?;
            self.real = real;
        }
        Ok(())
    }
}

/// The backends of a service, in the order of their addresses.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(super) backends: Vec<Backend>,
    /// Pages by a member's number, 0 where there is none.
    pages: Vec<u16>,
}

/// There is no number or no real id for a backend more.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRoom {
    #[error("all numbers of backends are in use; some of them drain, it is tried again")]
    Numbers,
    #[error("all real ids are in use; it is tried again")]
    Reals,
    #[error(transparent)]
    Table(#[from] TableError),
}

impl Members {
    /// Those of an earlier run. The pages are those of the service's value.
    pub(super) fn adopt(mut backends: Vec<Backend>, pages: &[u16]) -> Self {
        backends.sort_unstable_by_key(|b| b.spec.address);
        let len = pages.iter().rposition(|page| *page != 0).map_or(0, |last| last + 1);
        Self { backends, pages: pages.iter().take(len).copied().collect() }
    }

    pub(super) fn get_mut(&mut self, address: IpAddr) -> Option<&mut Backend> {
        let place = self.place(address).ok()?;
        self.backends.get_mut(place)
    }

    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.place(address).is_ok()
    }

    /// The pages as they go into the service's value.
    pub(super) fn pages(&self) -> [u16; SERVICE_PAGES] {
        let mut pages = [0; SERVICE_PAGES];
        pages.iter_mut().zip(&self.pages).for_each(|(slot, page)| *slot = *page);
        pages
    }

    /// How many pages more it takes to have `more` backends more.
    pub(super) fn pages_for(&self, more: usize) -> usize {
        let wanted = (self.backends.len() + more) / PAGE_REALS as usize + 1;
        wanted.saturating_sub(self.pages.iter().filter(|page| **page != 0).count())
    }

    /// Whether the numbers are those that a new service with these backends would give.
    pub(super) fn are_canonical(&self) -> bool {
        self.backends.iter().zip(1..).all(|(backend, number)| backend.number == number)
    }

    /// Adds backends, given in the order of their addresses: each gets the number that `numbers`
    /// has for it, else the lowest that is free.
    pub(super) fn add(
        &mut self,
        specs: &[BackendSpec],
        numbers: Option<&[(IpAddr, u16)]>,
        tables: &mut impl Tables,
        shared: &mut Shared,
        now: u64,
    ) -> Result<(), NoRoom> {
        let mut taken = vec![false; usize::from(MAX_MEMBER) + 1];
        for number in self.backends.iter().map(|b| b.number) {
            if let Some(taken) = taken.get_mut(usize::from(number)) {
                *taken = true;
            }
        }
        let mut lowest = 1;
        let mut added = Vec::with_capacity(specs.len());
        let mut outcome = Ok(());
        for spec in specs {
            let given = numbers.and_then(|numbers| number_of(numbers, spec.address));
            let number = given.unwrap_or_else(|| {
                while taken.get(usize::from(lowest)).copied().unwrap_or(false) {
                    lowest += 1;
                }
                lowest
            });
            match self.new_backend(*spec, number, tables, &mut shared.pages, now) {
                Ok(backend) => {
                    shared.news.reals.push(backend.id);
                    added.push(backend);
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            if let Some(taken) = taken.get_mut(usize::from(number)) {
                *taken = true;
            }
        }
        self.backends.extend(added);
        self.backends.sort_by_key(|b| b.spec.address);
        outcome
    }

    fn new_backend(
        &mut self,
        spec: BackendSpec,
        number: u16,
        tables: &mut impl Tables,
        pages: &mut Pages,
        now: u64,
    ) -> Result<Backend, NoRoom> {
        if number > MAX_MEMBER {
            return Err(NoRoom::Numbers);
        }
        let place = usize::from(number) / PAGE_REALS as usize;
        if self.pages.len() <= place {
            self.pages.resize(place + 1, 0);
        }
        let page = self.pages.get_mut(place).ok_or(NoRoom::Numbers)?;
        if *page == 0 {
            *page = pages.take(tables, now)?.ok_or(NoRoom::Reals)?;
        }
        let id = u32::from(*page) * PAGE_REALS + u32::from(number) % PAGE_REALS;
        let real = Real { generation: pages.next_generation(id), ..Real::default() };
        Ok(Backend::new(spec, number, id, real))
    }

    /// Gives up the pages in which no member lies; the service's value that stands in the table
    /// must not have them any more when this is called with `release`.
    pub(super) fn drop_empty_pages(&mut self) -> Vec<u16> {
        let mut used = vec![false; self.pages.len()];
        for backend in &self.backends {
            if let Some(used) = used.get_mut(usize::from(backend.number) / PAGE_REALS as usize) {
                *used = true;
            }
        }
        let empty = self.pages.iter_mut().zip(used).filter(|(page, used)| **page != 0 && !used);
        empty.map(|(page, _)| std::mem::take(page)).collect()
    }

    /// All pages, given up.
    pub(super) fn take_pages(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.pages).into_iter().filter(|page| *page != 0).collect()
    }

    fn place(&self, address: IpAddr) -> Result<usize, usize> {
        self.backends.binary_search_by_key(&address, |b| b.spec.address)
    }
}

fn number_of(numbers: &[(IpAddr, u16)], address: IpAddr) -> Option<u16> {
    let place = numbers.binary_search_by_key(&address, |(known, _)| *known).ok()?;
    numbers.get(place).map(|(_, number)| *number)
}
