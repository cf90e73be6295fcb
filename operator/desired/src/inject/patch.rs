//! A patch that can only add: there is no way to say remove, move or replace.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::{Map, Value};

/// Additions in the order in which they apply.
#[derive(Debug, Default)]
pub(super) struct Additions(Vec<PatchOperation>);

impl Additions {
    /// Puts `items` behind the list `field` of `owner`, which stands at `path`.
    pub(super) fn extend(
        &mut self,
        owner: &Map<String, Value>,
        path: &[&str],
        field: &str,
        items: Vec<Value>,
    ) {
        self.put(owner, path, field, items, |_| "-".to_owned());
    }

    /// Puts `items`, in their order, before the list `field` of `owner`, which stands at `path`.
    pub(super) fn insert_first(
        &mut self,
        owner: &Map<String, Value>,
        path: &[&str],
        field: &str,
        items: Vec<Value>,
    ) {
        self.put(owner, path, field, items, |at| at.to_string());
    }

    /// Puts `value` under `key` of the map `field` of `owner`, which stands at `path`.
    pub(super) fn insert(
        &mut self,
        owner: &Map<String, Value>,
        path: &[&str],
        field: &str,
        key: &str,
        value: Value,
    ) {
        if owner.get(field).is_some_and(Value::is_object) {
            self.add(path.iter().copied().chain([field, key]), value);
        } else {
            self.add(
                path.iter().copied().chain([field]),
                Value::Object(Map::from_iter([(key.to_owned(), value)])),
            );
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.0)
    }

    fn put(
        &mut self,
        owner: &Map<String, Value>,
        path: &[&str],
        field: &str,
        items: Vec<Value>,
        place: impl Fn(usize) -> String,
    ) {
        if items.is_empty() {
            return;
        }
        if owner.get(field).is_some_and(Value::is_array) {
            for (at, item) in items.into_iter().enumerate() {
                self.add(path.iter().copied().chain([field, &place(at)]), item);
            }
        } else {
            self.add(path.iter().copied().chain([field]), Value::Array(items));
        }
    }

    fn add<'a>(&mut self, tokens: impl Iterator<Item = &'a str>, value: Value) {
        self.0.push(PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(tokens), value }));
    }
}
