//! Warm starts: what one process held is there in the next, and nothing that it may not serve.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[expect(dead_code, reason = "it can do more than is asked of it here")]
#[path = "../../tiers/tests/support/redis_server.rs"]
mod redis_server;
#[path = "../support/resp.rs"]
mod resp;
mod sidecar;

mod damage;
mod entries;
mod names;
