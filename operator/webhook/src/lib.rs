//! AdmissionReview in, AdmissionResponse out; certificates.

pub mod certificates;
pub mod keeper;
pub mod metrics;
pub mod review;
pub mod server;
pub mod serving;
pub mod world;
