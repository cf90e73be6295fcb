//! Who is connected: ids and names, for CLIENT LIST and for the limit on connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

/// The clients of a server.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    next_id: AtomicU64,
    clients: Mutex<BTreeMap<u64, Identity>>,
}

/// What is known of a client.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    pub(crate) name: Bytes,
    pub(crate) since: Instant,
}

/// A client's place in the registry; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    id: u64,
}

impl Registry {
    /// Enters a client.
    pub(crate) fn enter(registry: &Arc<Self>) -> Registered {
        let id = registry.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let identity = Identity { id, name: Bytes::new(), since: Instant::now() };
        registry.lock().insert(id, identity);
        Registered { registry: Arc::clone(registry), id }
    }

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many ever connected.
    pub(crate) fn total(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Identity>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// The client's number, never given twice.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The client itself.
    pub(crate) fn identity(&self) -> Identity {
        let known = self.registry.lock().get(&self.id).cloned();
        known.unwrap_or(Identity { id: self.id, name: Bytes::new(), since: Instant::now() })
    }

    /// Where the client is entered.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All clients, in the order of their ids.
    pub(crate) fn everyone(&self) -> Vec<Identity> {
        self.registry.lock().values().cloned().collect()
    }

    /// Gives the client a name; an empty one takes it away.
    pub(crate) fn rename(&self, name: Bytes) {
        if let Some(identity) = self.registry.lock().get_mut(&self.id) {
            identity.name = name;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
    }
}
