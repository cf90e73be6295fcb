//! A store under test: its feed recorded, its steps spoken in plain words.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use synapse_core::feed::{FeedSink, Mark};
use synapse_core::remote::{KeySpan, Order, Outcome, Remote, RemoteError, Step};
use synapse_tiers::redis::endpoint::{Endpoint, Location};
use synapse_tiers::redis::{Options, ROOM, RedisRemote};

use crate::redis_server::eventually;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Changed(String),
    All,
    Armed,
    Heard,
    Lost,
}

#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    fn push(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    pub(crate) fn count(&self, event: &Event) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| *seen == event).count()
    }
}

impl FeedSink for Recorder {
    fn invalidate(&self, key: &[u8]) {
        self.push(Event::Changed(String::from_utf8_lossy(key).into_owned()));
    }
    fn invalidate_all(&self) {
        self.push(Event::All);
    }
    fn armed(&self) {
        self.push(Event::Armed);
    }
    fn mark(&self) -> Mark {
        Mark { sequence: 0, mono_ms: 0 }
    }
    fn heard(&self, _: Mark) {
        self.push(Event::Heard);
    }
    fn lost(&self) {
        self.push(Event::Lost);
    }
}

pub(crate) fn options(url: &str) -> Options {
    Options {
        endpoint: Endpoint { location: Location::Url(url.to_owned()), ca_file: None },
        prefix: Bytes::from_static(b"t*:"),
        tracking: true,
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(300),
        room: ROOM,
        beat: Duration::from_millis(100),
    }
}

pub(crate) async fn open(options: Options) -> (RedisRemote, Arc<Recorder>) {
    let sink = Arc::new(Recorder::default());
    let feed: Arc<dyn FeedSink> = Arc::clone(&sink) as _;
    let remote = RedisRemote::start(options, feed);
    ready(&remote).await;
    (remote, sink)
}

pub(crate) async fn ready(remote: &RedisRemote) {
    eventually("the store answers on every link", async || {
        remote.health().is_ok() && {
            let reads = [remote.fetch(vec![]), remote.fetch(vec![])];
            let mut all = true;
            for read in reads {
                all &= read.await.is_ok();
            }
            all
        }
    })
    .await;
}

pub(crate) fn order(args: &[&str], keys: std::ops::Range<usize>) -> Order {
    let args = args.iter().map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
    Order { args, keys: KeySpan { range: keys, step: 1 } }
}

pub(crate) fn run(args: &[&str]) -> Step {
    Step::Run(order(args, 1..2))
}

pub(crate) fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Sends steps on the ordered connection.
pub(crate) async fn send(remote: &RedisRemote, steps: Vec<Step>) -> Result<Vec<Outcome>, RemoteError> {
    remote.turn(steps.iter().map(size).sum()).await?.send(steps).await
}

fn size(step: &Step) -> usize {
    match step {
        Step::Fetch(key) => key.len(),
        Step::Run(order) => order.size(),
        Step::Atomic(orders) => orders.iter().map(Order::size).sum(),
    }
}
