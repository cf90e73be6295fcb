//! `release-finalizers`: nothing of the cluster waits for an operator that is about to be uninstalled.

use anyhow::Context;
use kube::Client;
use synapse_controllers::topic::finalizer;

use crate::args::Args;

/// Lets go of every topic.
///
/// # Errors
/// When the API server cannot be reached or refuses.
pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_default().await.context("no way to the API server")?;
        let released = finalizer::release_all(&client).await?;
        tracing::info!(released, "topics were let go");
        Ok(())
    })
}
