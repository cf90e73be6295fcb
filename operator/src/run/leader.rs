//! What only the leader does: waits for the lease, runs the controllers, and ends with the lease.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use synapse_controllers::broker::pool::Pool;
use synapse_controllers::cache::{self, Caches, Figures};
use synapse_controllers::call::limited;
use synapse_controllers::lease::{Election, Timing};
use synapse_controllers::report::Reports;
use synapse_controllers::state::State;
use synapse_controllers::topic::{self, Topics};
use synapse_desired::inject::Installed;
use tokio::sync::watch;

use crate::args::Args;
use crate::signals::Stop;
use crate::world::Namespaces;

/// Pause between two attempts to learn which cluster this is.
const RETRY: Duration = Duration::from_secs(2);

/// A candidate, with all that its controllers will need.
pub(super) struct Leader {
    pub(super) client: Client,
    pub(super) args: Args,
    pub(super) me: String,
    pub(super) installed: Installed,
    pub(super) namespaces: Namespaces,
    pub(super) state: Arc<State>,
    pub(super) figures: Figures,
    pub(super) leading: watch::Sender<bool>,
}

impl Leader {
    /// Waits for the lease and leads, until told to stop.
    ///
    /// # Errors
    /// When the lease is lost, or the controllers end by themselves.
    pub(super) async fn run(self, stop: Stop) -> anyhow::Result<()> {
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.args.namespace);
        let identity = format!("{}_{}", self.me, nonce());
        let mut election = Election::new(leases, &self.args.lease_name, identity, Timing::default());
        let elected = tokio::select! {
            () = election.acquire() => true,
            () = stop.clone().told() => false,
        };
        let led = if elected { self.lead(&mut election, stop).await } else { Ok(()) };
        // Also where the wait was cut short: the lease may have become ours in that moment.
        election.release().await;
        led
    }

    async fn lead(self, election: &mut Election, stop: Stop) -> anyhow::Result<()> {
        tracing::info!("leading");
        self.leading.send_replace(true);
        let controllers = self.controllers(stop.clone());
        let lost = tokio::select! {
            lost = election.hold() => Some(lost),
            () = controllers => None,
        };
        self.leading.send_replace(false);
        match lost {
            Some(lost) => bail!("leads no longer: {lost}"),
            None if stop.is_told() => Ok(()),
            None => bail!("the controllers ended by themselves"),
        }
    }

    /// Both kinds, until told to stop.
    async fn controllers(&self, stop: Stop) {
        let Some(cluster) = self.cluster(stop.clone()).await else { return };
        let pool = Arc::new(Pool::default());
        let reports = Reports::new(self.client.clone(), &self.me);
        let caches = Caches {
            client: self.client.clone(),
            reports: reports.clone(),
            pool: Arc::clone(&pool),
            resync: self.args.resync,
            installed: self.installed.clone(),
            webhook: self.args.webhook_configuration.clone(),
            namespaces: self.namespaces.clone(),
            state: Arc::clone(&self.state),
            figures: self.figures.clone(),
        };
        let topics = Topics::new(
            self.client.clone(),
            reports,
            pool,
            cluster,
            self.args.resync,
            Arc::clone(&self.state),
        );
        tokio::join!(
            cache::run(caches, self.args.workers, stop.clone().told()),
            topic::run(Arc::new(topics), self.args.workers, stop.told()),
        );
    }

    /// Uid of the namespace `kube-system`, by which clusters that share a Redis are told apart.
    async fn cluster(&self, stop: Stop) -> Option<String> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        loop {
            match limited("get the namespace kube-system", namespaces.get_metadata("kube-system")).await {
                Ok(found) => return found.metadata.uid,
                Err(error) => tracing::warn!(%error, "unable to tell which cluster this is; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.clone().told() => return None,
            }
        }
    }
}

/// Tells this process from one of the same name that ran before.
fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
