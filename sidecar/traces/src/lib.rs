//! The way of spans to a collector, by OTLP over HTTP.
//!
//! `variables` is what the standard's variables ask for, `export` the export that runs then. Nothing of it exists
//! unless an endpoint is named: no thread, no connection. No endpoint is ever repeated, in a log or in an error, since
//! a password may stand in it.

pub mod export;
pub mod variables;

mod sender;
