//! The sidecar's configuration, as written and as resolved; gathers all problems and names each path.
//!
//! `written` is the file (the operator serialises it, the sidecar reads it), `resolved` is what the
//! sidecar works with, and `read` is the way from text to the first of them.

pub mod footprint;
pub mod problem;
pub mod quantity;
pub mod read;
pub mod resolved;
pub mod secret;
pub mod span;
pub mod written;
