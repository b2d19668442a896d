//! The services, as arrays that the program finds one in without a call.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::Ordering;

use vc5_ebpf_abi::{
    SERVICE_BUCKETS, SERVICE_WAYS, Service, ServiceBucket, ServiceKey, ServiceValue,
};

use super::{Mapped, TableError, grace};

const SERVICE_WORDS: usize = size_of::<Service>() / 8;
const BUCKET_WORDS: usize = size_of::<ServiceBucket>() / 8;

/// Numbers that are left over for changes when there are as many services as can be.
const SPARE: u32 = 1024;

/// `SERVICE_INDEX` and `SERVICES`. Nobody else writes to them.
#[derive(Debug)]
pub(crate) struct Services {
    index: Mapped,
    elements: Mapped,
    places: HashMap<ServiceKey, Place>,
    /// Never used so far, from here on.
    unused: u32,
    /// One more than the greatest number.
    end: u32,
    /// Nobody's.
    free: Vec<u32>,
    /// Nobody's either, but packets may be about to read them still.
    retired: VecDeque<u32>,
}

/// Where a service is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Way of the index, counted through all buckets.
    way: usize,
    number: u32,
}

impl Services {
    pub(super) const INDEX_WORDS: usize = BUCKET_WORDS;
    pub(super) const ELEMENT_WORDS: usize = SERVICE_WORDS;

    /// What is in the maps already stays there.
    pub(super) fn new(index: Mapped, elements: Mapped) -> Self {
        let end = (elements.words().len() / SERVICE_WORDS) as u32;
        let mut services = Self {
            index,
            elements,
            places: HashMap::new(),
            unused: 1,
            end,
            free: Vec::new(),
            retired: VecDeque::new(),
        };
        services.adopt();
        services
    }

    /// How many there can be.
    pub(super) fn limit(&self) -> u32 {
        self.end.saturating_sub(1 + SPARE)
    }

    /// All that there are.
    pub(super) fn all(&self) -> impl Iterator<Item = (ServiceKey, ServiceValue)> {
        self.places.iter().filter_map(|(key, place)| Some((*key, self.read(place.number)?.value)))
    }

    /// Adds a service, or changes it: packets meet all of one value or all of the other.
    pub(super) fn set(&mut self, key: ServiceKey, value: &ServiceValue) -> Result<(), TableError> {
        let former = self.places.get(&key).copied();
        let way = former.map(|place| place.way).or_else(|| self.free_way(&key));
        let way = way.ok_or_else(|| full("writing SERVICE_INDEX"))?;
        let number = self.take().ok_or_else(|| full("writing SERVICES"))?;
        let service = Service { key, pad: 0, value: *value, spare: [0; 2] };
        if !self.elements.write(number as usize, words_of(&service)) {
            return Err(full("writing SERVICES"));
        }
        self.set_way(way, number);
        self.places.insert(key, Place { way, number });
        self.retired.extend(former.map(|place| place.number));
        Ok(())
    }

    /// Removes a service, if there is such a one.
    pub(super) fn remove(&mut self, key: &ServiceKey) {
        if let Some(Place { way, number }) = self.places.remove(key) {
            self.set_way(way, 0);
            self.retired.push_back(number);
        }
    }

    fn adopt(&mut self) {
        for way in 0..SERVICE_BUCKETS as usize * SERVICE_WAYS {
            let number = self.way(way);
            if let Some(service) = self.read(number).filter(|_| number != 0) {
                self.places.insert(service.key, Place { way, number });
                self.unused = self.unused.max(number + 1);
            }
        }
        let mut taken = vec![false; self.unused as usize];
        let numbers = self.places.values().map(|place| place.number as usize).chain([0]);
        for number in numbers {
            if let Some(taken) = taken.get_mut(number) {
                *taken = true;
            }
        }
        let free = (0..).zip(taken).filter(|(_, taken)| !taken).map(|(number, _)| number);
        self.free.extend(free);
    }

    /// A number that no packet can be reading the element of.
    fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            return Some(number);
        }
        if self.unused < self.end {
            self.unused += 1;
            return Some(self.unused - 1);
        }
        if !self.retired.is_empty() {
            grace::wait_for_readers();
            self.free.extend(self.retired.drain(..).rev());
        }
        self.free.pop()
    }

    /// A way of the index for a new service, in the emptier one of its two buckets.
    fn free_way(&self, key: &ServiceKey) -> Option<usize> {
        let free = key.buckets().map(|bucket| {
            let first = bucket as usize * SERVICE_WAYS;
            let ways = first..first + SERVICE_WAYS;
            ways.filter(|way| self.way(*way) == 0).collect::<Vec<_>>()
        });
        let [first, second] = free;
        let emptier = if second.len() > first.len() { second } else { first };
        emptier.first().copied()
    }

    /// What is in a way of the index.
    fn way(&self, way: usize) -> u32 {
        let word = self.index.words().get(way / 2).map_or(0, |word| word.load(Ordering::Relaxed));
        (word >> shift(way)) as u32
    }

    fn set_way(&self, way: usize, number: u32) {
        let Some(word) = self.index.words().get(way / 2) else { return };
        let others = word.load(Ordering::Relaxed) & !(u64::from(u32::MAX) << shift(way));
        // After what was written to the element before.
        word.store(others | u64::from(number) << shift(way), Ordering::Release);
    }

    fn read(&self, number: u32) -> Option<Service> {
        self.elements.read::<SERVICE_WORDS>(number as usize).map(service_of)
    }
}

/// Two ways are in a word, the first in its lower half.
fn shift(way: usize) -> usize {
    way % 2 * 32
}

fn full(action: &'static str) -> TableError {
    TableError { action, source: io::Error::other("there is no room for another service") }
}

fn words_of(service: &Service) -> [u64; SERVICE_WORDS] {
    // SAFETY: both are plain data of the same size, without padding.
    unsafe { std::mem::transmute::<Service, [u64; SERVICE_WORDS]>(*service) }
}

fn service_of(words: [u64; SERVICE_WORDS]) -> Service {
    // SAFETY: both are plain data of the same size, and any bits are a `Service`.
    unsafe { std::mem::transmute::<[u64; SERVICE_WORDS], Service>(words) }
}
