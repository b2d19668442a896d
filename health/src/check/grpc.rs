//! What a gRPC health check asks.

use super::http::bad_host;
use super::tls::Tls;

/// The longest name of a service, in bytes.
pub const SERVICE_MAX: usize = 1024;

/// A call of `grpc.health.v1.Health/Check`; the answer `SERVING` passes. Over TLS with settings for
/// it, else with prior knowledge of HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcCheck {
    /// The service that is asked about; empty for the server as a whole.
    pub service: String,
    /// What the call is for (`:authority`). `None` sends the VIP, and the port unless it is the
    /// scheme's own.
    pub host: Option<String>,
    /// How it is asked over TLS, if it is.
    pub tls: Option<Tls>,
}

impl GrpcCheck {
    /// Says which value cannot be used.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.service.len() > SERVICE_MAX {
            return Err(format!("the name of the service is longer than {SERVICE_MAX} bytes"));
        }
        self.host.as_deref().and_then(bad_host).map_or(Ok(()), Err)
    }

    /// Whether what is sent may depend on the VIP.
    pub(super) fn names_the_vip(&self) -> bool {
        let unnamed = |tls: &Tls| tls.settings().server_name.is_none();
        self.host.is_none() || self.tls.as_ref().is_some_and(unnamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_value_that_cannot_be_used() {
        let mut check = GrpcCheck { service: "a".repeat(SERVICE_MAX), ..GrpcCheck::default() };
        assert_eq!(check.validate(), Ok(()));
        check.host = Some("2001:db8::1".into());
        assert!(check.validate().unwrap_err().contains("\"[2001:db8::1]\""));
        check.service.push('a');
        assert!(check.validate().unwrap_err().contains("1024 bytes"));
    }
}
