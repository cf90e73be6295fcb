//! Whether a pod asks for a cache, and whether it can have one.

use serde_json::Value;
use synapse_api::names;
use synapse_api::paths;
use synapse_api::reasons::SkipReason;

use super::pod::{Pod, list, name};
use super::status::{InjectedStatus, injected_status};
use super::{SIDECAR, World};

/// The annotation by which a kubelet marks the mirror of a file on its node.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The cache that the pod, or else its namespace, names.
pub(super) fn cache<'a>(pod: &Pod<'a>, world: &World<'a>) -> Result<&'a str, SkipReason> {
    let wish = pod
        .annotation(names::INJECT)
        .or_else(|| world.namespace_label.filter(|label| *label != names::OPT_OUT))
        .ok_or(SkipReason::NotRequested)?;
    match wish {
        names::OPT_OUT => Err(SkipReason::OptedOut),
        cache if names::is_cache_name(cache) => Ok(cache),
        _ => Err(SkipReason::InvalidCacheName),
    }
}

/// Leaves alone what could not run the sidecar.
pub(super) fn refuse_what_cannot_work(pod: &Pod<'_>) -> Result<(), SkipReason> {
    let os = pod.spec().get("os").and_then(name);
    let node = pod.spec().get("nodeSelector").and_then(|labels| labels.get("kubernetes.io/os"));
    if pod.annotation(MIRROR).is_some() {
        Err(SkipReason::MirrorPod)
    } else if os == Some("windows") || node.and_then(Value::as_str) == Some("windows") {
        Err(SkipReason::WindowsPod)
    } else {
        Ok(())
    }
}

/// What an earlier pass did to this pod.
///
/// A container of the sidecar's name counts as ours only when it is a native sidecar that mounts the volume
/// which the status annotation names.
pub(super) fn injected_before(pod: &Pod<'_>) -> Result<Option<InjectedStatus>, SkipReason> {
    if !pod.all_containers().any(|container| name(container) == Some(SIDECAR)) {
        return Ok(None);
    }
    let status =
        pod.annotation(names::STATUS).and_then(injected_status).ok_or(SkipReason::SidecarNameTaken)?;
    let ours = pod.init_containers().iter().filter_map(Value::as_object).any(|container| {
        container.get("name").and_then(Value::as_str) == Some(SIDECAR)
            && container.get("restartPolicy").and_then(Value::as_str) == Some("Always")
            && list(container, "volumeMounts").unwrap_or_default().iter().any(|mount| {
                name(mount) == Some(status.volume.as_str())
                    && mount.get("mountPath").and_then(Value::as_str) == Some(paths::SOCKET_DIR)
            })
    });
    if ours { Ok(Some(status)) } else { Err(SkipReason::SidecarNameTaken) }
}
