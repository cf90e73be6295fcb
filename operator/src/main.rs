//! The whole control plane in one binary.
fn main() {}
