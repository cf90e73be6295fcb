//! Memory is all there is: its entries come back, with their deadlines and their heat.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use synapse_client::shared::SharedReader;
use synapse_warm::format::{END_BYTES, Header, Kind, Record, end};

use crate::sidecar::{Client, Sidecar};

const KEYS: usize = 50_000;

/// Requests by a popularity that falls as one through the rank does, the same for the same seed.
struct Requests {
    sums: Vec<f64>,
    state: u64,
}

impl Requests {
    fn new() -> Self {
        let mut sum = 0.0;
        let sums = (1..=KEYS).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { sums: sums.collect(), state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let drawn = (self.state >> 11) as f64 / (1_u64 << 53) as f64 * self.sums[KEYS - 1];
        self.sums.partition_point(|sum| *sum < drawn)
    }

    /// Asks for so many, stores what is missing, and answers the ratio of hits.
    fn run(&mut self, client: &mut Client, count: usize) -> f64 {
        let mut hits = 0;
        for _ in 0..count / 500 {
            let keys: Vec<usize> = (0..500).map(|_| self.next()).collect();
            let gets: Vec<_> = keys.iter().map(|key| ["GET".to_owned(), name(*key)]).collect();
            let answers = client.ask(&gets);
            let missing: Vec<_> = keys
                .iter()
                .zip(&answers)
                .filter(|(_, answer)| *answer == "(nil)")
                .map(|(key, _)| ["SET".to_owned(), name(*key), value(*key)])
                .collect();
            hits += keys.len() - missing.len();
            for (key, answer) in keys.iter().zip(&answers).filter(|(_, answer)| *answer != "(nil)") {
                assert_eq!(*answer, value(*key), "foreign bytes under {}", name(*key));
            }
            assert!(client.ask(&missing).iter().all(|answer| answer == "OK"));
        }
        hits as f64 / count as f64
    }
}

fn name(key: usize) -> String {
    format!("key:{key}")
}

fn value(key: usize) -> String {
    format!("{key}:{}", "v".repeat(80 + key % 60))
}

#[test]
fn the_next_process_starts_with_the_hits_of_the_last() {
    let (mut sidecar, mut requests) = (Sidecar::new(), Requests::new());
    let memory = ["--memory", "4Mi"];
    let mut client = sidecar.start(&memory);
    requests.run(&mut client, 300_000);
    let before = requests.run(&mut client, 50_000);
    // It can be had again, so not all of it fits.
    assert!(before > 0.6 && before < 0.97, "{before}");
    sidecar.end();
    assert_eq!(fs::metadata(&sidecar.file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = sidecar.start(&memory);
    assert!(!sidecar.file.exists());
    let after = requests.run(&mut client, 5_000);
    assert!(after >= before * 0.9, "{after} after {before}: {}", sidecar.log());
    let later = requests.run(&mut client, 50_000);
    assert!(later >= before * 0.98, "{later} after {before}: eviction begins where it was");
    assert_eq!(sidecar.warnings(), [""; 0]);
    sidecar.kill();
    let mut client = sidecar.start(&memory);
    assert_eq!(client.one(&["DBSIZE"]), "0");
}

#[test]
fn in_half_of_the_memory_the_hottest_are_kept() {
    let (mut sidecar, mut requests) = (Sidecar::new(), Requests::new());
    let mut client = sidecar.start(&["--memory", "4Mi"]);
    requests.run(&mut client, 300_000);
    let held: usize = client.one(&["DBSIZE"]).parse().unwrap();
    sidecar.end();
    let mut client = sidecar.start(&["--memory", "2Mi"]);
    let kept: usize = client.one(&["DBSIZE"]).parse().unwrap();
    assert!(kept > held / 3 && kept < held * 2 / 3, "{kept} of {held}");
    let gets: Vec<_> = (0..1000).map(|key| ["GET".to_owned(), name(key)]).collect();
    let hits = client.ask(&gets).iter().filter(|answer| *answer != "(nil)").count();
    assert!(hits > 980, "{hits} of the 1000 hottest");
    // A limit does the same.
    sidecar.end();
    let mut client = sidecar.start(&["--memory", "4Mi", "--warm-limit", "400Ki"]);
    assert_eq!(client.one(&["DBSIZE"]), kept.to_string());
    sidecar.end();
    let size = fs::metadata(&sidecar.file).unwrap().len();
    assert!(size > 390 << 10 && size <= 400 << 10, "{size} bytes");
    let mut client = sidecar.start(&["--memory", "4Mi"]);
    let gets = &gets[..300];
    let hits = client.ask(gets).iter().filter(|answer| *answer != "(nil)").count();
    assert!(hits > 285, "{hits} of the 300 hottest");
}

#[test]
fn deadlines_hold_and_large_values_come_too() {
    let mut sidecar = Sidecar::new();
    let mut client = sidecar.start(&[]);
    let large = "L".repeat(3 << 20);
    let began = Instant::now();
    client.ask(&[
        &["SET", "long", "1", "PX", "600000"][..],
        &["SET", "short", "2", "PX", "4000"],
        &["SET", "over", "3", "PX", "1"],
        &["SET", "large", &large, "PX", "500000"],
        &["SET", "plain", "4"],
        &["SET", "", "5"],
    ]);
    let at = client.ask(&[["PEXPIRETIME", "long"], ["PEXPIRETIME", "large"]]);
    sidecar.end();
    let mut client = sidecar.start(&[]);
    let answers = client.ask(&["plain", "", "over", "large"].map(|key| ["GET", key]));
    assert!(answers == ["4", "5", "(nil)", &large]);
    assert_eq!(client.one(&["PTTL", "plain"]), "-1");
    let left: u64 = client.one(&["PTTL", "long"]).parse().unwrap();
    let elapsed = began.elapsed().as_millis() as u64;
    assert!(left <= 600_000 && left + elapsed >= 600_000, "{left} ms are left after {elapsed}");
    // The calendar is read anew by each process: its moments agree but for the reading.
    let again = client.ask(&[["PEXPIRETIME", "long"], ["PEXPIRETIME", "large"]]);
    for (before, after) in at.iter().zip(&again) {
        let [before, after] = [before, after].map(|at| at.parse::<u64>().unwrap());
        assert!(before.abs_diff(after) < 1000, "{before} became {after}");
    }
    while client.one(&["GET", "short"]) == "2" {
        let lived = began.elapsed();
        assert!(lived < Duration::from_secs(6), "still there after {lived:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(sidecar.log().contains("taken up"), "{}", sidecar.log());
}

#[test]
fn readers_of_the_memory_find_what_came_back() {
    let mut sidecar = Sidecar::new();
    let configuration = sidecar.dir.path().join("sidecar.yaml");
    fs::write(&configuration, "memory: {capacity: 8Mi, sharedReads: Enabled}").unwrap();
    let args = ["--config", configuration.to_str().unwrap()];
    let mut client = sidecar.start(&args);
    client.ask(&[["SET", "small", "1"], ["SET", "large", &"L".repeat(100_000)]]);
    sidecar.end();
    let mut client = sidecar.start(&args);
    assert_eq!(client.one(&["STRLEN", "large"]), "100000");
    let mut reader = SharedReader::connect(sidecar.socket()).unwrap();
    let mut value = Vec::new();
    assert!(reader.is_shared() && reader.get(b"small", &mut value).unwrap() && value == b"1");
}

#[test]
fn after_another_boot_what_has_a_deadline_is_forgotten() {
    let mut sidecar = Sidecar::new();
    let header = Header { kind: Kind::Entries, token: 7, boot: 1, begun_ms: 1 };
    let (bytes, mut checksum) = header.pack();
    let mut file = bytes.to_vec();
    let far = Some(u64::MAX / 2);
    for (key, deadline) in [(&b"ends"[..], far), (b"stays", None), (b"ends too", Some(u64::MAX - 1))] {
        let record = Record { key, value: Some(b"v"), value_len: 1, deadline, heat: 2 };
        checksum = record.pack(&mut file, checksum);
    }
    file.extend_from_slice(&end((file.len() + END_BYTES) as u64, 3, checksum));
    fs::write(&sidecar.file, &file).unwrap();
    fs::write(sidecar.dir.path().join("warm.owner"), format!("synapse-sidecar {:032x}\n", 7)).unwrap();
    let mut client = sidecar.start(&[]);
    let answers = client.ask(&["ends", "stays", "ends too"].map(|key| ["GET", key]));
    assert_eq!(answers, ["(nil)", "v", "(nil)"]);
    assert_eq!(sidecar.warnings(), [""; 0]);
}

#[test]
fn a_client_that_does_not_go_takes_no_more_than_its_part_of_the_grace_period() {
    let mut sidecar = Sidecar::new();
    let args = ["--grace", "2s"];
    let mut client = sidecar.start(&args);
    client.one(&["SET", "k", "v"]);
    let stuck = std::os::unix::net::UnixStream::connect(sidecar.socket()).unwrap();
    // Half a request: it is waited for.
    std::io::Write::write_all(&mut &stuck, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n").unwrap();
    let took = sidecar.end();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let mut client = sidecar.start(&args);
    assert_eq!(client.one(&["GET", "k"]), "v");
}
