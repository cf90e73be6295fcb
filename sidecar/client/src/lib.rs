//! A client of the sidecar's socket that reads the cache's memory itself where it may.

pub mod connection;
pub mod shared;

mod hangup;
