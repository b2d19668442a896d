//! What holds of every frame, whatever came before it.

use std::collections::BTreeMap;

use vc5_ebpf_abi::{
    Bucket, Counter, Event, FlowEntry, Real, RealState, Reason, Sample, Traffic, Verdict, maps,
};

use super::headers::{Headers, checksums};
use crate::{
    model::{Model, Now, Outcome},
    path::{
        kernel::{IFACES, IFINDEX, REALS},
        standard::IN,
        world::{TABLES, World},
    },
};

/// Later than a span of time that is over at 1 ns.
const NOW: Now = Now { jiffies: 0, coarse_ns: 2 };

/// Puts a frame through two models that are alike, and checks what the first makes of it; twice if
/// it is sent, as the second time must not differ.
///
/// # Panics
///
/// If a rule is broken.
pub fn check(worlds: &mut [World], reals: &BTreeMap<u32, Real>, frame: &[u8]) {
    let seen = once(worlds, reals, frame);
    if seen.outcome.reason.verdict() == Verdict::Sent && !seen.forgot() {
        let again = once(worlds, reals, frame);
        assert_eq!(again.outcome.frame, seen.outcome.frame, "{:?}", again.outcome.reason);
        assert_eq!(again.outcome.egress, seen.outcome.egress);
        assert_eq!(again.real, seen.real);
    }
}

/// A frame's way, and what it left.
struct Seen<'f> {
    frame: &'f [u8],
    outcome: Outcome,
    before: State,
    after: State,
    /// The real whose traffic it was counted as.
    real: Option<u32>,
    samples: Vec<Sample>,
}

fn once<'f>(worlds: &mut [World], reals: &BTreeMap<u32, Real>, frame: &'f [u8]) -> Seen<'f> {
    let mut models = worlds.iter_mut().map(|world| &mut world.model);
    let model = models.next().unwrap();
    let before = State::of(model);
    let outcome = model.process(frame, IFINDEX, NOW);
    let after = State::of(model);
    let real = before.served(&after);
    let samples = model.take_samples();
    for other in models {
        assert_eq!(other.process(frame, IFINDEX, NOW), outcome);
        assert_eq!(State::of(other), after);
        assert_eq!(other.take_samples(), samples);
    }
    let seen = Seen { frame, outcome, before, after, real, samples };
    seen.is_counted_once();
    let real = seen.real.map(|id| reals.get(&id).expect("traffic of no real"));
    seen.leaves_right_records(real);
    match (seen.outcome.reason.verdict(), real) {
        (Verdict::Sent, Some(real)) => seen.is_forwarded(real),
        (Verdict::Sent, None) => seen.is_answered(),
        (Verdict::Pass | Verdict::Drop, real) => {
            assert_eq!(real, None, "traffic that did not flow");
            seen.is_left_alone();
        }
    }
    seen
}

/// All that a frame can change.
#[derive(Debug, PartialEq, Eq)]
struct State {
    reasons: Vec<Counter>,
    events: Vec<u64>,
    traffic: Vec<Traffic>,
    buckets: [Vec<Bucket>; 3],
}

impl State {
    fn of(model: &Model) -> Self {
        let reasons = (0..IFACES as u8)
            .flat_map(|iface| Reason::ALL.iter().map(move |reason| model.count_of(iface, *reason)));
        let buckets = TABLES.map(|(table, mask)| {
            let bucket = |index| match table {
                maps::FLOWS => model.flows(index).unwrap(),
                maps::EMBRYONIC => model.embryonic(index).unwrap(),
                _ => model.fragments(index).unwrap(),
            };
            (0..=mask).map(bucket).collect()
        });
        Self {
            reasons: reasons.collect(),
            events: Event::ALL.iter().map(|event| model.events(*event)).collect(),
            traffic: (0..REALS).map(|id| model.traffic(id)).collect(),
            buckets,
        }
    }

    /// The one real with more traffic afterwards.
    fn served(&self, after: &Self) -> Option<u32> {
        let all = (0..).zip(self.traffic.iter().zip(&after.traffic));
        let mut more = all.filter(|(_, (before, after))| before != after).map(|(id, _)| id);
        let served = more.next();
        assert_eq!(more.next(), None, "traffic of two");
        served
    }
}

impl Seen<'_> {
    fn events(&self, event: Event) -> u64 {
        self.after.events[event as usize] - self.before.events[event as usize]
    }

    /// Whether a record is gone and none is in its place: the same packet may meet another choice
    /// then, as the ring before is asked for flows without a record.
    fn forgot(&self) -> bool {
        self.events(Event::FlowDeleted) > self.made()
    }

    /// Flow records made.
    fn made(&self) -> u64 {
        let made = [Event::FlowInserted, Event::FlowReplaced, Event::FlowReplacedClosing];
        made.into_iter().map(|event| self.events(event)).sum()
    }

    /// Under the one reason that is told, with all its bytes.
    fn is_counted_once(&self) {
        let mut expected = self.before.reasons.clone();
        let index = usize::from(IN) * Reason::ALL.len() + self.outcome.reason as usize;
        expected[index].packets += 1;
        expected[index].bytes += self.frame.len() as u64;
        assert_eq!(self.after.reasons, expected, "{:?}", self.outcome.reason);
    }

    fn is_left_alone(&self) {
        assert_eq!(self.outcome.frame, self.frame, "{:?}", self.outcome.reason);
        assert_eq!(self.outcome.egress, None);
        assert_eq!(self.made(), 0);
        assert!(self.samples.is_empty());
        // Only the search for a backend may find that a record stands no more.
        let searched = self.outcome.reason.verdict() == Verdict::Drop
            || self.outcome.reason == Reason::UnknownPassed;
        assert!(searched || self.before.buckets == self.after.buckets);
    }

    /// To a real that takes it, changed in nothing but hardware addresses, TTL and tag.
    fn is_forwarded(&self, real: &Real) {
        let (reason, id) = (self.outcome.reason, self.real.unwrap());
        match RealState::from_u8(real.state) {
            RealState::Live | RealState::Draining => {}
            RealState::Down => assert!(matches!(reason, Reason::FlowStuck | Reason::IcmpError)),
            RealState::Free => panic!("{reason:?} to a free real"),
        }
        let elsewhere = (real.ifindex != IFINDEX).then_some(real.tx);
        assert_eq!(self.outcome.egress, elsewhere);
        let (before, after) = (Headers::of(self.frame), Headers::of(&self.outcome.frame));
        assert_ne!(real.mac, [0; 6]);
        assert_eq!((after.destination, after.source), (real.mac, real.src_mac));
        assert_eq!(after.tags, before.tags_for(real.vlan));
        assert_eq!(after.packet.len(), before.packet.len());
        let ttl = match real.ttl {
            1 => 1,
            0 => before.ttl() - 1,
            limit => limit.min(before.ttl() - 1),
        };
        assert_eq!(after.ttl(), ttl);
        assert_eq!(after.without_ttl(), before.without_ttl());
        assert_eq!(checksums(after.packet), checksums(before.packet));
        if reason == Reason::IcmpError {
            let [flows, embryonic, _] = &self.before.buckets;
            assert_eq!([flows, embryonic], [&self.after.buckets[0], &self.after.buckets[1]]);
        }
        self.is_counted_as_traffic(id);
        assert!(self.samples.len() as u64 <= self.made());
        assert!(self.samples.iter().all(|s| (s.real, s.reason) == (id, reason as u32)));
    }

    fn is_counted_as_traffic(&self, id: u32) {
        let [before, after] = [&self.before, &self.after].map(|s| s.traffic[id as usize]);
        assert_eq!(after.packets - before.packets, 1);
        assert_eq!(after.bytes - before.bytes, self.frame.len() as u64);
        assert_eq!(after.flows - before.flows, self.made());
        assert!(self.made() <= 1);
    }

    /// Sent back to where it came from.
    fn is_answered(&self) {
        let (before, after) = (Headers::of(self.frame), Headers::of(&self.outcome.frame));
        assert_eq!(self.outcome.egress, None);
        assert_eq!((after.destination, after.source), (before.source, before.destination));
        assert_eq!(after.tags, before.tags);
        assert_eq!(after.addresses(), before.addresses().map(|(from, to)| (to, from)));
        assert_eq!(after.ttl(), 64);
        match self.outcome.reason {
            Reason::Echo => {
                assert_eq!(self.before.buckets, self.after.buckets);
                assert_eq!(after.packet.len(), before.packet.len());
                assert_eq!(checksums(after.packet), checksums(before.packet));
            }
            Reason::UnknownRejected => {
                assert_eq!(self.made(), 0);
                assert_eq!(checksums(after.packet), Some((true, Some(true))));
                assert_eq!(after.end(), after.packet.len());
                assert!(after.packet.len() <= if after.is_v6() { 1280 } else { 576 });
            }
            other => panic!("{other:?} is no answer"),
        }
    }

    /// What was written into the tables names the real that the frame went to, as it is now; without
    /// one it can only be that a record was refreshed or deleted.
    fn leaves_right_records(&self, real: Option<&Real>) {
        for (before, after) in self.before.buckets.iter().zip(&self.after.buckets) {
            let ways = |buckets: &[Bucket]| buckets.iter().flat_map(|b| b.0).collect::<Vec<_>>();
            let (before, after) = (ways(before), ways(after));
            let changed: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
            assert!(changed.len() <= 2);
            for (&before, &after) in changed.into_iter().filter(|(_, after)| **after != 0) {
                self.is_right_record(FlowEntry(before), FlowEntry(after), real);
            }
        }
    }

    fn is_right_record(&self, before: FlowEntry, after: FlowEntry, real: Option<&Real>) {
        assert_eq!(after.idle(0), 0, "not of now");
        let Some(real) = real else {
            assert_eq!(after.touched(0, false), before.touched(0, false), "a record of no packet");
            return;
        };
        assert_eq!(Some(after.real()), self.real);
        assert!(after.is_of(real.generation));
    }
}
