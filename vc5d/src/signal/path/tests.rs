use super::*;
use crate::preflight::machine::Address;

fn link(index: u32, name: &str, up: bool, running: bool) -> Link {
    Link { index, name: name.into(), up, running, loopback: name == "lo", ..Link::default() }
}

fn machine(links: &[Link]) -> Machine {
    let addresses = [("10.0.0.9", "10.0.0.9/24", 2), ("2001:db8::9", "2001:db8::9/64", 2)];
    let here = |index| links.iter().any(|link| link.index == index);
    let addresses = addresses.iter().filter(|(_, _, index)| here(*index));
    let address = |(local, subnet, link): &(&str, &str, u32)| Address {
        link: *link,
        local: local.parse().unwrap(),
        subnet: subnet.parse().unwrap(),
    };
    Machine {
        links: links.to_vec(),
        addresses: addresses.map(address).collect(),
        ..Machine::default()
    }
}

fn at(address: &str) -> PoolBackend {
    PoolBackend { pool: "web".into(), address: address.parse().unwrap() }
}

fn connected(machine: &Machine, address: &str) -> Result<String, Lost> {
    look(machine, address.parse().unwrap(), Way::Connected, |_| None)
}

#[test]
fn a_connected_backend_hangs_on_its_interface() {
    let lo = link(1, "lo", true, true);
    let both = machine(&[lo.clone(), link(2, "eth0", true, true)]);
    for address in ["10.0.0.1", "2001:db8::1"] {
        assert_eq!(connected(&both, address), Ok("eth0".into()));
        let pulled = machine(&[lo.clone(), link(2, "eth0", true, false)]);
        assert_eq!(connected(&pulled, address), Err(Lost::NoCarrier("eth0".into())));
        let down = machine(&[lo.clone(), link(2, "eth0", false, false)]);
        assert_eq!(connected(&down, address), Err(Lost::Down("eth0".into())));
        assert_eq!(connected(&machine(std::slice::from_ref(&lo)), address), Err(Lost::NoSubnet));
    }
}

#[test]
fn a_routed_backend_hangs_on_the_interface_of_its_route() {
    let address: IpAddr = "203.0.113.1".parse().unwrap();
    let by = |machine: &Machine, source: Option<&str>| {
        let source = source.map(|text| text.parse().unwrap());
        look(machine, address, Way::Routed, |_| source)
    };
    let up = machine(&[link(2, "eth0", true, true)]);
    assert_eq!(by(&up, Some("10.0.0.9")), Ok("eth0".into()));
    assert_eq!(by(&up, None), Err(Lost::NoRoute));
    let pulled = machine(&[link(2, "eth0", true, false)]);
    assert_eq!(by(&pulled, Some("10.0.0.9")), Err(Lost::NoCarrier("eth0".into())));
    assert_eq!(by(&up, Some("10.9.9.9")), Ok(String::new()), "nothing is claimed to be lost");
}

#[test]
fn only_what_is_new_is_told_and_the_interface_of_before_is_named() {
    let mut watch = Watch::default();
    let mut see = |seen: Result<String, Lost>| watch.handle([(at("10.0.0.1"), seen)].into());
    let told = |lost: Option<&str>| {
        vec![Signal::Path { at: at("10.0.0.1"), lost: lost.map(str::to_owned) }]
    };
    assert_eq!(see(Ok("eth0".into())), []);
    let gone = "no interface has its subnet any more (it was by eth0)";
    assert_eq!(see(Err(Lost::NoSubnet)), told(Some(gone)));
    assert_eq!(see(Err(Lost::NoSubnet)), []);
    assert_eq!(see(Err(Lost::Down("eth0".into()))), told(Some("eth0 is down")));
    assert_eq!(see(Ok("eth1".into())), told(None));
    assert_eq!(see(Ok("eth0".into())), [], "another interface is as good");
}

#[test]
fn only_what_is_used_and_elsewhere_is_a_target() {
    let text = r#"
        router = { id = "192.0.2.1", as = 65001 }
        dataplane = { mode = "off" }
        pool.near = { backends = ["10.0.0.1", { address = "10.0.0.2", state = "disabled" }] }
        pool.spare = { backends = ["10.3.0.1"] }
        pool.far = { backends = ["10.1.0.1"], probe = "direct" }
        pool.here = { backends = ["10.2.0.1"], probe = "local" }
        [vip.www]
        addresses = ["192.0.2.9"]
        service = [
            { port = 80, pool = "near" },
            { port = 81, pool = "far" },
            { port = 82, pool = "here" },
        ]
    "#;
    let config = crate::config::parse(text, std::path::Path::new("test.toml")).unwrap();
    let ways: Vec<_> = targets(&config).into_iter().map(|(at, way)| (at.pool, way)).collect();
    assert_eq!(ways, [("far".to_owned(), Way::Routed), ("near".to_owned(), Way::Connected)]);
}
