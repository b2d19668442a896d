//! The keys of a gRPC health check beside those of its host and of TLS.

use vc5_health::check::grpc::SERVICE_MAX;

use super::super::super::read::Table;

pub(super) const KEYS: [&str; 2] = ["service", "tls"];

/// Which service is asked about, and whether over TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    pub(super) service: String,
    pub(super) tls: bool,
}

pub(super) fn read(table: &mut Table<'_>) -> Keys {
    let service = table.get("service").and_then(|field| {
        let text = field.text()?;
        if text.len() > SERVICE_MAX {
            return field.fail(&format!("must not be longer than {SERVICE_MAX} bytes"));
        }
        Some(text.to_owned())
    });
    let tls = table.get("tls").and_then(|field| field.boolean());
    Keys { service: service.unwrap_or_default(), tls: tls.unwrap_or(false) }
}
