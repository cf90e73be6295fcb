//! The whole data plane in one binary.
fn main() {}
