//! What this sidecar leaves to the next one.

use std::time::Instant;

use synapse_core::clock::SystemClock;
use synapse_server::backend::Backend;
use synapse_warm::claim::Claim;
use synapse_warm::format::{Kind, RECORD_BYTES, Record};
use synapse_warm::leave::{LeaveError, Leaving};

use super::Ended;

/// What was written.
pub(super) struct Written {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Why there is no more of it.
    pub(super) ended: Ended,
}

/// Writes the file: the hottest first, until all is written, `limit` is reached, or time is up.
pub(super) fn write(
    claim: &Claim,
    backend: &Backend,
    clock: &SystemClock,
    limit: u64,
    until: Instant,
) -> Result<Written, LeaveError> {
    let kind = if backend.is_truth() { Kind::Entries } else { Kind::Names };
    let mut leaving = Leaving::begin(claim, kind, clock.boot_ms())?;
    let (mut cursor, mut is_full) = (0, false);
    let ended = loop {
        cursor = backend.hottest(cursor, |kept| {
            let value = (kind == Kind::Entries).then_some(kept.value);
            let bytes = RECORD_BYTES + kept.key.len() + value.map_or(0, <[u8]>::len);
            is_full |= leaving.length() + bytes as u64 > limit;
            if !is_full {
                let deadline = clock.boot_ms_of(kept.deadline);
                let value_len = u32::try_from(kept.value.len()).unwrap_or(u32::MAX);
                leaving.add(&Record { key: kept.key, value, value_len, deadline, heat: kept.heat });
            }
        });
        leaving.write()?;
        if is_full {
            break Ended::LimitIsReached;
        }
        if cursor == 0 {
            break Ended::All;
        }
        if Instant::now() >= until {
            break Ended::TimeIsUp;
        }
    };
    let (records, bytes) = (leaving.records(), leaving.length());
    leaving.finish()?;
    Ok(Written { records, bytes, ended })
}
