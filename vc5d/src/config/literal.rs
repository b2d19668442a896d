//! Values that are written as strings: durations, prefix sets, communities, ranges of status codes.
//!
//! The error of each is the end of a sentence that starts with the key.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vc5_xdp::Ports;

use super::model::PrefixMatch;

/// Reads `"250ms"`, `"9s"`, `"5m"`, `"1h"`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(digits)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    }?;
    Some(Duration::from_millis(milliseconds))
}

/// Writes a duration as [`duration`] reads it, in its largest whole unit.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit =
        units.into_iter().find(|(size, _)| milliseconds > 0 && milliseconds.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!("{}{name}", milliseconds / size),
        None if milliseconds == 0 => "0s".to_owned(),
        None => format!("{milliseconds}ms"),
    }
}

/// Reads `"50%"`, from 1 to 100.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let valid = number.filter(|number| (1..=100).contains(number));
    valid.ok_or_else(|| format!("`{text}` is not a percentage, \"1%\" to \"100%\""))
}

/// Reads `"50%"`, from 0 to `most`.
pub(super) fn percent_to(text: &str, most: u8) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let valid = number.filter(|number| *number <= most);
    valid.ok_or_else(|| format!("`{text}` is not a percentage, \"0%\" to \"{most}%\""))
}

/// Reads `"100Mbit"`: bits per second, given in octets per second.
pub(super) fn bit_rate(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] =
        [("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000), ("bit", 1)];
    let known = UNITS.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let bits = known.and_then(|(number, unit)| number.parse::<u64>().ok()?.checked_mul(unit));
    let valid = bits.filter(|bits| (8..=1_000_000_000_000).contains(bits));
    valid.map(|bits| bits / 8).ok_or_else(|| {
        format!("`{text}` is not a rate, \"8bit\" to \"1000Gbit\", with the units bit, kbit, Mbit and Gbit")
    })
}

/// Reads one element of a BIRD prefix set: `P`, `P+` or `P{shortest,longest}`.
pub(super) fn prefix_match(text: &str) -> Result<PrefixMatch, String> {
    let shape = || {
        format!(
            "`{text}` is not a prefix such as \"192.0.2.0/24\", \"192.0.2.0/24+\" or \"192.0.2.0/24{{25,32}}\""
        )
    };
    let (written, range) = match text.split_once('{') {
        Some((written, rest)) => (written, Some(rest.strip_suffix('}').ok_or_else(shape)?)),
        None => (text, None),
    };
    let (written, more) = match written.strip_suffix('+') {
        Some(_) if range.is_some() => return Err(shape()),
        Some(written) => (written, true),
        None => (written, false),
    };
    let prefix: IpNet = written.parse().map_err(|_| shape())?;
    if prefix.trunc() != prefix {
        return Err(format!("`{text}` has host bits set; the prefix is {}", prefix.trunc()));
    }
    let (length, longest) = (prefix.prefix_len(), prefix.max_prefix_len());
    let (min, max) = match range {
        Some(range) => {
            let (min, max) = range.split_once(',').ok_or_else(shape)?;
            (min.trim().parse().map_err(|_| shape())?, max.trim().parse().map_err(|_| shape())?)
        }
        None if more => (length, longest),
        None => (length, length),
    };
    if length <= min && min <= max && max <= longest {
        Ok(PrefixMatch { prefix, min, max })
    } else {
        Err(format!("`{text}`: lengths must rise from {length} to at most {longest}"))
    }
}

/// Reads a subnet such as `"192.0.2.0/24"`, without host bits.
pub(super) fn subnet(text: &str) -> Result<IpNet, String> {
    let net: IpNet =
        text.parse().map_err(|_| format!("`{text}` is not a subnet such as \"192.0.2.0/24\""))?;
    if net.trunc() != net {
        return Err(format!("`{text}` has host bits set; the subnet is {}", net.trunc()));
    }
    Ok(net)
}

/// Reads the ports of a service: `"all"` or `"8000-8099"`.
pub(super) fn ports(text: &str) -> Result<Ports, String> {
    if text == "all" {
        return Ok(Ports::All);
    }
    let range = text.split_once('-').and_then(|(first, last)| {
        Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
    });
    match range {
        Some((first, last)) if 1 <= first && first < last => Ok(Ports::Range(first, last)),
        _ => Err(format!(
            "`{text}` is neither a port, 1 to 65535, nor a range such as \"8000-8099\", nor \"all\""
        )),
    }
}

/// The communities that have names (RFC 1997, RFC 3765, RFC 7999, RFC 8326).
const NAMED_COMMUNITIES: [(&str, u32); 6] = [
    ("graceful-shutdown", 0xffff_0000),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];

/// Reads a standard community: `"65000:100"` or a well-known name.
pub(super) fn community(text: &str) -> Result<u32, String> {
    if let Some((_, value)) = NAMED_COMMUNITIES.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let halves = text.split_once(':').and_then(|(high, low)| {
        let high: u16 = high.parse().ok()?;
        let low: u16 = low.parse().ok()?;
        Some(u32::from(high) << 16 | u32::from(low))
    });
    halves.ok_or_else(|| {
        let names: Vec<_> = NAMED_COMMUNITIES.iter().map(|(name, _)| *name).collect();
        format!(
            "`{text}` is not a community such as \"65000:100\" (two numbers up to 65535) or one of {}",
            names.join(", ")
        )
    })
}

/// Reads a range of HTTP status codes: `"200-299"`.
pub(super) fn status_range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-')?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (100 <= low && low <= high && high <= 599).then_some((low, high))
}

/// Reads 16 bytes written as 32 hexadecimal digits.
pub(super) fn hash_key(text: &str) -> Option<[u8; 16]> {
    let text = text.trim();
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Why an address cannot be that of a host, if so.
pub(super) fn not_a_host(address: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    match address {
        _ if address.is_unspecified() => Some("is the unspecified address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        _ if broadcast => Some("is the broadcast address"),
        // The system would speak IPv4 to it, past everything that is set up for IPv6.
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("is an IPv4 address in IPv6 form"),
        _ => None,
    }
}

/// Whether an address is meaningful on one link only (RFC 4291 section 2.5.6).
pub(super) fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, milliseconds) in
            [("250ms", 250), ("9s", 9_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)]
        {
            let value = duration(text).unwrap();
            assert_eq!(value, Duration::from_millis(milliseconds));
            assert_eq!(show_duration(value), text);
        }
        for text in
            ["", "9", "s", "1.5s", "-1s", "+1s", "1 s", "1d", "1m30s", "99999999999999999999s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("18446744073709551615h"), None);
    }

    #[test]
    fn prefix_sets_as_in_bird() {
        let read = |text| prefix_match(text).map(|m| (m.prefix.to_string(), m.min, m.max));
        assert_eq!(read("192.0.2.0/24{25,32}"), Ok(("192.0.2.0/24".into(), 25, 32)));
        assert_eq!(read("192.0.2.0/24"), Ok(("192.0.2.0/24".into(), 24, 24)));
        assert_eq!(read("192.0.2.0/24+"), Ok(("192.0.2.0/24".into(), 24, 32)));
        assert_eq!(read("2001:db8::/32+"), Ok(("2001:db8::/32".into(), 32, 128)));
        assert_eq!(read("0.0.0.0/0"), Ok(("0.0.0.0/0".into(), 0, 0)));
        for text in ["", "192.0.2.0", "192.0.2.0/24-", "192.0.2.0/24{25}", "192.0.2.0/24+{25,32}"] {
            assert!(read(text).unwrap_err().contains("is not a prefix"), "{text}");
        }
        assert!(read("192.0.2.1/24").unwrap_err().contains("host bits"));
        for text in ["192.0.2.0/24{23,32}", "192.0.2.0/24{30,25}", "192.0.2.0/24{24,33}"] {
            assert!(read(text).unwrap_err().contains("lengths must rise"), "{text}");
        }
    }

    #[test]
    fn ports_are_a_range_or_all() {
        assert_eq!(ports("all"), Ok(Ports::All));
        assert_eq!(ports("8000-8099"), Ok(Ports::Range(8000, 8099)));
        assert_eq!(ports("1 - 65535"), Ok(Ports::Range(1, 65535)));
        for text in ["", "80", "80-80", "90-80", "0-5", "1-65536", "-", "1-", "ALL", "1-2-3"] {
            assert!(ports(text).unwrap_err().contains("is neither a port"), "{text}");
        }
    }

    #[test]
    fn rates_have_a_number_and_a_unit() {
        for (text, octets) in [
            ("8bit", 1),
            ("64kbit", 8_000),
            ("100Mbit", 12_500_000),
            ("1Gbit", 125_000_000),
            ("1000Gbit", 125_000_000_000),
        ] {
            assert_eq!(bit_rate(text), Ok(octets), "{text}");
        }
        for text in ["", "1", "7bit", "1001Gbit", "1 Gbit", "-1bit", "1gbit", "1.5Gbit", "bit"] {
            assert!(bit_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn subnets_have_no_host_bits() {
        assert_eq!(subnet("10.1.10.0/24"), Ok("10.1.10.0/24".parse().unwrap()));
        assert_eq!(subnet("2001:db8::/64"), Ok("2001:db8::/64".parse().unwrap()));
        assert!(subnet("10.1.10.1/24").unwrap_err().contains("the subnet is 10.1.10.0/24"));
        assert!(subnet("10.1.10.0").unwrap_err().contains("is not a subnet"));
    }

    #[test]
    fn communities_by_number_and_name() {
        assert_eq!(community("65000:100"), Ok(65000 << 16 | 100));
        assert_eq!(community("graceful-shutdown"), community("65535:0"));
        assert_eq!(community("blackhole"), community("65535:666"));
        assert_eq!(community("no-export"), community("65535:65281"));
        for text in ["65000", "65536:1", "1:65536", "a:b", ""] {
            assert!(community(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hash_keys_are_32_digits() {
        let key = hash_key("000102030405060708090a0b0c0d0e0F\n").unwrap();
        assert_eq!(key, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(hash_key("0001"), None);
        assert_eq!(hash_key("+00102030405060708090a0b0c0d0e0f"), None);
    }
}
