//! A near cache under test, spoken to in plain words.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synapse_core::clock::{Clock, SystemClock};
use synapse_core::feed::FeedSink;
use synapse_core::remote::{KeySpan, Order, Remote};
use synapse_core::reply::Reply;
use synapse_engine::large_tier::LargeTier;
use synapse_engine::near::copies::{Copies, Limits};
use synapse_engine::near::{Item, Near, NearSession, Request, Rules};
use synapse_tiers::redis::endpoint::{Endpoint, Location};
use synapse_tiers::redis::{Options, ROOM, RedisRemote};

use crate::redis_server::eventually;

/// What every key begins with in Redis.
pub(crate) const PREFIX: &str = "p:";

/// A near cache of its own.
pub(crate) struct Cache {
    pub(crate) near: Near<LargeTier, SystemClock>,
    clock: SystemClock,
}

/// What can be chosen.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) max_stale: Duration,
    pub(crate) copy_ttl: Option<Duration>,
    pub(crate) rules: Rules,
    pub(crate) command_timeout: Duration,
    pub(crate) beat: Duration,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            max_stale: Duration::from_secs(60),
            copy_ttl: None,
            rules: Rules { time_to_live: None, flush: true },
            command_timeout: Duration::from_secs(5),
            beat: Duration::from_millis(100),
        }
    }
}

impl Cache {
    pub(crate) async fn open(url: &str, choice: Choice) -> Self {
        let clock = SystemClock::start();
        let limits = Limits { tracking: true, max_stale: choice.max_stale, time_to_live: choice.copy_ttl };
        let copies = Arc::new(Copies::new(LargeTier::new(8 << 20), limits, clock.clone()));
        let sink: Arc<dyn FeedSink> = Arc::clone(&copies) as _;
        let options = Options {
            endpoint: Endpoint { location: Location::Url(url.to_owned()), ca_file: None },
            prefix: Bytes::from_static(PREFIX.as_bytes()),
            tracking: true,
            connect_timeout: Duration::from_secs(1),
            command_timeout: choice.command_timeout,
            room: ROOM,
            beat: choice.beat,
        };
        let remote: Arc<dyn Remote> = Arc::new(RedisRemote::start(options, sink));
        let cache = Self { near: Near::new(copies, remote, choice.rules), clock };
        cache.ready().await;
        cache
    }

    /// Waits until reads and writes are answered and the feed is armed.
    pub(crate) async fn ready(&self) {
        eventually("the near cache is ready", async || {
            let reads = [self.run("exists nothing").await, self.run("exists nothing").await];
            self.near.stats().armed && self.near.health().is_ok() && !reads.iter().any(Reply::is_error)
        })
        .await;
    }

    /// One command of a session of its own.
    pub(crate) async fn run(&self, line: &str) -> Reply {
        self.batch(&mut NearSession::default(), &[line]).await.remove(0)
    }

    /// Several commands that came together; `multi a; b` is a transaction.
    pub(crate) async fn batch(&self, session: &mut NearSession, lines: &[&str]) -> Vec<Reply> {
        self.near.execute(session, lines.iter().map(|line| item(line)).collect()).await
    }

    /// The value in memory, whatever Redis says.
    pub(crate) fn local(&self, key: &str) -> Option<String> {
        let mut value = None;
        self.near.read_front(&[key], self.clock.now(), |found| {
            value = Some(String::from_utf8_lossy(found.value).into_owned());
            true
        });
        value
    }
}

pub(crate) fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn item(line: &str) -> Item {
    match line.strip_prefix("multi") {
        None => Item::Run(request(line)),
        Some(queue) => {
            let queue = queue.split(';').map(str::trim).filter(|line| !line.is_empty());
            Item::Exec(queue.map(request).collect())
        }
    }
}

fn request(line: &str) -> Request {
    let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let name = line.split(' ').next().unwrap();
    let reads = ["get", "mget", "exists", "pttl", "strlen", "scan", "dbsize", "type"];
    let writes = ["set", "mset", "del", "incr", "append", "expire", "getset", "setnx", "flushdb", "lpush"];
    let known = reads.into_iter().chain(writes).find(|known| *known == name).unwrap();
    let keys = match name {
        "mset" => KeySpan { range: 1..args.len(), step: 2 },
        "mget" | "del" | "exists" => KeySpan { range: 1..args.len(), step: 1 },
        "scan" | "dbsize" | "flushdb" => KeySpan { range: 0..0, step: 1 },
        _ => KeySpan { range: 1..2, step: 1 },
    };
    Request { name: known, writes: writes.contains(&name), order: Order { args, keys }, held: 0 }
}
