//! A route collector: accepts sessions from the neighbours named and prints what they announce (`+`) and withdraw (`-`)
//! until interrupted; SIGHUP asks all of them for their routes once more (RFC 2918): `listen ROUTER-ID LOCAL-AS ADDRESS:PORT NEIGHBOUR,AS...`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use vc5_bgp::policy::Policy;
use vc5_bgp::speaker::{FamilyConfig, PeerConfig, Speaker, SpeakerConfig, SpeakerSnapshot};
use vc5_bgp::wire::Family;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [router_id, local_as, listen, neighbours @ ..] = &arguments[..] else {
        return Err("usage: listen ROUTER-ID LOCAL-AS ADDRESS:PORT NEIGHBOUR,AS...".into());
    };
    let (router_id, local_as) = (router_id.parse()?, local_as.parse()?);
    let listen = vec![listen.parse()?];
    let speaker = Speaker::start(SpeakerConfig { router_id, local_as, listen }).await?;
    let mut events = speaker.subscribe();

    for neighbour in neighbours {
        let (address, asn) = neighbour.split_once(',').ok_or("a neighbour is ADDRESS,AS")?;
        let mut peer = PeerConfig::new(address, address.parse()?, asn.parse()?);
        peer.passive = true;
        for family in [Family::IPV4_UNICAST, Family::IPV6_UNICAST] {
            let all = FamilyConfig { import: Policy::all(), ..FamilyConfig::default() };
            peer.families.insert(family, all);
        }
        speaker.set_peer(peer)?;
    }

    let mut known = BTreeMap::new();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            event = events.recv() => println!("{:?}", event?),
            _ = look.tick() => {
                let present = routes(&speaker.snapshot());
                print_changes(&known, &present);
                known = present;
            }
            _ = hangup.recv() => {
                speaker.snapshot().peers.keys().try_for_each(|peer| speaker.refresh(peer))?;
            }
            interrupt = tokio::signal::ctrl_c() => break interrupt?,
        }
    }
    speaker.shutdown(Some("interrupted")).await;
    Ok(())
}

/// What tells routes apart, and what is to be said of each.
type Routes = BTreeMap<(String, u32), String>;

fn routes(snapshot: &SpeakerSnapshot) -> Routes {
    let route = |route: &vc5_bgp::speaker::ReceivedRoute| {
        let name = format!("{} {}", route.peer, route.prefix);
        let path = &route.attributes.as_path;
        ((name, route.path_id), format!("via {} path {path}", route.next_hop.address()))
    };
    snapshot.received_routes.iter().map(route).collect()
}

fn print_changes(known: &Routes, present: &Routes) {
    for ((name, id), text) in present.iter().filter(|(key, text)| known.get(key) != Some(text)) {
        println!("+ {name} {id} {text}");
    }
    for (name, id) in known.keys().filter(|key| !present.contains_key(key)) {
        println!("- {name} {id}");
    }
}
