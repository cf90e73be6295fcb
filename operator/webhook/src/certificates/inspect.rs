//! Reads certificates back: validity, names, who signed, and whether a bundle verifies what is served.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Material;

/// What a Secret's certificates say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Validity of the authorities, newest first.
    pub authorities: Vec<Validity>,
    /// The serving certificate.
    pub leaf: Leaf,
    /// Which authority signed it, if one of them did.
    pub leaf_signed_by: Option<usize>,
}

/// A serving certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// When it may be used.
    pub validity: Validity,
    /// The DNS names that it is for.
    pub hosts: Vec<String>,
}

/// When a certificate may be used, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From here on.
    pub not_before: i64,
    /// Until here.
    pub not_after: i64,
}

/// Certificates that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not PEM.
    #[error("failed to read a certificate: not PEM: {0}")]
    Pem(String),
    /// Not a certificate.
    #[error("failed to read a certificate: {0}")]
    Certificate(String),
}

/// Reads what `material` holds.
///
/// # Errors
/// When a part is not a certificate.
pub fn inspect(material: &Material) -> Result<Inspected, InspectError> {
    let leaf_der = der(&material.certificate)?;
    let leaf = parse(&leaf_der)?;
    let mut authorities = Vec::new();
    let mut leaf_signed_by = None;
    for (at, pem) in material.authorities.iter().enumerate() {
        let der = der(pem)?;
        let authority = parse(&der)?;
        if leaf_signed_by.is_none() && leaf.verify_signature(Some(authority.public_key())).is_ok() {
            leaf_signed_by = Some(at);
        }
        authorities.push(validity(&authority));
    }
    let names = leaf
        .subject_alternative_name()
        .map_err(|error| InspectError::Certificate(error.to_string()))?
        .map(|extension| extension.value.general_names.clone())
        .unwrap_or_default();
    let hosts = names
        .into_iter()
        .filter_map(|name| if let GeneralName::DNSName(host) = name { Some(host.to_owned()) } else { None })
        .collect();
    Ok(Inspected { authorities, leaf: Leaf { validity: validity(&leaf), hosts }, leaf_signed_by })
}

/// Whether `pem` is one certificate.
pub(super) fn is_certificate(pem: &str) -> bool {
    der(pem).is_ok_and(|der| parse(&der).is_ok())
}

/// Whether a client that trusts `bundle` (PEM) accepts `certificate` (PEM) for `host` at `now` (seconds since 1970).
#[must_use]
pub fn verifies(bundle: &str, certificate: &str, host: &str, now: i64) -> bool {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten() {
        // One authority that cannot be used does not spoil the others, as in the API server.
        let _ = roots.add(authority);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
        return false;
    };
    let (Ok(leaf), Ok(name)) = (der(certificate), ServerName::try_from(host.to_owned())) else {
        return false;
    };
    let seconds = u64::try_from(now).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_server_cert(&leaf, &[], &name, &[], at).is_ok()
}

fn der(pem: &str) -> Result<CertificateDer<'static>, InspectError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| InspectError::Pem(error.to_string()))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, InspectError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| InspectError::Certificate(error.to_string()))?;
    Ok(certificate)
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }
}
