//! Pure: what ought to be, values in, values out, clock passed in.

pub mod inject;
pub mod status;
pub mod topic;
