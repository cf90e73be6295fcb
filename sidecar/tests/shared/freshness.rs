//! What a reader finds without asking, and how soon it sees what others change.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synapse_client::connection::Connection;
use synapse_client::shared::SharedReader;

use crate::redis_server::{self, RedisServer};
use crate::sidecar::{Client, SHARED, Sidecar, eventually};

/// What a reader finds, as text.
pub(crate) fn read(reader: &mut SharedReader, key: &str) -> Option<String> {
    let mut value = b"what was there before".to_vec();
    reader.get(key.as_bytes(), &mut value).unwrap().then(|| String::from_utf8(value).unwrap())
}

#[test]
fn a_hit_is_read_without_a_request_and_reported() {
    const READS: u64 = 10_000;
    let sidecar = Sidecar::start(SHARED);
    assert_eq!(sidecar.client().ask(&["SET", "k", "v"]), "OK");
    let mut reader = sidecar.reader();
    let hits = || sidecar.counted("synapse_lookups_total", &["outcome=\"hit\""]);
    let (requests, batches) =
        (sidecar.requests(), sidecar.counted("synapse_batch_duration_seconds_count", &[]));
    assert_eq!(hits(), 0);
    for _ in 0..READS {
        assert_eq!(read(&mut reader, "k").as_deref(), Some("v"));
    }
    assert_eq!(sidecar.requests(), requests, "nobody asked");
    assert_eq!(sidecar.counted("synapse_batch_duration_seconds_count", &[]), batches);
    // Told in packets: at least half of it at once, the rest with what is read later, or at the end.
    eventually("most hits are told", || hits() >= READS / 2);
    assert!(hits() <= READS);
    assert_eq!(read(&mut reader, "missing"), None);
    assert_eq!(sidecar.requests(), requests + 1, "a miss is asked for");
    assert_eq!(reader.retries(), 0);
    drop(reader);
    eventually("the rest is told at the end", || hits() == READS);
}

/// What a reader finds when it asks for all at once, as text.
fn read_many(reader: &mut SharedReader, keys: &[String]) -> Vec<Option<String>> {
    let (mut values, mut room) = (vec![None; keys.len()], b"what was there before".to_vec());
    let mut visited = 0;
    let visit = |position: usize, value: Option<&[u8]>| {
        values[position] = value.map(|value| String::from_utf8(value.to_vec()).unwrap());
        visited += 1;
    };
    reader.get_many(keys, &mut room, visit).unwrap();
    assert_eq!(visited, keys.len());
    values
}

#[test]
fn many_keys_at_once_are_what_each_is_alone_wherever_it_lies() {
    let mut sidecar = Sidecar::start(SHARED);
    let mut client = sidecar.client();
    // In the memory, beside it because it is too large, nowhere; and more to ask for than one question holds.
    let keys: Vec<String> = (0..600).map(|n| format!("{n}:{}", "k".repeat(n % 90))).collect();
    let value = |n: usize| match n % 3 {
        0 => Some(format!("small {n}")),
        1 if n.is_multiple_of(50) => Some(format!("large {n} {}", "x".repeat(100_000))),
        _ => None,
    };
    for (n, key) in keys.iter().enumerate() {
        if let Some(value) = value(n) {
            assert_eq!(client.ask(&["SET", key, &value]), "OK");
        }
    }
    let mut reader = sidecar.reader();
    let requests = sidecar.requests();
    let expected: Vec<_> = (0..keys.len()).map(value).collect();
    assert_eq!(read_many(&mut reader, &keys), expected);
    let asked = expected.iter().enumerate().filter(|(n, _)| n % 3 != 0).count() as u64;
    assert_eq!(sidecar.requests() - requests, asked, "what the memory has is not asked for");
    eventually("what was found is told", || {
        read_many(&mut reader, &keys);
        sidecar.counted("synapse_lookups_total", &["outcome=\"hit\""]) > 4096
    });
    // Nothing of this is left, and then everything is another process's.
    assert_eq!(client.ask(&["FLUSHDB"]), "OK");
    assert_eq!(read_many(&mut reader, &keys), vec![None; keys.len()]);
    assert!(read_many(&mut reader, &[]).is_empty());
    sidecar.kill();
    sidecar.start_again();
    assert_eq!(sidecar.client().ask(&["SET", &keys[7], "new"]), "OK");
    let found = read_many(&mut reader, &keys);
    assert!(found.iter().enumerate().all(|(n, value)| value.as_deref() == (n == 7).then_some("new")));
    eventually("the new memory is read", || {
        read_many(&mut reader, &keys);
        reader.is_shared()
    });
}

#[test]
fn a_reader_that_ends_soon_has_told_what_it_found() {
    let sidecar = Sidecar::start(SHARED);
    assert_eq!(sidecar.client().ask(&["SET", "k", "v"]), "OK");
    let hits = || sidecar.counted("synapse_lookups_total", &["outcome=\"hit\""]);
    for round in 1..=20 {
        let mut reader = sidecar.reader();
        for _ in 0..3 {
            assert_eq!(read(&mut reader, "k").as_deref(), Some("v"));
        }
        drop(reader);
        eventually("told", || hits() >= 3 * round);
        assert_eq!(hits(), 3 * round);
    }
    // One that finds nothing has nothing to tell, and one whose sidecar has ended nobody.
    assert_eq!(read(&mut sidecar.reader(), "missing"), None);
    let mut reader = sidecar.reader();
    assert_eq!(read(&mut reader, "k").as_deref(), Some("v"));
    drop(sidecar);
    drop(reader);
}

#[test]
fn what_readers_are_served_outlives_what_nobody_reads() {
    let sidecar = Sidecar::start("memory: {capacity: 1Mi, sharedReads: Enabled}\n");
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    assert_eq!(client.ask(&["SET", "hot", "1"]), "OK");
    for n in 0..20_000 {
        assert_eq!(client.ask(&["SET", &format!("cold:{n}"), &"x".repeat(200)]), "OK");
        for _ in 0..5 {
            assert!(read(&mut reader, "hot").is_some(), "evicted after {n}, though it is all that is read");
        }
    }
    assert!(sidecar.counted("synapse_memory_evictions_total", &[]) > 10_000);
    assert_eq!(sidecar.counted("synapse_requests_total", &["command=\"get\""]), 0, "no read was asked for");
}

#[test]
fn overwrites_removals_and_flushes_are_seen_by_the_next_read() {
    let sidecar = Sidecar::start(SHARED);
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    for round in 0..300 {
        // In place, in another place, removed, gone with all.
        let value = format!("{round}:").repeat(1 + round % 40);
        assert_eq!(client.ask(&["SET", "k", &value]), "OK");
        assert_eq!(read(&mut reader, "k").as_deref(), Some(&*value));
        assert_eq!(client.ask(&["APPEND", "k", "!"]), (value.len() + 1).to_string());
        assert_eq!(read(&mut reader, "k"), Some(value + "!"));
        match round % 3 {
            0 => assert_eq!(client.ask(&["DEL", "k"]), "1"),
            1 => assert_eq!(client.ask(&["FLUSHDB"]), "OK"),
            _ => assert_eq!(client.ask(&["PEXPIRE", "k", "-1"]), "1"),
        }
        assert_eq!(read(&mut reader, "k"), None);
    }
    // Too large for the arena, and small again.
    let large = "x".repeat(200_000);
    for value in [&large, "small", &large] {
        assert_eq!(client.ask(&["SET", "k", value]), "OK");
        assert_eq!(read(&mut reader, "k").as_deref(), Some(value));
    }
    assert!(reader.is_shared());
    let found = sidecar.counted("synapse_requests_total", &["command=\"get\"", "outcome=\"hit\""]);
    assert_eq!(found, 2, "only the large ones were asked for");
}

#[test]
fn a_deadline_ends_a_value_for_readers_as_for_the_sidecar() {
    let sidecar = Sidecar::start(SHARED);
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    for round in 0..10 {
        let ttl = Duration::from_millis(20 + round);
        // The milliseconds in which it was set, and that of the deadline, count in full.
        let rounding = Duration::from_millis(2);
        let before = Instant::now();
        assert_eq!(client.ask(&["SET", "k", "v", "PX", &ttl.as_millis().to_string()]), "OK");
        let after = Instant::now();
        loop {
            let begun = Instant::now();
            if read(&mut reader, "k").is_none() {
                break;
            }
            assert!(begun < after + ttl + rounding, "found {:?} after it was set for {ttl:?}", begun - after);
        }
        assert!(
            before.elapsed() + rounding > ttl,
            "gone {:?} after it was set for {ttl:?}",
            before.elapsed()
        );
        assert_eq!(client.ask(&["GET", "k"]), "(nil)");
    }
    // A deadline taken back and brought forward.
    assert_eq!(client.ask(&["SET", "k", "v", "PX", "1"]), "OK");
    assert_eq!(client.ask(&["SET", "k", "w", "PX", "60000"]), "OK");
    assert_eq!(client.ask(&["PERSIST", "k"]), "1");
    assert_eq!(read(&mut reader, "k").as_deref(), Some("w"));
    assert_eq!(client.ask(&["PEXPIRE", "k", "1"]), "1");
    eventually("gone", || read(&mut reader, "k").is_none());
}

/// Says a version of a key, as long as its number makes it.
fn versioned(key: usize, version: u64) -> String {
    format!("{key}:{version}:") + &"x".repeat((key * 131 + version as usize * 7) % 900)
}

#[test]
fn an_eviction_storm_shows_readers_nothing_old_and_nothing_foreign() {
    const KEYS: usize = 64;
    const ROUNDS: u64 = 150;
    let sidecar = Sidecar::start("memory: {capacity: 1Mi, sharedReads: Enabled}\n");
    let acknowledged: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let sent: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let is_over = AtomicBool::new(false);
    let hits = thread::scope(|scope| {
        let read_on = || {
            let (mut reader, mut value, mut hits) = (sidecar.reader(), Vec::new(), 0_u64);
            for key in (0..KEYS).cycle() {
                if is_over.load(Ordering::Acquire) {
                    return hits;
                }
                let least = acknowledged[key].load(Ordering::Acquire);
                if reader.get(key.to_string().as_bytes(), &mut value).unwrap() {
                    let most = sent[key].load(Ordering::Acquire);
                    let text = std::str::from_utf8(&value).unwrap();
                    let version: u64 = text.split(':').nth(1).unwrap().parse().unwrap();
                    assert_eq!(text, versioned(key, version));
                    assert!((least..=most).contains(&version), "{version} of {least} to {most}");
                    hits += 1;
                }
            }
            unreachable!()
        };
        let readers = [scope.spawn(read_on), scope.spawn(read_on)];
        let storm = scope.spawn(|| {
            let (mut client, mut n) = (sidecar.client(), 0);
            while !is_over.load(Ordering::Acquire) {
                for _ in 0..100 {
                    client.say(&["SET", &format!("other:{}", n % 9000), &"y".repeat(n * 13 % 1800)]);
                    n += 1;
                }
                (0..100).for_each(|_| assert_eq!(client.hear(), "OK"));
            }
        });
        let mut client: Client = sidecar.client();
        for version in 1..=ROUNDS {
            for key in 0..KEYS {
                sent[key].store(version, Ordering::Release);
                assert_eq!(client.ask(&["SET", &key.to_string(), &versioned(key, version)]), "OK");
                acknowledged[key].store(version, Ordering::Release);
            }
        }
        is_over.store(true, Ordering::Release);
        storm.join().unwrap();
        readers.map(|reader| reader.join().unwrap()).iter().sum::<u64>()
    });
    let evictions = sidecar.counted("synapse_memory_evictions_total", &[]);
    println!("{hits} hits during {evictions} evictions");
    assert!(hits > 1000 && evictions > 1000, "{hits} hits, {evictions} evictions");
}

#[tokio::test]
async fn what_a_foreign_client_writes_to_redis_takes_the_copy_away_from_readers() {
    let server = RedisServer::start(&[]);
    let url = server.url();
    let sidecar = Sidecar::start(&format!(
        "{SHARED}redis: {{url: '{url}', keyPrefix: 'p:', coherence: {{mode: Tracking}}}}\n"
    ));
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    redis_server::eventually("connected", async || client.ask(&["SET", "k", "0"]) == "OK").await;
    let asked = || sidecar.counted("synapse_requests_total", &["command=\"get\""]);
    for round in 0..20 {
        let value = format!("foreign {round}");
        server.cli(&["SET", "p:k", &value]);
        redis_server::eventually("the reader sees it", async || read(&mut reader, "k").unwrap() == value)
            .await;
        // Now there is a copy again, and the reader needs nobody.
        redis_server::eventually("read from the memory", async || {
            let before = asked();
            read(&mut reader, "k").unwrap() == value && asked() == before
        })
        .await;
        let value = format!("own {round}");
        assert_eq!(client.ask(&["SET", "k", &value]), "OK");
        assert_eq!(read(&mut reader, "k"), Some(value), "one's own write is seen by the next read");
    }
    server.cli(&["DEL", "p:k"]);
    redis_server::eventually("removed", async || read(&mut reader, "k").is_none()).await;
}

#[test]
fn a_report_that_is_not_answered_yet_costs_no_descriptor() {
    let sidecar = Sidecar::start(SHARED);
    let mut connection = Connection::open(&sidecar.socket(), Duration::from_secs(10)).unwrap();
    for round in 0..200 {
        connection.served(1, &[b"k".to_vec()]).unwrap();
        let memory = connection.map();
        assert!(memory.is_ok(), "in round {round}: {memory:?}");
    }
}
