//! Makes authorities and serving certificates: ECDSA P-256, since some API servers refuse Ed25519.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::OffsetDateTime;

use super::{AUTHORITY_LIFE, CLOCK_SKEW, LEAF_LIFE};

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The key or the certificate could not be made or read.
    #[error("failed to make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A time outside of what a certificate can say.
    #[error("failed to make a certificate: the clock is out of range: {0}")]
    Time(#[from] time::error::ComponentRange),
}

/// A new authority: its certificate and its key, as PEM.
pub(super) fn authority(now: i64) -> Result<(String, String), IssueError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    // Two authorities of one name would be told apart by luck alone while both are published.
    params.distinguished_name = named(&format!("synapse webhook authority {now}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dated(&mut params, now, AUTHORITY_LIFE)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// A new serving certificate for `hosts`, signed by an authority: its certificate and its key, as PEM.
pub(super) fn leaf(
    authority: &str,
    authority_key: &str,
    hosts: &[String],
    now: i64,
) -> Result<(String, String), IssueError> {
    let issuer = Issuer::from_ca_cert_pem(authority, KeyPair::from_pem(authority_key)?)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = named("synapse webhook");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    dated(&mut params, now, LEAF_LIFE)?;
    Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn dated(params: &mut CertificateParams, now: i64, life: i64) -> Result<(), IssueError> {
    params.not_before = OffsetDateTime::from_unix_timestamp(now - CLOCK_SKEW)?;
    params.not_after = OffsetDateTime::from_unix_timestamp(now + life)?;
    Ok(())
}
