#!/usr/bin/env bash
# Pods that are created before their SynapseCache have a memory cache, and take up the cache when it comes, without a restart.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
client_deployment early later
rolled_out early
pod=$(pods_of early)
equal "native sidecars" 1 "$(sidecars "$pod" | wc -l)"
equal "works as a memory cache" OK "$(cli early SET before the-cache)"
[[ $(field "$pod" '.metadata.annotations.synapse\.dev/status') == *CacheNotFound* ]] || fail "the status annotation does not say CacheNotFound"
note "the pod says CacheNotFound"

start_redis
cache_on_redis later
written() { cli early SET after the-cache >/dev/null && prints the-cache redis GET "$ns:later:after"; }
# The kubelet brings a ConfigMap within its sync period (60 s) and what its cache adds.
eventually 120 "what the pod writes reaches Redis" written
equal "restarts" 0 "$(restarts "$pod")"
equal "the pod is the same" "$pod" "$(pods_of early)"
eventually 30 "the pod is not counted as outdated" prints 0 field scache/later .status.pods.outdated
