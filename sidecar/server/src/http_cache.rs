//! `/cache/{key}`: HTTP requests as commands of the cache, replies as HTTP responses.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use synapse_core::reply::Reply;
use synapse_protocol::batch::Batch;
use synapse_protocol::http::head::Method;
use synapse_protocol::http::request::Request;
use synapse_protocol::http::response::Response;
use synapse_protocol::http::target;
use synapse_protocol::sink::Sink;
use tracing::Instrument;

use crate::answers::Replies;
use crate::execute::Executor;
use crate::outbox::Outbox;
use crate::trace;

const JSON: &str = "application/json";
const RAW: &str = "application/octet-stream";

/// What `PUT` sends as JSON.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    ttl: Option<u64>,
}

/// A response that is not the value.
struct Problem {
    status: u16,
    text: String,
}

/// Writes the answer to a request, whose body has a buffer of `held` bytes to itself unless that is 0.
pub(crate) async fn serve(executor: &mut Executor, request: &Request, held: usize, out: &mut Outbox) {
    let span = trace::request(&request.head, "/cache/{key}");
    answer(executor, request, held, out).instrument(span).await;
}

async fn answer(executor: &mut Executor, request: &Request, held: usize, out: &mut Outbox) {
    let answered = match request.head.method {
        Method::Get | Method::Head => get(executor, request, out).await,
        Method::Put => put(executor, request, held, out).await,
        Method::Delete => delete(executor, request, out).await,
        Method::Other => Err(Problem { status: 405, text: "GET, HEAD, PUT and DELETE work here".to_owned() }),
    };
    if let Err(problem) = answered {
        let allow: &[_] = if problem.status == 405 { &[("Allow", "GET, HEAD, PUT, DELETE")] } else { &[] };
        write_json(request, problem.status, allow, &serde_json::json!({ "error": problem.text }), out);
    }
}

/// Writes the answer to a request that could not be read. The connection closes after it.
pub(crate) fn refuse(status: u16, why: &str, out: &mut BytesMut) {
    let body = serde_json::json!({ "error": why }).to_string();
    let headers = &[("Content-Type", JSON)];
    Response { status, headers, body: body.as_bytes(), head_only: false, keep_alive: false }.write(out);
}

async fn get(executor: &mut Executor, request: &Request, out: &mut Outbox) -> Result<(), Problem> {
    let key = key(request)?;
    let mut batch = Batch::default();
    match ttl_parameter(request)? {
        Some(ttl) => batch.push([GETEX, key.clone(), EX, ttl.to_string().into()]),
        None => batch.push([GET, key.clone()]),
    }
    let raw = wants_raw(request.head.accept.as_deref());
    // Only Redis knows the time that is left: where the answer does not name it, memory alone answers.
    let (value, left) = if raw {
        let [value] = call(executor, &batch).await;
        (value, None)
    } else {
        batch.push([PTTL, key.clone()]);
        let [value, left] = call(executor, &batch).await;
        (value, Some(left))
    };
    let value = match value {
        Reply::Bulk(value) => value,
        Reply::Nil => return Err(Problem { status: 404, text: "no such key".to_owned() }),
        other => return Err(failed(&other)),
    };
    let tag = entity_tag(&value);
    // The JSON answer names the time left, which changes by itself: its tag is a weak one.
    let tag = if raw { tag } else { format!("W/{tag}") };
    let headers = [("Content-Type", if raw { RAW } else { JSON }), ("ETag", &tag), ("Vary", "Accept")];
    let unchanged = request.head.if_none_match.as_deref().is_some_and(|wanted| names(wanted, &tag));
    let body = match (unchanged, raw) {
        (true, _) => Bytes::new(),
        (false, true) => value,
        (false, false) => envelope(&key, &value, left.as_ref()).into(),
    };
    let status = if unchanged { 304 } else { 200 };
    write(request, status, &headers, &body, out);
    Ok(())
}

async fn put(
    executor: &mut Executor,
    request: &Request,
    held: usize,
    out: &mut Outbox,
) -> Result<(), Problem> {
    let key = key(request)?;
    let mut ttl = ttl_parameter(request)?;
    let is_json = request.head.content_type.as_deref().is_some_and(is_json);
    let value = if is_json {
        let envelope: Envelope<'_> = serde_json::from_slice(&request.body)
            .map_err(|error| bad(format!("the body is not {{\"value\": ..., \"ttl\": seconds}}: {error}")))?;
        ttl = ttl.or(envelope.ttl);
        // A string is stored as the text it means, anything else as the JSON that spells it.
        match serde_json::from_str::<String>(envelope.value.get()) {
            Ok(text) => Bytes::from(text),
            Err(_) => Bytes::copy_from_slice(envelope.value.get().as_bytes()),
        }
    } else {
        request.body.clone()
    };
    let tag = entity_tag(&value);
    let mut batch = Batch::default();
    match ttl {
        Some(ttl) => batch.push([SET, key.clone(), value, EX, ttl.to_string().into()]),
        None => batch.push([SET, key.clone(), value]),
    }
    batch.set_held(held);
    let [stored] = call(executor, &batch).await;
    if stored != Reply::OK {
        return Err(failed(&stored));
    }
    let body = serde_json::json!({ "key": String::from_utf8_lossy(&key), "ttl": ttl });
    write_json(request, 200, &[("ETag", &tag)], &body, out);
    Ok(())
}

async fn delete(executor: &mut Executor, request: &Request, out: &mut Outbox) -> Result<(), Problem> {
    let key = key(request)?;
    let mut batch = Batch::default();
    batch.push([DEL, key.clone()]);
    let [deleted] = call(executor, &batch).await;
    match deleted {
        Reply::Int(0) => Err(Problem { status: 404, text: "no such key".to_owned() }),
        Reply::Int(_) => {
            let body = serde_json::json!({ "key": String::from_utf8_lossy(&key), "deleted": true });
            write_json(request, 200, &[], &body, out);
            Ok(())
        }
        other => Err(failed(&other)),
    }
}

const GET: Bytes = Bytes::from_static(b"GET");
const GETEX: Bytes = Bytes::from_static(b"GETEX");
const PTTL: Bytes = Bytes::from_static(b"PTTL");
const SET: Bytes = Bytes::from_static(b"SET");
const EX: Bytes = Bytes::from_static(b"EX");
const DEL: Bytes = Bytes::from_static(b"DEL");

/// The replies to a batch of `N` commands.
async fn call<const N: usize>(executor: &mut Executor, batch: &Batch) -> [Reply; N] {
    let mut answers = Replies::default();
    executor.execute(batch, 0, &mut answers).await;
    let mut replies = answers.replies.into_iter();
    std::array::from_fn(|_| replies.next().unwrap_or(Reply::error("ERR no reply")))
}

fn key(request: &Request) -> Result<Bytes, Problem> {
    let (path, _) = target::split(&request.head.target);
    let encoded = path.strip_prefix("/cache/").filter(|key| !key.is_empty());
    let encoded =
        encoded.ok_or_else(|| Problem { status: 404, text: "the path is /cache/{key}".to_owned() })?;
    target::percent_decode(encoded)
        .map(Bytes::from)
        .ok_or_else(|| bad("the key is not percent-encoded".to_owned()))
}

/// The time to live that the query names, in seconds.
fn ttl_parameter(request: &Request) -> Result<Option<u64>, Problem> {
    let (_, query) = target::split(&request.head.target);
    let mut values = target::parameters(query, "ttl");
    let (Some(text), None) = (values.next(), values.next()) else {
        return if target::parameters(query, "ttl").next().is_none() {
            Ok(None)
        } else {
            Err(bad("ttl stands more than once in the query".to_owned()))
        };
    };
    match text.parse() {
        Ok(ttl) if ttl > 0 => Ok(Some(ttl)),
        _ => Err(bad("ttl is a whole number of seconds, 1 at least".to_owned())),
    }
}

fn bad(text: String) -> Problem {
    Problem { status: 400, text }
}

/// The cache said no: by its codes, for want of room, because of the request, or because Redis did not answer.
fn failed(reply: &Reply) -> Problem {
    let Reply::Error(text) = reply else {
        return Problem { status: 500, text: "unexpected reply".to_owned() };
    };
    let text = String::from_utf8_lossy(text).into_owned();
    let status = match text.split(' ').next() {
        Some("OOM") => 507,
        Some("WRONGTYPE") => 409,
        Some("NOPERM") => 403,
        _ if text.starts_with("ERR invalid expire time") || text.starts_with("ERR value is not") => 400,
        _ => 503,
    };
    Problem { status, text }
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

/// JSON is the answer unless the client names only other things.
fn wants_raw(accept: Option<&str>) -> bool {
    let kinds =
        accept.unwrap_or_default().split(',').filter_map(|kind| kind.split(';').next()).map(str::trim);
    let mut raw = false;
    for kind in kinds.filter(|kind| !kind.is_empty()) {
        if [JSON, "application/*", "*/*"].iter().any(|json| kind.eq_ignore_ascii_case(json)) {
            return false;
        }
        raw = true;
    }
    raw
}

/// A strong tag: half of the value's SHA-256.
fn entity_tag(value: &[u8]) -> String {
    let digest = Sha256::digest(value);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Whether `If-None-Match` names the tag, weakly compared.
fn names(wanted: &str, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    wanted.trim() == "*" || wanted.split(',').any(|wanted| bare(wanted) == bare(tag))
}

/// `{"key", "value", "ttl"}`: a value that spells JSON other than a string is that JSON, one that is text is a
/// string, and one that is neither stands as base64 under `base64`.
fn envelope(key: &[u8], value: &[u8], left: Option<&Reply>) -> String {
    let key = serde_json::Value::from(String::from_utf8_lossy(key));
    let value = match std::str::from_utf8(value) {
        Ok(text) if spells_json(text) => format!("\"value\":{text}"),
        Ok(text) => format!("\"value\":{}", serde_json::Value::from(text)),
        Err(_) => {
            format!("\"base64\":\"{}\"", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, value))
        }
    };
    let ttl = match left {
        Some(Reply::Int(ms @ 0..)) => format!(",\"ttl\":{}", (ms + 999) / 1000),
        // There is a value, and nobody to say for how long.
        Some(Reply::Error(_)) => ",\"ttl\":null".to_owned(),
        _ => String::new(),
    };
    format!("{{\"key\":{key},{value}{ttl}}}")
}

fn spells_json(text: &str) -> bool {
    !text.trim_start().starts_with('"') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn write_json(
    request: &Request,
    status: u16,
    extra: &[(&str, &str)],
    body: &serde_json::Value,
    out: &mut Outbox,
) {
    let headers: Vec<_> = [("Content-Type", JSON)].iter().chain(extra).copied().collect();
    write(request, status, &headers, &body.to_string().into(), out);
}

fn write(request: &Request, status: u16, headers: &[(&str, &str)], body: &Bytes, out: &mut Outbox) {
    let head_only = request.head.method == Method::Head;
    trace::answered(status);
    let response = Response { status, headers, body, head_only, keep_alive: request.head.keep_alive };
    if response.write_head(&mut out.small) {
        out.put_handle(body);
    }
}
