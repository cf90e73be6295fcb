//! How many objects are being worked on, and how many wait for it.
//!
//! Kube's controller shows neither its queue nor its length. What can be counted without it are the objects whose newest
//! version no reconciliation has begun with: they wait, for whatever reason. Visits that only time asks for are not among
//! them, nor are those that another object's change asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};

/// Namespace and name.
type Key = (String, String);

/// The queue of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    running: usize,
    /// The version that the last reconciliation of an object began with.
    begun: HashMap<Key, Option<String>>,
    /// Lists what is there, once the kind is watched.
    newest: Option<Newest>,
}

type Newest = Box<dyn Fn() -> Vec<(Key, Option<String>)> + Send>;

impl Queue {
    /// Compares with what `store` holds from now on.
    pub(crate) fn follow<K>(&self, store: Store<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let list =
            move || store.state().iter().map(|object| (key(&**object), object.resource_version())).collect();
        self.lock().newest = Some(Box::new(list));
    }

    /// Notes that the work on `object`, as it is, begins; it ends with what is returned.
    pub(crate) fn begin<K: Resource<DynamicType = ()>>(&self, object: &K) -> Running {
        let mut inner = self.lock();
        inner.running += 1;
        inner.begun.insert(key(object), object.resource_version());
        Running(self.clone())
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.lock().begun.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// How many are being worked on.
    pub(crate) fn running(&self) -> usize {
        self.lock().running
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        let inner = self.lock();
        let newest = inner.newest.as_ref().map(|list| list()).unwrap_or_default();
        newest.iter().filter(|(object, version)| inner.begun.get(object) != Some(version)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("running", &self.running).finish_non_exhaustive()
    }
}

/// Work on one object, until dropped.
#[derive(Debug)]
pub(crate) struct Running(Queue);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    fn object(name: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    #[test]
    fn an_object_waits_from_each_change_until_work_on_it_begins() {
        let queue = Queue::default();
        assert_eq!((queue.waiting(), queue.running()), (0, 0));
        let (reader, mut writer) = store::<ConfigMap>();
        queue.follow(reader);
        for name in ["a", "b"] {
            writer.apply_watcher_event(&Event::Apply(object(name, "1")));
        }
        assert_eq!(queue.waiting(), 2);
        let first = queue.begin(&object("a", "1"));
        assert_eq!((queue.waiting(), queue.running()), (1, 1));
        writer.apply_watcher_event(&Event::Apply(object("a", "2")));
        assert_eq!(queue.waiting(), 2, "it changed while it was worked on");
        drop(first);
        assert_eq!((queue.waiting(), queue.running()), (2, 0));
        drop((queue.begin(&object("a", "2")), queue.begin(&object("b", "1"))));
        assert_eq!((queue.waiting(), queue.running()), (0, 0));
        writer.apply_watcher_event(&Event::Delete(object("b", "1")));
        queue.forget("", "b");
        assert_eq!(queue.waiting(), 0);
    }
}
