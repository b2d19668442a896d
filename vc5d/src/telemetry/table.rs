//! Every metric by name: the contract with dashboards and alerts.

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Only up, until the daemon starts anew.
    Counter,
    /// Observations by size.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Def {
    /// Its full name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// Declares each metric as a constant and all of them as `ALL`.
macro_rules! metrics {
    ($($id:ident: $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Def =
                Def { name: $name, kind: Kind::$kind, labels: $labels, help: $help };
        )*
        /// All metrics.
        pub const ALL: &[Def] = &[$($id),*];
    };
}

const PEER: &[&str] = &["peer"];
const PEER_DIRECTION: &[&str] = &["peer", "direction"];
const PEER_FAMILY: &[&str] = &["peer", "family"];
const VIP: &[&str] = &["vip", "address"];
const SERVICE: &[&str] = &["vip", "address", "port", "protocol"];
const BACKEND: &[&str] = &["vip", "address", "port", "protocol", "backend"];
const CHECK: &[&str] = &["vip", "address", "port", "protocol", "backend", "check"];

metrics! {
    BUILD_INFO: Gauge "vc5_build_info" &["version"], "Always 1, with the release";
    START_TIME: Gauge "vc5_start_time_seconds" &[], "Unix time at which the daemon started";
    CONFIG_TIME: Gauge "vc5_config_time_seconds" &[],
        "Unix time at which a configuration was last applied";
    RELOADS: Counter "vc5_reloads_total" &["result"],
        "Reloads of the configuration by result: ok or failed";

    CHANGES: Counter "vc5_changes_total" &["subject"],
        "Changes told by show history since the start, by what changed";
    HISTORY: Gauge "vc5_history_events" &[], "Changes that are kept for show history";

    PEER_ENABLED: Gauge "vc5_peer_enabled" PEER, "0 when the neighbour is disabled, else 1";
    PEER_ESTABLISHED: Gauge "vc5_peer_established" PEER,
        "1 when the session with the neighbour is Established, else 0";
    PEER_STATE: Gauge "vc5_peer_state" &["peer", "state"],
        "1 for the state of RFC 4271 that the session is in, 0 for the others";
    PEER_UPTIME: Gauge "vc5_peer_session_uptime_seconds" PEER,
        "Age of the Established session, 0 without one";
    PEER_MESSAGES: Counter "vc5_peer_messages_total" PEER_DIRECTION,
        "BGP messages by direction: in or out";
    PEER_UPDATES: Counter "vc5_peer_updates_total" PEER_DIRECTION,
        "UPDATE messages by direction: in or out";
    PEER_UPS: Counter "vc5_peer_established_total" PEER, "Sessions that became Established";
    PEER_DROPS: Counter "vc5_peer_dropped_total" PEER, "Established sessions that ended";
    PEER_IMPORTED: Gauge "vc5_peer_routes_imported" PEER_FAMILY, "Routes held from the neighbour";
    PEER_FILTERED: Gauge "vc5_peer_routes_filtered" PEER_FAMILY,
        "Routes of the neighbour that were not taken";
    PEER_EXPORTED: Gauge "vc5_peer_routes_exported" PEER_FAMILY,
        "Routes announced to the neighbour";

    ROUTES: Gauge "vc5_routes" &["family", "source"], "Routes known by source: vip or bgp";
    ROUTES_ANNOUNCED: Gauge "vc5_routes_announced" &["family"],
        "VIP routes that at least one neighbour gets";

    VIP_UP: Gauge "vc5_vip_up" VIP, "1 when the VIP is announced, else 0";
    VIP_STATE: Gauge "vc5_vip_state" &["vip", "address", "state"],
        "1 for the state of the VIP's gate, 0 for the others";
    VIP_ADMIN: Gauge "vc5_vip_admin_state" &["vip", "address", "state"],
        "1 for what the administrator has made of the VIP, 0 for the others";
    VIP_ADMIN_UNTIL: Gauge "vc5_vip_admin_until_seconds" VIP,
        "Unix time at which the administrator's word on the VIP ends by itself; absent without";
    VIP_DRAINING: Gauge "vc5_vip_draining" VIP,
        "1 while the VIP is announced with GRACEFUL_SHUTDOWN, else 0";
    VIP_FLAPS: Counter "vc5_vip_flaps_total" VIP,
        "Withdrawals of the VIP that health or the dataplane caused";
    VIP_PENALTY: Gauge "vc5_vip_damping_penalty" VIP,
        "Penalty of flap damping; absent without damping";
    VIP_SUPPRESSED: Gauge "vc5_vip_suppressed" VIP,
        "1 while flap damping keeps the VIP from being announced, else 0; absent without damping";
    VIP_CAPACITY: Gauge "vc5_vip_capacity_ratio" VIP,
        "Healthy part of the VIP's capacity, 0 to 1, of the service that has the least";
    VIP_TOLD: Gauge "vc5_vip_told_ratio" VIP,
        "The part that routers are told of; absent where they are told none";
    VIP_BANDWIDTH: Gauge "vc5_vip_link_bandwidth_bytes" VIP,
        "Bytes per second of the link bandwidth community; absent where none is sent";
    VIP_PACKETS: Counter "vc5_vip_packets_total" VIP, "Packets forwarded for the VIP";
    VIP_BYTES: Counter "vc5_vip_bytes_total" VIP, "Bytes forwarded for the VIP";
    VIP_FLOWS: Counter "vc5_vip_flows_total" VIP, "New flows of the VIP";
    VIP_FLAGS: Counter "vc5_vip_tcp_flags_total" &["vip", "address", "flag"],
        "TCP segments of the VIP by flag: syn, fin or rst";

    SERVICE_UP: Gauge "vc5_service_up" SERVICE,
        "1 when at least as many backends as needed are healthy, else 0";
    SERVICE_PANIC: Gauge "vc5_service_panic" SERVICE,
        "1 while too few backends are up to be believed and the last good ones are used on, else 0";
    SERVICE_ON_BACKUP: Gauge "vc5_service_on_backup" SERVICE,
        "1 while the backup pool helps out, else 0";
    SERVICE_HEALTHY: Gauge "vc5_service_healthy" SERVICE, "Backends healthy and enabled";
    SERVICE_NEED: Gauge "vc5_service_need" SERVICE, "Backends needed";
    SERVICE_PACKETS: Counter "vc5_service_packets_total" SERVICE,
        "Packets forwarded for the service";
    SERVICE_BYTES: Counter "vc5_service_bytes_total" SERVICE, "Bytes forwarded for the service";
    SERVICE_FLOWS: Counter "vc5_service_flows_total" SERVICE, "New flows of the service";
    SERVICE_FLAGS: Counter "vc5_service_tcp_flags_total"
        &["vip", "address", "port", "protocol", "flag"],
        "TCP segments of the service by flag: syn, fin or rst";

    BACKEND_UP: Gauge "vc5_backend_up" BACKEND, "1 when the backend takes new flows, else 0";
    BACKEND_STATE: Gauge "vc5_backend_state"
        &["vip", "address", "port", "protocol", "backend", "state"],
        "1 for the state of the backend, 0 for the others";
    BACKEND_ADMIN_UNTIL: Gauge "vc5_backend_admin_until_seconds" BACKEND,
        "Unix time at which the administrator's word on the backend ends by itself; absent without";
    BACKEND_WEIGHT: Gauge "vc5_backend_weight" BACKEND, "Weight of the backend in the ring";
    BACKEND_SLOTS: Gauge "vc5_backend_ring_slots" BACKEND,
        "Slots of the ring that the backend holds, of 65536";
    BACKEND_PACKETS: Counter "vc5_backend_packets_total" BACKEND,
        "Packets forwarded to the backend";
    BACKEND_BYTES: Counter "vc5_backend_bytes_total" BACKEND, "Bytes forwarded to the backend";
    BACKEND_FLOWS: Counter "vc5_backend_flows_total" BACKEND, "New flows of the backend";
    BACKEND_FLAGS: Counter "vc5_backend_tcp_flags_total"
        &["vip", "address", "port", "protocol", "backend", "flag"],
        "TCP segments of the backend by flag: syn, fin or rst";
    CHECK_UP: Gauge "vc5_backend_check_up" CHECK,
        "Verdict of the check after rise and fall: 1 up, 0 down; absent while undecided";
    REPORT: Gauge "vc5_backend_report"
        &["vip", "address", "port", "protocol", "backend", "source"],
        "What is said of the backend: 1 up, 0 down or to drain; absent while the source says nothing";
    PATH_LOST: Gauge "vc5_backend_path_lost" BACKEND,
        "1 when this node's own path to the backend is lost or just back, so that its verdict is held, else 0";
    PROBE_DURATION: Gauge "vc5_backend_probe_duration_seconds" CHECK,
        "How long the last probe took";
    PROBES: Counter "vc5_backend_probes_total"
        &["vip", "address", "port", "protocol", "backend", "check", "result"],
        "Probes by result: passed or failed";

    DATAPLANE_PACKETS: Counter "vc5_dataplane_packets_total" &["reason"],
        "Packets that the program saw, by what became of them; the sum is all packets";
    FLOW_EVENTS: Counter "vc5_dataplane_flow_events_total" &["event"],
        "What happened to the flow tables: records made, replaced and deleted, notes of SYNs, lost samples";
    FLOWS: Gauge "vc5_dataplane_flows" &[], "Flow records made since the tables were, less those deleted";
    FLOW_CAPACITY: Gauge "vc5_dataplane_flow_capacity" &[],
        "Flow records that there is room for";
    FLOW_MEMORY: Gauge "vc5_dataplane_flow_memory_bytes" &[], "Memory of the flow tables";
    APPLIED: Gauge "vc5_dataplane_applied" &[],
        "Sequence number of the state that the dataplane applied last";
    DATAPLANE_ERROR: Gauge "vc5_dataplane_error" &[],
        "1 when the newest state could not be applied, else 0";
    INTERFACE_ATTACHED: Gauge "vc5_interface_attached" &["interface", "mode"],
        "1 when the program is attached to the interface, else 0";
    INTERFACE_PACKETS: Counter "vc5_interface_packets_total" &["interface", "reason"],
        "Packets that came in by the interface, by what became of them";

    WITHDRAW_SECONDS: Histogram "vc5_withdraw_seconds" &[],
        "Time from the verdict that brings a VIP down to its withdrawal on the wire";
    AGENT_REPORTS: Counter "vc5_agent_reports_total" &["result"],
        "What services reported or asked by the agent's input, by result: taken or refused";
    PROBE_SECONDS: Histogram "vc5_probe_seconds" &["check"], "Time that probes took";
}
