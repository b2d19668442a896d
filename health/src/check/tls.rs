//! What a TLS handshake presents, and which certificates it takes.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` gives it.
pub type Fingerprint = [u8; 32];

/// How a check presents itself and what it demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The name that is asked for (SNI, RFC 6066 section 3) and that a certificate must be for: a
    /// DNS name or an address. `None` takes the host of the request, else the VIP; for an address
    /// no SNI is sent.
    pub server_name: Option<String>,
    /// Which certificates pass.
    pub verify: Verify,
    /// What a server that asks for a client certificate is shown.
    pub identity: Option<Identity>,
}

/// Which certificates of a server pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// Any.
    Off,
    /// Those for the server's name, in force now, issued by one of these authorities (in PEM).
    Authorities(Vec<u8>),
    /// Those with one of these fingerprints, whatever their name, issuer and dates.
    Pinned(Vec<Fingerprint>),
}

/// A client certificate with its chain, and its key; both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate first, then those that lead to its authority.
    pub certificates: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Settings that are known to be usable. Compares by the settings.
#[derive(Debug, Clone)]
pub struct Tls {
    settings: Arc<TlsSettings>,
    config: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// What is spoken over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The server is not asked.
    Any,
    /// HTTP/2, by ALPN (RFC 9113 section 3.2); a server that does not agree has failed.
    Http2,
}

/// The name of HTTP/2 in ALPN.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Eq for Tls {}

impl Tls {
    /// Reads certificates and key. No session is ever resumed: each check is a whole handshake.
    ///
    /// # Errors
    /// Says what of the settings cannot be used.
    pub fn new(settings: TlsSettings) -> Result<Self, String> {
        if let Some(name) = &settings.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            return Err(format!("{name:?} is neither a DNS name nor an address"));
        }
        let provider = Arc::new(provider::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &settings.verify {
            Verify::Off => Arc::new(Unchained { pins: None, provider: provider.clone() }),
            Verify::Pinned(pins) => {
                Arc::new(Unchained { pins: Some(pins.clone()), provider: provider.clone() })
            }
            Verify::Authorities(pem) => authorities(pem, provider.clone())?,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(&identity.certificates)?;
                let key = PrivateKeyDer::from_pem_slice(&identity.key)
                    .map_err(|_| "there is no private key in PEM".to_owned())?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("certificate and key cannot be used: {error}"))?
            }
        };
        config.resumption = Resumption::disabled();
        let mut http2 = config.clone();
        http2.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Self { settings: settings.into(), config: config.into(), http2: http2.into() })
    }

    /// What it was made of.
    #[must_use]
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ClientConfig> {
        match protocol {
            Protocol::Any => self.config.clone(),
            Protocol::Http2 => self.http2.clone(),
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err("there is no certificate in PEM".into()),
    }
}

fn authorities(
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(pem)?);
    if added == 0 {
        return Err("none of the certificates can be an authority".into());
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier.map_err(|error| error.to_string())?)
}

/// Takes certificates without looking at their chain: any, or those that are pinned.
#[derive(Debug)]
struct Unchained {
    pins: Option<Vec<Fingerprint>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unchained {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(pins) = &self.pins else { return Ok(ServerCertVerified::assertion()) };
        let found = digest(&SHA256, end_entity);
        if pins.iter().any(|pin| pin == found.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let found: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Err(Error::General(format!("certificate {found} is not pinned")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // A pin is worth nothing unless the server has the key; without one anything goes.
        if self.pins.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.pins.is_none() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
