//! One connection per broker, made when first needed and kept while anybody uses it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, TlsCertificates};

use super::error::BrokerError;

/// More brokers than this at once, and the one not used for longest is forgotten.
const MOST: usize = 256;
/// A connection that nobody asked for in this time is closed: its credentials may have rotated away.
const UNUSED: Duration = Duration::from_secs(600);
/// How long nobody waits for a broker that let someone wait in vain.
const SILENCE: Duration = Duration::from_secs(5);
/// Longer than one attempt can take, unless who made it is gone.
const PATIENCE: Duration = Duration::from_secs(15);
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
pub struct Pool(Mutex<Known>);

#[derive(Default)]
struct Known {
    connections: HashMap<Address, Kept>,
    silent: HashMap<Address, Silent>,
}

struct Kept {
    connection: ConnectionManager,
    used: Instant,
}

/// A broker that did not even refuse.
struct Silent {
    error: BrokerError,
    /// When it may be asked again.
    again: Instant,
}

// === impl Address ===

impl Address {
    /// Where it leads, whoever asks: the url without credentials.
    #[must_use]
    pub fn broker(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split('?').next().unwrap_or_default().rsplit('@').next().unwrap_or_default()
    }
}

// === impl Pool ===

impl Pool {
    /// The connection to `address`. It is opened with the first command and reopened after a loss.
    ///
    /// # Errors
    /// When the url cannot be used; when the broker left someone waiting a moment ago, and it is not time yet to let
    /// another one wait.
    pub fn connection(&self, address: &Address) -> Result<ConnectionManager, BrokerError> {
        let mut known = self.lock();
        let now = Instant::now();
        if let Some(silent) = known.silent.get_mut(address) {
            if now < silent.again {
                return Err(silent.error.clone());
            }
            // This one tries; the others learn from it.
            silent.again = now + PATIENCE;
        }
        // Whoever still uses one that is forgotten keeps its own handle.
        known.connections.retain(|_, kept| now.duration_since(kept.used) < UNUSED);
        if let Some(kept) = known.connections.get_mut(address) {
            kept.used = now;
            return Ok(kept.connection.clone());
        }
        while known.connections.len() >= MOST {
            let oldest = known.connections.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(address, _)| address.clone()) else { break };
            known.connections.remove(&oldest);
        }
        let connection = open(address)?;
        known.connections.insert(address.clone(), Kept { connection: connection.clone(), used: now });
        Ok(connection)
    }

    /// Notes how it went with the connection to `address`, which [`Pool::connection`] gave.
    ///
    /// One that brought an error of its own is forgotten: a manager answers with the outcome of the attempt that followed
    /// the last failure, be it minutes old, and with a refused password for ever. A broker that let us wait in vain is not
    /// waited for by others for a while: those who work are few.
    pub fn told(&self, address: &Address, error: Option<&BrokerError>) {
        let mut known = self.lock();
        let now = Instant::now();
        let Some(error) = error.filter(|error| error.spoils_connection()) else {
            known.silent.remove(address);
            return;
        };
        let waited = known.connections.remove(address).map(|kept| now.duration_since(kept.used));
        if waited.is_some_and(|waited| waited >= CONNECT_LIMIT) {
            known.silent.retain(|_, silent| now.duration_since(silent.again) < UNUSED);
            known.silent.insert(address.clone(), Silent { error: error.clone(), again: now + SILENCE });
        } else {
            known.silent.remove(address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(address: &Address) -> Result<ConnectionManager, BrokerError> {
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
    ConnectionManager::new_lazy_with_config(client.map_err(url_error)?, config).map_err(url_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address { url: url.to_owned(), authorities: None }
    }

    #[test]
    fn a_broker_is_the_same_whoever_asks_it() {
        let broker = |url: &str| address(url).broker().to_owned();
        assert_eq!(broker("redis://me:p@ss@redis.shop.svc:6379/1"), "redis.shop.svc:6379/1");
        assert_eq!(broker("redis://redis.shop.svc:6379/1"), "redis.shop.svc:6379/1");
        assert_eq!(broker("unix:///run/redis.sock?user=a&pass=b"), "/run/redis.sock");
    }

    #[tokio::test]
    async fn a_broker_that_let_one_wait_is_not_waited_for_by_the_others() {
        let (pool, silent, other) =
            (Pool::default(), address("redis://10.255.0.1"), address("redis://10.255.0.2"));
        let gone = BrokerError::Unreachable("no answer in time".to_owned());
        let waited = |long: Duration| {
            assert!(pool.connection(&silent).is_ok());
            pool.lock().connections.get_mut(&silent).unwrap().used -= long;
            pool.told(&silent, Some(&gone));
        };
        waited(Duration::from_millis(100));
        assert!(pool.connection(&silent).is_ok(), "one that refuses at once costs nothing");
        waited(CONNECT_LIMIT);
        assert_eq!(pool.connection(&silent).err(), Some(gone.clone()));
        assert!(pool.connection(&other).is_ok());
        // Once it is time, one may try, and the others learn from it.
        pool.lock().silent.get_mut(&silent).unwrap().again = Instant::now();
        assert!(pool.connection(&silent).is_ok());
        assert_eq!(pool.connection(&silent).err(), Some(gone));
        pool.told(&silent, None);
        assert!(pool.connection(&silent).is_ok());
    }

    #[tokio::test]
    async fn of_too_many_brokers_the_one_not_used_for_longest_is_forgotten() {
        let pool = Pool::default();
        for at in 0..MOST + 1 {
            assert!(pool.connection(&address(&format!("redis://10.0.0.1/{at}"))).is_ok());
            assert!(pool.connection(&address("redis://10.0.0.1/1")).is_ok());
        }
        let known = pool.lock();
        assert_eq!(known.connections.len(), MOST);
        assert!(known.connections.contains_key(&address("redis://10.0.0.1/1")));
        assert!(!known.connections.contains_key(&address("redis://10.0.0.1/0")));
    }
}
