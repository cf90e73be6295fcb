//! AdmissionReview in, AdmissionResponse out; certificates.
