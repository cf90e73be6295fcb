//! Commands about all keys: they mean the prefix of the cache in the store.

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::Walk;
use synapse_core::reply::Reply;

use super::{Near, Request};
use crate::store::arguments::{SYNTAX, integer, is_option};
use crate::store::keyspace::cursor;

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
            _ if !flush_args(args) => SYNTAX,
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
        [_, how] => is_option(how, "ASYNC") || is_option(how, "SYNC"),
        _ => false,
    }
}

fn scan_args(args: &[Bytes]) -> Result<Walk, Reply> {
    let cursor = cursor(&args[1]).ok_or(Reply::error("ERR invalid cursor"))?;
    let mut walk = Walk { cursor, ..Walk::default() };
    for option in args[2..].chunks(2) {
        match option {
            [name, value] if is_option(name, "MATCH") => walk.pattern = Some(value.clone()),
            [name, value] if is_option(name, "TYPE") => walk.kind = Some(value.clone()),
            [name, value] if is_option(name, "COUNT") => {
                let count = u64::try_from(integer(value)?).ok().filter(|count| *count > 0);
                walk.count = Some(count.ok_or(SYNTAX)?);
            }
            _ => return Err(SYNTAX),
        }
    }
    Ok(walk)
}
