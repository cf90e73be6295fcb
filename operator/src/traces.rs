//! Traces by OTLP over HTTP, where an endpoint is named; without one there are no spans, no thread and no connection.
//!
//! A caller's W3C context is taken up at the doors, and goes on with every call to the API server that is made on behalf
//! of a request or a reconciliation. What nobody asked for (leases, watches, probes) makes no spans.

mod requests;

use synapse_traces::export::Export;
use synapse_traces::variables::{ENDPOINT, Refusal};

pub(crate) use requests::{Propagate, follow};

/// Begins, inside a runtime, to export to `endpoint`, or as the standard's other variables want it, which are what
/// `says` says.
///
/// # Errors
/// When what they ask for cannot be had.
pub(crate) fn export(
    endpoint: Option<&str>,
    says: impl Fn(&str) -> Option<String>,
) -> Result<Option<Export>, Refusal> {
    // A flag stands for this variable, and has read it.
    let says = |name: &str| if name == ENDPOINT { endpoint.map(str::to_owned) } else { says(name) };
    Export::start("synapse-operator", says)
}

#[cfg(test)]
mod tests;
