//! The store against a real redis-server: answers, announcements, losses, deadlines, entry.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../support/redis_server.rs"]
mod redis_server;

mod answers;
mod entry;
mod losses;
mod setup;
