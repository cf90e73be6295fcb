//! Pure: what ought to be, values in, values out, clock passed in.

pub mod address;
pub mod cache;
pub mod inject;
pub mod sidecar_config;
pub mod status;
pub mod topic;
