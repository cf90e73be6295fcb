//! WATCH: who looks at which key, and whether it changed since.

use std::collections::HashMap;

use bytes::Bytes;
use synapse_core::clock::Now;
use synapse_core::memory::Memory;
use synapse_core::reply::Reply;

use super::Store;

/// What one session watches. Hand it back with [`Store::unwatch`] when the session ends.
#[derive(Debug, Default)]
pub struct Watch {
    keys: HashMap<Bytes, Seen>,
    bytes: usize,
}

/// What one session may watch, keys and bookkeeping, in bytes (16 MiB).
const MAX_WATCHED_BYTES: usize = 16 << 20;

/// What a watched key costs beside its bytes: its place in two tables.
const WATCHED_KEY_BYTES: usize = 256;

const TOO_MANY: Reply = Reply::error("ERR watched keys exceed 16 MiB");

#[derive(Debug, Clone, Copy)]
struct Seen {
    changes: u64,
    existed: bool,
}

impl Watch {
    /// Whether any key is watched.
    pub fn is_watching(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// The watched keys of all sessions. Empty as long as nobody watches, and then a change costs one comparison.
#[derive(Debug, Default)]
pub(super) struct Watched {
    keys: HashMap<Bytes, State>,
}

#[derive(Debug, Default)]
struct State {
    watchers: usize,
    changes: u64,
}

impl Watched {
    pub(super) fn changed(&mut self, key: &[u8]) {
        if !self.keys.is_empty()
            && let Some(state) = self.keys.get_mut(key)
        {
            state.changes += 1;
        }
    }

    pub(super) fn changed_where(&mut self, mut alive: impl FnMut(&[u8]) -> bool) {
        for (key, state) in &mut self.keys {
            state.changes += u64::from(alive(key));
        }
    }
}

impl<M: Memory> Store<M> {
    /// Watches `keys` for a session, beside those it watches already, as far as there is room.
    pub fn watch(&mut self, watch: &mut Watch, keys: &[Bytes], now: Now) -> Reply {
        for key in keys {
            if watch.keys.contains_key(&key[..]) {
                continue;
            }
            watch.bytes += key.len() + WATCHED_KEY_BYTES;
            if watch.bytes > MAX_WATCHED_BYTES {
                return TOO_MANY;
            }
            let key = Bytes::copy_from_slice(key);
            let existed = self.deadline(&key, now).is_some();
            let state = self.watched.keys.entry(key.clone()).or_default();
            state.watchers += 1;
            watch.keys.insert(key, Seen { changes: state.changes, existed });
        }
        Reply::OK
    }

    /// Whether a watched key changed, expired or was evicted since.
    pub fn is_dirty(&mut self, watch: &Watch, now: Now) -> bool {
        watch.keys.iter().any(|(key, seen)| {
            let changes = self.watched.keys.get(key).map_or(0, |state| state.changes);
            changes != seen.changes || seen.existed && self.deadline(key, now).is_none()
        })
    }

    /// Ends all watching of a session.
    pub fn unwatch(&mut self, watch: &mut Watch) {
        watch.bytes = 0;
        for (key, _) in watch.keys.drain() {
            if let Some(state) = self.watched.keys.get_mut(&key) {
                state.watchers -= 1;
                if state.watchers == 0 {
                    self.watched.keys.remove(&key);
                }
            }
        }
    }
}
