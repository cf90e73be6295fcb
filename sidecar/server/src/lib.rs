//! Listeners, sessions, the one file that speaks both languages, HTTP, admin.

pub mod admin;
pub mod backend;
pub mod drain;
pub mod listener;
pub mod metrics;
pub mod socket;
pub mod trace;

mod answers;
mod budget;
mod client;
mod execute;
mod http_cache;
mod intake;
mod outbox;
mod rooms;
mod session;
mod spare;
mod stream;
mod warm;
