//! The arena against a map with a clock, and its readers against it: any sequence of operations.
//!
//! The seed of the hash is another one in every run, as in use: what fails may need a few replays to fail again.

use std::collections::BTreeMap;

use synapse_arena::arena::{Arena, BATCH, SMALLEST_CAPACITY, Unfit};
use synapse_arena::entry::{MAX_DEADLINE, NEVER};
use synapse_arena::reader::{Look, Reader};

/// The model: what every key had last. The arena may have forgotten some of it, but has nothing else.
type Contents = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// How much one input may do, in bytes written and entries touched.
const MOST_WORK: usize = 1 << 20;

/// Takes `data` for a sequence of operations.
pub(crate) fn run(data: &[u8]) {
    // Shared memory, memory of which pages go back, and the heap.
    let mut arena = match data.len() % 4 {
        1 => Arena::on_heap(SMALLEST_CAPACITY),
        _ => Arena::new(SMALLEST_CAPACITY),
    }
    .expect("the smallest capacity");
    let shared = if data.len().is_multiple_of(4) { arena.share().expect("seals") } else { None };
    let mut reader = shared.map(|fd| Reader::open(fd).expect("an arena"));
    let (mut model, mut now, mut work) = (Contents::new(), 1_u64, 0);
    let mut input = data.iter().copied();
    let mut next = || input.next();
    while let (Some(what), Some(a), Some(b)) = (next(), next(), next()) {
        if work > MOST_WORK {
            break;
        }
        let key = name(a, what);
        let deadline = match b % 4 {
            0 => now + u64::from(b / 4),
            1 => now.saturating_sub(u64::from(b / 4)),
            2 if b == 2 => MAX_DEADLINE,
            _ => NEVER,
        };
        match what % 16 {
            0..=5 => {
                // The length does not depend on the key: it is overwritten in place, and elsewhere.
                let length = usize::from(b) * [1, 3, 9][usize::from(what / 16 % 3)];
                let value = vec![a ^ b; length];
                let store = |arena: &mut Arena| arena.set(&key, &value, deadline, now);
                set(&mut arena, &mut model, &key, &value, deadline, now, store);
                work += 256 + length;
            }
            6 => {
                // Many at once: what was there may have to go, and what is looked for ahead may move.
                let keys: Vec<_> =
                    (0..64 * usize::from(b % 8 + 1)).map(|n| format!("{a}:{n}").into_bytes()).collect();
                let value = vec![b; usize::from(b) * usize::from(what / 16) / 2];
                for keys in keys.chunks(BATCH) {
                    let ahead = arena.ahead(keys);
                    for (n, key) in keys.iter().enumerate() {
                        let store =
                            |arena: &mut Arena| arena.set_ahead(&ahead, n, key, &value, deadline, now);
                        set(&mut arena, &mut model, key, &value, deadline, now, store);
                    }
                }
                work += keys.len() * (256 + value.len());
            }
            7 | 8 => {
                let was_there = found(&mut arena, &key, now).is_some();
                assert_eq!(arena.expire(&key, deadline, now), was_there);
                model.entry(key).and_modify(|entry| entry.1 = deadline);
            }
            9 => {
                let was_there = found(&mut arena, &key, now).is_some();
                assert_eq!(arena.remove(&key, now), was_there);
                assert_eq!(found(&mut arena, &key, now), None);
                model.remove(&key);
            }
            10 => {
                let keys: Vec<_> = (0..b % 80).map(|n| name(a.wrapping_add(n), what)).collect();
                read(&mut arena, &model, &keys, now);
                work += 32 * keys.len();
            }
            11 => {
                now += u64::from(b);
                model.retain(|_, (_, deadline)| now <= *deadline);
            }
            12 => arena.tend(now),
            13 => arena.touched_by_readers(&key, b),
            14 => scan(&mut arena, &model, usize::from(b), now),
            _ if b % 8 == 0 => {
                arena.clear();
                model.clear();
                assert_eq!((arena.stats().entries, arena.stats().entry_bytes), (0, 0));
            }
            _ => {
                let granted = arena.resize(usize::from(b) << 11, now);
                assert!(granted <= SMALLEST_CAPACITY as u64);
            }
        }
        let (key, held) = (name(a, what), found(&mut arena, &name(a, what), now));
        assert!(held.is_none() || held.as_ref() == model.get(&key), "{held:?}");
        if let Some(reader) = &mut reader {
            let mut value = Vec::new();
            let seen = match reader.get(&key, now, &mut value) {
                Look::Hit { deadline } => Some((value, deadline)),
                Look::Miss => None,
                Look::Unsure | Look::Gone => panic!("nothing changes meanwhile"),
            };
            assert_eq!(seen, held, "the reader sees something else");
        }
    }
    scan(&mut arena, &model, 7, now);
    #[cfg(debug_assertions)]
    arena.audit();
}

/// Few keys, some empty and some long.
fn name(a: u8, what: u8) -> Vec<u8> {
    format!("{a}").repeat(usize::from(a) % 5 * (1 + usize::from(what / 128) * 40)).into_bytes()
}

fn set(
    arena: &mut Arena,
    model: &mut Contents,
    key: &[u8],
    value: &[u8],
    deadline: u64,
    now: u64,
    store: impl FnOnce(&mut Arena) -> Result<(), Unfit>,
) {
    let fits = key.len() + value.len() <= arena.largest_entry();
    model.remove(key);
    let is_set = store(arena).is_ok();
    assert_eq!(is_set, fits);
    if is_set {
        model.insert(key.to_vec(), (value.to_vec(), deadline));
        let expected = (now <= deadline).then(|| (value.to_vec(), deadline));
        assert_eq!(found(arena, key, now), expected);
    }
}

fn found(arena: &mut Arena, key: &[u8], now: u64) -> Option<(Vec<u8>, u64)> {
    let mut found = None;
    arena.get(&[key], now, |_, entry| found = entry.map(|entry| (entry.value.to_vec(), entry.deadline)));
    found
}

/// Many at once, in order, and each as it was set.
fn read(arena: &mut Arena, model: &Contents, keys: &[Vec<u8>], now: u64) {
    let mut next = 0;
    arena.get(keys, now, |position, found| {
        assert_eq!(position, next);
        next += 1;
        let found = found.map(|found| (found.value.to_vec(), found.deadline));
        let expected = model.get(&keys[position]).filter(|entry| now <= entry.1);
        assert!(found.is_none() || found.as_ref() == expected, "{found:?}");
    });
    assert_eq!(next, keys.len());
}

fn scan(arena: &mut Arena, model: &Contents, count: usize, now: u64) {
    let mut cursor = 0;
    loop {
        cursor = arena.scan(cursor, count, now, |key, found| {
            let expected = model.get(key).map(|(value, deadline)| (&value[..], *deadline));
            assert_eq!(Some((found.value, found.deadline)), expected);
        });
        if cursor == 0 {
            return;
        }
    }
}
