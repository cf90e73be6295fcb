//! The same bytes, cut in the same places, are sent to this server and to a real redis-server: the answers are equal.
//!
//! `SYNAPSE_DIFF_SESSIONS` sets how many sessions are tried, `SYNAPSE_DIFF_SEED` repeats a run.

mod compare;
mod generate;
mod peers;
mod replies;

use crate::peers::Peers;

const USUAL_SESSIONS: u64 = 15_000;

#[test]
fn answers_equal_those_of_redis() {
    let peers = Peers::start();
    compare::compare(USUAL_SESSIONS, &generate::session(|_| {}), &peers.pair());
}
