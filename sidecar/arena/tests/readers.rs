//! Readers beside the writer, one after the other, and hostile ones; `hunt` has both at the same time.

use std::os::fd::{AsFd, AsRawFd};
use std::{fs, io};

use proptest::prelude::*;
use rustix::fs::SealFlags;
use synapse_arena::arena::{Arena, SMALLEST_CAPACITY};
use synapse_arena::entry::NEVER;
use synapse_arena::reader::{Look, Reader};

fn shared(capacity: usize) -> Arena {
    let arena = Arena::new(capacity).expect("a memfd");
    assert!(arena.share().expect("seals").is_some(), "not in a memfd");
    arena
}

// === one after the other ===

#[test]
fn many_at_once_are_answered_as_each_alone() {
    let mut arena = shared(4 << 20);
    let fd = arena.share().unwrap().expect("a memfd").try_clone_to_owned().unwrap();
    let mut reader = Reader::open(fd.as_fd()).expect("an arena");
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
            let mut other = Reader::open(fd.as_fd()).expect("an arena");
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
    assert_eq!(reader.origin_ns(), 5_000_000_000);
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
