//! What every memory tier must do, run against each implementation.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use synapse_core::clock::{Clock, Deadline, ManualClock};
use synapse_core::memory::{Kept, Memory, Recalled, Stored};
use synapse_engine::arena_tier::ArenaTier;
use synapse_engine::large_tier::{ENTRY_OVERHEAD_BYTES, LargeTier, MOST_SLACK_BYTES};

const CAPACITY: u64 = 1 << 20;

/// An implementation of the port.
trait Tier: Memory {
    /// The largest entry, key and value together, in bytes.
    const LARGEST: usize;

    /// One of [`CAPACITY`].
    fn new() -> Self;
}

impl Tier for LargeTier {
    const LARGEST: usize = CAPACITY as usize - ENTRY_OVERHEAD_BYTES - MOST_SLACK_BYTES;

    fn new() -> Self {
        LargeTier::new(CAPACITY)
    }
}

impl Tier for ArenaTier {
    /// Large objects may take half.
    const LARGEST: usize = CAPACITY as usize / 2 - ENTRY_OVERHEAD_BYTES - MOST_SLACK_BYTES;

    fn new() -> Self {
        ArenaTier::new(CAPACITY).expect("a capacity that an arena can have")
    }
}

/// Runs every test against one implementation.
macro_rules! conformance {
    ($name:ident, $tier:ty) => {
        mod $name {
            #[test]
            fn overwriting_replaces_the_deadline_in_both_directions() {
                super::overwriting_replaces_the_deadline_in_both_directions::<$tier>();
            }

            #[test]
            fn expired_entries_are_gone_before_their_room_is_taken_back() {
                super::expired_entries_are_gone_before_their_room_is_taken_back::<$tier>();
            }

            #[test]
            fn a_fresh_write_is_readable_and_the_budget_holds() {
                super::a_fresh_write_is_readable_and_the_budget_holds::<$tier>();
            }

            #[test]
            fn what_is_read_outlives_what_is_not() {
                super::what_is_read_outlives_what_is_not::<$tier>();
            }

            #[test]
            fn large_values_do_not_pile_up_before_they_are_evicted() {
                super::large_values_do_not_pile_up_before_they_are_evicted::<$tier>();
            }

            #[test]
            fn an_entry_above_the_budget_is_refused_and_takes_the_old_value_with_it() {
                super::an_entry_above_the_budget_is_refused_and_takes_the_old_value_with_it::<$tier>();
            }

            #[test]
            fn a_value_that_is_kept_is_an_entry_like_any_other() {
                super::a_value_that_is_kept_is_an_entry_like_any_other::<$tier>();
            }

            #[test]
            fn what_a_kept_value_holds_is_charged() {
                super::what_a_kept_value_holds_is_charged::<$tier>();
            }

            #[test]
            fn clearing_leaves_nothing() {
                super::clearing_leaves_nothing::<$tier>();
            }

            #[test]
            fn what_is_alive_is_handed_over_as_it_is() {
                super::what_is_alive_is_handed_over_as_it_is::<$tier>();
            }

            #[test]
            fn what_is_handed_over_stays_within_the_budget() {
                super::what_is_handed_over_stays_within_the_budget::<$tier>();
            }

            #[test]
            fn it_behaves_as_a_map_with_deadlines() {
                super::it_behaves_as_a_map_with_deadlines::<$tier>();
            }
        }
    };
}

conformance!(large, synapse_engine::large_tier::LargeTier);
conformance!(arena, synapse_engine::arena_tier::ArenaTier);

fn value(tier: &mut impl Memory, key: &str, clock: &ManualClock) -> Option<Vec<u8>> {
    let mut found = None;
    tier.get(&[key], clock.now(), |_, entry| found = entry.map(|entry| entry.value.to_vec()));
    found
}

fn keys(tier: &mut impl Memory, count: usize, clock: &ManualClock) -> Vec<Vec<u8>> {
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        cursor = tier.scan(cursor, count, clock.now(), |key| seen.push(key.to_vec()));
        if cursor == 0 {
            seen.sort();
            return seen;
        }
    }
}

fn overwriting_replaces_the_deadline_in_both_directions<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    let now = clock.now();
    let _ = tier.set(b"a", b"1", now.after(10), now);
    let _ = tier.set(b"a", b"2", Deadline::NEVER, now);
    let _ = tier.set(b"b", b"1", Deadline::NEVER, now);
    let _ = tier.set(b"b", b"2", now.after(10), now);
    clock.advance(10);
    tier.tend(clock.now());
    assert_eq!(value(&mut tier, "a", &clock), Some(b"2".to_vec()));
    assert_eq!(value(&mut tier, "b", &clock), Some(b"2".to_vec()));
    clock.advance(1);
    tier.tend(clock.now());
    assert_eq!(value(&mut tier, "a", &clock), Some(b"2".to_vec()));
    assert_eq!(value(&mut tier, "b", &clock), None);
    assert_eq!((tier.stats().entries, tier.stats().expirations), (1, 1));
}

fn expired_entries_are_gone_before_their_room_is_taken_back<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    let now = clock.now();
    let _ = tier.set(b"a", b"1", now.after(1), now);
    clock.advance(2);
    assert_eq!(value(&mut tier, "a", &clock), None);
    assert_eq!(keys(&mut tier, 10, &clock), Vec::<Vec<u8>>::new());
    assert!(!tier.expire(b"a", Deadline::NEVER, clock.now()));
    assert!(!tier.remove(b"a", clock.now()));
}

fn a_fresh_write_is_readable_and_the_budget_holds<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    for n in 0..20_000 {
        let key = format!("key:{n}");
        assert_eq!(tier.set(key.as_bytes(), &[7; 100], Deadline::NEVER, clock.now()), Stored::Kept);
        assert!(value(&mut tier, &key, &clock).is_some(), "{key} was refused");
        let bytes = tier.stats().bytes;
        assert!(bytes <= CAPACITY + CAPACITY / 32, "{bytes} bytes held");
    }
    let stats = tier.stats();
    assert_eq!(stats.entries + stats.evictions, 20_000);
    assert_eq!(keys(&mut tier, 100, &clock).len() as u64, stats.entries);
}

fn what_is_read_outlives_what_is_not<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    let _ = tier.set(b"hot", b"1", Deadline::NEVER, clock.now());
    for n in 0..10_000 {
        let _ = tier.set(format!("cold:{n}").as_bytes(), &[7; 100], Deadline::NEVER, clock.now());
        assert!(value(&mut tier, "hot", &clock).is_some(), "evicted after {n}");
    }
}

fn large_values_do_not_pile_up_before_they_are_evicted<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    let large = vec![0; 300_000];
    for n in 0..50 {
        assert_eq!(tier.set(format!("{n}").as_bytes(), &large, Deadline::NEVER, clock.now()), Stored::Kept);
        assert!(tier.stats().bytes <= CAPACITY);
    }
}

fn an_entry_above_the_budget_is_refused_and_takes_the_old_value_with_it<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    let _ = tier.set(b"a", b"old", Deadline::NEVER, clock.now());
    let most = vec![0; M::LARGEST - 1];
    assert_eq!(tier.set(b"a", &most, Deadline::NEVER, clock.now()), Stored::Kept);
    assert_eq!(tier.set(b"a", &[&most[..], b"."].concat(), Deadline::NEVER, clock.now()), Stored::TooLarge);
    assert_eq!(value(&mut tier, "a", &clock), None);
    assert_eq!(tier.stats().bytes, 0);
}

fn a_value_that_is_kept_is_an_entry_like_any_other<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    for len in [0, 100, M::LARGEST / 2] {
        let (now, value) = (clock.now(), Bytes::from(vec![1; len + 10]).slice(4..len + 4));
        assert_eq!(tier.keep(b"a", &value, len + 10, Deadline::NEVER, now), Stored::Kept);
        assert_eq!(self::value(&mut tier, "a", &clock), Some(vec![1; len]));
        // Its handle outlives it, and whoever holds it sees no change.
        let mut held = None;
        tier.get(&[b"a"], now, |_, found| held = found.map(|found| found.to_bytes()));
        assert_eq!(tier.keep(b"a", &Bytes::from(vec![2; len]), len, now.after(10), now), Stored::Kept);
        assert_eq!((held, self::value(&mut tier, "a", &clock)), (Some(value), Some(vec![2; len])));
        assert_eq!(tier.stats().entries, 1);
        clock.advance(11);
        assert_eq!(self::value(&mut tier, "a", &clock), None);
        assert!(!tier.remove(b"a", clock.now()));
    }
    // A small part of a large buffer is copied; what is too large takes the old value with it.
    let now = clock.now();
    let value = Bytes::from(vec![3; M::LARGEST * 2]);
    let part = value.slice(..M::LARGEST / 2);
    assert_eq!(tier.keep(b"a", &part, value.len(), Deadline::NEVER, now), Stored::Kept);
    assert_eq!(self::value(&mut tier, "a", &clock), Some(part.to_vec()));
    assert_eq!(tier.keep(b"a", &value, value.len(), Deadline::NEVER, now), Stored::TooLarge);
    assert_eq!((self::value(&mut tier, "a", &clock), tier.stats().entries), (None, 0));
}

fn what_a_kept_value_holds_is_charged<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    // None of them fits the arena; each wastes a tenth.
    let (len, held) = (M::LARGEST / 10, M::LARGEST / 9);
    for n in 0..100 {
        let value = Bytes::from(vec![n; held]).slice(..len);
        assert_eq!(tier.keep(&[n], &value, held, Deadline::NEVER, clock.now()), Stored::Kept);
        let mut alive = 0;
        for key in 0..=n {
            tier.get(&[[key]], clock.now(), |_, found| {
                alive += usize::from(found.is_some_and(|found| found.handle.is_some()))
            });
        }
        assert!(alive * held <= CAPACITY as usize, "{alive} buffers after {n}");
        assert!(tier.stats().bytes <= CAPACITY, "{} after {n}", tier.stats().bytes);
    }
}

fn clearing_leaves_nothing<M: Tier>() {
    let (clock, mut tier) = (ManualClock::default(), M::new());
    for n in 0..100 {
        let _ = tier.set(format!("{n}").as_bytes(), b"v", clock.now().after(1000), clock.now());
    }
    tier.clear();
    assert_eq!(value(&mut tier, "7", &clock), None);
    assert_eq!((tier.stats().entries, tier.stats().bytes), (0, 0));
    let _ = tier.set(b"7", b"again", Deadline::NEVER, clock.now());
    assert_eq!(value(&mut tier, "7", &clock), Some(b"again".to_vec()));
}

type Handed = (Vec<u8>, Vec<u8>, Deadline, u8);

/// All that `tier` visits to be taken up elsewhere, in its order.
fn handed_over(tier: &mut impl Memory, clock: &ManualClock) -> Vec<Handed> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = tier.hottest(cursor, clock.now(), |kept| {
            seen.push((kept.key.to_vec(), kept.value.to_vec(), kept.deadline, kept.heat));
        });
        if cursor == 0 {
            return seen;
        }
    }
}

fn take_up(tier: &mut impl Memory, handed: &Handed, clock: &ManualClock) -> Recalled {
    let (key, value, deadline, heat) = handed;
    tier.recall(Kept { key, value, deadline: *deadline, heat: *heat }, clock.now())
}

fn what_is_alive_is_handed_over_as_it_is<M: Tier>() {
    let (clock, mut old, mut new) = (ManualClock::default(), M::new(), M::new());
    let now = clock.now();
    for n in 0..500_u64 {
        let deadline = if n % 3 == 0 { Deadline::NEVER } else { now.after(n) };
        let value = vec![n as u8; if n % 100 == 0 { 50_000 } else { n as usize % 90 }];
        assert_eq!(old.set(format!("k{n}").as_bytes(), &value, deadline, now), Stored::Kept);
    }
    clock.advance(200);
    let mut handed = handed_over(&mut old, &clock);
    let mut alive = keys(&mut old, 100, &clock);
    assert!(alive.len() < 500 && handed.is_sorted_by_key(|(.., heat)| u8::MAX - heat));
    for entry in &handed {
        assert_eq!(take_up(&mut new, entry, &clock), Recalled::Kept);
    }
    let past = (b"past".to_vec(), b"v".to_vec(), now.after(1), 1);
    assert_eq!(take_up(&mut new, &past, &clock), Recalled::Unfit);
    let mut again = handed_over(&mut new, &clock);
    handed.sort();
    again.sort();
    assert!(handed == again);
    let mut handed: Vec<_> = handed.into_iter().map(|(key, ..)| key).collect();
    handed.sort();
    alive.sort();
    assert_eq!(handed, alive);
}

fn what_is_handed_over_stays_within_the_budget<M: Tier>() {
    let (clock, mut new) = (ManualClock::default(), M::new());
    let too_large = (b"k".to_vec(), vec![0; CAPACITY as usize], Deadline::NEVER, 1);
    assert_eq!(take_up(&mut new, &too_large, &clock), Recalled::Unfit);
    let results: Vec<_> = (0..30_000)
        .map(|n| {
            take_up(&mut new, &(format!("k{n}").into_bytes(), vec![1; 100], Deadline::NEVER, 15), &clock)
        })
        .collect();
    let kept = results.iter().take_while(|recalled| **recalled == Recalled::Kept).count();
    assert!(kept > 1000 && results.contains(&Recalled::Full), "{kept}");
    let stats = new.stats();
    assert!(stats.bytes <= CAPACITY && stats.evictions == 0, "{stats:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, u8, Option<u64>),
    SetMany(Vec<(u8, u8)>, Option<u64>),
    Expire(u8, Option<u64>),
    Remove(u8),
    Get(u8),
    Wait(u64),
    Tend,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = || prop::option::of(0u64..6);
    prop_oneof![
        4 => (0..6u8, any::<u8>(), ttl()).prop_map(|(key, value, ttl)| Step::Set(key, value, ttl)),
        2 => (prop::collection::vec((0..6u8, any::<u8>()), 0..40), ttl()).prop_map(|(entries, ttl)| Step::SetMany(entries, ttl)),
        2 => (0..6u8, ttl()).prop_map(|(key, ttl)| Step::Expire(key, ttl)),
        1 => (0..6u8).prop_map(Step::Remove),
        3 => (0..6u8).prop_map(Step::Get),
        2 => (0u64..4).prop_map(Step::Wait),
        1 => Just(Step::Tend),
        1 => Just(Step::Clear),
    ]
}

fn it_behaves_as_a_map_with_deadlines<M: Tier>() {
    let steps = prop::collection::vec(step(), 1..60);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        let (clock, mut tier) = (ManualClock::default(), M::new());
        let mut model: BTreeMap<u8, (u8, Deadline)> = BTreeMap::new();
        for step in steps {
            let now = clock.now();
            let deadline = |ttl: Option<u64>| ttl.map_or(Deadline::NEVER, |ttl| now.after(ttl));
            model.retain(|_, (_, deadline)| !deadline.is_past(now));
            match step {
                Step::Set(key, value, ttl) => {
                    prop_assert_eq!(tier.set(&[key], &[value], deadline(ttl), now), Stored::Kept);
                    model.insert(key, (value, deadline(ttl)));
                }
                Step::SetMany(entries, ttl) => {
                    let (keys, values): (Vec<_>, Vec<_>) =
                        entries.iter().map(|(key, value)| ([*key], [*value])).unzip();
                    let mut kept = 0;
                    tier.set_many((&keys, &values), deadline(ttl), now, |stored| {
                        kept += usize::from(stored == Stored::Kept);
                    });
                    prop_assert_eq!(kept, entries.len());
                    model.extend(entries.iter().map(|(key, value)| (*key, (*value, deadline(ttl)))));
                }
                Step::Expire(key, ttl) => {
                    let alive = tier.expire(&[key], deadline(ttl), now);
                    prop_assert_eq!(alive, model.contains_key(&key));
                    model.entry(key).and_modify(|entry| entry.1 = deadline(ttl));
                }
                Step::Remove(key) => prop_assert_eq!(tier.remove(&[key], now), model.remove(&key).is_some()),
                Step::Get(key) => {
                    let mut found = None;
                    tier.get(&[[key]], now, |_, entry| {
                        found = entry.map(|entry| (entry.value[0], entry.deadline))
                    });
                    prop_assert_eq!(found, model.get(&key).copied());
                }
                Step::Wait(ms) => clock.advance(ms),
                Step::Tend => tier.tend(now),
                Step::Clear => {
                    tier.clear();
                    model.clear();
                }
            }
            let now = clock.now();
            model.retain(|_, (_, deadline)| !deadline.is_past(now));
            let held: Vec<Vec<u8>> = model.keys().map(|key| vec![*key]).collect();
            prop_assert_eq!(keys(&mut tier, 2, &clock), held);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
