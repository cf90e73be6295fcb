//! Traces by OTLP over HTTP, where an endpoint is named; without one there are no spans, no thread and no connection.
//!
//! A caller's W3C context is taken up at the doors, and goes on with every call to the API server that is made on behalf
//! of a request or a reconciliation. What nobody asked for (leases, watches, probes) makes no spans.

mod export;
mod requests;

pub(crate) use export::Export;
pub(crate) use requests::{Propagate, follow};

#[cfg(test)]
mod tests;
