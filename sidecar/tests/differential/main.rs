//! The same bytes are sent to a sidecar before a Redis and to a Redis alone: the answers are equal.
//!
//! `SYNAPSE_DIFF_SESSIONS` sets how many sessions are tried, `SYNAPSE_DIFF_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../../server/tests/differential/compare.rs"]
mod compare;
#[path = "../../server/tests/differential/generate.rs"]
mod generate;
mod peers;
#[path = "../../server/tests/differential/replies.rs"]
mod replies;

use crate::generate::names;
use crate::peers::Peers;

const USUAL_SESSIONS: u64 = 8_000;

#[test]
fn answers_equal_those_of_redis() {
    let peers = Peers::start();
    compare::compare(USUAL_SESSIONS, &generate::session(without_walks_in_transactions), &peers.pair());
}

/// What the documentation says is not possible before a Redis.
fn without_walks_in_transactions(said: &mut Vec<Vec<u8>>) {
    if said.iter().any(|said| names(said, "MULTI")) {
        said.retain(|said| !["SCAN", "DBSIZE", "FLUSH"].iter().any(|walk| names(said, walk)));
    }
}
