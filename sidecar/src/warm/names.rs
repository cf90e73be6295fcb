//! Names of copies that the last sidecar held: Redis is asked for them in the background of everything else.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synapse_engine::near::warm::{Name, Warmed};
use synapse_server::backend::Backend;
use synapse_warm::left::{Left, Refused};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Ended;

/// The longest that Redis is asked for what the last sidecar held, one batch at a time.
const LONGEST_ASKING: Duration = Duration::from_secs(60);

/// When it is asked again after it was not reached.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Keys that are asked for together, and the bytes that they had, at most.
const NAMES_AT_ONCE: usize = 128;
const BYTES_AT_ONCE: usize = 1 << 20;

/// Asks Redis for the names in `left`, in the background of everything else: a batch at a time, with a pause after each
/// that is as long as it took. Never ends by itself.
pub(crate) async fn ask(left: Option<Left>, backend: Arc<Backend>) -> Infallible {
    if let Some(left) = left {
        let began = Instant::now();
        let (Sum { asked, kept }, ended) = ask_all(left, &backend, began + LONGEST_ASKING).await;
        let took_ms = began.elapsed().as_millis() as u64;
        info!(asked, kept, ?ended, took_ms, "asked Redis for what the last sidecar held");
    }
    pending().await
}

/// Names that were asked for, and how many of them Redis held.
#[derive(Default)]
struct Sum {
    asked: usize,
    kept: usize,
}

async fn ask_all(mut left: Left, backend: &Backend, until: Instant) -> (Sum, Ended) {
    let mut sum = Sum::default();
    let ended = loop {
        let reading = spawn_blocking(move || (next_names(&mut left), left));
        let Ok((names, back)) = reading.await else { break Ended::Unread };
        left = back;
        let names = match names {
            Ok(names) if names.is_empty() => break Ended::All,
            Ok(names) => names,
            Err(refused) => {
                warn!(%refused, "what the last sidecar has left is damaged: the rest of it is not asked for");
                break Ended::Unread;
            }
        };
        match ask_for(&names, backend, until).await {
            Ok(found) => {
                sum.asked += names.len();
                sum.kept += found;
            }
            Err(ended) => break ended,
        }
    };
    (sum, ended)
}

/// Asks until there is an answer, and rests as long as that one took. Answers how many of the names Redis held.
async fn ask_for(names: &[Name], backend: &Backend, until: Instant) -> Result<usize, Ended> {
    loop {
        let began = Instant::now();
        if began >= until {
            return Err(Ended::TimeIsUp);
        }
        match backend.warm(names).await {
            Some(Warmed::Asked(found)) => {
                sleep(began.elapsed()).await;
                return Ok(found);
            }
            Some(Warmed::Away) => sleep(ASK_AGAIN).await,
            Some(Warmed::Full) => return Err(Ended::MemoryIsFull),
            None => return Err(Ended::NobodyToAsk),
        }
    }
}

/// The names that are asked for together; none at the end.
fn next_names(left: &mut Left) -> Result<Vec<Name>, Refused> {
    let (mut names, mut bytes) = (Vec::new(), 0);
    while names.len() < NAMES_AT_ONCE && bytes < BYTES_AT_ONCE {
        let Some(record) = left.read()? else { break };
        bytes += record.key.len() + record.value_len as usize;
        names.push((Bytes::copy_from_slice(record.key), record.heat));
    }
    Ok(names)
}
