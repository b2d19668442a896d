//! What is told of readiness while the program of an earlier run forwards.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::NotReady;

/// While the earlier program forwards, nothing of the state wanted is in force for packets: no VIP
/// is ready, however complete the tables are. `failure` is why it could not be replaced yet.
pub(super) fn not_ready(
    vips: &BTreeSet<IpAddr>,
    own: &[NotReady],
    failure: Option<&str>,
) -> Vec<NotReady> {
    let earlier = match failure {
        None => "the earlier program is still in force".to_owned(),
        Some(failure) => format!("the earlier program is still in force: {failure}"),
    };
    let reason = |vip: &IpAddr| match own.iter().find(|(address, _)| address == vip) {
        Some((_, own)) => format!("{own}; {earlier}"),
        None => earlier.clone(),
    };
    vips.iter().map(|vip| (*vip, reason(vip))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_vip_is_ready_and_each_keeps_its_own_reason() {
        let [one, two] = [1, 2].map(|n| IpAddr::from([198, 51, 100, n]));
        let vips = BTreeSet::from([one, two]);
        let own = [(two, "tcp/80: no backend is live".to_owned())];
        let earlier = "the earlier program is still in force";
        assert_eq!(
            not_ready(&vips, &own, None),
            [(one, earlier.to_owned()), (two, format!("tcp/80: no backend is live; {earlier}"))]
        );
        let failed = not_ready(&vips, &[], Some("no such device"));
        assert_eq!(failed.len(), 2);
        assert!(failed.iter().all(|(_, why)| *why == format!("{earlier}: no such device")));
        assert_eq!(not_ready(&BTreeSet::new(), &[], None), []);
    }
}
