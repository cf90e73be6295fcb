//! Whatever a server answers wrongly, the run fails, says what was wrong, and reports no figures.

use crate::liar::{Lie, start};
use crate::program::load;

const LOAD: [&str; 6] = ["--connections", "1", "--keys", "100", "--timeout", "1"];

#[test]
fn a_server_that_does_not_lie_is_believed() {
    let (_dir, socket) = start(Lie::None);
    let done = load(&socket, &LOAD);
    assert!(done.succeeded, "{}", done.complained);
    assert_eq!(done.report.unwrap()["hit_ratio"], 1.0);
}

#[test]
fn every_lie_is_found_and_told() {
    for (lie, told) in [
        (Lie::OtherKey, "the value of another key"),
        (Lie::OneBit, "byte 63 of 64 is wrong"),
        (Lie::CutShort, "63 bytes where 64 belong"),
        (Lie::Longer, "65 bytes where 64 belong"),
        (Lie::Miss, "no value, though it was stored"),
        (Lie::Error, "the server says: OOM too much"),
        (Lie::Stored, "'stored' to a GET"),
        (Lie::Twice, "an answer that nobody asked for"),
        (Lie::Nonsense, "is no answer in this protocol: \"HTTP/1.1"),
        (Lie::Silence, "1 answers did not come within 1s"),
        (Lie::Close, "the server closed a connection"),
    ] {
        // One in flight shows a lie alone; more show it among right answers.
        for pipeline in ["1", "16"] {
            let (_dir, socket) = start(lie);
            let done = load(&socket, &[&LOAD[..], &["--pipeline", pipeline]].concat());
            assert!(!done.succeeded, "{lie:?} was believed");
            let told =
                if pipeline == "16" && lie == Lie::Silence { "answers did not come within 1s" } else { told };
            // An answer too many may also be taken for that to the next request.
            let told = if lie == Lie::Twice {
                &["an answer that nobody asked for", "wrong answer"][..]
            } else {
                &[told]
            };
            assert!(told.iter().any(|told| done.complained.contains(told)), "{lie:?}: {}", done.complained);
            assert!(done.printed.is_empty() && done.report.is_none(), "{lie:?} has figures");
        }
    }
}

/// Coordinated omission: a closed loop hardly notices half a second without answers, because it does not ask meanwhile.
#[test]
fn an_open_loop_counts_the_wait_of_every_request_that_was_due() {
    let p90_us = |more: &[&str]| {
        let (_dir, socket) = start(Lie::Pause);
        let args = ["--connections", "1", "--keys", "100", "--pipeline", "64", "--seconds", "1"];
        let done = load(&socket, &[&args[..], more].concat());
        assert!(done.succeeded, "{}", done.complained);
        done.report.unwrap()["latency_us"]["get"]["p90"].as_f64().unwrap()
    };
    let (open, closed) = (p90_us(&["--rate", "2000"]), p90_us(&[]));
    assert!(open > 200_000.0, "half of the requests were due while the server stood still: p90 {open} us");
    assert!(closed < 200_000.0, "p90 {closed} us");
}
