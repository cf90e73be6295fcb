//! What a namespace's LimitRanges allow one container, so that a pod is not refused for ours.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LimitRangeSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::millis;

/// The entries of a LimitRange that speak of a container by itself.
const OF_A_CONTAINER: &str = "Container";

/// What a container may request, and be limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(BTreeMap<String, Range>);

/// The bounds of one resource, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    least: Option<u128>,
    most: Option<u128>,
    /// The most that a limit is of its request.
    ratio: Option<u128>,
}

// === impl Bounds ===

impl Bounds {
    /// What all of `ranges` allow together.
    #[must_use]
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a LimitRangeSpec>) -> Self {
        let mut bounds = Self::default();
        for item in ranges.into_iter().flat_map(|range| &range.limits) {
            if item.type_ != OF_A_CONTAINER {
                continue;
            }
            bounds.narrow(item.min.as_ref(), |range, least| range.least = range.least.max(Some(least)));
            bounds.narrow(item.max.as_ref(), |range, most| {
                range.most = Some(range.most.map_or(most, |known| known.min(most)));
            });
            bounds.narrow(item.max_limit_request_ratio.as_ref(), |range, ratio| {
                range.ratio = Some(range.ratio.map_or(ratio, |known| known.min(ratio)));
            });
        }
        bounds
    }

    fn narrow(&mut self, said: Option<&BTreeMap<String, Quantity>>, with: impl Fn(&mut Range, u128)) {
        for (resource, amount) in said.into_iter().flatten() {
            if let Some(amount) = millis(&amount.0) {
                with(self.0.entry(resource.clone()).or_default(), amount);
            }
        }
    }

    /// The nearest request and limit of `resource` that are allowed, in thousandths. Equal ones stay equal.
    pub(super) fn fit(&self, resource: &str, request: u128, limit: u128) -> (u128, u128) {
        let Range { least, most, ratio } = self.0.get(resource).copied().unwrap_or_default();
        let within = |amount: u128| amount.max(least.unwrap_or(0)).min(most.unwrap_or(u128::MAX));
        let limit = within(limit);
        let of_ratio = ratio.map_or(0, |ratio| (limit * 1000).div_ceil(ratio.max(1000)));
        (within(request).max(of_ratio).min(limit), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn fit(limits: Value, request: u128, limit: u128) -> (u128, u128) {
        let spec: LimitRangeSpec = serde_json::from_value(json!({"limits": limits})).unwrap();
        Bounds::of([&spec]).fit("cpu", request, limit)
    }

    #[test]
    fn the_nearest_that_is_allowed_is_taken() {
        let container = |said: Value| {
            let mut entry = json!({"type": "Container"});
            entry.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            entry
        };
        assert_eq!(fit(json!([]), 50, 500), (50, 500));
        assert_eq!(fit(json!([container(json!({"max": {"cpu": "200m"}}))]), 50, 500), (50, 200));
        assert_eq!(fit(json!([container(json!({"min": {"cpu": "0.1"}}))]), 50, 500), (100, 500));
        assert_eq!(fit(json!([container(json!({"min": {"cpu": 1}}))]), 50, 500), (1000, 1000));
        assert_eq!(
            fit(json!([container(json!({"maxLimitRequestRatio": {"cpu": "3"}}))]), 50, 500),
            (167, 500)
        );
        let both =
            json!([container(json!({"max": {"cpu": "2"}})), container(json!({"max": {"cpu": "40m"}}))]);
        assert_eq!(fit(both, 50, 500), (40, 40));
        assert_eq!(fit(json!([{"type": "Pod", "max": {"cpu": "1m"}}]), 50, 500), (50, 500));
        assert_eq!(fit(json!([container(json!({"max": {"memory": "1Mi"}}))]), 50, 500), (50, 500));
    }
}
