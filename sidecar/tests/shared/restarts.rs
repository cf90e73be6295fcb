//! Readers that go on while their sidecar ends, in good order or not, and starts again.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use synapse_client::shared::SharedReader;

use crate::sidecar::{SHARED, Sidecar, eventually};

/// Tells this binary that it is the reader of the test, and in which directory.
const HELPER: &str = "SYNAPSE_TEST_RESTARTED_IN";
/// How often the sidecar ends, where that is not the default.
const RESTARTS: &str = "SYNAPSE_TEST_RESTARTS";
const KEY: &str = "generation";

/// The generation of the sidecar that has answered last: readers may see nothing older. In a file, for two processes.
struct Answered(File);

impl Answered {
    fn open(dir: &Path) -> Self {
        Self(
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join("answered"))
                .unwrap(),
        )
    }

    fn set(&self, generation: u64) {
        self.0.write_all_at(&generation.to_le_bytes(), 0).unwrap();
    }

    fn get(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 0).unwrap();
        u64::from_le_bytes(bytes)
    }
}

/// Reads until it is over, and tells of each generation that it finds in the memory. Returns hits, and reads that failed
/// because nobody was there.
fn read_on(dir: &Path, is_over: &AtomicBool, tell: impl Fn(u64)) -> (u64, u64) {
    let answered = Answered::open(dir);
    let mut reader = SharedReader::connect(dir.join("s")).unwrap();
    let (mut value, mut told, mut hits, mut failures) = (Vec::new(), 0, 0, 0);
    while !is_over.load(Ordering::Acquire) {
        let (least, was_shared) = (answered.get(), reader.is_shared());
        match reader.get(KEY.as_bytes(), &mut value) {
            Ok(true) => {
                let generation: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                assert!(
                    generation >= least,
                    "the memory of sidecar {generation}, though {least} has answered"
                );
                hits += 1;
                if was_shared && generation > told {
                    told = generation;
                    tell(generation);
                }
            }
            Ok(false) => {}
            Err(_) => {
                failures += 1;
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    (hits, failures)
}

/// The reader in a process of its own: tells generations line by line, until its input ends.
fn help(dir: &str) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::stdin().read_line(&mut String::new());
            is_over.store(true, Ordering::Release);
        });
        let tell = |generation| println!("\ngeneration {generation}");
        read_on(Path::new(dir), &is_over, tell);
    });
}

#[test]
fn readers_never_believe_a_sidecar_that_another_has_replaced() {
    if let Ok(dir) = env::var(HELPER) {
        return help(&dir);
    }
    let restarts = env::var(RESTARTS).ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    let mut sidecar = Sidecar::start(SHARED);
    let dir = sidecar.dir.path().to_owned();
    let answered = Answered::open(&dir);
    answered.set(0);
    let (is_over, near, far) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let test = "restarts::readers_never_believe_a_sidecar_that_another_has_replaced";
    let mut other = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(HELPER, &dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (input, output) = (other.stdin.take().unwrap(), other.stdout.take().unwrap());
    let (hits, failures) = thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(output).lines() {
                if let Some(generation) = line.unwrap().strip_prefix("generation ") {
                    far.store(generation.parse().unwrap(), Ordering::Release);
                }
            }
        });
        let reader =
            scope.spawn(|| read_on(&dir, &is_over, |generation| near.store(generation, Ordering::Release)));
        for generation in 1..=restarts {
            answered.set(generation);
            assert_eq!(sidecar.client().ask(&["SET", KEY, &generation.to_string()]), "OK");
            eventually("both readers find it in the memory", || {
                assert!(!reader.is_finished(), "the reader failed");
                [&near, &far].iter().all(|seen| seen.load(Ordering::Acquire) == generation)
            });
            match generation % 4 {
                0 => assert!(sidecar.terminate().0.success()),
                _ => sidecar.kill(),
            }
            sidecar.start_again();
        }
        is_over.store(true, Ordering::Release);
        drop(input);
        reader.join().unwrap()
    });
    assert!(other.wait().unwrap().success(), "the reader in the other process failed");
    println!(
        "{restarts} restarts ({RESTARTS}=100 for more), {hits} hits, {failures} reads while nobody was there"
    );
    assert!(hits > restarts * 10);
}

#[test]
fn a_sidecar_that_stands_still_is_believed_until_its_lease_runs_out() {
    let sidecar = Sidecar::start(SHARED);
    assert_eq!(sidecar.client().ask(&["SET", KEY, "1"]), "OK");
    let (is_over, last) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let elapsed = || begun.elapsed().as_millis() as u64;
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reader, mut value) = (sidecar.reader(), Vec::new());
            while !is_over.load(Ordering::Acquire) {
                let before = elapsed();
                assert!(reader.get(KEY.as_bytes(), &mut value).unwrap());
                last.store(before, Ordering::Release);
            }
            reader.is_shared()
        });
        eventually("it reads", || last.load(Ordering::Acquire) > 0);
        sidecar.signal("-STOP");
        let stopped = elapsed();
        // It asks over the socket now, where nobody answers.
        eventually("reads have ended", || elapsed() > last.load(Ordering::Acquire) + 400);
        let most = stopped + 500 + 50;
        assert!(
            last.load(Ordering::Acquire) <= most,
            "{} ms after the end",
            last.load(Ordering::Acquire) - stopped
        );
        sidecar.signal("-CONT");
        let thawed = elapsed();
        eventually("it reads again", || last.load(Ordering::Acquire) > thawed + 200);
        is_over.store(true, Ordering::Release);
        assert!(reader.join().unwrap(), "it has the memory again");
    });
}
