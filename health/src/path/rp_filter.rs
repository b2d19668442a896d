//! Whether the kernel's reverse path filter is on.

/// Whether IPv4 packets that come in by this interface are checked for a route back. The kernel
/// takes the larger of the value for all and that of the interface; 1 is strict, 2 is loose, and
/// both drop a reply from a VIP to which there is no route.
pub(super) fn enabled(interface: &str) -> bool {
    ["all", interface].iter().any(|name| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
        // Where it cannot be read there is nothing to filter by.
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    })
}
