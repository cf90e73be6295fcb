//! The composition root: everything that lives long is made here, and every task is owned here.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use synapse_config::resolved::{self, Settings, resolve};
use synapse_config::written::{CoherenceMode, Config, Flush};
use synapse_core::clock::{Clock, SystemClock};
use synapse_core::feed::FeedSink;
use synapse_core::remote::Remote;
use synapse_engine::arena_tier::ArenaTier;
use synapse_engine::near::copies::{Copies, Limits};
use synapse_engine::near::{Near, Rules};
use synapse_server::admin::Admin;
use synapse_server::backend::Backend;
use synapse_server::drain;
use synapse_server::listener::{self, Listener};
use synapse_tiers::redis::endpoint::{Endpoint, Location};
use synapse_tiers::redis::{BEAT, Options, RedisRemote};
use synapse_traces::export::Export;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::allowance;
use crate::args::Args;
use crate::instance::{self, Instance};
use crate::settings::{Look, Source};
use crate::telemetry::Logs;
use crate::warm::{self, Grace};

/// How often the configuration is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest that the first attempts to connect to Redis are waited for, and how often they are looked at.
const LONGEST_SETTLE: Duration = Duration::from_secs(3);
const SETTLE_PAUSE: Duration = Duration::from_millis(2);

/// The longest that the instance key is worth waiting for at the end.
const LONGEST_LEAVE: Duration = Duration::from_secs(1);

/// Clients at a time.
const CONNECTIONS: usize = 10_000;

/// Open files that are not clients: connections to Redis, the doors, files that are read.
const OTHER_FILES: usize = 64;

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // The only provider in the build; an error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let files = raise_file_limit();
    // Tasks that can only take turns need none of what threads need to share them.
    let alone = available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut builder = if alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.enable_all().build()?;
    runtime.block_on(serve(args, files))
}

/// Makes the soft limit of open files the hard one, and answers it.
fn raise_file_limit() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it there are fewer clients; nothing else depends on it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

async fn serve(args: Args, files: u64) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (warm_file, warm_limit) = (args.warm_file.clone(), args.warm_limit);
    let grace = Grace::of(args.grace, warm_file.is_some());
    let (mut sidecar, source) = Sidecar::start(args)?;
    settle(&sidecar.settings, sidecar.remote.as_deref()).await;
    let socket = Path::new(&sidecar.settings.socket);
    let connections =
        CONNECTIONS.min(usize::try_from(files).unwrap_or(CONNECTIONS).saturating_sub(OTHER_FILES).max(1));
    let limits = listener::Limits { connections, grace: grace.sessions };
    let listener = Listener::bind(socket, Arc::clone(&sidecar.backend), limits)?;
    // Bound already, so that this is the one sidecar on the socket; nobody is answered before.
    let (warm, names) = match &warm_file {
        Some(path) => warm::start(path, warm_limit, &sidecar.backend, &sidecar.clock).await,
        None => (None, None),
    };
    let asking = warm::ask(names, Arc::clone(&sidecar.backend));
    info!(socket = %socket.display(), redis = sidecar.settings.redis.is_some(), "serving");
    let (stop, draining) = drain::channel();
    let admin = match sidecar.settings.http {
        Some(address) => Admin::bind(address, Arc::clone(&sidecar.backend), listener.metrics())
            .await
            // A port that the pod uses otherwise must not cost it its cache.
            .inspect_err(|error| error!(%address, %error, "no admin door: the address cannot be had"))
            .ok(),
        None => None,
    };
    let mut serving = tokio::spawn(listener.run(draining.clone()));
    // Ends last, with the set: while the rest drains it says so.
    let mut doors = JoinSet::new();
    if let Some(admin) = admin {
        doors.spawn(admin.run(draining));
    }
    // Cut off wherever it is when the end is asked for: it may be waiting for a Redis that does not answer.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut serving => return ended.context("the listener ended"),
        ended = sidecar.keep(source, &mut doors) => ended?,
        never = asking => match never {},
    }
    stop.drain();
    if timeout(LONGEST_LEAVE, sidecar.leave()).await.is_err() {
        warn!("Redis did not take back the instance key, which ends by itself");
    }
    serving.await.context("the listener ended badly")?;
    // Every session has ended: nothing changes any more.
    if let Some(warm) = warm {
        let (backend, capacity) = (Arc::clone(&sidecar.backend), sidecar.settings.memory.capacity);
        warm.leave(backend, sidecar.clock.clone(), capacity, grace.writing).await;
    }
    if let Some(export) = sidecar.export {
        export.close().await;
    }
    info!("ended");
    Ok(())
}

/// What runs, and by which settings.
struct Sidecar {
    settings: Settings,
    backend: Arc<Backend>,
    remote: Option<Arc<dyn Remote>>,
    clock: SystemClock,
    instance: Instance,
    next_show: Instant,
    logs: Logs,
    export: Option<Export>,
}

impl Sidecar {
    fn start(args: Args) -> anyhow::Result<(Self, Source)> {
        let mut source = Source::new(args);
        // A pod must not fail for what stands in a ConfigMap: without a good file the sidecar is a memory cache.
        let (settings, problems) = match source.look() {
            Look::New(found) => (found.settings, None),
            Look::Wrong(problems) => (resolve(&source.args().laid_over(Config::default()))?, Some(problems)),
            Look::Same | Look::Gone => (resolve(&source.args().laid_over(Config::default()))?, None),
        };
        // A collector that is wrongly named must not cost the pod its cache either.
        let (export, misnamed) = match Export::start("synapse-sidecar", |name| std::env::var(name).ok()) {
            Ok(export) => (export, None),
            Err(error) => (None, Some(error)),
        };
        let tracer = export.as_ref().map(Export::tracer);
        let logs = Logs::start(settings.log_level, settings.log_format, tracer);
        if let Some(error) = misnamed {
            error!(error = format!("{error:#}"), "traces are not exported");
        }
        if let Some(problems) = problems {
            error!(%problems, "the configuration cannot be used; serving from memory until it is right");
        }
        let settings = allowance::fit(settings);
        let clock = SystemClock::start();
        let (backend, remote) = assemble(&settings, &clock).context("memory for the cache")?;
        let backend = Arc::new(backend);
        let (instance, next_show) = (Instance::new(), Instant::now());
        Ok((Self { settings, backend, remote, clock, instance, next_show, logs, export }, source))
    }

    /// Follows the configuration and shows that it lives, for as long as nothing fails.
    async fn keep(&mut self, mut source: Source, doors: &mut JoinSet<()>) -> anyhow::Result<()> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(ended) = doors.join_next() => error!(?ended, "the admin door ended"),
                _ = look.tick() => source = self.look(source).await?,
                () = sleep_until(self.next_show) => self.show().await,
            }
        }
    }

    /// Takes up what has changed in the configuration.
    async fn look(&mut self, mut source: Source) -> anyhow::Result<Source> {
        let looking = tokio::task::spawn_blocking(move || (source.look(), source));
        let (look, source) = looking.await.context("reading the configuration")?;
        match look {
            Look::Same => {}
            Look::Gone => warn!("the configuration file is gone; its settings stay in force"),
            Look::Wrong(problems) => {
                error!(%problems, "the configuration cannot be used; the one before stays in force");
            }
            Look::New(changed) => self.take_up(changed.settings, changed.rotated).await,
        }
        Ok(source)
    }

    async fn take_up(&mut self, new: Settings, rotated: bool) {
        let old = std::mem::replace(&mut self.settings, allowance::fit(new));
        let new = &self.settings;
        if (&old.socket, old.http, old.log_format) != (&new.socket, new.http, new.log_format) {
            warn!("a new socket, http address or log format takes effect at the next start");
        }
        self.logs.set_level(new.log_level);
        if rotated || (&old.memory, &old.redis) != (&new.memory, &new.redis) {
            let place = |settings: &Settings| settings.redis.as_ref().map(|redis| redis.location.clone());
            if let Some(remote) = &self.remote
                && place(&old) != place(new)
            {
                instance::leave(&old.service, &**remote).await;
            }
            let (backend, remote) = match assemble(new, &self.clock) {
                Ok(assembled) => assembled,
                Err(error) => {
                    error!(%error, "no memory for the new configuration; the one before stays in force");
                    self.settings = old;
                    return;
                }
            };
            settle(new, remote.as_deref()).await;
            self.backend.replace(backend);
            self.remote = remote;
        }
        info!(revision = new.service.revision, redis = new.redis.is_some(), "configuration taken up");
        self.next_show = Instant::now();
    }

    async fn show(&mut self) {
        let wait = match &self.remote {
            None => instance::EVERY,
            Some(remote) => {
                self.instance.show(&self.settings.service, &**remote, &self.backend.figures()).await
            }
        };
        self.next_show = Instant::now() + wait;
    }

    async fn leave(&self) {
        if let Some(remote) = &self.remote {
            instance::leave(&self.settings.service, &**remote).await;
        }
    }
}

/// Waits until the first attempts to connect have ended: clients are not told that Redis is away because it is early.
async fn settle(settings: &Settings, remote: Option<&dyn Remote>) {
    let (Some(redis), Some(remote)) = (&settings.redis, remote) else { return };
    let until = Instant::now() + redis.connect_timeout.min(LONGEST_SETTLE);
    while !remote.is_settled() && Instant::now() < until {
        sleep(SETTLE_PAUSE).await;
    }
}

/// The cache that the settings describe, and the store behind it.
///
/// # Errors
/// When there is no memory to be had for it.
fn assemble(settings: &Settings, clock: &SystemClock) -> io::Result<(Backend, Option<Arc<dyn Remote>>)> {
    let memory = &settings.memory;
    let tier = match memory.shared_reads {
        true => ArenaTier::shared(memory.capacity, clock.origin_ns(), clock.now())?,
        false => ArenaTier::new(memory.capacity)?,
    };
    if memory.shared_reads && !tier.is_shared() {
        warn!(
            "memory.sharedReads: the kernel gives no memory that can be shared; clients ask over the socket"
        );
    }
    let Some(redis) = &settings.redis else {
        let backend = Backend::memory(clock.clone(), tier, memory.time_to_live);
        return Ok((backend.with_unfinished(memory.in_flight()), None));
    };
    let tracking = redis.coherence == CoherenceMode::Tracking;
    let limits = Limits { tracking, max_stale: redis.max_stale, time_to_live: memory.time_to_live };
    let copies = Arc::new(Copies::new(tier, limits, clock.clone()));
    let sink: Arc<dyn FeedSink> = Arc::clone(&copies) as _;
    let location = match &redis.location {
        resolved::Location::Url(url) => Location::Url(url.expose().to_owned()),
        resolved::Location::File(path) => Location::File(path.clone()),
    };
    let options = Options {
        endpoint: Endpoint { location, ca_file: redis.ca_file.clone() },
        prefix: Bytes::from(redis.key_prefix.clone()),
        tracking,
        connect_timeout: redis.connect_timeout,
        command_timeout: redis.command_timeout,
        room: memory.in_flight(),
        beat: BEAT,
    };
    let remote: Arc<dyn Remote> = Arc::new(RedisRemote::start(options, sink));
    let rules = Rules { time_to_live: redis.time_to_live, flush: redis.flush == Flush::Allowed };
    let near = Near::new(copies, Arc::clone(&remote), rules);
    Ok((Backend::near(clock.clone(), near).with_unfinished(memory.in_flight()), Some(remote)))
}
