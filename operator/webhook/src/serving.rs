//! The certificate being served, exchanged while connections go on.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What a handshake is answered with: nothing until the first certificate arrives.
#[derive(Default)]
pub struct Serving {
    current: ArcSwapOption<CertifiedKey>,
}

/// A certificate or key that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Not PEM.
    #[error("failed to load the serving certificate: not PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// Key and certificate do not fit, or are of an unknown kind.
    #[error("failed to load the serving certificate: {0}")]
    Tls(#[from] rustls::Error),
}

// === impl Serving ===

impl Serving {
    /// Answers the handshakes to come with `certificate` and `key` (PEM).
    ///
    /// # Errors
    /// When they are not PEM or do not fit; what was served before goes on being served.
    pub fn exchange(&self, certificate: &str, key: &str) -> Result<(), ServeError> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let certified = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?;
        self.current.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// The TLS configuration whose handshakes this answers.
    ///
    /// # Errors
    /// When the provider lacks the protocol versions asked for.
    pub fn tls(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("has_certificate", &self.current.load().is_some()).finish()
    }
}
