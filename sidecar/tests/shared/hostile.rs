//! Clients that try what they may not: they are refused, and nobody else notices.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fs::{FallocateFlags, SealFlags};
use rustix::io::Errno;
use synapse_client::connection::Connection;

use crate::freshness::read;
use crate::sidecar::{SHARED, Sidecar, eventually};

const TIMEOUT: Duration = Duration::from_secs(10);
const MAP: &[u8] = b"\0\0\0\x01\x03";
const OK: u8 = 0;
const HIT: u8 = 1;
const ERR: u8 = 3;

/// All that changes a file, short of mapping it: that is tried where `unsafe` is allowed, in the arena's own tests.
fn attacks(memory: BorrowedFd<'_>) -> Vec<(&'static str, Result<(), Errno>)> {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    vec![
        ("shrinking it to nothing", rustix::fs::ftruncate(memory, 0)),
        ("shrinking it", rustix::fs::ftruncate(memory, 4096)),
        ("growing it", rustix::fs::ftruncate(memory, 1 << 30)),
        ("pwrite", rustix::io::pwrite(memory, b"x", 4096).map(drop)),
        ("write", rustix::io::write(memory, b"x").map(drop)),
        ("punching a hole", rustix::fs::fallocate(memory, punch, 0, 1 << 20)),
        ("zeroing a range", rustix::fs::fallocate(memory, FallocateFlags::ZERO_RANGE, 0, 4096)),
        ("growing it by fallocate", rustix::fs::fallocate(memory, FallocateFlags::empty(), 1 << 30, 4096)),
        ("sealing it against its owner", rustix::fs::fcntl_add_seals(memory, SealFlags::WRITE)),
        ("sealing it once more", rustix::fs::fcntl_add_seals(memory, SealFlags::SHRINK)),
    ]
}

#[test]
fn the_memory_can_be_read_and_nothing_else() {
    let sidecar = Sidecar::start(SHARED);
    let mut client = sidecar.client();
    assert_eq!(client.ask(&["SET", "k", "v"]), "OK");
    let memory: OwnedFd = Connection::open(&sidecar.socket(), TIMEOUT).unwrap().map().unwrap();
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    // Whoever may open it anew for writing gains nothing by it.
    let anew = File::options().read(true).write(true).open(&path);
    let to_append = File::options().append(true).open(&path);
    let truncating = File::options().write(true).truncate(true).open(&path);
    assert!(truncating.is_err(), "opening it with O_TRUNC empties it");
    let opened = [anew, to_append].into_iter().flatten().map(OwnedFd::from);
    for memory in opened.chain([memory]) {
        for (what, tried) in attacks(memory.as_fd()) {
            let refusal = tried.expect_err(what);
            let is_no = matches!(refusal, Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL);
            assert!(is_no, "{what}: {refusal}");
        }
    }
    let mut reader = sidecar.reader();
    for round in 0..100 {
        assert_eq!(client.ask(&["SET", "k", &round.to_string()]), "OK");
        assert_eq!(read(&mut reader, "k"), Some(round.to_string()));
    }
}

/// A connection in frames, for what a client of good manners cannot say.
struct Raw(UnixStream);

impl Raw {
    fn open(sidecar: &Sidecar) -> Self {
        let stream = UnixStream::connect(sidecar.socket()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self(stream)
    }

    /// Says a body as one frame, cut into two writes at `cut`, and answers what the sidecar says.
    fn ask(&mut self, body: &[u8], cut: usize) -> (u8, String) {
        let frame = [&(body.len() as u32).to_be_bytes(), body].concat();
        let (head, tail) = frame.split_at(cut.min(frame.len()));
        self.0.write_all(head).unwrap();
        self.0.write_all(tail).unwrap();
        self.hear().unwrap()
    }

    fn hear(&mut self) -> io::Result<(u8, String)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body)?;
        Ok((body[0], String::from_utf8_lossy(body.get(5..).unwrap_or_default()).into_owned()))
    }
}

fn served(hits: u64, count: u32, rest: &[u8]) -> Vec<u8> {
    [&[4][..], &hits.to_le_bytes(), &count.to_le_bytes(), rest].concat()
}

#[test]
fn frames_about_the_memory_that_are_wrong_are_refused_one_by_one() {
    let sidecar = Sidecar::start(SHARED);
    assert_eq!(sidecar.client().ask(&["SET", "k", "v"]), "OK");
    let named = |count: usize, key: &[u8]| [&(key.len() as u32).to_le_bytes(), key].concat().repeat(count);
    let mut raw = Raw::open(&sidecar);
    let get = [&[1][..], &1_u32.to_le_bytes(), b"k"].concat();
    for cut in [usize::MAX, 2, 4, 6, 12, 14, 18] {
        for (wrong, why) in [
            (b"\x03\x00".to_vec(), "do not match"),
            (served(1, 0, b"x"), "do not match"),
            (served(1, 1, b""), "too short"),
            (served(1, 1, b"\xff\xff\xff\xff"), "do not match"),
            (served(1, 2, &named(1, b"k")), "too short"),
            (served(1, 1, &named(2, b"k")), "do not match"),
            (served(1, 1025, &named(1025, b"k")), "at most 1024"),
            (served(1, u32::MAX, b""), "at most 1024"),
            (served(1, 0, b"")[..9].to_vec(), "too short"),
            (b"\x04".to_vec(), "too short"),
            (b"\x05".to_vec(), "unknown operation 5"),
            (Vec::new(), "empty frame"),
        ] {
            let (kind, said) = raw.ask(&wrong, cut);
            assert!(kind == ERR && said.contains(why), "{}: {kind} {said}", wrong.escape_ascii());
            assert_eq!(raw.ask(&get, cut), (HIT, "v".to_owned()), "after {}", wrong.escape_ascii());
        }
        for right in [served(1, 1024, &named(1024, b"k")), served(0, 1, &named(1, &[b'x'; 70_000])), vec![3]]
        {
            assert_eq!(raw.ask(&right, cut).0, OK);
        }
    }
    // Half a frame, and no more; and a length that no frame has.
    Raw::open(&sidecar).0.write_all(&MAP[..3]).unwrap();
    let mut raw = Raw::open(&sidecar);
    raw.0.write_all(b"\x04\0\0\x01\x04").unwrap();
    assert_eq!(raw.hear().unwrap().0, ERR);
    assert!(raw.hear().is_err(), "the connection ends");
    assert_eq!(read(&mut sidecar.reader(), "k").as_deref(), Some("v"));
}

#[test]
fn a_boast_of_hits_makes_no_counter_run_over() {
    let sidecar = Sidecar::start(SHARED);
    let mut raw = Raw::open(&sidecar);
    for _ in 0..3 {
        assert_eq!(raw.ask(&served(u64::MAX, 0, b""), usize::MAX).0, OK);
        assert_eq!(raw.ask(&served(u64::MAX, 1, b"\0\0\0\0"), usize::MAX).0, OK);
    }
    let before = sidecar.counted("synapse_lookups_total", &["outcome=\"hit\""]);
    assert!(before < 1 << 36, "{before}");
    assert_eq!(raw.ask(&served(70, 0, b""), usize::MAX).0, OK);
    assert_eq!(sidecar.counted("synapse_lookups_total", &["outcome=\"hit\""]), before + 70);
}

#[test]
fn who_asks_for_the_memory_again_and_again_and_reads_no_answer_holds_up_nobody() {
    let mut sidecar = Sidecar::start(SHARED);
    assert_eq!(sidecar.client().ask(&["SET", "k", "v"]), "OK");
    let files = sidecar.files();
    let greedy: Vec<Raw> = (0..8)
        .map(|_| {
            let mut raw = Raw::open(&sidecar);
            raw.0.set_nonblocking(true).unwrap();
            // As many as it takes, until the sidecar no longer reads on.
            while raw.0.write(&MAP.repeat(1000)).is_ok() {}
            raw
        })
        .collect();
    let mut reader = sidecar.reader();
    for round in 0..100 {
        assert_eq!(sidecar.client().ask(&["SET", "k", &round.to_string()]), "OK");
        assert_eq!(read(&mut reader, "k"), Some(round.to_string()));
    }
    drop(reader);
    eventually("no file stays open", || sidecar.files() <= files + 2 * greedy.len());
    let (status, took) = sidecar.terminate();
    assert!(status.success() && took < Duration::from_secs(4), "{status} after {took:?}");
}
