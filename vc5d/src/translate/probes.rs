use vc5_health::{Probe, ProbeKey, ProbePath, ProberConfig};

use crate::config::model::{self, AdminState, Config, ProbeSettings};
use crate::core::service_label;

/// Probes under way at once; more wait for their turn.
const CONCURRENCY: usize = 4096;

/// `[probe]`
pub fn prober(settings: &ProbeSettings, seed: u64) -> ProberConfig {
    ProberConfig {
        mark_mask: settings.mark_mask,
        table_base: settings.table_base,
        rule_priority: settings.rule_priority,
        concurrency: CONCURRENCY,
        seed,
    }
}

/// Every check of every backend of every service; backends that are switched off are not asked.
pub fn probes(config: &Config) -> Vec<Probe> {
    let mut probes = Vec::new();
    for vip in config.vips.values() {
        for (address, service) in
            vip.addresses.iter().flat_map(|a| vip.services.iter().map(move |s| (*a, s)))
        {
            let pools = config.pool_and_backup(&service.pool);
            let backends =
                pools.flat_map(|pool| pool.backends_for(address).map(move |b| (pool, b)));
            for (pool, backend) in backends.filter(|(_, b)| b.state != AdminState::Disabled) {
                let path = match pool.probe {
                    model::ProbePath::Dsr => ProbePath::Dsr,
                    model::ProbePath::Direct => ProbePath::Direct,
                    model::ProbePath::Local => ProbePath::Local,
                };
                for check in service.checks.iter().filter_map(|name| config.checks.get(name)) {
                    let Some(port) = check.port_for(service.ports) else { continue };
                    let key = ProbeKey {
                        vip: address,
                        backend: backend.address,
                        port,
                        service: service_label(service.ports, service.protocol),
                        check: check.name.clone(),
                    };
                    probes.push(Probe { key, path, ttl: pool.ttl, check: check.check.clone() });
                }
            }
        }
    }
    probes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config;

    #[test]
    fn probes_carry_the_ttl_of_the_packets_and_spare_what_is_switched_off() {
        let text = r#"
            [router]
            id = "192.0.2.1"
            as = 65001
            [dataplane]
            mode = "off"
            [pool.near]
            backends = ["10.0.0.1", { address = "10.0.0.2", state = "disabled" }]
            [pool.far]
            backends = ["10.0.0.3"]
            ttl = "keep"
            [check.alive]
            type = "tcp"
            [vip.www]
            addresses = ["192.0.2.9"]
            service = [
                { port = 80, pool = "near", checks = ["alive"] },
                { port = 81, pool = "far", checks = ["alive"] },
            ]
        "#;
        let config = config::parse(text, Path::new("test.toml")).unwrap();
        let seen: Vec<_> = super::probes(&config)
            .into_iter()
            .map(|probe| (probe.key.backend.to_string(), probe.key.service, probe.ttl))
            .collect();
        let expected = [("10.0.0.1", "80/tcp", Some(1)), ("10.0.0.3", "81/tcp", None)]
            .map(|(backend, service, ttl)| (backend.to_owned(), service.to_owned(), ttl));
        assert_eq!(seen, expected);
    }
}
