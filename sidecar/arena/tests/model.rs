//! The arena against a plain map with a clock: every operation, and any interleaving of deadlines, evictions,
//! overwrites and changes of size.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use synapse_arena::arena::{Arena, BATCH, SMALLEST_CAPACITY, Unfit};
use synapse_arena::entry::{MAX_DEADLINE, NEVER};

fn value(arena: &mut Arena, key: &[u8], now: u64) -> Option<(Vec<u8>, u64)> {
    let mut found = None;
    arena.get(&[key], now, |_, entry| found = entry.map(|entry| (entry.value.to_vec(), entry.deadline)));
    found
}

type Contents = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn contents(arena: &mut Arena, count: usize, now: u64) -> Contents {
    let (mut cursor, mut seen) = (0, BTreeMap::new());
    loop {
        cursor = arena.scan(cursor, count, now, |key, found| {
            seen.insert(key.to_vec(), (found.value.to_vec(), found.deadline));
        });
        if cursor == 0 {
            return seen;
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u16, usize, Option<u64>),
    SetMany(Vec<(u16, usize)>, Option<u64>),
    Expire(u16, Option<u64>),
    Remove(u16),
    Get(Vec<u16>),
    Wait(u64),
    Tend,
    Clear,
    Resize(usize),
}

fn step(keys: u16, longest: usize) -> impl Strategy<Value = Step> {
    let ttl = || prop::option::of(0_u64..6);
    prop_oneof![
        40 => (0..keys, 0..longest, ttl()).prop_map(|(key, len, ttl)| Step::Set(key, len, ttl)),
        20 => (prop::collection::vec((0..keys, 0..longest), 0..70), ttl()).prop_map(|(entries, ttl)| Step::SetMany(entries, ttl)),
        10 => (0..keys, ttl()).prop_map(|(key, ttl)| Step::Expire(key, ttl)),
        10 => (0..keys).prop_map(Step::Remove),
        30 => prop::collection::vec(0..keys, 0..70).prop_map(Step::Get),
        20 => (0_u64..4).prop_map(Step::Wait),
        10 => Just(Step::Tend),
        1 => Just(Step::Clear),
        1 => (SMALLEST_CAPACITY / 2..SMALLEST_CAPACITY).prop_map(Step::Resize),
    ]
}

fn name(key: u16) -> Vec<u8> {
    // Some keys are empty, some are long.
    format!("{key}").repeat(usize::from(key % 7)).into_bytes()
}

/// The model knows what every key had last; the arena may have forgotten some of it, but has nothing else.
fn agrees(steps: Vec<Step>, may_evict: bool) -> Result<(), TestCaseError> {
    let mut arena = Arena::on_heap(SMALLEST_CAPACITY).expect("the smallest capacity");
    let mut model = Contents::new();
    let mut now = 1;
    for (n, step) in steps.into_iter().enumerate() {
        let deadline = |ttl: Option<u64>| ttl.map_or(NEVER, |ttl| now + ttl);
        match step {
            Step::Set(key, len, ttl) => {
                let (key, bytes) = (name(key), vec![n as u8; len]);
                let fits = key.len() + len <= arena.largest_entry();
                prop_assert_eq!(arena.set(&key, &bytes, deadline(ttl), now).is_ok(), fits);
                model.remove(&key);
                if fits {
                    prop_assert_eq!(value(&mut arena, &key, now), Some((bytes.clone(), deadline(ttl))));
                    model.insert(key, (bytes, deadline(ttl)));
                }
            }
            Step::SetMany(entries, ttl) => {
                let deadline = deadline(ttl);
                let entries: Vec<_> =
                    entries.iter().map(|(key, len)| (name(*key), vec![n as u8; *len])).collect();
                let mut last = BTreeMap::new();
                for batch in entries.chunks(BATCH) {
                    let keys: Vec<_> = batch.iter().map(|(key, _)| key).collect();
                    let ahead = arena.ahead(&keys);
                    for (at, (key, bytes)) in batch.iter().enumerate() {
                        let fits = key.len() + bytes.len() <= arena.largest_entry();
                        let stored = arena.set_ahead(&ahead, at, key, bytes, deadline, now);
                        prop_assert_eq!(stored.is_ok(), fits);
                        last.insert(key, fits.then_some((bytes.clone(), deadline)));
                    }
                }
                for (key, expected) in last {
                    let found = value(&mut arena, key, now);
                    prop_assert!(
                        found == expected || (may_evict && found.is_none()),
                        "{found:?}, not {expected:?}"
                    );
                    model.remove(key);
                    expected.map(|entry| model.insert(key.clone(), entry));
                }
            }
            Step::Expire(key, ttl) => {
                let key = name(key);
                let was_there = value(&mut arena, &key, now).is_some();
                prop_assert_eq!(arena.expire(&key, deadline(ttl), now), was_there);
                model.entry(key).and_modify(|entry| entry.1 = deadline(ttl));
            }
            Step::Remove(key) => {
                let key = name(key);
                let was_there = value(&mut arena, &key, now).is_some();
                prop_assert_eq!(arena.remove(&key, now), was_there);
                prop_assert_eq!(value(&mut arena, &key, now), None);
                model.remove(&key);
            }
            Step::Get(keys) => {
                let keys: Vec<_> = keys.into_iter().map(name).collect();
                let mut next = 0;
                let mut wrong = None;
                arena.get(&keys, now, |position, found| {
                    let key = &keys[position];
                    let expected = model.get(key).filter(|entry| now <= entry.1);
                    let found = found.map(|found| (found.value.to_vec(), found.deadline));
                    if position != next || found.as_ref().is_some_and(|found| Some(found) != expected) {
                        wrong = Some(position);
                    }
                    next += 1;
                });
                prop_assert_eq!((wrong, next), (None, keys.len()));
            }
            Step::Wait(ms) => now += ms,
            Step::Tend => arena.tend(now),
            Step::Clear => {
                arena.clear();
                model.clear();
                prop_assert_eq!((arena.stats().entries, arena.stats().entry_bytes), (0, 0));
            }
            Step::Resize(bytes) if may_evict => {
                let granted = arena.resize(bytes, now);
                prop_assert!(granted <= SMALLEST_CAPACITY as u64);
            }
            Step::Resize(_) => {}
        }
        model.retain(|_, (_, deadline)| now <= *deadline);
        if n % 16 == 0 {
            arena.audit();
        }
    }
    arena.audit();
    let held = contents(&mut arena, 7, now);
    for (key, entry) in &held {
        prop_assert_eq!(Some(entry), model.get(key));
    }
    if !may_evict {
        prop_assert_eq!(arena.stats().evictions, 0);
        prop_assert_eq!(held, model);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 48 }) })]

    #[test]
    fn it_is_a_map_with_deadlines(steps in prop::collection::vec(step(40, 300), 1..300)) {
        agrees(steps, false)?;
    }

    #[test]
    fn under_pressure_it_forgets_but_never_errs(steps in prop::collection::vec(step(3000, 2100), 1..1500)) {
        agrees(steps, true)?;
    }
}

/// A generator that needs no dependency: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

#[test]
fn the_budget_and_the_work_hold_whatever_the_sizes_do() {
    let mut random = Random(0x5eed);
    let mut arena = Arena::on_heap(2 << 20).unwrap();
    let largest = arena.largest_entry() as u64;
    let mut now = 1;
    for round in 0..12 {
        // Tiny, large, growing, mixed, and what just misses the end of a segment.
        let size = |random: &mut Random, n: u64| match round % 6 {
            0 => 0,
            1 => largest - 12,
            2 => n % (largest - 12),
            3 => 1 << random.below(11),
            4 => largest / 2 + random.below(24),
            _ => random.below(largest - 12),
        };
        for n in 0..6000 {
            let key = format!("{}", random.below(20_000));
            let value = vec![round as u8; size(&mut random, n) as usize];
            let deadline = if random.below(3) == 0 { now + random.below(50) } else { NEVER };
            arena.set(key.as_bytes(), &value, deadline, now).unwrap();
            now += u64::from(n % 64 == 0);
        }
        arena.audit();
        let stats = arena.stats();
        assert!(stats.resident_bytes <= stats.capacity_bytes, "{stats:?}");
        // What is left over at the ends of segments is an eighth at most, what has died a quarter, and some segments
        // are held ready.
        let is_full = !matches!(round % 6, 0 | 3);
        assert!(!is_full || stats.entry_bytes * 100 > stats.capacity_bytes * 60, "round {round}: {stats:?}");
        assert_eq!(stats.stalls, 0, "round {round}: {stats:?}");
    }
}

#[test]
fn what_moves_after_it_was_looked_for_is_replaced_where_it_is_then() {
    // A few new entries empty several small segments, or a part of a large one.
    for (capacity, size) in [(SMALLEST_CAPACITY, 1900), (64 << 20, 40)] {
        let mut arena = Arena::on_heap(capacity).unwrap();
        let all = arena.resize(4 * SMALLEST_CAPACITY, 1) / 64;
        let mut random = Random(0x5eed);
        let hot: Vec<String> = (0..all / 10).map(|n| format!("hot:{n}")).collect();
        for round in 0..4000_u32 {
            // They are asked for, so they move on when their segment is emptied.
            let mut keys: Vec<String> = (0..BATCH - 8).map(|n| format!("new:{round}:{n}")).collect();
            keys.extend((0..8).map(|_| hot[random.below(hot.len() as u64) as usize].clone()));
            let ahead = arena.ahead(&keys);
            for (n, key) in keys.iter().enumerate() {
                let value = vec![round as u8; if n < BATCH - 8 { size } else { 30 }];
                arena.set_ahead(&ahead, n, key.as_bytes(), &value, NEVER, 1).unwrap();
                assert_eq!(
                    self::value(&mut arena, key.as_bytes(), 1),
                    Some((value, NEVER)),
                    "{key}, {round}"
                );
            }
        }
        arena.audit();
        assert!(arena.stats().evictions > 10_000, "{:?}", arena.stats());
    }
}

#[test]
fn the_work_of_what_finds_nothing_is_its_own() {
    let mut arena = Arena::on_heap(SMALLEST_CAPACITY).unwrap();
    for n in 0..100_000_u32 {
        assert!(!arena.remove(&n.to_le_bytes(), 1) && !arena.expire(&n.to_le_bytes(), NEVER, 1));
        arena.touched_by_readers(&n.to_le_bytes(), 1);
    }
    arena.set(b"a", b"1", NEVER, 1).unwrap();
    assert!(arena.stats().most_work < 100, "{}", arena.stats().most_work);
}

#[test]
fn memory_moves_from_small_entries_to_large_ones_and_back() {
    let mut arena = Arena::on_heap(4 << 20).unwrap();
    // What was asked for just as often before would stay: it is no worse than what comes.
    let fill = |arena: &mut Arena, size: usize, mark: u8, asked: u8| {
        for n in 0..(6 << 20) / (size + 40) {
            let key = format!("{mark}:{n}");
            arena.set(key.as_bytes(), &vec![mark; size], NEVER, 1).unwrap();
            (0..asked).for_each(|_| arena.get(&[key.as_bytes()], 1, |_, found| assert!(found.is_some())));
        }
        let stats = arena.stats();
        assert!(stats.index_bytes < stats.entries * 14 + (64 << 10), "{stats:?}");
        stats.entry_bytes
    };
    for asked in [0, 4] {
        let small = fill(&mut arena, 10, 1, asked);
        assert!(small > 3_000_000, "{small}");
        let large = fill(&mut arena, 1800, 2, asked + 2);
        assert!(large > 3_300_000, "{large}");
    }
    arena.audit();
}

#[test]
fn nothing_goes_while_there_is_room() {
    for (capacity, size) in [(1 << 20, 0), (8 << 20, 10), (8 << 20, 64), (32 << 20, 64), (32 << 20, 500)] {
        let mut arena = Arena::on_heap(capacity).unwrap();
        let mut written = 0_u64;
        while arena.stats().entry_bytes + arena.stats().index_bytes < capacity as u64 * 8 / 10 {
            arena.set(format!("key:{written:012}").as_bytes(), &vec![7; size], NEVER, 1).unwrap();
            written += 1;
        }
        let stats = arena.stats();
        assert_eq!((stats.entries, stats.evictions), (written, 0), "{stats:?}");
        arena.audit();
    }
}

#[test]
fn expired_room_comes_back_without_reads_or_writes() {
    let mut arena = Arena::on_heap(4 << 20).unwrap();
    for n in 0..20_000_u64 {
        let deadline = if n % 10 == 0 { NEVER } else { 1000 + n % 1000 };
        arena.set(format!("{n}").as_bytes(), &[0; 64], deadline, 1).unwrap();
    }
    assert_eq!(arena.stats().evictions, 0, "{:?}", arena.stats());
    let held = arena.stats().entries;
    for now in [1200, 1500, 1800, 2001] {
        for _ in 0..200 {
            arena.tend(now);
        }
    }
    let stats = arena.stats();
    assert!((1960..2300).contains(&stats.entries), "{stats:?}");
    assert_eq!(stats.expirations, held - stats.entries);
    arena.audit();
}

#[test]
fn a_key_that_is_always_overwritten_costs_nobody_else_a_place() {
    let mut arena = Arena::on_heap(1 << 20).unwrap();
    for n in 0..4000 {
        arena.set(format!("{n}").as_bytes(), &[0; 64], NEVER, 1).unwrap();
    }
    for n in 0..200_000_usize {
        arena.set(b"counter", &vec![7; n % 300], NEVER, 1).unwrap();
    }
    assert_eq!(arena.stats().evictions, 0, "{:?}", arena.stats());
    assert_eq!(value(&mut arena, b"counter", 1).unwrap().0.len(), 199_999 % 300);
}

#[test]
fn what_is_read_outlives_what_is_not() {
    let mut arena = Arena::on_heap(1 << 20).unwrap();
    arena.set(b"hot", b"1", NEVER, 1).unwrap();
    for n in 0..100_000 {
        arena.set(format!("cold:{n}").as_bytes(), &[7; 100], NEVER, 1).unwrap();
        assert!(value(&mut arena, b"hot", 1).is_some(), "evicted after {n}");
    }
}

#[test]
fn what_does_not_fit_takes_the_old_value_with_it() {
    let mut arena = Arena::on_heap(1 << 20).unwrap();
    let most = vec![7; arena.largest_entry() - 1];
    arena.set(b"a", &most, NEVER, 1).unwrap();
    assert_eq!(value(&mut arena, b"a", 1).unwrap().0, most);
    assert_eq!(arena.set(b"a", &[&most[..], b"."].concat(), NEVER, 1), Err(Unfit));
    assert_eq!(value(&mut arena, b"a", 1), None);
    arena.set(b"a", b"1", MAX_DEADLINE, 1).unwrap();
    assert_eq!(value(&mut arena, b"a", MAX_DEADLINE), Some((b"1".to_vec(), MAX_DEADLINE)));
    assert_eq!(arena.set(b"a", b"1", MAX_DEADLINE + 1, 1), Err(Unfit));
    assert!(Arena::on_heap(SMALLEST_CAPACITY - 1).is_err());
}

#[test]
fn a_scan_sees_what_is_held_throughout_while_the_index_grows() {
    let mut arena = Arena::on_heap(8 << 20).unwrap();
    for n in 0..7000 {
        arena.set(format!("held:{n}").as_bytes(), b"v", NEVER, 1).unwrap();
    }
    let (mut cursor, mut seen, mut more) = (0, HashMap::new(), 0);
    loop {
        cursor = arena.scan(cursor, 100, 1, |key, _| *seen.entry(key.to_vec()).or_insert(0) += 1);
        for _ in 0..50 {
            arena.set(format!("more:{more}").as_bytes(), b"v", NEVER, 1).unwrap();
            more += 1;
        }
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(arena.stats().evictions, 0, "{:?}", arena.stats());
    let lost = (0..7000).filter(|n| !seen.contains_key(format!("held:{n}").as_bytes())).count();
    assert_eq!(lost, 0);
    arena.audit();
}
