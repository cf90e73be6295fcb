//! Bytes to requests and back, for every wire; never awaits.

pub mod batch;
pub mod detect;
pub mod frame;
pub mod http;
pub mod limits;
pub mod plain;
pub mod resp;
pub mod sink;
