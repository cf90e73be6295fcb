//! AdmissionReview in, AdmissionResponse out; certificates.

pub mod certificates;
mod connections;
pub mod keeper;
pub mod metrics;
pub mod review;
pub mod server;
pub mod serving;
mod weight;
pub mod world;
