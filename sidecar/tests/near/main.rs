//! The near cache before a real Redis: what it may serve, when, and at which cost.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod proxy;
#[path = "../../tiers/tests/support/redis_server.rs"]
mod redis_server;

mod coherence;
mod outage;
mod races;
mod setup;
