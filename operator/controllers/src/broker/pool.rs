//! One connection per broker, made when first needed and kept while anybody uses it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, TlsCertificates};

use super::error::BrokerError;

/// More than this many brokers at once, and all are forgotten.
const MOST: usize = 256;
/// A connection that nobody asked for in this time is closed: its credentials may have rotated away.
const UNUSED: Duration = Duration::from_secs(600);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Where a broker is, credentials included: never logged, never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The url.
    pub url: String,
    /// PEM certificates that are trusted instead of the public ones.
    pub authorities: Option<String>,
}

/// The connections to all brokers.
#[derive(Default)]
pub struct Pool(Mutex<HashMap<Address, Kept>>);

struct Kept {
    connection: ConnectionManager,
    used: Instant,
}

impl Pool {
    /// The connection to `address`. It is opened with the first command and reopened after a loss.
    pub fn connection(&self, address: &Address) -> Result<ConnectionManager, BrokerError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever still uses one that is forgotten keeps its own handle.
        known.retain(|_, kept| kept.used.elapsed() < UNUSED);
        if let Some(kept) = known.get_mut(address) {
            kept.used = Instant::now();
            return Ok(kept.connection.clone());
        }
        if known.len() >= MOST {
            known.clear();
        }
        let client = match &address.authorities {
            Some(pem) => Client::build_with_tls(
                address.url.as_str(),
                TlsCertificates { client_tls: None, root_cert: Some(pem.as_bytes().to_vec()) },
            ),
            None => Client::open(address.url.as_str()),
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_number_of_retries(1);
        // The text of a url that cannot be parsed may hold a password: only the kind of the error is told.
        let url_error = |error: redis::RedisError| BrokerError::Url(format!("{:?}", error.kind()));
        let connection =
            ConnectionManager::new_lazy_with_config(client.map_err(url_error)?, config).map_err(url_error)?;
        let kept = Kept { connection: connection.clone(), used: Instant::now() };
        known.insert(address.clone(), kept);
        Ok(connection)
    }

    /// Forgets the connection to `address` if `error` says that it is of no more use: the next one is made anew.
    ///
    /// A manager answers with the outcome of the attempt that followed the last failure, be it minutes old, and with a
    /// refused password for ever.
    pub fn failed(&self, address: &Address, error: &BrokerError) {
        if error.spoils_connection() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
        }
    }
}
