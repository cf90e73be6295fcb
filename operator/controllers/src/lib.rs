//! Observe, desire, apply: one screen per kind.

pub mod jitter;
pub mod lease;
