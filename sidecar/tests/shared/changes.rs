//! A sidecar that does not share its memory, and one that gets another memory while it runs.

use synapse_client::shared::SharedReader;

use crate::freshness::read;
use crate::redis_server::{self, RedisServer};
use crate::sidecar::{SHARED, Sidecar, eventually};

#[test]
fn without_shared_reads_the_socket_is_asked_and_the_reader_says_why() {
    let sidecar = Sidecar::start("memory: {capacity: 8Mi}\n");
    let mut client = sidecar.client();
    let mut reader = SharedReader::connect(sidecar.socket()).unwrap();
    for round in 0..20 {
        assert_eq!(client.ask(&["SET", "k", &round.to_string()]), "OK");
        assert_eq!(read(&mut reader, "k"), Some(round.to_string()));
    }
    assert_eq!(sidecar.counted("synapse_requests_total", &["command=\"get\"", "outcome=\"hit\""]), 20);
    assert!(!reader.is_shared());
    let why = reader.why_not().unwrap();
    assert!(why.contains("memory.sharedReads is not Enabled"), "{why}");
    let nowhere = SharedReader::connect(sidecar.dir.path().join("nowhere")).unwrap_err().to_string();
    assert!(nowhere.contains("socket"), "{nowhere}");
}

#[test]
fn a_changed_capacity_gives_readers_the_new_memory() {
    let sidecar = Sidecar::start(SHARED);
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    for capacity in ["16Mi", "4Mi"] {
        assert_eq!(client.ask(&["SET", "k", "in the old memory"]), "OK");
        assert!(read(&mut reader, "k").is_some());
        sidecar.configure(&SHARED.replace("8Mi", capacity));
        eventually("the sidecar forgets what it held", || client.ask(&["GET", "k"]) == "(nil)");
        assert_eq!(read(&mut reader, "k"), None, "the reader forgets it at the same moment");
        assert_eq!(client.ask(&["SET", "k", capacity]), "OK");
        assert_eq!(read(&mut reader, "k").as_deref(), Some(capacity));
        eventually("read from the new memory", || {
            let before = sidecar.requests();
            read(&mut reader, "k").as_deref() == Some(capacity) && sidecar.requests() == before
        });
    }
    // No longer shared, and shared again.
    sidecar.configure("memory: {capacity: 8Mi}\n");
    eventually("no longer shared", || read(&mut reader, "k").is_none() && reader.why_not().is_some());
    assert_eq!(client.ask(&["SET", "k", "asked for"]), "OK");
    assert_eq!(read(&mut reader, "k").as_deref(), Some("asked for"));
    sidecar.configure(SHARED);
    eventually("shared again", || read(&mut reader, "k").is_none() && reader.is_shared());
    assert_eq!(reader.why_not(), None);
}

#[tokio::test]
async fn a_memory_that_was_replaced_before_a_redis_is_believed_no_more() {
    let server = RedisServer::start(&[]);
    let redis =
        format!("redis: {{url: '{}', keyPrefix: 'p:', coherence: {{mode: Tracking}}}}\n", server.url());
    let sidecar = Sidecar::start(&format!("{SHARED}{redis}"));
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    redis_server::eventually("connected", async || client.ask(&["SET", "k", "0"]) == "OK").await;
    for (round, capacity) in ["16Mi", "4Mi", "16Mi", "4Mi"].into_iter().enumerate() {
        redis_server::eventually("copied", async || {
            let before = sidecar.requests();
            read(&mut reader, "k").is_some() && sidecar.requests() == before
        })
        .await;
        sidecar.configure(&format!("{}{redis}", SHARED.replace("8Mi", capacity)));
        let bytes = capacity.trim_end_matches("Mi").parse::<u64>().unwrap() << 20;
        let is_there = format!("maxmemory:{bytes}");
        redis_server::eventually("taken up", async || client.ask(&["INFO", "memory"]).contains(&is_there))
            .await;
        // Written through the new memory: the old one may never hear of it.
        let value = format!("after {round}");
        assert_eq!(client.ask(&["SET", "k", &value]), "OK");
        assert_eq!(read(&mut reader, "k"), Some(value));
    }
}

#[tokio::test]
async fn a_command_that_still_waits_for_redis_keeps_no_old_memory_in_force() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&format!(
        "{SHARED}redis: {{url: '{}', commandTimeout: 5s, coherence: {{mode: Tracking, maxStale: 10s}}}}\n",
        server.url()
    ));
    let (mut client, mut waiting, mut reader) = (sidecar.client(), sidecar.client(), sidecar.reader());
    redis_server::eventually("connected", async || client.ask(&["SET", "k", "old"]) == "OK").await;
    redis_server::eventually("copied", async || read(&mut reader, "k").is_some() && reader.is_shared()).await;
    server.freeze();
    waiting.say(&["GET", "missing"]);
    sidecar.configure(SHARED);
    // A connection that has not been asked anything since: the new memory answers it.
    eventually("memory alone", || sidecar.log().matches("configuration taken up").count() == 1);
    assert_eq!(client.ask(&["GET", "k"]), "(nil)");
    assert_eq!(read(&mut reader, "k"), None);
    server.thaw();
    waiting.hear();
}

#[tokio::test]
async fn readers_trust_copies_for_as_long_as_the_sidecar_does() {
    let mut server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&format!(
        "{SHARED}redis: {{url: '{}', keyPrefix: 'p:', coherence: {{mode: Tracking, maxStale: 500ms}}}}\n",
        server.url()
    ));
    let (mut client, mut reader) = (sidecar.client(), sidecar.reader());
    redis_server::eventually("connected", async || client.ask(&["SET", "k", "v"]) == "OK").await;
    redis_server::eventually("copied", async || read(&mut reader, "k").is_some() && reader.is_shared()).await;
    let calls = || server.calls("get");
    let before = calls();
    for _ in 0..1000 {
        assert_eq!(read(&mut reader, "k").as_deref(), Some("v"));
    }
    assert_eq!(calls(), before, "Redis is not asked");
    // A Redis that says nothing may have been told anything.
    server.freeze();
    redis_server::eventually("asked for", async || reader.get(b"k", &mut Vec::new()).is_err()).await;
    server.thaw();
    redis_server::eventually("again", async || reader.get(b"k", &mut Vec::new()).is_ok_and(|found| found))
        .await;
    server.restart();
    redis_server::eventually("empty", async || reader.get(b"k", &mut Vec::new()).is_ok_and(|found| !found))
        .await;
    redis_server::eventually("written", async || client.ask(&["SET", "k", "w"]) == "OK").await;
    assert_eq!(read(&mut reader, "k").as_deref(), Some("w"));
}
