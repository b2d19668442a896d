//! The bitmap that lets the program pass foreign packets without a look-up.

use std::net::Ipv4Addr;

use vc5_ebpf_abi::{VIP_FILTER_WORDS, VipFilter, vip_filter_bit};

/// The filter with the bits of these VIPs. Several VIPs may share a bit, so that removing one is
/// building the filter anew from those that stay.
pub(crate) fn filter_of(vips: impl IntoIterator<Item = Ipv4Addr>) -> VipFilter {
    let mut words = [0; VIP_FILTER_WORDS];
    for vip in vips {
        let bit = vip_filter_bit(vip.octets());
        if let Some(word) = words.get_mut(usize::from(bit / 64)) {
            *word |= 1 << (bit % 64);
        }
    }
    VipFilter(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_bits_of_the_vips_are_set() {
        let vips = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 255)];
        let filter = filter_of(vips);
        assert_eq!(filter.0.iter().map(|w| w.count_ones()).sum::<u32>(), 2);
        for vip in vips {
            let bit = usize::from(vip_filter_bit(vip.octets()));
            assert_eq!(filter.0[bit / 64] >> (bit % 64) & 1, 1);
        }
        assert!(filter_of([]).0.iter().all(|w| *w == 0));
    }
}
