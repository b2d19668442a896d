//! The BGP codec beside other Rust codecs: the same octets, the same process, one run of each in turn.
//!
//! Prints one JSON object a line, in the form of `target/bench.jsonl`; `make bench ONLY=bgp` shows
//! them as a table.

mod codecs;
mod feed;
mod measure;

use anyhow::Result;

use self::codecs::{netgauze, ours, routecore, rustbgpd};
use self::feed::Feed;
use self::measure::{Subject, Task, compare};

fn main() -> Result<()> {
    let feed = Feed::full_table();
    let borrowed = Task {
        name: "bgp.decode_borrowed",
        ours: Subject { name: "vc5-bgp", run: ours::view(&feed) },
        peers: vec![Subject { name: "routecore 0.7, lazily", run: routecore::lazy(&feed) }],
        what: "header, all checks of RFC 7606 (of the peer: its own checks), then each prefix, \
               AS number and community is read and added up, without an allocation",
    };
    let owned = Task {
        name: "bgp.decode_owned",
        ours: Subject { name: "vc5-bgp", run: ours::owned(&feed) },
        peers: vec![
            Subject { name: "rustbgpd-wire 0.27, RFC 7606", run: rustbgpd::owned(&feed) },
            Subject { name: "netgauze-bgp-pkt 0.13", run: netgauze::owned(&feed) },
            Subject { name: "routecore 0.7, to_owned", run: routecore::owned(&feed) },
        ],
        what: "header, all checks of RFC 7606 (of the peers: their own checks), and values that own \
               what they hold; nothing is interned, all is freed again within the time",
    };
    let encode = Task {
        name: "bgp.encode",
        ours: Subject { name: "vc5-bgp", run: ours::encode(&feed)? },
        peers: vec![
            Subject { name: "rustbgpd-wire 0.27", run: rustbgpd::encode(&feed)? },
            Subject { name: "netgauze-bgp-pkt 0.13", run: netgauze::encode(&feed)? },
        ],
        what: "from owned values to the octets of one message at a time, in a buffer that is used again; \
               ours are those of the feed",
    };
    for task in [borrowed, owned, encode] {
        for record in compare(task, &feed)? {
            println!("{record}");
        }
    }
    Ok(())
}
