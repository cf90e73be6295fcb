//! Observe, desire, apply: one screen per kind.

pub mod broker;
pub mod jitter;
pub mod lease;
