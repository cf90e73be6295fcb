//! The closed lists of why a pod was not injected and of what was wrong with one that was.
//!
//! The same words stand in the admission answer, the status annotation, events, metrics and conditions.

use serde::{Deserialize, Serialize};

/// Why a pod was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SkipReason {
    /// Its annotation says `"false"`.
    OptedOut,
    /// Neither the pod nor its namespace names a cache.
    NotRequested,
    /// What the annotation or the label says cannot be the name of a cache.
    InvalidCacheName,
    /// Every injected part is there already.
    AlreadyInjected,
    /// A container of the sidecar's name exists that is not ours.
    SidecarNameTaken,
    /// The pod runs on Windows.
    WindowsPod,
    /// The pod mirrors a file on a node; it cannot be changed.
    MirrorPod,
    /// There is no pod in what was sent, or one without containers.
    NotAPod,
    /// Its namespace is kept away from the webhook (said by the controller, never by the webhook).
    ExcludedNamespace,
    /// The webhook was not reached when the pod was created (said by the controller).
    WebhookNotReached,
}

/// What was wrong with a pod that was injected all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Problem {
    /// The cache that it names does not exist yet: memory alone until it does.
    CacheNotFound,
    /// The cache says something that no sidecar could use; the default of that setting holds.
    InvalidCacheSpec,
    /// The cache names a Secret that the pod does not mount (said by the controller).
    CredentialsNotMounted,
    /// An annotation's value cannot be used; the default holds.
    InvalidOverride,
    /// The list of containers names one that does not exist.
    UnknownContainer,
    /// No container gets the socket.
    NoContainerChosen,
    /// A container mounts something else where the socket's directory would be; it gets no socket.
    MountPathTaken,
    /// A container sets a variable of ours to another value; its own value holds.
    VariableTaken,
    /// The memory limit cannot hold the cache's capacity.
    LimitBelowCapacity,
    /// The pod uses its node's network, where the admin port would be one of the node: it stays closed.
    AdminPortOnNode,
    /// A container of the pod declares the sidecar's admin port as its own: it stays closed.
    AdminPortTaken,
    /// A chosen init container stands before the sidecar.
    StartsBeforeSidecar,
    /// The pod came with our label and another value, which stays.
    LabelTaken,
}

impl SkipReason {
    /// Every reason, for metrics that show each from the start.
    pub const ALL: [Self; 10] = [
        Self::OptedOut,
        Self::NotRequested,
        Self::InvalidCacheName,
        Self::AlreadyInjected,
        Self::SidecarNameTaken,
        Self::WindowsPod,
        Self::MirrorPod,
        Self::NotAPod,
        Self::ExcludedNamespace,
        Self::WebhookNotReached,
    ];

    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "OptedOut",
            Self::NotRequested => "NotRequested",
            Self::InvalidCacheName => "InvalidCacheName",
            Self::AlreadyInjected => "AlreadyInjected",
            Self::SidecarNameTaken => "SidecarNameTaken",
            Self::WindowsPod => "WindowsPod",
            Self::MirrorPod => "MirrorPod",
            Self::NotAPod => "NotAPod",
            Self::ExcludedNamespace => "ExcludedNamespace",
            Self::WebhookNotReached => "WebhookNotReached",
        }
    }

    /// What it means and what to do, in one sentence.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::OptedOut => "the annotation synapse.dev/inject says \"false\"",
            Self::NotRequested => {
                "neither the pod's annotation nor its namespace's label synapse.dev/inject names a cache"
            }
            Self::InvalidCacheName => {
                "synapse.dev/inject must be the name of a SynapseCache: at most 63 characters of a-z, 0-9, - and ., and neither true nor false"
            }
            Self::AlreadyInjected => "every injected part is there already",
            Self::SidecarNameTaken => {
                "the pod has a container named synapse-sidecar that was not injected; rename or remove it"
            }
            Self::WindowsPod => "the sidecar runs on Linux only",
            Self::MirrorPod => {
                "the pod mirrors a file on its node and cannot be changed through the API server"
            }
            Self::NotAPod => "what was sent is not a pod with containers",
            Self::ExcludedNamespace => "pods of this namespace are never sent to the webhook",
            Self::WebhookNotReached => {
                "the webhook was not reached when the pod was created; delete the pod to have it created again"
            }
        }
    }
}

impl Problem {
    /// Every problem, for metrics that show each from the start.
    pub const ALL: [Self; 13] = [
        Self::CacheNotFound,
        Self::InvalidCacheSpec,
        Self::CredentialsNotMounted,
        Self::InvalidOverride,
        Self::UnknownContainer,
        Self::NoContainerChosen,
        Self::MountPathTaken,
        Self::VariableTaken,
        Self::LimitBelowCapacity,
        Self::AdminPortOnNode,
        Self::AdminPortTaken,
        Self::StartsBeforeSidecar,
        Self::LabelTaken,
    ];

    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CacheNotFound => "CacheNotFound",
            Self::InvalidCacheSpec => "InvalidCacheSpec",
            Self::CredentialsNotMounted => "CredentialsNotMounted",
            Self::InvalidOverride => "InvalidOverride",
            Self::UnknownContainer => "UnknownContainer",
            Self::NoContainerChosen => "NoContainerChosen",
            Self::MountPathTaken => "MountPathTaken",
            Self::VariableTaken => "VariableTaken",
            Self::LimitBelowCapacity => "LimitBelowCapacity",
            Self::AdminPortOnNode => "AdminPortOnNode",
            Self::AdminPortTaken => "AdminPortTaken",
            Self::StartsBeforeSidecar => "StartsBeforeSidecar",
            Self::LabelTaken => "LabelTaken",
        }
    }

    /// What it means and what to do, in one sentence.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::CacheNotFound => {
                "the cache does not exist yet: the sidecar is a memory cache, and takes the configuration up when it comes"
            }
            Self::InvalidCacheSpec => {
                "the cache says something that no sidecar could use: the default of that setting holds until it is right"
            }
            Self::CredentialsNotMounted => {
                "the cache names a Secret that this pod, created before, does not mount: delete the pod to have it created again, or use the conventional name"
            }
            Self::InvalidOverride => {
                "an annotation's value cannot be used: the default of that setting holds"
            }
            Self::UnknownContainer => "synapse.dev/containers lists a container that the pod does not have",
            Self::NoContainerChosen => "synapse.dev/containers chooses nobody: no container has the socket",
            Self::MountPathTaken => {
                "a container mounts something else where the socket's directory would be: it keeps that, and gets no socket and no variables"
            }
            Self::VariableTaken => "a container sets a variable of ours itself: its own value holds",
            Self::LimitBelowCapacity => {
                "the sidecar's memory limit cannot hold the cache's capacity: it keeps less; raise the limit, lower the capacity, or have a pod that is older than the capacity created again"
            }
            Self::AdminPortOnNode => {
                "the pod uses its node's network, where every port is one of the node: this pod's sidecar opens no admin port"
            }
            Self::AdminPortTaken => {
                "a container declares the sidecar's admin port: this pod's sidecar opens none; change the cache's sidecar.port to have one"
            }
            Self::StartsBeforeSidecar => {
                "a chosen init container stands before the sidecar, so that nothing answers yet while it runs"
            }
            Self::LabelTaken => {
                "the pod came with the label synapse.dev/cache and another value, by which its owner may select it: it stays, and selecting by label does not find the pod among its cache's; take the label out of the pod template"
            }
        }
    }
}
