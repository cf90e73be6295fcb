//! Comparing two streams of replies. What may differ, and nothing else, is levelled first: the client's id in HELLO,
//! the order of SCAN, and milliseconds that passed between the two.

use std::fmt::Write;

/// A large integer may differ by this much: it is a time left, in milliseconds.
const CLOCK_TOLERANCE: i64 = 2_000;

/// Only integers beyond this may be times.
const LEAST_TIME: i64 = 50_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    Line(u8, String),
    Int(i64),
    /// Kind and payload, escaped.
    Bulk(u8, String),
    Many(u8, Vec<Reply>),
    /// What is not RESP, as it is.
    Rest(String),
}

/// What is different, `None` when nothing is.
pub(crate) fn difference(ours: &[u8], theirs: &[u8]) -> Option<String> {
    let (ours, theirs) = (parse_all(ours), parse_all(theirs));
    let count = ours.len().max(theirs.len());
    let mut text = String::new();
    for at in 0..count {
        let (ours, theirs) = (ours.get(at), theirs.get(at));
        if !matches!((ours, theirs), (Some(a), Some(b)) if same(a, b)) {
            let _ = writeln!(text, "reply {at}\n  ours   {ours:?}\n  theirs {theirs:?}");
        }
    }
    (!text.is_empty()).then_some(text)
}

fn same(a: &Reply, b: &Reply) -> bool {
    match (a, b) {
        (Reply::Int(a), Reply::Int(b)) => {
            a == b || a.min(b) > &LEAST_TIME && a.abs_diff(*b) <= CLOCK_TOLERANCE.unsigned_abs()
        }
        (Reply::Many(ka, a), Reply::Many(kb, b)) => {
            ka == kb && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}

fn parse_all(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        match parse(bytes) {
            Some((reply, rest)) => {
                replies.push(level(reply));
                bytes = rest;
            }
            None => {
                replies.push(Reply::Rest(bytes.escape_ascii().to_string()));
                break;
            }
        }
    }
    replies
}

fn level(reply: Reply) -> Reply {
    let Reply::Many(kind, mut items) = reply else { return reply };
    items = items.into_iter().map(level).collect();
    if items.first() == Some(&Reply::Bulk(b'$', "server".to_owned()))
        && let Some(id) = items.iter().position(|item| *item == Reply::Bulk(b'$', "id".to_owned()))
    {
        items[id + 1] = Reply::Int(0);
    }
    if let [Reply::Bulk(b'$', cursor), Reply::Many(b'*', keys)] = &mut items[..]
        && cursor == "0"
    {
        keys.sort();
    }
    Reply::Many(kind, items)
}

fn parse(bytes: &[u8]) -> Option<(Reply, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, line, rest) = (bytes[0], std::str::from_utf8(&bytes[1..end]).ok(), &bytes[end + 2..]);
    let text = || line.map_or_else(|| bytes[1..end].escape_ascii().to_string(), str::to_owned);
    match kind {
        b'+' | b'-' | b'_' | b',' | b'#' => Some((Reply::Line(kind, text()), rest)),
        b':' => Some((Reply::Int(line?.parse().ok()?), rest)),
        b'$' | b'=' | b'*' | b'~' | b'%' if line == Some("-1") => Some((Reply::Line(kind, text()), rest)),
        b'$' | b'=' => {
            let length: usize = line?.parse().ok()?;
            let payload = rest.get(..length)?.escape_ascii().to_string();
            Some((Reply::Bulk(kind, payload), rest.get(length + 2..)?))
        }
        b'*' | b'~' | b'%' => {
            let count: usize = line?.parse().ok()?;
            let count = if kind == b'%' { count * 2 } else { count };
            let (mut items, mut rest) = (Vec::new(), rest);
            for _ in 0..count {
                let (item, after) = parse(rest)?;
                items.push(item);
                rest = after;
            }
            Some((Reply::Many(kind, items), rest))
        }
        _ => None,
    }
}
