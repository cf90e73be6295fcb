//! The key that every sidecar keeps alive in Redis: which configuration it has, and how it does.

use serde::{Deserialize, Serialize};

/// The longest value that is read, in bytes: anyone with access to Redis can write it.
pub const MAX_VALUE: usize = 16 * 1024;

/// What a sidecar says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub pod: String,
    /// Name of the cache.
    pub cache: String,
    /// Service that the pod belongs to.
    pub service: Option<String>,
    /// Version of the sidecar.
    pub version: Option<String>,
    /// Revision of the configuration that it has.
    pub revision: Option<String>,
    /// Topics that the service publishes to.
    pub publishes: Vec<String>,
    /// Topics that the service consumes.
    pub consumes: Vec<String>,
    /// Reads answered from memory.
    pub hits: u64,
    /// Reads that were not.
    pub misses: u64,
    /// Entries in memory.
    pub entries: u64,
    /// Bytes in memory.
    pub bytes: u64,
}

/// The key of one pod.
#[must_use]
pub fn key(namespace: &str, pod: &str) -> String {
    format!("synapse:registry:{namespace}/{pod}")
}

/// What `value` says, if it speaks of that pod and cache.
#[must_use]
pub fn parse(value: &[u8], namespace: &str, pod: &str, cache: &str) -> Option<Instance> {
    if value.len() > MAX_VALUE {
        return None;
    }
    let instance: Instance = serde_json::from_slice(value).ok()?;
    (instance.namespace == namespace && instance.pod == pod && instance.cache == cache).then_some(instance)
}

/// Share of reads answered from memory, rounded to hundredths; nothing where nobody read.
#[must_use]
pub fn hit_ratio<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Option<String> {
    let (hits, reads) = instances.into_iter().fold((0_u128, 0_u128), |(hits, reads), instance| {
        let (hit, missed) = (u128::from(instance.hits), u128::from(instance.misses));
        (hits + hit, reads + hit + missed)
    });
    let hundredths = (hits * 100 + reads / 2).checked_div(reads)?;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(hits: u64, misses: u64) -> Instance {
        Instance { hits, misses, ..Instance::default() }
    }

    #[test]
    fn ratios_are_rounded_to_hundredths() {
        assert_eq!(hit_ratio([]), None);
        assert_eq!(hit_ratio(&[counted(0, 0)]), None);
        assert_eq!(hit_ratio(&[counted(0, 7)]).as_deref(), Some("0.00"));
        assert_eq!(hit_ratio(&[counted(7, 0)]).as_deref(), Some("1.00"));
        assert_eq!(hit_ratio(&[counted(2, 0), counted(0, 1)]).as_deref(), Some("0.67"));
        assert_eq!(hit_ratio(&[counted(u64::MAX, u64::MAX)]).as_deref(), Some("0.50"));
    }

    #[test]
    fn a_value_counts_only_for_its_own_pod() {
        let value = br#"{"namespace":"shop","pod":"a","cache":"c","revision":"r","hits":3,"new":1}"#;
        assert_eq!(parse(value, "shop", "a", "c").unwrap().revision.as_deref(), Some("r"));
        assert_eq!(parse(value, "shop", "b", "c"), None);
        assert_eq!(parse(b"not json", "shop", "a", "c"), None);
    }
}
