//! Bytes to requests and back, for every wire; never awaits.
