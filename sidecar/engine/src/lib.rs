//! The memory tier in use and the near cache that keeps it coherent with the truth behind it.

pub mod arena_tier;
pub mod command;
pub mod glob;
pub mod large_tier;
pub mod near;
pub mod store;
