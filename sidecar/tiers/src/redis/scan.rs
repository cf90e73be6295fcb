//! Walking over the keys under the prefix.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use synapse_core::remote::{Pending, RemoteError, Walk};
use tokio::time::Instant;

use super::link::Handle;
use super::wire::{Packed, reply};

/// The most keys that the server is asked to look at in one step.
const MAX_COUNT: u64 = 10_000;
/// What a whole walk asks for.
const WALK_COUNT: u64 = 1_000;
/// The longest that a whole walk may take; each of its steps ends within the deadline of a command.
const LONGEST_WALK: Duration = Duration::from_secs(30);

/// SCAN below `prefix`.
pub(crate) fn step(walk: &Walk, prefix: &[u8]) -> Packed {
    let cursor = walk.cursor.to_string();
    let pattern = [escaped(prefix).as_slice(), walk.pattern.as_deref().unwrap_or(b"*")].concat();
    let count = walk.count.unwrap_or(10).clamp(1, MAX_COUNT).to_string();
    let mut args: Vec<&[u8]> =
        vec![b"SCAN", cursor.as_bytes(), b"MATCH", &pattern, b"COUNT", count.as_bytes()];
    if let Some(kind) = &walk.kind {
        args.extend([b"TYPE".as_slice(), kind]);
    }
    Packed::raw(&args)
}

/// The answer to [`step`]: next cursor, keys without the prefix.
pub(crate) fn page(mut answers: Vec<Value>, prefix: &[u8]) -> Result<(u64, Vec<Bytes>), RemoteError> {
    let mut parts = match answers.pop() {
        Some(Value::Array(parts)) => parts.into_iter(),
        Some(other) => return Err(RemoteError::Refused(reply(other))),
        None => return Err(RemoteError::Broken),
    };
    let (Some(Value::BulkString(cursor)), Some(Value::Array(keys))) = (parts.next(), parts.next()) else {
        return Err(RemoteError::Away { reason: "SCAN was not answered with a cursor and keys".to_owned() });
    };
    let cursor = std::str::from_utf8(&cursor).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or_else(|| RemoteError::Away { reason: "SCAN answered no cursor".to_owned() })?;
    let keys = keys.into_iter().filter_map(|key| match key {
        Value::BulkString(key) if key.starts_with(prefix) => Some(Bytes::from(key).slice(prefix.len()..)),
        _ => None,
    });
    Ok((cursor, keys.collect()))
}

/// How many keys lie below `prefix`.
pub(crate) fn count(link: Handle, prefix: Bytes) -> Pending<u64> {
    Box::pin(async move {
        let until = Instant::now() + LONGEST_WALK;
        let (mut cursor, mut total) = (0, 0);
        loop {
            let (next, keys) = whole_step(&link, cursor, &prefix, until).await?;
            total += keys.len() as u64;
            if next == 0 {
                return Ok(total);
            }
            cursor = next;
        }
    })
}

/// Deletes what lies below `prefix`, and answers how many keys that were.
pub(crate) fn clear(link: Handle, prefix: Bytes) -> Pending<u64> {
    Box::pin(async move {
        let until = Instant::now() + LONGEST_WALK;
        let (mut cursor, mut total) = (0, 0);
        loop {
            let (next, keys) = whole_step(&link, cursor, &prefix, until).await?;
            if !keys.is_empty() {
                match link.send(Packed::keys(b"UNLINK", &keys, &prefix)).await?.pop() {
                    Some(Value::Int(gone)) => total += gone.unsigned_abs(),
                    Some(other) => return Err(RemoteError::Refused(reply(other))),
                    None => return Err(RemoteError::Broken),
                }
            }
            if next == 0 {
                return Ok(total);
            }
            cursor = next;
        }
    })
}

async fn whole_step(
    link: &Handle,
    cursor: u64,
    prefix: &[u8],
    until: Instant,
) -> Result<(u64, Vec<Bytes>), RemoteError> {
    if Instant::now() > until {
        return Err(RemoteError::Late { after: LONGEST_WALK });
    }
    let walk = Walk { cursor, count: Some(WALK_COUNT), ..Walk::default() };
    page(link.send(step(&walk, prefix)).await?, prefix)
}

/// `text` as a glob that matches nothing but itself.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut glob = Vec::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            glob.push(b'\\');
        }
        glob.push(byte);
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped(b"a*[b]?\\:"), b"a\\*\\[b\\]\\?\\\\:");
    }
}
