//! Sessions by the thousand, each sent to both servers, and the smallest one on which they differ.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::generate::Session;
use crate::replies;

/// Longer than any answer should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A session that took longer is asked again: what its deadlines leave would be rounded to another second.
const HASTE: Duration = Duration::from_millis(300);

/// How often a session is asked on a machine that has no time for it.
const TURNS: usize = 50;

/// The sockets of the two servers.
pub(crate) struct Pair<'a> {
    pub(crate) ours: &'a Path,
    pub(crate) theirs: &'a Path,
}

/// Fails with the seed, the smallest session and the replies that differ. `SYNAPSE_DIFF_SESSIONS` and
/// `SYNAPSE_DIFF_SEED` set how many sessions there are, and which.
pub(crate) fn compare(usual: u64, sessions: &impl Strategy<Value = Session>, pair: &Pair<'_>) {
    let count = number("SYNAPSE_DIFF_SESSIONS").unwrap_or(usual);
    let seed = number("SYNAPSE_DIFF_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7919 + count);
    println!("SYNAPSE_DIFF_SEED={seed} SYNAPSE_DIFF_SESSIONS={count}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: u32::try_from(count).expect("fewer than 2^32 sessions"),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let begun = Instant::now();
    let outcome = runner.run(sessions, |session| match difference(&session, pair) {
        None => Ok(()),
        Some(difference) => Err(TestCaseError::fail(difference)),
    });
    if let Err(TestError::Fail(reason, session)) = outcome {
        panic!("SYNAPSE_DIFF_SEED={seed} SYNAPSE_DIFF_SESSIONS={count}\n{session}\n{reason}");
    }
    outcome.expect("the run was not given up");
    println!("{count} sessions were answered alike, in {:.1} s", begun.elapsed().as_secs_f64());
}

/// A connection to an emptied server, if it answers.
pub(crate) fn emptied(path: &Path) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"*1\r\n$8\r\nFLUSHALL\r\n").ok()?;
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).ok()?;
    (&ok == b"+OK\r\n").then_some(stream)
}

fn difference(session: &Session, pair: &Pair<'_>) -> Option<String> {
    let in_haste = || {
        let ((ours, one), (theirs, other)) = (talk(pair.ours, session), talk(pair.theirs, session));
        (one.max(other) < HASTE).then(|| replies::difference(&ours, &theirs))
    };
    (0..TURNS).find_map(|_| in_haste()).expect("a session that is answered without a pause")
}

/// All that a server answers to the session, from empty memory, and how long it took.
fn talk(path: &Path, session: &Session) -> (Vec<u8>, Duration) {
    let mut stream = emptied(path).expect("it answers");
    let begun = Instant::now();
    for piece in session.pieces() {
        // A server that has had enough closes: what it answered before still counts.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (answers, begun.elapsed()),
            Ok(count) => answers.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return (answers, begun.elapsed()),
            Err(error) => panic!("no answer from {}: {error}", path.display()),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}
