//! Reads of the sidecar's memory from outside: what readers see, and when, whatever happens to the sidecar.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../../tiers/tests/support/redis_server.rs"]
mod redis_server;
#[path = "../support/resp.rs"]
mod resp;
mod sidecar;

mod changes;
mod freshness;
mod hostile;
mod neighbours;
mod restarts;
