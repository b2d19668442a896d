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

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Option<u32>),
    Refresh,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..8u8, prop::option::of(0..3u32)).prop_map(|(last, med)| Step::Set(last, med)),
        1 => Just(Step::Refresh),
        2 => (1..4usize).prop_map(Step::Read),
    ]
}

/// A neighbour that applies what it reads.
fn read(rib: &mut AdjRibOut, peer: &mut BTreeMap<IpNet, u32>, max: usize) -> bool {
    match rib.next(max) {
        Some(Batch::Withdraw(prefixes)) => {
            for prefix in prefixes {
                assert!(peer.remove(&prefix).is_some(), "withdrawn without having been announced");
            }
        }
        Some(Batch::Announce(set, prefixes)) => {
            assert!(!rib.withdrawals_pending(), "withdrawals go first");
            peer.extend(prefixes.into_iter().map(|prefix| (prefix, set.attributes.med.unwrap())));
        }
        Some(Batch::EndOfRib) => panic!("not asked for"),
        None => return false,
    }
    true
}

proptest! {
    #[test]
    fn a_slow_reader_ends_with_the_newest_state(steps in prop::collection::vec(step(), 0..80)) {
        let mut rib = AdjRibOut::default();
        let mut truth = BTreeMap::new();
        let mut peer = BTreeMap::new();
        for step in steps {
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
                Step::Read(max) => {
                    read(&mut rib, &mut peer, max);
                }
            }
            let waiting = rib.buckets.values().map(|bucket| bucket.prefixes.len()).sum::<usize>();
            let pending = rib.withdrawals.len() + waiting;
            prop_assert_eq!(rib.buckets.len(), rib.turns.len());
            prop_assert!(pending <= 8, "{pending} pending for 8 prefixes");
            prop_assert_eq!(rib.len(), truth.len());
        }
        while read(&mut rib, &mut peer, 3) {}
        prop_assert_eq!(peer, truth);
        prop_assert!(rib.withdrawals.is_empty() && rib.buckets.is_empty());
    }
}
