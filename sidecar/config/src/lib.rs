//! The sidecar's configuration, as written and as resolved; gathers all problems and names each path.
