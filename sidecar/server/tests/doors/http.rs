//! `/cache/{key}`, and what the protocols show each other of what they stored.

use crate::world::World;

/// The status, the headers and the body of the only response to a request.
fn http(world: &World, method: &str, target: &str, headers: &str, body: &[u8]) -> (u16, String, String) {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let answer = world.ask(&[head.as_bytes(), body].concat());
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

const JSON: &str = "Content-Type: application/json\r\n";
const RAW: &str = "Accept: application/octet-stream\r\n";

#[test]
fn json_goes_in_and_comes_out() {
    let world = World::start();
    let (status, _, body) =
        http(&world, "PUT", "/cache/user%3A1", JSON, br#"{"value": {"a": [1, null]}, "ttl": 60}"#);
    assert_eq!((status, body.as_str()), (200, r#"{"key":"user:1","ttl":60}"#));
    let (status, head, body) = http(&world, "GET", "/cache/user%3A1", "", b"");
    assert_eq!((status, body.as_str()), (200, r#"{"key":"user:1","value":{"a": [1, null]},"ttl":60}"#));
    assert!(head.contains("Content-Type: application/json") && head.contains("ETag: W/\""), "{head}");
    assert_eq!(world.ask(b"GET user:1\r\n"), "$16\r\n{\"a\": [1, null]}\r\n");
}

#[test]
fn each_protocol_shows_what_another_stored() {
    let world = World::start();
    for (stored, shown) in [
        (&b"text"[..], r#""value":"text""#),
        (b"12", r#""value":12"#),
        (b"\"quoted\"", r#""value":"\"quoted\"""#),
        (b"[1,", r#""value":"[1,""#),
        (b"", r#""value":"""#),
        (b"\xff\x00", r#""base64":"/wA=""#),
    ] {
        let length = stored.len();
        let set =
            [format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${length}\r\n").as_bytes(), stored, b"\r\n"].concat();
        assert_eq!(world.ask(&set), "+OK\r\n");
        let (_, _, body) = http(&world, "GET", "/cache/a", "", b"");
        assert_eq!(body, format!("{{\"key\":\"a\",{shown}}}"));
        let get = b"\x00\x00\x00\x06\x01\x01\x00\x00\x00a";
        let frame = world.ask(get);
        assert!(frame.ends_with(&*String::from_utf8_lossy(stored)), "{frame:?}");
    }
    let (_, _, _) = http(&world, "PUT", "/cache/s", JSON, br#"{"value": "a \"b\""}"#);
    assert_eq!(world.ask(b"GET s\r\n"), "$5\r\na \"b\"\r\n");
}

#[test]
fn raw_bytes_go_by_content_type_and_accept() {
    let world = World::start();
    assert_eq!(http(&world, "PUT", "/cache/a?ttl=100", "Content-Type: image/png\r\n", b"{raw}").0, 200);
    let (status, head, body) = http(&world, "GET", "/cache/a", RAW, b"");
    assert_eq!((status, body.as_str()), (200, "{raw}"));
    assert!(
        head.contains("Content-Type: application/octet-stream") && head.contains("Vary: Accept"),
        "{head}"
    );
    assert_eq!(world.ask(b"TTL a\r\n"), ":100\r\n");
    let (_, head, body) = http(&world, "HEAD", "/cache/a", RAW, b"");
    assert!(head.contains("Content-Length: 5") && body.is_empty(), "{head}");
}

#[test]
fn an_unchanged_value_is_not_sent_again() {
    let world = World::start();
    http(&world, "PUT", "/cache/a", "", b"one");
    let (_, head, _) = http(&world, "GET", "/cache/a", RAW, b"");
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("a tag").to_owned();
    let ask = |tag: &str| http(&world, "GET", "/cache/a", &format!("{RAW}If-None-Match: {tag}\r\n"), b"");
    assert_eq!((ask(&tag).0, ask(&tag).2.as_str()), (304, ""));
    assert_eq!(ask(&format!("\"x\", W/{tag}")).0, 304);
    assert_eq!(ask("*").0, 304);
    http(&world, "PUT", "/cache/a", "", b"two");
    assert_eq!((ask(&tag).0, ask(&tag).2.as_str()), (200, "two"));
}

#[test]
fn ttl_on_a_read_touches_that_entry_alone() {
    let world = World::start();
    world.ask(b"MSET a 1 b 2\r\n");
    assert_eq!(http(&world, "GET", "/cache/a?ttl=50", "", b"").2, r#"{"key":"a","value":1,"ttl":50}"#);
    assert_eq!(world.ask(b"TTL a\r\nTTL b\r\n"), ":50\r\n:-1\r\n");
    http(&world, "PUT", "/cache/c", "", b"3");
    assert_eq!(world.ask(b"TTL c\r\n"), ":-1\r\n");
}

#[test]
fn what_does_not_work_has_its_status() {
    let world = World::with(crate::world::LIMITS, 1 << 20);
    assert_eq!(http(&world, "GET", "/cache/none", "", b"").0, 404);
    assert_eq!(http(&world, "DELETE", "/cache/none", "", b"").0, 404);
    assert_eq!(http(&world, "GET", "/other", "", b"").0, 404);
    assert_eq!(http(&world, "GET", "/cache/", "", b"").0, 404);
    assert_eq!(http(&world, "GET", "/cache/%zz", "", b"").0, 400);
    assert_eq!(http(&world, "PUT", "/cache/a", JSON, b"{").0, 400);
    assert_eq!(http(&world, "PUT", "/cache/a", JSON, b"{\"ttl\": 1}").0, 400);
    for ttl in ["0", "-1", "x", "1&ttl=2", "9223372036854775807"] {
        assert_eq!(http(&world, "PUT", &format!("/cache/a?ttl={ttl}"), "", b"1").0, 400, "{ttl}");
    }
    let (status, head, _) = http(&world, "POST", "/cache/a", "", b"");
    assert!(status == 405 && head.contains("Allow: GET, HEAD, PUT, DELETE"), "{head}");
    assert_eq!(http(&world, "PUT", "/cache/a", "", &[0; 1 << 20]).0, 507);
    assert_eq!(http(&world, "GET", "/cache/a", "Transfer-Encoding: chunked\r\n", b"").0, 400);
    http(&world, "PUT", "/cache/a", "", b"1");
    assert_eq!(http(&world, "DELETE", "/cache/a", "", b"").2, r#"{"key":"a","deleted":true}"#);
}

#[test]
fn a_connection_serves_many_requests() {
    let world = World::start();
    let one = "PUT /cache/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1";
    let two = "GET /cache/a HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n";
    let answer = world.ask(format!("{one}{two}{two}").as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}
