//! `release-finalizers`: nothing of the cluster waits for an operator that is about to be uninstalled.
//!
//! The operator still runs meanwhile and would put back what is taken away: so its lease is taken first, upon which
//! the leader ends, and nobody else leads for as long as the lease lasts.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use synapse_controllers::call::{CallError, limited};
use synapse_controllers::lease::Timing;
use synapse_controllers::lease::decision::held;
use synapse_controllers::topic::finalizer;

use crate::args::Args;
use crate::telemetry;

/// Who holds the lease in the meantime.
const ME: &str = "release-finalizers";
/// How long nobody else leads: the helm hook ends within it.
const HELD_FOR: Duration = Duration::from_secs(60);
/// And how long after that: the operator is deleted meanwhile. An operator that is installed again at once waits for it.
const LEFT_FOR: Duration = Duration::from_secs(20);
/// The leader renews, and may so lose to us, a few times.
const ATTEMPTS: usize = 5;

/// Lets go of every topic.
///
/// # Errors
/// When the API server cannot be reached or refuses.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    telemetry::start(args.log_level.clone(), args.log_format, None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_default().await.context("no way to the API server")?;
        let leases = Api::<Lease>::namespaced(client.clone(), &args.namespace);
        let taken = take(&leases, &args.lease_name, HELD_FOR).await?;
        if taken {
            // The leader learns of it at its next renewal, and has ended by then.
            let timing = Timing::default();
            tokio::time::sleep(timing.retry.mul_f64(1.2) + Duration::from_secs(1)).await;
        }
        let released = finalizer::release_all(&client).await?;
        if taken {
            take(&leases, &args.lease_name, LEFT_FOR).await?;
        }
        tracing::info!(released, "topics were let go");
        Ok(())
    })
}

/// Takes the lease from whoever holds it; false where there is none.
async fn take(leases: &Api<Lease>, name: &str, duration: Duration) -> Result<bool, CallError> {
    let mut attempt = 1;
    loop {
        let Some(lease) = limited("get the lease", leases.get_opt(name)).await? else { return Ok(false) };
        let ours = held(Some(lease), name, ME, duration, MicroTime(Timestamp::now()));
        match limited("take the lease", leases.replace(name, &PostParams::default(), &ours)).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
