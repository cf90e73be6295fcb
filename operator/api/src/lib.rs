//! Our kinds, their rules, names, conditions: no client, no tokio.

#[expect(unreachable_pub, reason = "KubeSchema repeats each struct, with its `pub`, inside a function")]
pub mod cache;
pub mod conditions;
#[expect(unreachable_pub, reason = "KubeSchema repeats each struct, with its `pub`, inside a function")]
pub mod connection;
pub mod generated;
pub mod names;
pub mod paths;
pub mod reasons;
pub mod sidecar;
#[expect(unreachable_pub, reason = "KubeSchema repeats each struct, with its `pub`, inside a function")]
#[expect(clippy::duplicated_attributes, reason = "two printer columns may have the same type or priority")]
pub mod topic;
