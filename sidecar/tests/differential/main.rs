//! The same bytes are sent to a sidecar before a Redis and to a Redis alone: the answers are equal.
//!
//! `SYNAPSE_DIFF_SESSIONS` sets how many sessions are tried, `SYNAPSE_DIFF_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

#[path = "../../server/tests/differential/generate.rs"]
mod generate;
mod peers;
#[path = "../../server/tests/differential/replies.rs"]
mod replies;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::peers::Peers;

const DEFAULT_SESSIONS: u64 = 600;

#[test]
fn answers_equal_those_of_redis() {
    let sessions = number("SYNAPSE_DIFF_SESSIONS").unwrap_or(DEFAULT_SESSIONS);
    let seed = number("SYNAPSE_DIFF_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7919 + sessions);
    println!("SYNAPSE_DIFF_SEED={seed} SYNAPSE_DIFF_SESSIONS={sessions}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(sessions).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let peers = Peers::start();
    let outcome = runner.run(&generate::session(), |session| {
        let (ours, theirs) = peers.ask(&session);
        match replies::difference(&ours, &theirs) {
            Some(difference) if !peers::is_known(&difference) => Err(TestCaseError::fail(difference)),
            _ => Ok(()),
        }
    });
    if let Err(TestError::Fail(reason, session)) = outcome {
        panic!("seed {seed}\n{session}\n{reason}");
    }
    outcome.unwrap();
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}
