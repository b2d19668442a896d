//! The keys of a TLS handshake. What they name is read here, so that a check never has to.

use vc5_health::check::tls::Fingerprint;
use vc5_health::{Identity, Tls, TlsSettings, Verify};

use super::super::super::read::{Field, Table};
use super::udp::from_hex;

pub(super) const KEYS: [&str; 5] = ["server-name", "ca", "pin", "certificate", "key"];

/// The settings as they stand; `None` if one of them is wrong, which is noted.
pub(super) fn read(table: &mut Table<'_>) -> Option<Tls> {
    let server_name = table.get("server-name").map(|field| field.text().map(str::to_owned));
    let authorities = table.get("ca").map(|field| file(&field));
    let pins = table.get("pin").map(|field| field.some(fingerprint));
    let certificates = table.get("certificate").map(|field| file(&field));
    let key = table.get("key").map(|field| file(&field));
    let verify = match (authorities, pins) {
        (None, None) => Verify::Off,
        (Some(pem), None) => Verify::Authorities(pem?),
        (None, Some(pins)) => Verify::Pinned(pins?.into_iter().map(|pin| pin.value).collect()),
        (Some(_), Some(_)) => {
            table.fail("has either ca or pin");
            return None;
        }
    };
    let identity = match (certificates, key) {
        (None, None) => None,
        (Some(certificates), Some(key)) => {
            Some(Identity { certificates: certificates?, key: key? })
        }
        _ => {
            table.fail("certificate and key belong together");
            return None;
        }
    };
    let server_name = match server_name {
        Some(name) => Some(name?),
        None => None,
    };
    match Tls::new(TlsSettings { server_name, verify, identity }) {
        Ok(tls) => Some(tls),
        Err(message) => {
            table.fail(&message);
            None
        }
    }
}

fn file(field: &Field<'_>) -> Option<Vec<u8>> {
    let path = field.absolute_path()?;
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => field.fail(&format!("cannot read {}: {error}", path.display())),
    }
}

fn fingerprint(item: &Field<'_>) -> Option<Fingerprint> {
    item.literal(|text| {
        let bytes = from_hex(&text.replace(':', ""));
        bytes
            .and_then(|bytes| Fingerprint::try_from(bytes).ok())
            .ok_or_else(|| format!("`{text}` is not a SHA-256 in 64 hexadecimal digits"))
    })
}
