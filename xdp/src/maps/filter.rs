//! The bitmap that lets the program pass foreign packets without a look-up.

use std::net::IpAddr;

use vc5_ebpf_abi::{VIP_FILTER_WORDS, VipFilter, vip_filter_bit, vip_filter_bit_v6};

/// The filter with the bits of these VIPs. Several VIPs may share a bit, so that removing one is
/// building the filter anew from those that stay.
pub(crate) fn filter_of(vips: impl IntoIterator<Item = IpAddr>) -> VipFilter {
    let mut words = [0; VIP_FILTER_WORDS];
    for vip in vips {
        let bit = bit(vip);
        if let Some(word) = words.get_mut(usize::from(bit / 64)) {
            *word |= 1 << (bit % 64);
        }
    }
    VipFilter(words)
}

fn bit(vip: IpAddr) -> u16 {
    match vip {
        IpAddr::V4(vip) => vip_filter_bit(vip.octets()),
        IpAddr::V6(vip) => {
            let words = u128::from(vip);
            vip_filter_bit_v6([(words >> 64) as u64, words as u64].map(u64::to_be_bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_bits_of_the_vips_are_set() {
        let vips: [IpAddr; 3] =
            ["192.0.2.1", "198.51.100.255", "2001:db8::1"].map(|vip| vip.parse().unwrap());
        let filter = filter_of(vips);
        assert_eq!(filter.0.iter().map(|w| w.count_ones()).sum::<u32>(), 3);
        for vip in vips {
            let bit = usize::from(bit(vip));
            assert_eq!(filter.0[bit / 64] >> (bit % 64) & 1, 1);
        }
        assert!(filter_of([]).0.iter().all(|w| *w == 0));
    }
}
