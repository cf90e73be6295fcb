//! The binary as it is run: its flags, its file, its signals, and unmodified clients on its socket.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../../traces/tests/support/collector.rs"]
mod collector;
#[path = "../../tiers/tests/support/redis_server.rs"]
mod redis_server;
mod sidecar;

mod configuration;
mod limits;
mod memory;
mod redis;
mod traces;
mod wire;
