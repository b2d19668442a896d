use proptest::prelude::*;

use super::*;

fn net(last: u8) -> IpNet {
    IpNet::new([192, 0, 2, last].into(), 32).unwrap()
}

fn set(med: u32) -> OutSet {
    OutSet {
        attributes: Attributes { med: Some(med), ..Attributes::default() },
        next_hop: NextHop::Ipv4([192, 0, 2, 254].into()),
    }
}

fn announced(batch: Option<Batch>) -> (u32, Vec<IpNet>) {
    match batch {
        Some(Batch::Announce(set, prefixes)) => (set.attributes.med.unwrap(), prefixes),
        other => panic!("expected an announcement, got {other:?}"),
    }
}

#[test]
fn withdrawals_first_equal_sets_together_marker_last() {
    let mut rib = AdjRibOut::default();
    rib.set(net(1), Some(set(1)));
    assert_eq!(announced(rib.next(10)), (1, vec![net(1)]));
    rib.end_of_rib();
    rib.set(net(2), Some(set(5)));
    rib.set(net(3), Some(set(6)));
    rib.set(net(4), Some(set(5)));
    rib.set(net(1), None);
    assert!(rib.withdrawals_pending());
    assert_eq!(rib.next(10), Some(Batch::Withdraw(vec![net(1)])));
    assert!(!rib.withdrawals_pending());
    assert_eq!(announced(rib.next(10)), (5, vec![net(2), net(4)]));
    assert_eq!(announced(rib.next(10)), (6, vec![net(3)]));
    assert_eq!(rib.next(10), Some(Batch::EndOfRib));
    assert_eq!(rib.next(10), None);
    assert_eq!(rib.len(), 3);
}

#[test]
fn what_was_never_sent_is_not_withdrawn() {
    let mut rib = AdjRibOut::default();
    assert!(rib.set(net(1), Some(set(1))));
    assert!(!rib.set(net(1), Some(set(1))));
    assert!(rib.set(net(1), None));
    assert!(!rib.set(net(1), None));
    assert_eq!(rib.next(10), None);
}

#[test]
fn going_back_to_what_was_sent_cancels() {
    let mut rib = AdjRibOut::default();
    rib.set(net(1), Some(set(1)));
    let _ = rib.next(1);
    rib.set(net(1), None);
    rib.set(net(1), Some(set(2)));
    rib.set(net(1), Some(set(1)));
    assert_eq!(rib.next(1), None);
}

#[test]
fn refresh_sends_all_again_and_unsendable_is_withdrawn() {
    let mut rib = AdjRibOut::default();
    rib.set(net(1), Some(set(1)));
    rib.set(net(2), Some(set(1)));
    let _ = rib.next(10);
    rib.refresh();
    assert_eq!(announced(rib.next(10)), (1, vec![net(1), net(2)]));
    rib.unsendable(&[net(2)]);
    assert_eq!(rib.next(10), Some(Batch::Withdraw(vec![net(2)])));
    assert_eq!(rib.prefixes().collect::<Vec<_>>(), [&net(1)]);
}

#[test]
fn a_refresh_sends_also_what_changed_and_changed_back_meanwhile() {
    let mut rib = AdjRibOut::default();
    rib.set(net(1), Some(set(1)));
    assert_eq!(announced(rib.next(9)), (1, vec![net(1)]));
    rib.refresh();
    rib.set(net(1), Some(set(2)));
    rib.set(net(1), Some(set(1)));
    assert_eq!(announced(rib.next(9)), (1, vec![net(1)]));
    assert_eq!(rib.next(9), None);
    rib.refresh();
    rib.set(net(1), None);
    assert_eq!(rib.next(9), Some(Batch::Withdraw(vec![net(1)])));
    assert_eq!(rib.next(9), None);
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Option<u32>),
    Refresh,
    MarkedRefresh,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..8u8, prop::option::of(0..3u32)).prop_map(|(last, med)| Step::Set(last, med)),
        1 => Just(Step::Refresh),
        1 => Just(Step::MarkedRefresh),
        2 => (1..4usize).prop_map(Step::Read),
    ]
}

/// A neighbour that applies what it reads, and forgets after a marked refresh what was not in it.
#[derive(Default)]
struct Reader {
    routes: BTreeMap<IpNet, u32>,
    /// What a refresh that has begun has not announced again yet.
    stale: Option<BTreeSet<IpNet>>,
    end_of_rib: bool,
}

impl Reader {
    fn confirm(&mut self, prefix: &IpNet) {
        if let Some(stale) = &mut self.stale {
            stale.remove(prefix);
        }
    }

    fn read(&mut self, rib: &mut AdjRibOut, max: usize) -> bool {
        match rib.next(max) {
            Some(Batch::Withdraw(prefixes)) => {
                for prefix in prefixes {
                    let known = self.routes.remove(&prefix);
                    assert!(known.is_some(), "withdrawn without having been announced");
                    self.confirm(&prefix);
                }
            }
            Some(Batch::Announce(set, prefixes)) => {
                assert!(!rib.withdrawals_pending(), "withdrawals go first");
                for prefix in prefixes {
                    self.routes.insert(prefix, set.attributes.med.unwrap());
                    self.confirm(&prefix);
                }
            }
            Some(Batch::EndOfRib) => assert!(!std::mem::replace(&mut self.end_of_rib, true)),
            Some(Batch::BeginRefresh) => {
                assert!(self.end_of_rib, "RFC 7313 section 4: not before the End-of-RIB marker");
                self.stale = Some(self.routes.keys().copied().collect());
            }
            Some(Batch::EndRefresh) => {
                let stale = self.stale.take().expect("ended without having begun");
                assert_eq!(stale, BTreeSet::new(), "the neighbour would drop these");
            }
            None => return false,
        }
        true
    }
}

proptest! {
    #[test]
    fn a_slow_reader_ends_with_the_newest_state(
        steps in prop::collection::vec(step(), 0..80),
        end_of_rib in 0..80usize,
    ) {
        let mut rib = AdjRibOut::default();
        let mut truth = BTreeMap::new();
        let mut peer = Reader::default();
        for (turn, step) in steps.into_iter().enumerate() {
            if turn == end_of_rib {
                rib.end_of_rib();
            }
            match step {
                Step::Set(last, Some(med)) => {
                    rib.set(net(last), Some(set(med)));
                    truth.insert(net(last), med);
                }
                Step::Set(last, None) => {
                    rib.set(net(last), None);
                    truth.remove(&net(last));
                }
                Step::Refresh => rib.refresh(),
                Step::MarkedRefresh => rib.marked_refresh(),
                Step::Read(max) => {
                    peer.read(&mut rib, max);
                }
            }
            let waiting = rib.buckets.values().map(|bucket| bucket.prefixes.len()).sum::<usize>();
            let pending = rib.withdrawals.len() + waiting;
            prop_assert_eq!(rib.buckets.len(), rib.turns.len());
            prop_assert!(pending <= 8, "{pending} pending for 8 prefixes");
            prop_assert_eq!(rib.len(), truth.len());
        }
        while peer.read(&mut rib, 3) {}
        prop_assert_eq!(peer.routes, truth);
        prop_assert_eq!(peer.stale, None, "a refresh that was begun is ended");
        prop_assert!(rib.withdrawals.is_empty() && rib.buckets.is_empty());
    }
}
