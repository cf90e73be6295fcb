//! Pure: what ought to be, values in, values out, clock passed in.

pub mod inject;
