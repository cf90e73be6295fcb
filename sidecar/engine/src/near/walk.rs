//! Commands about all keys: they mean the prefix of the cache in the store.

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::Walk;
use synapse_core::reply::Reply;

use super::{Near, Request};

impl<M: Memory, C: Clock> Near<M, C> {
    pub(super) async fn walk(&self, request: &Request) -> Reply {
        let args = &request.order.args;
        match request.name {
            "scan" => match scan_args(args) {
                Ok(walk) => match self.remote.scan(walk).await {
                    Ok((cursor, keys)) => Reply::Array(vec![
                        Reply::Bulk(cursor.to_string().into()),
                        Reply::Array(keys.into_iter().map(Reply::Bulk).collect()),
                    ]),
                    Err(error) => self.failed(&error),
                },
                Err(refusal) => refusal,
            },
            "dbsize" => match self.remote.count().await {
                Ok(count) => Reply::Int(i64::try_from(count).unwrap_or(i64::MAX)),
                Err(error) => self.failed(&error),
            },
            _ if !self.rules.flush => Reply::error_text(format!(
                "ERR {} is refused by this cache (redis.flush)",
                request.name.to_uppercase()
            )),
            _ if !flush_args(args) => Reply::error("ERR syntax error"),
            _ => self.flush().await,
        }
    }

    async fn flush(&self) -> Reply {
        self.copies.clear();
        let cleared = self.remote.clear().await;
        self.copies.clear();
        match cleared {
            Ok(_) => Reply::OK,
            Err(error) => self.failed(&error),
        }
    }
}

fn flush_args(args: &[Bytes]) -> bool {
    match args {
        [_] => true,
        [_, how] => how.eq_ignore_ascii_case(b"ASYNC") || how.eq_ignore_ascii_case(b"SYNC"),
        _ => false,
    }
}

fn scan_args(args: &[Bytes]) -> Result<Walk, Reply> {
    let text = |arg: &Bytes| std::str::from_utf8(arg).ok().map(str::to_owned);
    let cursor = args.get(1).and_then(text).and_then(|text| text.parse().ok());
    let mut walk = Walk { cursor: cursor.ok_or(Reply::error("ERR invalid cursor"))?, ..Walk::default() };
    let mut options = args[2..].iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(Reply::error("ERR syntax error"))?;
        match option.to_ascii_uppercase().as_slice() {
            b"MATCH" => walk.pattern = Some(value.clone()),
            b"TYPE" => walk.kind = Some(value.clone()),
            b"COUNT" => {
                let count = text(value).and_then(|text| text.parse::<i64>().ok());
                match count.ok_or(Reply::error("ERR value is not an integer or out of range"))? {
                    count @ 1.. => walk.count = Some(count.unsigned_abs()),
                    _ => return Err(Reply::error("ERR syntax error")),
                }
            }
            _ => return Err(Reply::error("ERR syntax error")),
        }
    }
    Ok(walk)
}
