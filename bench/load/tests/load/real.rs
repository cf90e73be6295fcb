//! Real servers answer rightly, and the report says what happened.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::program::{Done, LOAD, Server, load};

fn redis(more: &[&str]) -> Server {
    let args =
        ["--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly", "no", "--dir", "{dir}"];
    Server::start("redis-server", &[&args, more].concat())
}

fn sidecar() -> Server {
    Server::start(sidecar_program().to_str().unwrap(), &["--socket", "{socket}", "--memory", "256Mi"])
}

/// The sidecar of the same build; it is built when it is not there.
fn sidecar_program() -> PathBuf {
    let program = Path::new(LOAD).with_file_name("synapse-sidecar");
    if !program.exists() {
        let target = program.ancestors().nth(2).unwrap();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--package", "synapse-sidecar", "--target-dir"]).arg(target);
        assert!(command.status().unwrap().success());
    }
    program
}

/// The report, once it is seen that everything asked was answered.
fn answered(done: Done) -> Value {
    assert!(done.succeeded, "{}", done.complained);
    let report = done.report.unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("operations"), count("hits") + count("misses") + count("sets"));
    assert!(count("operations") > 0, "{report}");
    assert!(done.printed.contains("all of them right"), "{}", done.printed);
    report
}

#[test]
fn redis_and_the_sidecar_answer_every_mix_rightly() {
    let (redis, sidecar) = (redis(&[]), sidecar());
    let loads: [&[&str]; 7] = [
        &["--connections", "1", "--keys", "1000"],
        &["--pipeline", "16", "--keys", "1000", "--gets", "0.5"],
        &["--pipeline", "100", "--keys", "1000", "--gets", "0", "--threads", "2", "--write", "100"],
        &["--pipeline", "3", "--keys", "500", "--size", "10..1Mi", "--gets", "0.8", "--connections", "4"],
        &["--rate", "2000", "--keys", "1000", "--gets", "0.9", "--popularity", "zipf:0.99"],
        &["--rate", "2000", "--arrivals", "even", "--keys", "1000", "--spin", "--generation", "7"],
        &[
            "--no-fill",
            "--misses",
            "store",
            "--scan",
            "0.2",
            "--drift",
            "10",
            "--keys",
            "900",
            "--pipeline",
            "8",
        ],
    ];
    for args in loads {
        for (server, wire) in [(&redis, "resp"), (&sidecar, "resp"), (&sidecar, "frames")] {
            let pid = server.pid();
            let more = ["--wire", wire, "--server-pid", &pid];
            let report = answered(load(&server.socket(), &[args, &more].concat()));
            assert_eq!(report["load"]["wire"], wire);
            assert!(report["server"]["resident_bytes"].as_u64().unwrap() > 1 << 20);
            if args.contains(&"0.5") {
                let share = report["sets"].as_f64().unwrap() / report["operations"].as_f64().unwrap();
                assert!((0.4..0.6).contains(&share), "{share}");
            }
            if !args.contains(&"--no-fill") {
                assert_eq!(report["misses"], 0);
            }
            Command::new("redis-cli").arg("-s").arg(server.socket()).arg("flushdb").output().unwrap();
        }
    }
}

#[test]
fn a_count_of_requests_is_kept() {
    let redis = redis(&[]);
    let args = ["--requests", "10007", "--pipeline", "64", "--keys", "100", "--seconds", "60"];
    let report = answered(load(&redis.socket(), &args));
    assert_eq!(report["operations"], 10_007);
}

#[test]
fn an_open_loop_sends_what_it_was_told_to() {
    let redis = redis(&[]);
    let report = answered(load(&redis.socket(), &["--rate", "5000", "--keys", "100", "--seconds", "1"]));
    let operations = report["operations"].as_u64().unwrap();
    assert!((4500..5500).contains(&operations), "{operations}");
}

#[test]
fn misses_are_wrong_unless_they_are_said_to_be_right() {
    let redis = redis(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]);
    let args = ["--keys", "50000", "--pipeline", "16"];
    let done = load(&redis.socket(), &args);
    assert!(!done.succeeded && done.complained.contains("no value"), "{}", done.complained);
    for misses in ["count", "store"] {
        let report = answered(load(&redis.socket(), &[&args[..], &["--misses", misses]].concat()));
        assert!(report["misses"].as_u64().unwrap() > 0);
        assert_eq!(report["sets"].as_u64().unwrap() > 0, misses == "store");
        assert!(report["hit_ratio"].as_f64().unwrap() < 1.0);
    }
}

#[test]
fn the_bare_server_answers_what_it_is_asked() {
    let bare = Server::start(LOAD, &["bare", "--unix", "{socket}"]);
    for args in
        [&["--gets", "0.5", "--pipeline", "16"][..], &["--size", "1Mi", "--keys", "10", "--connections", "2"]]
    {
        answered(load(&bare.socket(), &[args, &["--wire", "bare"]].concat()));
    }
}

#[test]
fn tcp_is_spoken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let _redis = redis(&["--port", &port]);
    let output = Command::new(LOAD)
        .args(["--tcp", &format!("127.0.0.1:{port}"), "--warmup", "0", "--seconds", "0.2", "--keys", "100"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nobody_listening_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let done = load(&dir.path().join("nobody"), &[]);
    assert!(!done.succeeded && done.complained.contains("connecting to"), "{}", done.complained);
}
