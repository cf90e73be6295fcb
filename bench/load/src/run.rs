//! A run from its first connection to its report: store the keys, warm up, measure.

use std::thread;
use std::time::Instant;

use crate::encoder::Encoder;
use crate::failure::Failure;
use crate::pace::{Pace, Schedule};
use crate::plan::Plan;
use crate::popularity::Draw;
use crate::process::usage;
use crate::proof::Proof;
use crate::report::{Measured, Report};
use crate::tally::Tally;
use crate::worker::{Work, Worker};

/// Runs the load.
///
/// # Errors
/// At the first wrong answer, when the server hangs or leaves, and when its process cannot be looked at.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Report> {
    let proof = Proof::new(plan.sizes.clone(), plan.generation);
    let encoder = Encoder::new(plan.wire, plan.spelling.clone(), proof);
    let table = plan.popularity.table();
    let mut crew = Vec::new();
    for number in 0..plan.threads {
        let worker = Worker::new(plan, &encoder, plan.share(number))?;
        let (place, threads) = (number as u64, plan.threads as u64);
        let draw = Draw::new(plan.popularity.clone(), table.clone(), plan.seed, place, threads);
        crew.push(Hand { worker, draw, place });
    }

    if plan.fill {
        at_once(&mut crew, |hand| hand.fill(plan))?;
    }
    if !plan.warmup.is_zero() {
        at_once(&mut crew, |hand| hand.load(plan, plan.warmup.as_nanos() as u64, u64::MAX))?;
    }
    let server = plan.server_pid.map(|pid| pid.to_string());
    let look = || server.as_deref().map(usage).transpose();
    let before = (usage("self")?, look()?);
    let began = Instant::now();
    let share = plan.requests.div_ceil(plan.threads as u64);
    let tally = at_once(&mut crew, |hand| hand.load(plan, plan.length.as_nanos() as u64, share))?;
    let elapsed = began.elapsed();
    let after = (usage("self")?, look()?);
    let generator = after.0.cpu_seconds - before.0.cpu_seconds;
    let server = before.1.zip(after.1);
    Ok(Report::new(plan, Measured { tally, elapsed, generator_cpu_seconds: generator, server }))
}

/// One worker with what it draws.
struct Hand<'a> {
    worker: Worker<'a>,
    draw: Draw,
    place: u64,
}

// === impl Hand ===

impl Hand<'_> {
    fn fill(&mut self, plan: &Plan) -> Result<Tally, Failure> {
        let work = Work::Fill { next: self.place, step: plan.threads as u64, end: plan.popularity.keys };
        self.worker.drive(work, Pace::Closed, plan.fill_pipeline())
    }

    fn load(&mut self, plan: &Plan, length_ns: u64, count: u64) -> Result<Tally, Failure> {
        let now = self.worker.now();
        let pace = match plan.rate {
            None => Pace::Closed,
            Some(rate) => {
                let seed = plan.seed ^ (self.place + 1);
                Pace::Open(Schedule::new(rate / plan.threads as f64, plan.arrivals, now, seed))
            }
        };
        let work = Work::Load { draw: &mut self.draw, count, until_ns: now.saturating_add(length_ns) };
        self.worker.drive(work, pace, plan.pipeline)
    }
}

/// Has every worker do it, each on its own thread, and adds up.
fn at_once<'a>(
    crew: &mut [Hand<'a>],
    task: impl Fn(&mut Hand<'a>) -> Result<Tally, Failure> + Sync,
) -> Result<Tally, Failure> {
    if let [alone] = crew {
        return task(alone);
    }
    let task = &task;
    thread::scope(|scope| {
        let threads: Vec<_> = crew.iter_mut().map(|hand| scope.spawn(move || task(hand))).collect();
        let mut sum = Tally::new();
        for thread in threads {
            sum.add(thread.join().map_err(|_| Failure::Worker)??);
        }
        Ok(sum)
    })
}
