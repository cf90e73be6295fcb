//! Where Redis is and as whom it is entered: read again for every connection, so that credentials can rotate.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, TlsCertificates};

/// Where Redis is. `Debug` shows no URL.
#[derive(Clone)]
pub struct Endpoint {
    /// Where the URL comes from.
    pub location: Location,
    /// PEM file of the authorities trusted for `rediss://`; the system's without it.
    pub ca_file: Option<PathBuf>,
}

/// Where the URL comes from.
#[derive(Clone)]
pub enum Location {
    /// The URL itself.
    Url(String),
    /// A file that holds it.
    File(PathBuf),
}

/// The largest URL or PEM file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

// === impl Endpoint ===

impl Endpoint {
    /// A client for the URL as it is now.
    ///
    /// # Errors
    /// What is wrong with the URL or a file, without repeating their content.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let url = match &self.location {
            Location::Url(url) => url.clone(),
            Location::File(path) => {
                String::from_utf8(read(path)?).map_err(|_| format!("{} is not UTF-8", path.display()))?
            }
        };
        let info =
            url.trim().into_connection_info().map_err(|_| "the URL of Redis cannot be parsed".to_owned())?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_redis_settings(redis).set_tcp_settings(tcp);
        let client = match (&self.ca_file, info.addr()) {
            (Some(path), ConnectionAddr::TcpTls { .. }) => {
                let root_cert = Some(read(path)?);
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
            _ => Client::open(info),
        };
        client.map_err(|error| format!("no client for Redis: {error}"))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    if size > MAX_FILE {
        return Err(format!("{} is larger than {MAX_FILE} bytes", path.display()));
    }
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_the_url() {
        let endpoint = Endpoint { location: Location::Url("redis://u:hunter2@:x".into()), ca_file: None };
        let error = endpoint.client().unwrap_err();
        assert!(!format!("{endpoint:?} {error}").contains("hunter2"));
    }
}
