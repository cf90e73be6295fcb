//! Gathers what comes in crowds: each thing once, and never later than a period after it first came.
//!
//! The controller's own debouncing begins anew with every request: under steady news an object would never be visited.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::timeout_at;

/// What `items` brings, gathered for `period` from the first on. Its end is the end of `items`.
pub(crate) fn gather<T: Eq + Hash + Send>(
    items: impl Stream<Item = T> + Send,
    period: Duration,
) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(Box::pin(items), move |mut items| async move {
        let mut gathered = HashSet::from([items.next().await?]);
        let end = tokio::time::Instant::now() + period;
        while let Ok(next) = timeout_at(end, items.next()).await {
            let Some(item) = next else { break };
            gathered.insert(item);
        }
        Some((futures::stream::iter(gathered), items))
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    const PERIOD: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn steady_news_do_not_hold_themselves_up() {
        let every_100_ms = futures::stream::unfold((), |()| async {
            sleep(Duration::from_millis(100)).await;
            Some(("catalog", ()))
        });
        let begun = Instant::now();
        let gathered: Vec<_> = gather(every_100_ms, PERIOD).take(10).collect().await;
        assert_eq!(gathered.len(), 10);
        assert!(begun.elapsed() <= 10 * (PERIOD + Duration::from_millis(100)), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_one_and_nothing_is_lost_at_the_end() {
        let crowd = futures::stream::iter(["a", "b", "a", "a", "b"]);
        let mut gathered: Vec<_> = gather(crowd, PERIOD).collect().await;
        gathered.sort_unstable();
        assert_eq!(gathered, ["a", "b"]);
    }
}
