//! The file, the flags and the environment; what changes while the process runs; and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::redis_server::{RedisServer, eventually};
use crate::sidecar::{PROGRAM, Sidecar, http};

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
    assert!(verbose.starts_with("HTTP/1.1 200") && !verbose.contains("redis: ok"), "{verbose}");
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
        // What says nothing is no mistake.
        ("SYNAPSE_MEMORY", ""),
        ("SYNAPSE_LOG_LEVEL", ""),
        ("SYNAPSE_HTTP", ""),
    ];
    let sidecar = Sidecar::start(&[], &variables);
    eventually("written", async || sidecar.cli(&["SET", "k", "v"]) == "OK").await;
    assert_eq!(server.cli(&["GET", "old:k"]), "v");
}

#[test]
fn what_the_command_line_says_wins_over_the_environment() {
    let variables = [("SYNAPSE_MEMORY", "9Mi"), ("SYNAPSE_LOG_LEVEL", "error"), ("SYNAPSE_GRACE", "1s")];
    let mut sidecar = Sidecar::start(&["--memory", "12Mi"], &variables);
    assert!(sidecar.cli(&["INFO", "memory"]).contains("maxmemory:12582912"));
    assert!(sidecar.signal("-TERM").0.success());
    assert_eq!(sidecar.log(), "", "nothing but errors is logged");
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
    fs::remove_file(dir.join("sidecar.yaml")).unwrap();
    eventually("told", async || sidecar.log().contains("is gone")).await;
    fs::write(&secret, two.url() + "\n").unwrap();
    eventually("looked at again", async || sidecar.log().matches("taken up").count() == 4).await;
    assert_eq!(sidecar.cli(&["SET", "k", "still"]), "OK");
    assert_eq!(two.cli(&["GET", "p:k"]), "still", "what was configured stays in force without its file");
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

#[tokio::test]
async fn the_end_does_not_wait_for_a_redis_that_says_nothing() {
    let server = RedisServer::start(&[]);
    let variables = [("SYNAPSE_POD", "p"), ("SYNAPSE_NAMESPACE", "n")];
    let mut sidecar = Sidecar::launch(&["--config", "{dir}/c.yaml"], &variables);
    let text = format!("redis: {{url: '{}', commandTimeout: 60s}}", server.url());
    fs::write(sidecar.dir.path().join("c.yaml"), text).unwrap();
    eventually("shown", async || server.cli(&["EXISTS", "synapse:registry:n/p"]) == "1").await;
    server.freeze();
    let (status, took) = sidecar.signal("-TERM");
    server.thaw();
    assert!(status.success() && took < Duration::from_secs(4), "{status} {took:?}");
}

#[tokio::test]
async fn a_change_of_the_configuration_costs_no_client_an_answer() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--config", "{dir}/c.yaml", "--redis-url", &server.url()], &[]);
    // From the first answer on there are answers: the socket is there when the connections are.
    assert_eq!(sidecar.cli(&["SET", "k", "v"]), "OK");
    let file = sidecar.dir.path().join("c.yaml");
    let socket = sidecar.socket();
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut client = UnixStream::connect(socket).unwrap();
            let mut answers = 0;
            while !stop.load(Ordering::SeqCst) {
                client.write_all(b"SET k v\r\nEXISTS k\r\n").unwrap();
                let mut answer = [0; 9];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"+OK\r\n:1\r\n", "{}", answer.escape_ascii());
                answers += 1;
            }
            answers
        })
    };
    for turn in 1..=3 {
        fs::write(&file, format!("memory: {{capacity: {turn}Mi}}")).unwrap();
        let maximum = format!("maxmemory:{}", turn << 20);
        eventually("taken up", async || sidecar.cli(&["INFO", "memory"]).contains(&maximum)).await;
    }
    stop.store(true, Ordering::SeqCst);
    assert!(asking.join().unwrap() > 100);
}

/// Every field of the file that the other tests do not change, as a client notices it.
#[tokio::test]
async fn each_field_of_the_file_is_honoured() {
    let server = RedisServer::start(&[]);
    let sidecar = Sidecar::start(&["--config", "{dir}/c.yaml"], &[]);
    let file = sidecar.dir.path().join("c.yaml");
    let say = async |text: &str| {
        let taken = sidecar.log().matches("taken up").count();
        fs::write(&file, text).unwrap();
        eventually("taken up", async || sidecar.log().matches("taken up").count() > taken).await;
    };
    say("memory: {capacity: 3Mi, timeToLive: 60s}").await;
    assert!(sidecar.cli(&["INFO", "memory"]).contains("maxmemory:3145728"));
    sidecar.cli(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(sidecar.cli(&["EXPIRE", "b", "5"]), "1");
    assert!((55..=60).contains(&sidecar.cli(&["TTL", "a"]).parse().unwrap()), "memory.timeToLive");
    assert!((1..=5).contains(&sidecar.cli(&["TTL", "b"]).parse().unwrap()));
    assert_eq!(sidecar.cli(&["PERSIST", "b"]), "1");
    assert!((55..=60).contains(&sidecar.cli(&["TTL", "b"]).parse().unwrap()));

    let redis = |more: &str| format!("redis: {{url: '{}', keyPrefix: 'f:'{more}}}", server.url());
    say(&redis(", timeToLive: 40s")).await;
    assert_eq!(sidecar.cli(&["SET", "a", "1"]), "OK");
    assert!((35..=40).contains(&server.cli(&["TTL", "f:a"]).parse().unwrap()), "redis.timeToLive");
    assert!(sidecar.cli(&["FLUSHDB"]).contains("refused"));
    say(&redis(", flush: Allowed")).await;
    assert_eq!((sidecar.cli(&["FLUSHDB"]), server.cli(&["EXISTS", "f:a"])), ("OK".into(), "0".into()));

    // Without tracking, a copy is as old as memory.timeToLive allows.
    say(&(redis(", coherence: {mode: Off}") + "\nmemory: {timeToLive: 1s}")).await;
    assert!(!server.cli(&["CLIENT", "LIST"]).lines().any(|client| client.contains("flags=t")));
    server.cli(&["SET", "f:a", "old"]);
    assert_eq!(sidecar.cli(&["GET", "a"]), "old");
    server.cli(&["SET", "f:a", "new"]);
    assert_eq!(sidecar.cli(&["GET", "a"]), "old", "nothing was announced");
    eventually("the copy has ended", async || sidecar.cli(&["GET", "a"]) == "new").await;

    say(&redis(", coherence: {maxStale: 0s}, commandTimeout: 80ms")).await;
    eventually("a copy", async || {
        let gets = server.calls("get");
        sidecar.cli(&["GET", "a"]) == "new" && server.calls("get") == gets
    })
    .await;
    server.freeze();
    let begun = Instant::now();
    assert!(sidecar.cli(&["INCR", "n"]).contains("80ms"), "redis.commandTimeout");
    assert!(begun.elapsed() < Duration::from_millis(450));
    eventually("maxStale 0 serves nothing once the loss is known", async || {
        sidecar.cli(&["GET", "a"]).contains("REDIS")
    })
    .await;
    // A frozen server accepts, and says nothing.
    say(&redis(", connectTimeout: 30ms")).await;
    eventually("redis.connectTimeout", async || sidecar.log().contains("no connection within 30ms")).await;
    server.thaw();
    fs::write(&file, "log: {level: Error}\nmemory: {capacity: 5Mi}").unwrap();
    eventually("taken up", async || sidecar.cli(&["INFO", "memory"]).contains("maxmemory:5242880")).await;
    let lines = sidecar.log().lines().count();
    fs::write(&file, "log: {level: Error}\nmemory: {capacity: 4Mi}").unwrap();
    eventually("taken up", async || sidecar.cli(&["INFO", "memory"]).contains("maxmemory:4194304")).await;
    assert_eq!(sidecar.log().lines().count(), lines, "log.level");
}

#[test]
fn socket_admin_door_and_format_are_taken_from_the_file_at_the_start() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    // `Sidecar` looks at its own socket: the one of the file is asked beside it.
    let socket = dir.path().join("of-the-file");
    let text = format!(
        "socket: {}\nhttp: {{address: '127.0.0.1:{port}'}}\nlog: {{format: Text}}\n",
        socket.display()
    );
    fs::write(&file, text).unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut child = Command::new(PROGRAM).arg("--config").arg(&file).stderr(log).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !http(port, "/livez").starts_with("HTTP/1.1 200") || UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "never up");
        thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("serving") && !log.starts_with('{'), "{log}");
}
