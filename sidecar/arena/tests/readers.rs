//! Readers beside the writer: in this process, in others, and hostile ones.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use proptest::prelude::*;
use rustix::fs::SealFlags;
use synapse_arena::arena::{Arena, SMALLEST_CAPACITY};
use synapse_arena::cells::{Cells, Owned};
use synapse_arena::entry::{Head, NEVER};
use synapse_arena::layout::{Plan, at, kind};
use synapse_arena::reader::{Look, Reader};
use synapse_arena::region::Region;

/// Tells this test binary that it is a helper of the test with this name, and whose memory it is about.
const HELPER: &str = "SYNAPSE_ARENA_TEST_MEMORY";

fn shared(capacity: usize) -> Arena {
    let arena = Arena::new(capacity).expect("a memfd");
    assert!(arena.share().expect("seals").is_some(), "not in a memfd");
    arena
}

fn memory_of(pid: u32, fd: i32) -> fs::File {
    fs::File::open(format!("/proc/{pid}/fd/{fd}")).expect("the memory of the other process")
}

fn helper(test: &str, memory: &str) -> Child {
    Command::new(env::current_exe().expect("this binary"))
        .args([test, "--exact", "--nocapture"])
        .env(HELPER, memory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this binary, again")
}

fn descriptor(arena: &Arena) -> String {
    let fd = arena.share().expect("seals").expect("a memfd").as_raw_fd();
    format!("{}:{fd}", std::process::id())
}

fn reader_of(memory: &str) -> Reader {
    let (pid, fd) = memory.split_once(':').expect("pid:fd");
    let file = memory_of(pid.parse().expect("a pid"), fd.parse().expect("a descriptor"));
    Reader::open(file.as_fd()).expect("a sealed arena")
}

// === one after the other ===

#[test]
fn many_at_once_are_answered_as_each_alone() {
    let mut arena = shared(4 << 20);
    let fd = descriptor(&arena);
    let mut reader = reader_of(&fd);
    let (mut value, mut alone) = (Vec::new(), Vec::new());
    // While the index grows, entries go, and some of the keys are not there.
    for n in 0..40_000_u32 {
        let deadline = if n % 3 == 0 { 5 } else { NEVER };
        arena.set(&n.to_le_bytes(), &vec![n as u8; n as usize % 300], deadline, 1).unwrap();
        if n % 500 != 0 {
            continue;
        }
        let keys: Vec<[u8; 4]> =
            (0..70).map(|back| n.wrapping_sub(back * 7 * (n % 11)).to_le_bytes()).collect();
        for now in [5, 6] {
            let mut visited = 0;
            let mut other = reader_of(&fd);
            reader.get_many(&keys, now, &mut value, |at, look, value| {
                assert_eq!((at, look), (visited, other.get(&keys[at], now, &mut alone)));
                if let Look::Hit { .. } = look {
                    assert_eq!(value, alone);
                }
                visited += 1;
            });
            assert_eq!(visited, keys.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn a_reader_sees_every_change_at_once(
        steps in prop::collection::vec((0..2000_u16, 0..900_usize, 0..20_u8, prop::option::of(0..5_u64)), 1..1200),
    ) {
        let mut arena = shared(SMALLEST_CAPACITY);
        let mut reader = Reader::open(arena.share()?.expect("a memfd")).expect("an arena");
        let (mut now, mut copy) = (1, Vec::new());
        for (n, (key, len, what, ttl)) in steps.into_iter().enumerate() {
            let key = key.to_string();
            match what {
                0 => arena.remove(key.as_bytes(), now),
                1 => arena.expire(key.as_bytes(), ttl.map_or(NEVER, |ttl| now + ttl), now),
                2 if n % 50 == 0 => {
                    arena.clear();
                    true
                }
                3 => {
                    now += 1;
                    true
                }
                _ => {
                    let deadline = ttl.map_or(NEVER, |ttl| now + ttl);
                    arena.set(key.as_bytes(), &vec![n as u8; len], deadline, now).expect("it fits");
                    true
                }
            };
            for key in [key, (n % 2000).to_string()] {
                let looked = reader.get(key.as_bytes(), now, &mut copy);
                let mut expected = None;
                arena.get(&[&key], now, |_, found| expected = found.map(|found| (found.value.to_vec(), found.deadline)));
                let seen = match looked {
                    Look::Hit { deadline } => Some((copy.clone(), deadline)),
                    Look::Miss => None,
                    Look::Unsure | Look::Gone => panic!("{looked:?} although nothing changes meanwhile"),
                };
                prop_assert_eq!(seen, expected);
            }
        }
        prop_assert_eq!(reader.retries(), 0);
        drop(arena);
        prop_assert_eq!(reader.get(b"1", now, &mut copy), Look::Gone);
    }
}

#[test]
fn a_lease_that_ran_out_is_believed_no_more() {
    let mut arena = shared(SMALLEST_CAPACITY);
    arena.set(b"a", b"1", NEVER, 1).expect("it fits");
    arena.set_clock(5_000_000_000);
    arena.set_lease(100);
    let mut reader = Reader::open(arena.share().expect("seals").expect("a memfd")).expect("an arena");
    let mut copy = Vec::new();
    assert_eq!(reader.now(5_098_999_999), 99);
    assert_eq!(reader.get(b"a", 100, &mut copy), Look::Hit { deadline: NEVER });
    assert_eq!(reader.get(b"a", 101, &mut copy), Look::Gone);
}

// === hostile ===

#[test]
#[expect(unsafe_code, reason = "trying to map memory for writing")]
fn a_reader_can_neither_write_nor_resize_nor_reseal() {
    let mut arena = shared(SMALLEST_CAPACITY);
    arena.set(b"a", b"untouched", NEVER, 1).expect("it fits");
    let received =
        arena.share().expect("seals").expect("a memfd").try_clone_to_owned().expect("a descriptor");
    // As whoever may open it for writing, which is more than a reader of another user may.
    let path = format!("/proc/{}/fd/{}", std::process::id(), received.as_raw_fd());
    let anew = fs::OpenOptions::new().read(true).write(true).open(path).expect("the descriptor");
    let refused = |tried: io::Result<()>| {
        assert_eq!(tried.expect_err("refused").raw_os_error(), Some(rustix::io::Errno::PERM.raw_os_error()));
    };
    for file in [received.as_fd(), anew.as_fd()] {
        refused(rustix::fs::ftruncate(file, 0).map_err(Into::into));
        refused(rustix::fs::ftruncate(file, 1 << 30).map_err(Into::into));
        refused(rustix::fs::fcntl_add_seals(file, SealFlags::WRITE).map_err(Into::into));
        refused(rustix::io::pwrite(file, b"x", 0).map(drop).map_err(Into::into));
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        refused(rustix::fs::fallocate(file, punch, 0, 4096).map_err(Into::into));
        use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
        let (none, writable) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the kernel chooses the address, and refuses.
        let mapped = unsafe { rustix::mm::mmap(none, 4096, writable, MapFlags::SHARED, file, 0) };
        refused(mapped.map(drop).map_err(Into::into));
        // SAFETY: the kernel chooses the address, of a page that is readable only.
        let mapped = unsafe { rustix::mm::mmap(none, 4096, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        let mapped = mapped.expect("reading is allowed");
        // SAFETY: the page was mapped above and nothing refers to it.
        let made_writable = unsafe { rustix::mm::mprotect(mapped, 4096, MprotectFlags::WRITE) };
        assert_eq!(made_writable, Err(rustix::io::Errno::ACCESS));
        // SAFETY: as before.
        let freed = unsafe { rustix::mm::madvise(mapped, 4096, Advice::LinuxRemove) };
        assert!(freed.is_err(), "its pages can be taken away");
        // SAFETY: as before. Of one's own, a private copy may be written to, and nobody sees it.
        let private = unsafe { rustix::mm::mmap(none, 4096, writable, MapFlags::PRIVATE, file, 0) };
        let private = private.expect("a copy of one's own").cast::<u8>();
        // SAFETY: the page was mapped above, for writing, and nothing else refers to it.
        unsafe { private.write_bytes(0xee, 4096) };
    }
    let mut value = Vec::new();
    arena.get(&[b"a"], 1, |_, found| value.extend_from_slice(found.expect("still there").value));
    assert_eq!(value, b"untouched");
}

#[test]
fn memory_that_is_not_sealed_or_no_arena_is_refused() {
    let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::ALLOW_SEALING).expect("a memfd");
    rustix::fs::ftruncate(&fd, 1 << 20).expect("a size");
    assert!(Reader::open(fd.as_fd()).is_err_and(|error| error.to_string().contains("not sealed")));
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::FUTURE_WRITE).expect("seals");
    assert!(Reader::open(fd.as_fd()).is_err_and(|error| error.to_string().contains("not an arena")));
}

// === at the same time ===

/// The longest value in the hunts: copying it takes long enough to be interrupted.
const LONGEST: usize = 1500;
const HUNTED: u64 = 64;

/// A value that tells whether it is whole, and whose.
fn tell(key: u64, mark: u64, len: usize, value: &mut Vec<u8>) {
    value.clear();
    // Bit 31 is where a header has the highest bit of a key's length.
    let word = (key << 48 | mark & 0x7fff_ffff | 1 << 31).to_le_bytes();
    while value.len() < len.max(8) {
        value.extend_from_slice(&word);
    }
}

fn is_whole(key: u64, value: &[u8]) -> bool {
    let mut words = value.chunks_exact(8);
    let first = words.next().expect("at least one word");
    first[6..] == (key as u16).to_le_bytes() && words.all(|word| word == first)
}

/// Overwrites the same keys again and again, in place and elsewhere, and drives everything else out.
fn storm<C: Owned>(arena: &mut Arena<C>, is_over: impl Fn() -> bool) -> u64 {
    let (mut mark, mut value, mut other) = (0_u64, Vec::new(), 0_u64);
    while !is_over() {
        for _ in 0..1000 {
            mark += 1;
            let key = mark.wrapping_mul(0x9e37_79b9) >> 7 & (HUNTED - 1);
            // Half of the time as long as before.
            let len = 8 + (key as usize * 24 + (mark as usize / 4096 % 2) * 8) % LONGEST;
            tell(key, mark, len, &mut value);
            let _ = arena.set(&key.to_le_bytes(), &value, NEVER, 1);
            if mark % 4 == 0 {
                other += 1;
                tell(other % HUNTED + HUNTED, mark, LONGEST, &mut value);
                let _ = arena.set(format!("other:{}", other % 5000).as_bytes(), &value, NEVER, 1);
            }
            if mark % 65_536 == 0 {
                arena.clear();
            }
        }
    }
    mark
}

#[derive(Debug, Default, Clone, Copy)]
struct Hunt {
    hits: u64,
    retries: u64,
    torn: u64,
}

fn hunt<C: Cells>(reader: &mut Reader<C>, mut is_over: impl FnMut() -> bool) -> Hunt {
    let (mut found, mut copy) = (Hunt::default(), Vec::new());
    while !is_over() {
        for key in 0..HUNTED {
            if let Look::Hit { .. } = reader.get(&key.to_le_bytes(), 1, &mut copy) {
                found.hits += 1;
                found.torn += u64::from(!is_whole(key, &copy));
            }
        }
    }
    found.retries = reader.retries();
    found
}

/// How long a hunt takes: a second, or as many as the environment says.
fn hunting_time() -> Duration {
    let seconds = env::var("SYNAPSE_HUNT_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

#[test]
fn four_processes_never_read_torn_or_foreign_bytes() {
    const TEST: &str = "four_processes_never_read_torn_or_foreign_bytes";
    if let Ok(memory) = env::var(HELPER) {
        let mut reader = reader_of(&memory);
        let end = Instant::now() + hunting_time();
        let Hunt { hits, retries, torn } = hunt(&mut reader, || Instant::now() > end);
        println!("hunted {hits} {retries} {torn}");
        return;
    }
    let mut arena = shared(SMALLEST_CAPACITY);
    let memory = descriptor(&arena);
    let is_over = AtomicBool::new(false);
    let mut sum = Hunt::default();
    let writes = thread::scope(|scope| {
        let writer = scope.spawn(|| storm(&mut arena, || is_over.load(Ordering::Relaxed)));
        let hunters: Vec<Child> = (0..4).map(|_| helper(TEST, &memory)).collect();
        for mut hunter in hunters {
            let out = BufReader::new(hunter.stdout.take().expect("a pipe"));
            for line in out.lines().map_while(Result::ok) {
                let Some((_, figures)) = line.split_once("hunted ") else { continue };
                let figures: Vec<u64> = figures.split(' ').filter_map(|figure| figure.parse().ok()).collect();
                sum.hits += figures[0];
                sum.retries += figures[1];
                sum.torn += figures[2];
            }
            assert!(hunter.wait().expect("it ends").success());
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().expect("the writer goes on")
    });
    println!("{writes} writes, {sum:?}");
    assert!(sum.hits > 1000 && sum.torn == 0, "{sum:?}");
}

/// Memory of a writer who forgets the protocol: segments are reused, and values replaced, without a word to readers.
struct Careless {
    region: Region,
    plan: Plan,
}

impl Careless {
    /// What becomes of a store; `None` when it is forgotten.
    fn as_stored(&self, at: usize, word: u64) -> Option<u64> {
        let generations = at::GENERATIONS..at::GENERATIONS + self.plan.segments;
        // Once readers have been let in, they stay.
        if generations.contains(&at) && self.region.load(at) & kind::MASK == kind::ENTRIES {
            return None;
        }
        // A header, of a key of eight bytes: no word of a value looks like one, see `tell`.
        let is_head = Head::unpack(word).key_len == 8 && Head::unpack(self.region.load(at)).key_len == 8;
        Some(if is_head { Head { version: 0, ..Head::unpack(word) }.pack() } else { word })
    }
}

impl Cells for Careless {
    fn words(&self) -> usize {
        self.region.words()
    }

    fn load(&self, at: usize) -> u64 {
        self.region.load(at)
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.region.load_acquire(at)
    }

    fn store(&self, at: usize, word: u64) {
        if let Some(word) = self.as_stored(at, word) {
            self.region.store(at, word);
        }
    }

    fn store_release(&self, at: usize, word: u64) {
        if let Some(word) = self.as_stored(at, word) {
            self.region.store_release(at, word);
        }
    }

    fn fence_acquire(&self) {
        self.region.fence_acquire();
    }

    fn fence_release(&self) {
        self.region.fence_release();
    }
}

impl Owned for Careless {
    fn bytes(&self, at: usize, skip: usize, len: usize) -> &[u8] {
        self.region.bytes(at, skip, len)
    }

    fn prefetch(&self, at: usize) {
        self.region.prefetch(at);
    }

    fn release(&self, _: usize, _: usize) -> bool {
        false
    }
}

#[test]
fn the_same_hunt_catches_a_writer_that_forgets_the_protocol() {
    let in_memfd = |words| {
        let plan = Plan::fitting(words, 1).expect("room");
        Ok(Careless { region: Region::memfd(words)?, plan })
    };
    let mut arena = Arena::in_region(SMALLEST_CAPACITY, in_memfd).expect("a memfd");
    let region = &arena.cells().region;
    let fd = region.share().expect("seals").expect("a memfd").try_clone_to_owned().expect("a descriptor");
    let is_over = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        let writer = scope.spawn(|| storm(&mut arena, || is_over.load(Ordering::Relaxed)));
        let hunters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut reader = Reader::open(fd.as_fd()).expect("an arena");
                    let end = Instant::now() + Duration::from_secs(120);
                    let mut rounds = Hunt::default();
                    while Instant::now() < end && !is_over.load(Ordering::Relaxed) {
                        let mut left = 50;
                        let round = hunt(&mut reader, || {
                            left -= 1;
                            left == 0
                        });
                        rounds.torn += round.torn;
                        if rounds.torn > 0 {
                            is_over.store(true, Ordering::Relaxed);
                        }
                    }
                    rounds.torn
                })
            })
            .collect();
        let torn: u64 = hunters.into_iter().map(|hunter| hunter.join().expect("it reads on")).sum();
        is_over.store(true, Ordering::Relaxed);
        writer.join().expect("the writer goes on");
        torn
    });
    assert!(found > 0, "the hunt caught nothing: it proves nothing either");
}

#[test]
fn owners_that_are_killed_are_believed_no_more_from_that_moment_on() {
    const TEST: &str = "owners_that_are_killed_are_believed_no_more_from_that_moment_on";
    if env::var(HELPER).is_ok() {
        let mut arena = shared(SMALLEST_CAPACITY);
        println!("memory {}", descriptor(&arena));
        storm(&mut arena, || false);
        return;
    }
    let mut readers: Vec<Reader> = Vec::new();
    let mut copy = Vec::new();
    for _ in 0..10 {
        let mut owner = helper(TEST, "own");
        let mut out = BufReader::new(owner.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("memory ") {
            line.clear();
            assert!(out.read_line(&mut line).expect("a line") > 0, "the owner ended early");
        }
        let memory = line.trim().split_once("memory ").expect("checked above").1;
        let mut reader = reader_of(memory);
        let mut left = 20;
        hunt(&mut reader, || {
            left -= 1;
            left == 0
        });
        owner.kill().expect("it is ours");
        owner.wait().expect("it ends");
        readers.push(reader);
        // It died in the middle of something, and could say nothing more.
        for reader in &mut readers {
            for key in 0..HUNTED {
                assert_eq!(reader.get(&key.to_le_bytes(), 1, &mut copy), Look::Gone);
            }
        }
    }
}
