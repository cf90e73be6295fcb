//! The words of the cache and the ports of its world; no I/O, no framework.

pub mod clock;
pub mod feed;
pub mod memory;
pub mod remote;
pub mod reply;
