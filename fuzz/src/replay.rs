//! The targets without a fuzzer, for `cargo test`: the corpus, and then the same mutations of it every time.

use std::fs;
use std::path::Path;

/// The longest input that mutations make, in bytes.
const LONGEST: usize = 2048;

/// Bytes that mean something in one of the languages, or lie at an edge.
const TELLING: &[u8] = b"\0\x01\x02\x03\x04\x7f\x80\xff\r\n*$:-0123456789 \"'\\%/?aGS";

/// Runs the target with each file of its corpus, and with so many inputs that are made from them.
pub(crate) fn replay(target: &str, rounds: usize, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&dir).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let corpus: Vec<_> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
    assert!(!corpus.is_empty(), "{} is empty", dir.display());
    for input in &corpus {
        told(run, input);
    }
    let mut random = Random(0x5eed_0000_0000 + rounds as u64);
    for _ in 0..rounds {
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut input, &corpus, &mut random);
        }
        input.truncate(LONGEST);
        told(run, &input);
    }
}

/// Runs the target; if it panics, the input is printed, as a file of the corpus may have it.
fn told(run: fn(&[u8]), input: &[u8]) {
    struct Told<'a>(&'a [u8]);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input: b\"{}\"", self.0.escape_ascii());
            }
        }
    }
    let told = Told(input);
    run(input);
    drop(told);
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(16)).min(input.len());
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = TELLING[random.below(TELLING.len())],
        2 => input.insert(at, TELLING[random.below(TELLING.len())]),
        3 => drop(input.drain(at..end)),
        4 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        5 if at < input.len() => input[at] = input[at].wrapping_add(random.below(7) as u8).wrapping_sub(3),
        6 => input.truncate(at),
        _ => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            input.splice(at.., other[from..].iter().copied());
        }
    }
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound as u64) as usize
    }
}
