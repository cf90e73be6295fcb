//! Observe, desire, apply: one screen per kind.

pub mod backoff;
pub mod broker;
pub mod cache;
pub mod call;
mod gather;
pub mod jitter;
pub mod lease;
mod queue;
pub mod references;
pub mod report;
pub mod state;
pub mod topic;
