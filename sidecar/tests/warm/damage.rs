//! What is not what the last process has left: it is refused, said once, and nothing of it is served.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::sidecar::{Client, Sidecar};

fn fill(client: &mut Client, count: usize, size: usize) {
    let value = "v".repeat(size);
    let sets: Vec<_> = (0..count).map(|n| ["SET".to_owned(), n.to_string(), value.clone()]).collect();
    assert!(client.ask(&sets).iter().all(|answer| answer == "OK"));
}

#[test]
fn a_file_that_was_changed_is_refused_with_one_warning() {
    let mut sidecar = Sidecar::new();
    let mut client = sidecar.start(&[]);
    fill(&mut client, 1000, 50);
    sidecar.end();
    let whole = fs::read(&sidecar.file).unwrap();
    let middle = whole.len() / 2;
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let owner = sidecar.dir.path().join("warm.owner");
    let claim = fs::read(&owner).unwrap();
    let cases = [
        ("record", flipped(middle)),
        ("version", flipped(8)),
        ("header", flipped(50)),
        ("cut off", whole[..middle].to_vec()),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("cut off", Vec::new()),
        ("not the last", whole.clone()),
    ];
    for (word, bytes) in cases {
        fs::write(&sidecar.file, bytes).unwrap();
        if word != "not the last" {
            // As if it had been damaged on the disk since.
            fs::write(&owner, &claim).unwrap();
        }
        let mut client = sidecar.start(&[]);
        assert_eq!(client.one(&["DBSIZE"]), "0", "{word}");
        let warnings = sidecar.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(word), "{word}: {warnings:?}");
        assert!(!sidecar.file.exists(), "{word}");
        sidecar.kill();
    }
    // Undamaged, it would have been believed.
    fs::write(&sidecar.file, &whole).unwrap();
    fs::write(&owner, &claim).unwrap();
    assert_eq!(sidecar.start(&[]).one(&["DBSIZE"]), "1000");
}

#[test]
fn a_file_of_somebody_else_stays_as_it_is() {
    let mut sidecar = Sidecar::new();
    fs::write(&sidecar.file, "a letter to a friend").unwrap();
    let mut client = sidecar.start(&[]);
    assert_eq!(client.one(&["SET", "k", "v"]), "OK");
    sidecar.end();
    let warnings = sidecar.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("name another path"), "{warnings:?}");
    assert_eq!(fs::read(&sidecar.file).unwrap(), b"a letter to a friend");
}

#[test]
fn where_nothing_can_be_written_the_cache_works_all_the_same() {
    for place in ["/proc/warm", "/nowhere/at/all", "/dev/null", "/"] {
        let mut sidecar = Sidecar::new();
        sidecar.file = PathBuf::from(place);
        let mut client = sidecar.start(&[]);
        assert_eq!(client.one(&["SET", "k", "v"]), "OK");
        sidecar.end();
        let warnings = sidecar.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("no warm file"), "{place}: {warnings:?}");
    }
}

#[test]
fn a_disk_that_is_full_keeps_nothing_and_ends_nothing() {
    let mut sidecar = Sidecar::new();
    let mut client = sidecar.start_on_a_full_disk(&[]);
    fill(&mut client, 1000, 1000);
    sidecar.end();
    let warnings = sidecar.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("nothing is left"), "{warnings:?}");
    assert!(!sidecar.file.exists() && !sidecar.dir.path().join("warm.part").exists());
    assert_eq!(sidecar.start(&[]).one(&["DBSIZE"]), "0");
}

#[test]
fn whoever_was_overtaken_leaves_nothing_that_is_believed() {
    let mut first = Sidecar::new();
    let mut second = Sidecar::new();
    second.file = first.file.clone();
    let mut old = first.start(&[]);
    fill(&mut old, 10, 5);
    // It starts before the first has ended, and serves writes from then on.
    let mut new = second.start(&[]);
    fill(&mut new, 3, 7);
    first.end();
    assert!(first.warnings()[0].contains("another sidecar"), "{:?}", first.warnings());
    second.kill();
    assert_eq!(second.start(&[]).one(&["DBSIZE"]), "0");
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_all_or_nothing() {
    const ENTRIES: usize = 60_000;
    let mut sidecar = Sidecar::new();
    let mut outcomes = [0, 0];
    for turn in 0..14_u64 {
        let mut client = sidecar.start(&[]);
        fill(&mut client, ENTRIES, 300);
        sidecar.terminate();
        std::thread::sleep(Duration::from_millis(turn * 25));
        sidecar.kill();
        let mut client = sidecar.start(&[]);
        let held: usize = client.one(&["DBSIZE"]).parse().unwrap();
        assert!(held == 0 || held == ENTRIES, "{held} of {ENTRIES} after {} ms", turn * 25);
        outcomes[usize::from(held > 0)] += 1;
        assert!(!sidecar.file.exists() && !sidecar.dir.path().join("warm.part").exists());
        assert_eq!(sidecar.warnings(), [""; 0]);
        sidecar.kill();
    }
    assert!(outcomes[0] > 0, "none was killed in time: {outcomes:?}");
}
