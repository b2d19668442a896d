//! Port ranges as blocks of ports whose numbers begin with the same bits.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vc5_ebpf_abi::{RangeKey, RangeValue};

use super::{octets, service_port};
use crate::{Ports, ServiceSpec};

/// The entries of `PORT_RANGES` for the services of a VIP.
pub(super) fn entries<'s>(
    vip: IpAddr,
    services: impl IntoIterator<Item = &'s ServiceSpec>,
) -> BTreeMap<RangeKey, RangeValue> {
    let mut entries = BTreeMap::new();
    for service in services {
        let blocks = match service.ports {
            Ports::One(_) => continue,
            Ports::Range(first, last) => blocks(first, last),
            Ports::All => vec![(0, 0)],
        };
        let value = RangeValue { port: service_port(service.ports).to_be_bytes(), pad: [0; 2] };
        for (port, bits) in blocks {
            let key = RangeKey {
                prefix_len: RangeKey::PREFIX + bits,
                addr: octets(vip),
                protocol: service.protocol.number(),
                pad: 0,
                port: port.to_be_bytes(),
            };
            entries.insert(key, value);
        }
    }
    entries
}

/// The fewest blocks that have just the ports of a range: of each the first port, and how many of
/// its bits all of them have in common.
fn blocks(first: u16, last: u16) -> Vec<(u16, u32)> {
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    let mut blocks = Vec::new();
    while let Ok(port) = u16::try_from(next)
        && next < end
    {
        let aligned = port.trailing_zeros();
        let fitting = (end - next).ilog2();
        let bits = aligned.min(fitting);
        blocks.push((port, 16 - bits));
        next += 1 << bits;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_as_large_as_can_be() {
        assert_eq!(blocks(80, 80), [(80, 16)]);
        assert_eq!(blocks(8000, 8099), [(8000, 10), (8064, 11), (8096, 14)]);
        assert_eq!(blocks(1, 65535).len(), 16);
        assert_eq!(blocks(0, 65535), [(0, 0)]);
        assert_eq!(blocks(1, 65534).len(), 30);
    }

    proptest! {
        #[test]
        fn blocks_have_each_port_of_the_range_once(a: u16, b: u16, probe: u16) {
            let (first, last) = (a.min(b), a.max(b));
            let having = |port: u16| {
                let blocks = blocks(first, last);
                let matches = |(block, bits): &(u16, u32)| {
                    u32::from(port ^ block) >> (16 - bits) == 0
                };
                blocks.iter().filter(|block| matches(block)).count()
            };
            for port in [first, last, probe] {
                prop_assert_eq!(having(port), usize::from((first..=last).contains(&port)));
            }
        }
    }
}
