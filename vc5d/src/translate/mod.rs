//! From the configuration's words to those of the three libraries, which know nothing of one another.

mod bgp;
mod bgp_view;
mod dataplane;
mod dataplane_view;
mod probes;

pub use bgp::{local_route, peers, speaker};
pub use bgp_view::bgp_view;
pub use dataplane::dataplane;
pub use dataplane_view::{add_forwarding, dataplane_view};
pub use probes::{prober, probes};
