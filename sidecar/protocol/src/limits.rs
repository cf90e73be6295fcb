//! Every number that comes from outside meets one of these before it meets an allocation.

/// From this size on bytes are not gathered with others: a request that is so large is read into a buffer of its own, and
/// a value that is so large is sent from where it lies (64 KiB).
pub const LARGE_BYTES: usize = 64 << 10;

/// Largest body of a Synapse frame, in bytes (64 MiB).
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// Most keys that a reader of shared memory may name at a time.
pub const MAX_SAMPLE: u32 = 1024;

/// Largest argument of a RESP command, in bytes (64 MiB; Redis' default is 512 MiB).
pub const MAX_BULK_BYTES: usize = 64 << 20;

/// Largest RESP command with all its arguments and framing, in bytes: room for the largest argument and its company.
pub const MAX_REQUEST_BYTES: usize = MAX_BULK_BYTES + (1 << 20);

/// Most arguments of a RESP command, its name included.
pub const MAX_ARGS: usize = 1 << 20;

/// Arguments for which a session keeps room between two reads: what a large command took is given back.
pub const KEPT_ARGS: usize = 4096;

/// Longest line in RESP, inline commands and length lines alike, in bytes (as in Redis).
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// Longest head of an HTTP request, request line and headers, in bytes.
pub const MAX_HTTP_HEAD_BYTES: usize = 16 << 10;

/// Most headers of an HTTP request.
pub const MAX_HTTP_HEADERS: usize = 64;

/// Largest body of an HTTP request, in bytes (64 MiB).
pub const MAX_HTTP_BODY_BYTES: usize = 64 << 20;
