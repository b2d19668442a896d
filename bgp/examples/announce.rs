//! Announces one prefix to one neighbour until interrupted:
//! `announce ROUTER-ID LOCAL-AS NEIGHBOUR NEIGHBOUR-AS PREFIX`.

use std::error::Error;

use vc5_bgp::policy::Policy;
use vc5_bgp::speaker::{FamilyConfig, LocalRoute, PeerConfig, Speaker, SpeakerConfig};
use vc5_bgp::wire::Family;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [router_id, local_as, neighbour, neighbour_as, prefix] = &arguments[..] else {
        return Err("usage: announce ROUTER-ID LOCAL-AS NEIGHBOUR NEIGHBOUR-AS PREFIX".into());
    };
    let (router_id, local_as) = (router_id.parse()?, local_as.parse()?);
    let speaker = Speaker::start(SpeakerConfig { router_id, local_as, listen: vec![] }).await?;
    let mut events = speaker.subscribe();

    let route = LocalRoute::new(prefix.parse()?);
    let mut peer = PeerConfig::new("router", neighbour.parse()?, neighbour_as.parse()?);
    let family = FamilyConfig { export: Policy::all(), ..FamilyConfig::default() };
    peer.families.insert(Family::of(&route.prefix), family);
    speaker.set_peer(peer)?;
    speaker.announce(route);

    loop {
        tokio::select! {
            event = events.recv() => println!("{:?}", event?),
            interrupt = tokio::signal::ctrl_c() => break interrupt?,
        }
    }
    speaker.shutdown(Some("interrupted")).await;
    Ok(())
}
