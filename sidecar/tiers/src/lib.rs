//! Redis behind the cache: one tracking connection for writes, a pool for reads.

pub mod redis;
