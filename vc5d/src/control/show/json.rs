//! `json show ...`: the same pictures as JSON documents. The fields are those of [`crate::snapshot`].

use serde::Serialize;
use serde_json::{Value, json};

use super::super::grammar::{RouteQuery, Show};
use super::super::reply::{Reply, chunks, code};
use super::{counters, explain, find_vips, history, routes};
use crate::snapshot::{Peer, Snapshot, Vip};

/// Bytes of JSON text in a line.
const PIECE: usize = 1000;

/// The document in lines of code 1100, then `0000`.
pub(super) fn reply(snapshot: &Snapshot, what: &Show) -> Reply {
    let value = match what {
        Show::Status => to_value(&snapshot.status),
        Show::Protocols { names, .. } => {
            let peers: Vec<&Peer> =
                snapshot.peers.values().filter(|peer| names.matches(&peer.name)).collect();
            let vips: Vec<&Vip> =
                snapshot.vips.iter().filter(|vip| names.matches(&vip.name)).collect();
            Ok(json!({ "peers": peers, "vips": vips }))
        }
        Show::Route(query) => route(snapshot, query),
        Show::Vips => to_value(&snapshot.vips),
        Show::Vip(name) => match find_vips(snapshot, name) {
            Ok(vips) => to_value(&vips),
            Err(reply) => return reply,
        },
        Show::Services => Ok(services(snapshot).collect()),
        Show::Backends => Ok(services(snapshot).flat_map(backends).collect()),
        Show::History(query) => match history::selected(snapshot, query) {
            Ok(events) => Ok(events.into_iter().map(|event| json!(event)).collect()),
            Err(reply) => return reply,
        },
        Show::Explain(name) => match find_vips(snapshot, name) {
            Ok(vips) => Ok(vips.into_iter().map(|vip| explain::document(snapshot, vip)).collect()),
            Err(reply) => return reply,
        },
        Show::Interfaces => to_value(&snapshot.dataplane),
        Show::Counters => Ok(counters::document(snapshot)),
        Show::Symbols => {
            let vips = snapshot.vips.iter().map(|vip| &vip.name);
            let names: std::collections::BTreeSet<&String> =
                snapshot.peers.keys().chain(vips).collect();
            to_value(&names)
        }
    };
    match value {
        Ok(value) => document(value),
        Err(error) => Reply::one(code::FAILED, format!("This cannot be written as JSON: {error}")),
    }
}

fn to_value<T: Serialize>(value: &T) -> serde_json::Result<Value> {
    serde_json::to_value(value)
}

pub(super) fn document(value: Value) -> Reply {
    let mut reply = Reply::new();
    for piece in chunks(&value.to_string(), PIECE) {
        reply.push(code::JSON, piece);
    }
    reply.done()
}

fn route(snapshot: &Snapshot, query: &RouteQuery) -> serde_json::Result<Value> {
    let routes = routes::selected(snapshot, query);
    if query.count {
        let networks: std::collections::BTreeSet<_> =
            routes.iter().map(|route| route.prefix).collect();
        return Ok(json!({
            "shown": routes.len(),
            "total": snapshot.routes.len(),
            "networks": networks.len(),
        }));
    }
    to_value(&routes)
}

/// Services with the VIP they belong to beside their own fields.
fn services(snapshot: &Snapshot) -> impl Iterator<Item = Value> {
    snapshot.vips.iter().flat_map(|vip| {
        vip.services.iter().map(move |service| {
            let mut value = json!(service);
            if let Value::Object(fields) = &mut value {
                fields.insert("vip".to_owned(), json!(vip.name));
                fields.insert("vip_address".to_owned(), json!(vip.address));
            }
            value
        })
    })
}

/// Backends of a service with what names the service beside their own fields.
fn backends(service: Value) -> Vec<Value> {
    let named: Vec<(&str, Value)> = [
        ("vip", "vip"),
        ("vip_address", "vip_address"),
        ("service_port", "port"),
        ("service_protocol", "protocol"),
        ("pool", "pool"),
    ]
    .into_iter()
    .map(|(name, field)| (name, service.get(field).cloned().unwrap_or_default()))
    .collect();
    let backends = service.get("backends").and_then(Value::as_array).cloned().unwrap_or_default();
    let with_names = |mut backend: Value| {
        if let Value::Object(fields) = &mut backend {
            fields.extend(named.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            if fields.get("backup") == Some(&Value::Bool(true)) {
                let pool = service.get("backup").cloned().unwrap_or_default();
                fields.insert("pool".to_owned(), pool);
            }
        }
        backend
    };
    backends.into_iter().map(with_names).collect()
}
