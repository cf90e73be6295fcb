//! A hunt for torn and foreign bytes: four reader processes beside a writer that overwrites what they read.
//!
//! It goes on until the readers have begun `SYNAPSE_HUNT_RETRIES` look-ups again (10,000 where that is not set) because
//! the memory was changing, one in a hundred of them after they had copied a whole entry. The same hunt has to find torn
//! values where a part of the protocol is left out.

mod faults;
mod prey;

use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use synapse_arena::arena::{Arena, SMALLEST_CAPACITY};
use synapse_arena::cells::Owned;
use synapse_arena::layout::Plan;
use synapse_arena::reader::{Look, Reader};
use synapse_arena::region::Region;

use crate::faults::{Careless, Seen};
use crate::prey::{Bag, KEYS, hunt, storm};

const HUNTERS: usize = 4;
/// Tells this test binary that it is a helper of the test that it runs, and whose memory it is about.
const MEMORY: &str = "SYNAPSE_HUNT_MEMORY";
/// Tells a reader that it does not look again after it has copied.
const HASTY: &str = "SYNAPSE_HUNT_HASTY";
const RETRIES: &str = "SYNAPSE_HUNT_RETRIES";
/// One retry in so many has to be of a copy that was made in vain: the others saw at once that the writer was at work.
const DISCARDED: u64 = 100;
/// By then a hunt has come to its end, or comes to none.
const LONGEST: Duration = Duration::from_secs(300);
/// How much less of the processors readers ask for than the writer.
const READERS_NICE: i32 = 15;
/// Rounds between two reports of a reader.
const ROUNDS: usize = 200;

/// This test binary again, as a helper of `test`.
fn helper(test: &str, memory: &str, is_hasty: bool) -> Child {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args([test, "--exact", "--nocapture"]).env(MEMORY, memory);
    if is_hasty {
        command.env(HASTY, "1");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this binary, again")
}

/// Where others find a region: `pid:fd`.
fn descriptor(region: &Region) -> String {
    let fd = region.share().expect("seals").expect("a memfd").as_raw_fd();
    format!("{}:{fd}", std::process::id())
}

fn memory_of(memory: &str) -> fs::File {
    let (pid, fd) = memory.split_once(':').expect("pid:fd");
    fs::File::open(format!("/proc/{pid}/fd/{fd}")).expect("the memory of the other process")
}

/// A reader in a process of its own: tells what it met, line by line, until its input ends.
fn read_on(memory: &str) {
    // The writer has a processor of its own as long as there are two: most reads meet it at work, not asleep.
    rustix::process::nice(READERS_NICE).expect("a process may always be nicer");
    let region = Region::map_shared(memory_of(memory).as_fd()).expect("sealed memory");
    let seen = Seen::new(region, env::var(HASTY).is_ok());
    let changed = Rc::clone(&seen.changed);
    let mut reader = Reader::over(seen).expect("an arena");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::stdin().read_line(&mut String::new());
            is_over.store(true, Ordering::Relaxed);
        });
        let mut bag = Bag::default();
        while !is_over.load(Ordering::Relaxed) {
            hunt(&mut reader, ROUNDS, &mut bag);
            bag.discarded = changed.get();
            println!("\nhunted {} {} {} {}", bag.hits, bag.retries, bag.discarded, bag.torn);
        }
    });
}

fn told(line: &str) -> Option<Bag> {
    let figures: Vec<u64> =
        line.strip_prefix("hunted ")?.split(' ').map_while(|word| word.parse().ok()).collect();
    let [hits, retries, discarded, torn] = figures[..] else { return None };
    Some(Bag { hits, retries, discarded, torn })
}

/// Has four processes read what a writer overwrites, until they have met `enough`.
fn beside<C: Owned + Send>(
    test: &str,
    arena: &mut Arena<C>,
    memory: &str,
    is_hasty: bool,
    enough: impl Fn(&Bag) -> bool,
) -> Bag {
    let (begun, is_over) = (Instant::now(), AtomicBool::new(false));
    let bags = Mutex::new([Bag::default(); HUNTERS]);
    let sum = || {
        let bags = bags.lock().expect("no panic");
        bags.iter().fold(Bag::default(), |sum, bag| Bag {
            hits: sum.hits + bag.hits,
            retries: sum.retries + bag.retries,
            discarded: sum.discarded + bag.discarded,
            torn: sum.torn + bag.torn,
        })
    };
    let writes = thread::scope(|scope| {
        let writer = scope.spawn(|| storm(arena, || is_over.load(Ordering::Relaxed)));
        let mut hunters: Vec<Child> = (0..HUNTERS).map(|_| helper(test, memory, is_hasty)).collect();
        for (place, hunter) in hunters.iter_mut().enumerate() {
            let (out, bags) = (hunter.stdout.take().expect("a pipe"), &bags);
            scope.spawn(move || {
                for bag in BufReader::new(out).lines().map_while(Result::ok).filter_map(|line| told(&line)) {
                    bags.lock().expect("no panic")[place] = bag;
                }
            });
        }
        let is_in_time = || begun.elapsed() < LONGEST;
        while !enough(&sum()) && is_in_time() {
            thread::sleep(Duration::from_millis(2));
        }
        for hunter in &mut hunters {
            drop(hunter.stdin.take());
        }
        for mut hunter in hunters {
            assert!(hunter.wait().expect("it ends").success(), "a reader failed");
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().expect("the writer goes on")
    });
    let sum = sum();
    println!("{writes} writes in {:?}, {HUNTERS} reader processes: {sum:?}", begun.elapsed());
    assert!(enough(&sum), "not in {LONGEST:?}: {sum:?}");
    sum
}

fn shared() -> Arena {
    Arena::new(SMALLEST_CAPACITY).expect("a memfd")
}

#[test]
fn four_processes_never_read_torn_or_foreign_bytes() {
    if let Ok(memory) = env::var(MEMORY) {
        return read_on(&memory);
    }
    let retries: u64 = env::var(RETRIES).ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut arena = shared();
    let memory = descriptor(arena.cells());
    let test = "four_processes_never_read_torn_or_foreign_bytes";
    let is_enough = |bag: &Bag| bag.retries >= retries && bag.discarded >= retries / DISCARDED;
    let met = beside(test, &mut arena, &memory, false, |bag| bag.torn > 0 || is_enough(bag));
    assert_eq!(met.torn, 0, "{met:?}");
}

#[test]
fn the_same_hunt_catches_readers_that_do_not_look_again() {
    if let Ok(memory) = env::var(MEMORY) {
        return read_on(&memory);
    }
    let mut arena = shared();
    let memory = descriptor(arena.cells());
    let test = "the_same_hunt_catches_readers_that_do_not_look_again";
    beside(test, &mut arena, &memory, true, |bag| bag.torn > 0);
}

#[test]
fn the_same_hunt_catches_a_writer_that_forgets_the_protocol() {
    if let Ok(memory) = env::var(MEMORY) {
        return read_on(&memory);
    }
    let in_memfd = |words| {
        let plan = Plan::fitting(words, 1).expect("room");
        Ok(Careless { region: Region::memfd(words)?, plan })
    };
    let mut arena = Arena::in_region(SMALLEST_CAPACITY, in_memfd).expect("a memfd");
    let memory = descriptor(&arena.cells().region);
    let test = "the_same_hunt_catches_a_writer_that_forgets_the_protocol";
    beside(test, &mut arena, &memory, false, |bag| bag.torn > 0);
}

#[test]
fn owners_that_are_killed_are_believed_no_more_from_that_moment_on() {
    if env::var(MEMORY).is_ok() {
        let mut arena = shared();
        assert!(arena.share().expect("seals").is_some(), "not in a memfd");
        println!("\nmemory {}", descriptor(arena.cells()));
        storm(&mut arena, || false);
        return;
    }
    let mut readers: Vec<Reader> = Vec::new();
    let mut copy = Vec::new();
    for _ in 0..10 {
        let test = "owners_that_are_killed_are_believed_no_more_from_that_moment_on";
        let mut owner = helper(test, "own", false);
        let out = BufReader::new(owner.stdout.take().expect("a pipe"));
        let mut lines = out.lines().map_while(Result::ok);
        let memory = lines.find_map(|line| line.strip_prefix("memory ").map(str::to_owned));
        let memory = memory_of(&memory.expect("the owner ended early"));
        let mut reader = Reader::open(memory.as_fd()).expect("a sealed arena");
        hunt(&mut reader, ROUNDS, &mut Bag::default());
        owner.kill().expect("it is ours");
        owner.wait().expect("it ends");
        readers.push(reader);
        // It died in the middle of something, and could say nothing more.
        for reader in &mut readers {
            for key in 0..KEYS {
                assert_eq!(reader.get(&key.to_le_bytes(), 1, &mut copy), Look::Gone);
            }
        }
    }
}
