//! What the names under which packets are counted mean, in a few words each.

/// In the order of the program: passed and dropped first, then what was sent.
pub(super) const REASONS: &[(&str, &str)] = &[
    ("short", "shorter than an Ethernet and an IP header"),
    ("unknown-interface", "from an interface that the dataplane does not know"),
    ("not-our-mac", "not to this host's MAC address"),
    ("vlan", "VLAN-tagged on an interface that is no trunk, or more than twice"),
    ("not-ip", "neither IPv4 nor IPv6"),
    ("not-vip", "not to a VIP"),
    ("malformed", "the IP header contradicts itself or the frame"),
    ("truncated", "the packet ends before its headers do"),
    ("extension-headers", "more or other IPv6 extension headers than are read"),
    ("fragment-unknown", "a later fragment of a packet whose first was not seen"),
    ("unknown-protocol", "of a protocol that is not balanced"),
    ("unknown-port", "no service has this port"),
    ("unknown-passed", "no service has this port or protocol; left to this host"),
    ("unknown-rejected", "no service has this port or protocol; answered so"),
    ("icmp-other", "ICMP to a VIP, neither an error nor an echo request"),
    ("icmp-foreign", "an ICMP error about a packet that is of no service of the VIP"),
    ("echo-down", "an echo request to a VIP that is not up, or a fragment of one"),
    ("echo", "an echo request to a VIP, answered"),
    ("ttl-exceeded", "the TTL or hop limit is used up"),
    ("no-backend", "no backend of the service takes new flows"),
    ("real-down", "the ring names a backend that is down"),
    ("no-neighbour", "the backend's MAC address is unknown"),
    ("no-interface", "the backend's interface cannot be sent by"),
    ("no-room", "there was no room for a VLAN tag or an answer"),
    ("flow", "to where its flow record says"),
    ("flow-stuck", "to where its flow record says, a backend that is down (on-down = \"stick\")"),
    ("embryonic", "to where its SYN went"),
    ("previous-ring", "by the ring before the last change"),
    ("ring", "by the ring"),
    ("fragment", "a later fragment, to where the first one went"),
    ("icmp-error", "an ICMP error, to the backend of the flow that it is about"),
];

/// What a name means; nothing for one that this release does not know.
pub(super) fn meaning(name: &str) -> &'static str {
    REASONS.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use vc5_ebpf_abi::Reason;

    use super::REASONS;

    #[test]
    fn every_reason_has_a_meaning() {
        let labels: Vec<&str> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        let known: Vec<&str> = REASONS.iter().map(|(name, _)| *name).collect();
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(known), sorted(labels));
    }
}
