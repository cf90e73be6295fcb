//! HTTP/1.1, as much of it as a key and a value need.

pub mod head;
pub mod request;
pub mod response;
pub mod target;
