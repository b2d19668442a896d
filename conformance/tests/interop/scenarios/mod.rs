//! The rows of the matrix.

mod connection;
mod end;
mod families;
mod options;
mod routes;

use anyhow::Result;

use crate::world::World;

/// A scenario: starts what it needs in the world, and says what is wrong.
pub(crate) type Scenario = fn(&mut World) -> Result<()>;

/// All scenarios, in the order of the matrix.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    ("IPv4, we dial", families::ipv4_we_dial),
    ("IPv4, they dial", families::ipv4_they_dial),
    ("IPv4 and IPv6 over IPv4", families::both_over_ipv4),
    ("IPv6 over IPv6, we dial", families::ipv6_we_dial),
    ("IPv6 over IPv6, they dial", families::ipv6_they_dial),
    ("IPv4 over an IPv6 next hop", families::ipv4_over_ipv6_next_hop),
    ("collision, their connection stays", connection::collision_theirs_stays),
    ("collision, our connection stays", connection::collision_ours_stays),
    ("multihop", connection::multihop),
    ("MD5, we dial", connection::md5_we_dial),
    ("MD5, they dial", connection::md5_they_dial),
    ("MD5 over IPv6", connection::md5_over_ipv6),
    ("MD5, wrong key", connection::md5_wrong_key),
    ("MD5, key changed in place", connection::md5_key_changes),
    ("GTSM", connection::gtsm),
    ("GTSM over IPv6", connection::gtsm_over_ipv6),
    ("GTSM, they without it", connection::gtsm_here_alone),
    ("4-octet AS", options::four_octet_as),
    ("2-octet AS", options::two_octet_as),
    ("2-octet AS, ours is AS_TRANS", options::as_trans),
    ("extended messages", options::extended_messages),
    ("ADD-PATH receive", options::add_path_receive),
    ("route refresh, they ask", routes::refresh_they_ask),
    ("communities received", routes::communities_received),
    ("communities sent", routes::communities_sent),
    ("hold time expires, they stop", end::they_stop),
    ("hold time expires, we stop", end::we_stop),
    ("killed, they", end::they_are_killed),
    ("killed, we", end::we_are_killed),
    ("shutdown message, ours", end::our_message),
    ("shutdown message, theirs", end::their_message),
    ("graceful restart, they come back", end::they_come_back),
    ("graceful restart, they do not", end::they_do_not_come_back),
    ("prefix limit, theirs", end::their_limit),
    ("prefix limit, ours", end::our_limit),
];
