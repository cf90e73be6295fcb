//! What a cache should have in its namespace, and what is said of it.

pub mod config_map;
pub mod instance;
pub mod pods;
pub mod status;
