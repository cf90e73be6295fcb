//! The injector held to its promises: file pairs, properties, and manifests as people write them.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

mod manifests;
mod pairs;
mod promises;
mod properties;
mod world;
