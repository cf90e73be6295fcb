//! The composition root: makes every part, owns every task, and ends the process when one of them ends.

mod leader;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::middleware::from_fn;
use kube::Config;
use kube::client::ClientBuilder;
use prometheus_client::registry::Registry;
use synapse_controllers::cache::Figures;
use synapse_controllers::state::State;
use synapse_desired::inject::Installed;
use synapse_webhook::keeper::{Keeper, Names};
use synapse_webhook::metrics::Metrics;
use synapse_webhook::review::Admission;
use synapse_webhook::server;
use synapse_webhook::serving::Serving;
use synapse_webhook::world::Worlds;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{self, Admin, Guard};
use crate::args::Args;
use crate::signals::{self, asked_to_end};
use crate::telemetry;
use crate::traces::{Export, Propagate, follow};
use crate::world;

/// How long everything may take to stop; a pod has 30 s, of which its preStop hook takes 5.
const GRACE: Duration = Duration::from_secs(20);

/// A task's name and how it ended.
type Ended = (&'static str, anyhow::Result<()>);

/// Runs until a signal, or until a part of it ends by itself.
///
/// # Errors
/// When a part cannot be made, or ended without having been told to.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // Admission is a few hundred microseconds of work: two threads serve thousands of pods a second.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let export = Export::start(args.otlp_endpoint.as_deref(), |name| std::env::var(name).ok())?;
        let tracer = export.as_ref().map(Export::tracer);
        telemetry::start(args.log_level.clone(), args.log_format, tracer);
        let done = compose(args).await;
        if let Some(export) = export {
            export.close().await;
        }
        done
    })
}

async fn compose(args: Args) -> anyhow::Result<()> {
    let me = args.pod_name.clone().or_else(machine).context("give --pod-name (or POD_NAME)")?;
    let image = args.sidecar_image.clone().context("give --sidecar-image (or SYNAPSE_SIDECAR_IMAGE)")?;
    let installed = Installed { image, pull_policy: None, version: env!("CARGO_PKG_VERSION").to_owned() };
    let webhook_door = listen(args.webhook_address)?;
    let admin_door = tokio::net::TcpListener::from_std(listen(args.admin_address)?)?;
    let way = Config::infer().await.context("no way to the API server")?;
    let client = ClientBuilder::try_from(way)?.with_layer(&Propagate).build();

    let mut registry = Registry::default();
    let state = Arc::new(State::register(&mut registry));
    registry.register_collector(Box::new(Arc::clone(&state)));
    let figures = Figures::register(&mut registry);
    let worlds = Arc::new(Worlds::default());
    let admission = Admission::new(Arc::clone(&worlds), installed.clone(), Metrics::register(&mut registry));
    let serving = Arc::new(Serving::default());
    // Kept here until the end: whoever follows it must not take a stopped election for a crash.
    let (leading, led) = watch::channel(false);
    let (reachable, is_reachable) = watch::channel(false);
    let (known, is_known) = watch::channel(false);
    let (stopper, stop) = signals::stop();
    let (namespaces, watching) = world::watch(&client, worlds, known);
    let names = Names {
        namespace: args.namespace.clone(),
        secret: args.certificate_secret.clone(),
        service: args.webhook_service.clone(),
        configuration: args.webhook_configuration.clone(),
    };
    let admin = Admin {
        registry: Arc::new(registry),
        reachable: is_reachable,
        known: is_known,
        leading: led.clone(),
        seen: Arc::clone(&state),
        guard: Arc::new(Guard::new(client.clone())),
    };
    let keeper = Keeper::new(client.clone(), names, Arc::clone(&serving), led, reachable);
    let leader =
        leader::Leader { client, args, me, installed, namespaces, state, figures, leading: leading.clone() };

    let mut tasks = JoinSet::new();
    let told = stop.clone().told();
    tasks.spawn(async move {
        let routes = server::router(Arc::new(admission)).layer(from_fn(follow));
        let served = server::serve(webhook_door, &serving, routes, told).await;
        ("webhook", served.context("the webhook's listener failed"))
    });
    let told = stop.clone().told();
    tasks.spawn(async move {
        let served = admin::serve(admin_door, admin, told).await;
        ("admin", served.context("the admin listener failed"))
    });
    tasks.spawn(until(stop.clone(), "watch", watching));
    tasks.spawn(until(stop.clone(), "keeper", keeper.run()));
    tasks.spawn(async move { ("leader", leader.run(stop).await) });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "started");

    let ended = tokio::select! {
        signal = asked_to_end() => {
            tracing::info!(signal = signal?, "stopping");
            Ok(())
        }
        Some(ended) = tasks.join_next() => unexpected(ended),
    };
    stopper.stop();
    let drained = tokio::time::timeout(GRACE, async {
        while let Some(ended) = tasks.join_next().await {
            if let Ok((task, Err(error))) = ended {
                tracing::warn!(task, error = format!("{error:#}"), "did not stop well");
            }
        }
    });
    if drained.await.is_err() {
        tracing::warn!("not everything stopped within {GRACE:?}");
    }
    drop(leading);
    ended
}

/// Runs `task` until it is told to stop.
async fn until(stop: signals::Stop, name: &'static str, task: impl Future<Output = ()>) -> Ended {
    tokio::select! {
        () = stop.told() => (name, Ok(())),
        () = task => (name, Err(anyhow::anyhow!("ended by itself"))),
    }
}

fn unexpected(ended: Result<Ended, tokio::task::JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok((task, Err(error))) => Err(error.context(format!("the task {task} failed"))),
        Ok((task, Ok(()))) => bail!("the task {task} ended without having been told to"),
        Err(error) => bail!("a task panicked: {error}"),
    }
}

fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The machine's name, which in a pod is the pod's.
fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
