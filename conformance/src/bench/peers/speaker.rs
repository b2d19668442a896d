//! Our own speaker, dialling the routers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use ipnet::IpNet;
use vc5_bgp::policy::Policy;
use vc5_bgp::speaker::{
    FamilyConfig, LocalRoute, PeerConfig, Speaker, SpeakerConfig, SpeakerEvent,
};
use vc5_bgp::wire::Family;

use super::routers::ROUTER_AS;
use super::{HOLD, LOCAL_AS, NEXT_HOP, VIP};

const PATIENCE: Duration = Duration::from_secs(30);

/// The one route.
pub(super) fn prefix() -> IpNet {
    IpNet::from(IpAddr::V4(VIP))
}

pub(super) fn route() -> LocalRoute {
    LocalRoute::new(prefix())
}

/// A speaker with Established sessions with all the routers.
pub(super) async fn established(routers: &[SocketAddr]) -> Result<Speaker> {
    let config =
        SpeakerConfig { router_id: Ipv4Addr::LOCALHOST, local_as: LOCAL_AS, listen: vec![] };
    let speaker = Speaker::start(config).await?;
    let mut events = speaker.subscribe();
    for (number, router) in routers.iter().enumerate() {
        speaker.set_peer(peer(number, router))?;
    }
    let mut sessions = 0;
    while sessions < routers.len() {
        match tokio::time::timeout(PATIENCE, events.recv()).await {
            Ok(Ok(SpeakerEvent::Established { .. })) => sessions += 1,
            Ok(Ok(_)) => {}
            // More came up at once than the channel holds.
            Ok(Err(_)) => {
                standing(&speaker, routers.len()).await?;
                break;
            }
            Err(_) => bail!("{sessions} of {} sessions came up", routers.len()),
        }
    }
    Ok(speaker)
}

async fn standing(speaker: &Speaker, wanted: usize) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while speaker.snapshot().peers.values().filter(|peer| peer.session.is_some()).count() < wanted {
        ensure!(Instant::now() < end, "not all of {wanted} sessions came up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn peer(number: usize, router: &SocketAddr) -> PeerConfig {
    let mut peer = PeerConfig::new(format!("r{number}"), router.ip(), ROUTER_AS);
    peer.port = router.port();
    peer.source_address = Some(Ipv4Addr::LOCALHOST.into());
    peer.hold_time = HOLD;
    let family = FamilyConfig {
        export: Policy::all(),
        next_hop: Some(NEXT_HOP.into()),
        ..FamilyConfig::default()
    };
    peer.families.insert(Family::IPV4_UNICAST, family);
    peer
}
