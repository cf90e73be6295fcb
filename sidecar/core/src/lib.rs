//! The words of the cache and the ports of its world; no I/O, no framework.
