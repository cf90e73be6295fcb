//! What a sidecar needs beside its entries, and what a memory limit leaves for them: the operator sizes by it, the sidecar keeps to it.

/// Bytes that the process needs beside its entries.
const BASE: u64 = 48 << 20;
/// The least capacity that there is, however small the limit.
const LEAST: u64 = 1 << 20;

/// Bytes that a container with a cache of `capacity` bytes needs: a quarter more than its entries, since an allocator
/// never fits exactly, and what the process itself needs.
#[must_use]
pub fn memory_for(capacity: u64) -> u64 {
    capacity.saturating_add(capacity.div_ceil(4)).saturating_add(BASE)
}

/// The largest capacity that a container with a memory `limit` can hold, both in bytes.
#[must_use]
pub fn capacity_within(limit: u64) -> u64 {
    let left = limit.saturating_sub(BASE);
    (left - left.div_ceil(5)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sized_for_a_capacity_holds_it_and_hardly_more() {
        for capacity in [LEAST, 64 << 20, (64 << 20) + 1, 1 << 30, (1 << 40) - 3] {
            let holds = capacity_within(memory_for(capacity));
            assert!((capacity..capacity + 2).contains(&holds), "{capacity}: {holds}");
        }
        assert_eq!(memory_for(64 << 20), 128 << 20);
        assert_eq!(capacity_within(0), LEAST);
        assert!(capacity_within(memory_for(u64::MAX)) > 1 << 60);
    }
}
