//! The ways that a batch can take: reads by memory and the read connections, changes in their order over the one
//! ordered connection, and everything of a session that watches over the connection leased to it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use synapse_core::clock::Clock;
use synapse_core::memory::Memory;
use synapse_core::remote::{Fetched, Order, RemoteError, Step};
use synapse_core::reply::Reply;

use super::batch::{Answer, Batch, Part, Writes, get_reply, many_reply, no_answer};
use super::plan::{self, Kind, Plan, Planned};
use super::{Item, Near, NearSession, Request};
use crate::store::{MAX_REPLY_BYTES, REPLY_TOO_LARGE};

impl<M: Memory, C: Clock> Near<M, C> {
    /// Executes items none of which is a walk.
    pub(super) async fn execute_run(
        &self,
        session: &mut NearSession,
        items: Vec<Item>,
        replies: &mut Vec<Reply>,
    ) {
        let only_reads = |item: &Item| matches!(item, Item::Run(request) if !request.writes);
        if items.is_empty() {
        } else if session.lost {
            self.after_a_loss(session, items, replies).await;
        } else if session.watching.is_some() {
            self.on_the_lease(session, items, replies).await;
        } else if items.iter().all(only_reads) {
            self.reads(items, replies).await;
        } else {
            let plans = items.into_iter().map(|item| self.plan(item)).collect();
            self.in_order(plans, replies).await;
        }
    }

    /// Reads: memory first, then one round trip for all keys that are missing, and one for what asks for other
    /// things than values.
    async fn reads(&self, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let requests: Vec<Request> = items.into_iter().filter_map(Item::into_request).collect();
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for request in requests.iter().filter(|request| Kind::of(request).is_get()) {
            self.look_up(request, &mut found, &mut missing);
        }
        let ticket = self.copies.reading();
        let fetching = (!missing.is_empty()).then(|| {
            self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
            self.remote.fetch(missing.iter().map(|(_, key)| key.clone()).collect())
        });
        let looks: Vec<Order> =
            requests.iter().filter(|r| !Kind::of(r).is_get()).map(|r| r.order.clone()).collect();
        let looking = (!looks.is_empty()).then(|| self.remote.look(looks));
        let mut failure = None;
        if let Some(fetching) = fetching {
            match fetching.await {
                Ok(fetched) => {
                    for ((position, key), fetched) in missing.into_iter().zip(fetched) {
                        self.copies.fill(&key, &fetched, ticket);
                        found[position] = Some(fetched);
                    }
                }
                Err(error) => failure = Some(self.failed(&error)),
            }
        }
        let mut looked = match looking {
            None => Ok(Vec::new().into_iter()),
            Some(looking) => looking.await.map(Vec::into_iter).map_err(|error| self.failed(&error)),
        };
        let mut found = found.into_iter();
        for request in &requests {
            replies.push(match Kind::of(request) {
                Kind::Get => get_reply(found.next().flatten(), failure.as_ref()),
                Kind::GetMany => {
                    let many = found.by_ref().take(plan::keys(request).count());
                    many_reply(many, failure.as_ref())
                }
                _ => match &mut looked {
                    Ok(answers) => answers.next().unwrap_or_else(no_answer),
                    Err(failure) => failure.clone(),
                },
            });
        }
    }

    /// Adds what memory holds of the keys of `request`, and which of them are missing, with their positions.
    fn look_up(
        &self,
        request: &Request,
        found: &mut Vec<Option<Fetched>>,
        missing: &mut Vec<(usize, Bytes)>,
    ) {
        let keys: Vec<Bytes> = plan::keys(request).collect();
        let (start, mut hits, mut bytes) = (found.len(), 0, 0);
        self.copies.get(&keys, self.copies.now(), |_, copy| {
            hits += usize::from(copy.is_some());
            bytes += copy.map_or(0, |copy| copy.value.len());
            found.push(copy.map(|copy| match bytes {
                0..=MAX_REPLY_BYTES => Fetched::Value(copy.to_bytes(), None),
                _ => Fetched::Refused(REPLY_TOO_LARGE),
            }));
        });
        self.hits.fetch_add(hits as u64, Ordering::Relaxed);
        let keys = keys.into_iter().enumerate().map(|(at, key)| (start + at, key));
        missing.extend(keys.filter(|(position, _)| found[*position].is_none()));
    }

    /// A batch that changes something: everything that memory cannot answer goes over the ordered connection.
    async fn in_order(&self, plans: Vec<Plan>, replies: &mut Vec<Reply>) {
        let mut batch = Batch::default();
        let turn = self.remote.turn(plans.iter().map(Plan::size).sum()).await;
        let sent = {
            let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
            for plan in plans {
                match plan {
                    Plan::Get(request) => self.begin_get(&request, &mut batch),
                    Plan::Run(planned) => self.begin_run(*planned, &mut batch, true),
                    Plan::Exec(parts) => self.begin_exec(parts, &mut batch, true),
                    Plan::Refused(reply) => batch.answers.push(Answer::Known(reply)),
                }
            }
            let steps = std::mem::take(&mut batch.steps);
            (!steps.is_empty()).then(|| turn.map(|turn| turn.send(steps)))
        };
        let outcomes = match sent {
            Some(Ok(sent)) => sent.await,
            Some(Err(error)) => Err(error),
            None => Ok(Vec::new()),
        };
        self.finish(batch, outcomes, replies);
    }

    /// While keys are watched, the session has a connection of its own, and its reads go there.
    async fn on_the_lease(&self, session: &mut NearSession, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let mut items = items.into_iter();
        let mut batch = Batch::default();
        let (mut has_ended, mut beside) = (false, None);
        for item in items.by_ref() {
            match self.plan(item) {
                // A transaction of our own making would end the watch.
                Plan::Run(planned) if planned.orders.len() > 1 => {
                    beside = Some(Plan::Run(planned));
                    break;
                }
                Plan::Run(planned) => self.begin_run(*planned, &mut batch, false),
                Plan::Get(request) => {
                    self.begin_run(Planned::new(request, None), &mut batch, false);
                }
                Plan::Refused(reply) => batch.answers.push(Answer::Known(reply)),
                Plan::Exec(parts) => {
                    self.begin_exec(parts, &mut batch, false);
                    has_ended = true;
                    break;
                }
            }
        }
        let steps = std::mem::take(&mut batch.steps);
        let outcomes = match &mut session.watching {
            _ if steps.is_empty() => Ok(Vec::new()),
            Some(watching) => watching.send(steps).await,
            None => Err(RemoteError::Broken),
        };
        if has_ended || outcomes.is_err() {
            session.watching = None;
            session.lost = !has_ended;
        }
        self.finish(batch, outcomes, replies);
        if let Some(beside) = beside {
            self.in_order(vec![beside], replies).await;
        }
        // What follows the transaction is watched by nobody.
        Box::pin(self.execute_run(session, items.collect(), replies)).await;
    }

    /// The session goes on without its watch, and the transaction that relied on it is not executed.
    async fn after_a_loss(&self, session: &mut NearSession, items: Vec<Item>, replies: &mut Vec<Reply>) {
        let mut items = items.into_iter();
        let mut before = Vec::new();
        let exec = items.by_ref().find_map(|item| match item {
            Item::Exec(_) => Some(Reply::NilArray),
            run => {
                before.push(run);
                None
            }
        });
        session.lost = false;
        Box::pin(self.execute_run(session, before, replies)).await;
        match exec {
            Some(refused) => {
                session.watching = None;
                replies.push(refused);
            }
            None => session.lost = true,
        }
        Box::pin(self.execute_run(session, items.collect(), replies)).await;
    }

    /// What an item means, thought through before anyone has to wait for it.
    fn plan(&self, item: Item) -> Plan {
        match item {
            Item::Run(request) if Kind::of(&request).is_get() => Plan::Get(request),
            Item::Run(request) => match plan::refusal(&request) {
                Some(refusal) => Plan::Refused(refusal),
                None => Plan::Run(Box::new(Planned::new(request, self.rules.time_to_live))),
            },
            Item::Exec(queued) => {
                let part = |request| match plan::refusal_in_a_transaction(&request) {
                    Some(refusal) => Err(refusal),
                    None => Ok(Planned::new(request, self.rules.time_to_live)),
                };
                Plan::Exec(queued.into_iter().map(part).collect())
            }
        }
    }

    fn begin_get(&self, request: &Request, batch: &mut Batch<M, C>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        self.look_up(request, &mut found, &mut missing);
        self.misses.fetch_add(missing.len() as u64, Ordering::Relaxed);
        let ticket = self.copies.reading();
        batch.steps.extend(missing.iter().map(|(_, key)| Step::Fetch(key.clone())));
        batch.answers.push(Answer::Get { found, missing, ticket, many: Kind::of(request) == Kind::GetMany });
    }

    /// `own` tells whether the ordered connection carries it: only then is its result not announced, and may
    /// become a copy.
    fn begin_run(&self, mut planned: Planned, batch: &mut Batch<M, C>, own: bool) {
        let writes = self.begin(&planned, own);
        let several = planned.orders.len() > 1;
        batch.steps.extend(match several {
            true => Some(Step::Atomic(std::mem::take(&mut planned.orders))),
            false => planned.orders.pop().map(Step::Run),
        });
        batch.answers.push(Answer::Run { planned, writes });
    }

    fn begin_exec(&self, parts: Vec<Result<Planned, Reply>>, batch: &mut Batch<M, C>, own: bool) {
        let mut orders = Vec::new();
        let parts: Vec<Part<M, C>> = parts
            .into_iter()
            .map(|part| match part {
                Err(refusal) => Part::Known(refusal),
                Ok(mut planned) => {
                    let writes = self.begin(&planned, own);
                    let count = planned.orders.len();
                    orders.append(&mut planned.orders);
                    Part::Run { planned, writes, count }
                }
            })
            .collect();
        let sent = !orders.is_empty() || !own;
        batch.steps.extend(sent.then_some(Step::Atomic(orders)));
        batch.answers.push(Answer::Exec { parts, sent });
    }

    fn begin(&self, planned: &Planned, own: bool) -> Option<Writes<M, C>> {
        planned.writes.then(|| {
            let ticket = self.copies.writing(planned.keys.clone(), own);
            Writes { copies: Arc::clone(&self.copies), ticket: Some(ticket) }
        })
    }
}
