//! The file, the flags and the environment; what changes while the process runs; and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use crate::redis_server::{RedisServer, eventually};
use crate::sidecar::{PROGRAM, Sidecar};

#[test]
fn without_anything_it_is_a_memory_cache() {
    let mut sidecar = Sidecar::start(&[], &[]);
    assert_eq!(sidecar.cli(&["SET", "k", "v"]), "OK");
    assert_eq!(sidecar.cli(&["GET", "k"]), "v");
    assert!(sidecar.probe("live"));
    let (status, took) = sidecar.signal("-TERM");
    assert!(status.success() && took < Duration::from_secs(2), "{status} {took:?}");
    assert!(!sidecar.probe("ready") && !sidecar.probe("live"));
    assert!(sidecar.log().lines().all(|line| line.starts_with('{')), "{}", sidecar.log());
}

#[test]
fn sigint_ends_it_too() {
    let mut sidecar = Sidecar::start(&["--log-format", "text", "--memory", "8Mi"], &[]);
    assert!(sidecar.signal("-INT").0.success());
}

/// The answer to a GET over TCP.
fn http(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test]
async fn the_admin_door_says_how_it_is_and_readiness_is_the_socket_alone() {
    let mut server = RedisServer::start(&[]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let sidecar = Sidecar::start(&["--http", &address, "--redis-url", &server.url()], &[]);
    eventually("a hit", async || {
        sidecar.cli(&["SET", "k", "v"]) == "OK" && sidecar.cli(&["GET", "k"]) == "v"
    })
    .await;
    assert!(http(port, "/livez").starts_with("HTTP/1.1 200"));
    assert!(http(port, "/metrics").contains("synapse_"));
    server.kill();
    eventually("told", async || sidecar.cli(&["SET", "k", "v"]).contains("REDISDOWN")).await;
    assert!(http(port, "/readyz").starts_with("HTTP/1.1 200"));
    let verbose = http(port, "/readyz?verbose");
    assert!(verbose.starts_with("HTTP/1.1 200") && verbose.to_lowercase().contains("redis"), "{verbose}");
    let second = Sidecar::start(&["--http", &address], &[]);
    assert!(second.log().contains("no admin door"), "{}", second.log());
}

#[test]
fn a_flag_that_cannot_be_meant_is_refused() {
    for (args, said) in [
        (vec!["--memory", "many"], "memory.capacity"),
        (vec!["--redis-url", "http://u:hunter2@h"], "redis.url"),
        (vec!["--http", "localhost", "--memory", "1"], "http.address"),
    ] {
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said) && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn the_older_names_of_variables_work() {
    let server = RedisServer::start(&[]);
    let variables = [
        ("SYNAPSE_SOCKET_PATH", "{dir}/s"),
        ("SYNAPSE_REDIS_URL", &server.url()),
        ("SYNAPSE_REDIS_PREFIX", "old:"),
    ];
    let sidecar = Sidecar::start(&[], &variables);
    eventually("written", async || sidecar.cli(&["SET", "k", "v"]) == "OK").await;
    assert_eq!(server.cli(&["GET", "old:k"]), "v");
}

/// As the kubelet mounts a ConfigMap: files behind a directory that is exchanged by a rename.
fn mount(dir: &std::path::Path, generation: u32, text: &str) {
    let data = dir.join(format!("..{generation}"));
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("sidecar.yaml"), text).unwrap();
    let (next, current) = (dir.join("..data_tmp"), dir.join("..data"));
    symlink(&data, &next).unwrap();
    fs::rename(&next, &current).unwrap();
    let file = dir.join("sidecar.yaml");
    if fs::symlink_metadata(&file).is_err() {
        symlink("..data/sidecar.yaml", &file).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_appears_is_taken_up_and_followed() {
    let (one, two) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let variables = [("SYNAPSE_POD", "pod-1"), ("SYNAPSE_NAMESPACE", "shop"), ("SYNAPSE_PUBLISHES", "a,b")];
    let sidecar = Sidecar::start(&["--config", "{dir}/sidecar.yaml"], &variables);
    assert_eq!(sidecar.cli(&["SET", "k", "memory"]), "OK");
    let dir = sidecar.dir.path().to_owned();
    let secret = dir.join("url");
    fs::write(&secret, one.url()).unwrap();
    let text = format!(
        "redis: {{urlFile: {}, keyPrefix: 'p:'}}\nservice: {{cache: c, revision: r1}}\n",
        secret.display()
    );
    mount(&dir, 1, &text);
    eventually("taken up", async || {
        sidecar.cli(&["SET", "k", "one"]) == "OK" && one.cli(&["GET", "p:k"]) == "one"
    })
    .await;
    eventually("registered", async || {
        one.cli(&["GET", "synapse:registry:shop/pod-1"]).contains("\"revision\":\"r1\"")
    })
    .await;
    let instance = one.cli(&["GET", "synapse:registry:shop/pod-1"]);
    assert!(instance.contains("\"publishes\":[\"a\",\"b\"]") && instance.contains("\"cache\":\"c\""));
    assert!((1..=30).contains(&one.cli(&["TTL", "synapse:registry:shop/pod-1"]).parse::<i64>().unwrap()));

    mount(&dir, 2, "memory: {capacity: lots}\nspeed: 1\n");
    eventually("complained about", async || sidecar.log().contains("speed")).await;
    assert_eq!(sidecar.cli(&["GET", "k"]), "one");

    mount(&dir, 3, &text.replace("r1", "r2"));
    eventually("the revision is shown", async || {
        one.cli(&["GET", "synapse:registry:shop/pod-1"]).contains("\"revision\":\"r2\"")
    })
    .await;
    fs::write(&secret, two.url()).unwrap();
    eventually("the rotated secret is taken up", async || {
        sidecar.cli(&["SET", "k", "two"]) == "OK" && two.cli(&["GET", "p:k"]) == "two"
    })
    .await;
    eventually("nothing is left connected", async || one.cli(&["CLIENT", "LIST"]).lines().count() == 1).await;
}

#[tokio::test]
async fn the_instance_key_goes_with_the_sidecar() {
    let server = RedisServer::start(&[]);
    let variables = [("SYNAPSE_POD", "p"), ("SYNAPSE_NAMESPACE", "n"), ("SYNAPSE_REDIS_URL", &server.url())];
    let mut sidecar = Sidecar::start(&[], &variables);
    let shown = || server.cli(&["EXISTS", "synapse:registry:n/p"]);
    eventually("shown", async || shown() == "1").await;
    assert!(sidecar.signal("-TERM").0.success());
    assert_eq!(shown(), "0");
}
