#!/usr/bin/env bash
# An annotated pod gets a native sidecar, becomes Ready, and its unmodified client reads what another pod wrote.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
cache_on_redis sessions
client_deployment one sessions
client_deployment two sessions
rolled_out one
rolled_out two

pod=$(pods_of one)
equal "native sidecars" 1 "$(sidecars "$pod" | wc -l)"
equal "position of the sidecar" "$(sidecars "$pod")" "$(field "$pod" '.spec.initContainers[0].name')"
equal "app containers" app "$(field "$pod" '.spec.containers[*].name')"
equal "socket in the app's environment" "$socket" "$(field "$pod" '.spec.containers[0].env[?(@.name=="SYNAPSE_SOCKET")].value')"
equal "label of the cache" sessions "$(field "$pod" '.metadata.labels.synapse\.dev/cache')"
[[ -n $(field "$pod" '.metadata.annotations.synapse\.dev/status') ]] || fail "no status annotation"

equal "write in one" OK "$(cli one SET greeting hello)"
eventually 10 "read in two" prints hello cli two GET greeting
eventually 10 "in Redis, under the cache's prefix" prints hello redis GET "$ns:sessions:greeting"
equal "change in two" OK "$(cli two SET greeting goodbye)"
eventually 5 "seen in one" prints goodbye cli one GET greeting
redis SET "$ns:sessions:greeting" "from redis-cli" >/dev/null
eventually 5 "a change by plain redis-cli, seen in one" prints "from redis-cli" cli one GET greeting
eventually 5 "and in two" prints "from redis-cli" cli two GET greeting

eventually 60 "the cache is Ready" condition_is scache/sessions Ready True
eventually 60 "both pods are counted as injected" prints 2 field scache/sessions .status.pods.injected
eventually 60 "both pods are counted as ready" prints 2 field scache/sessions .status.pods.ready
equal "naked pods" 0 "$(field scache/sessions .status.pods.naked)"
equal "generation observed" "$(field scache/sessions .metadata.generation)" "$(field scache/sessions .status.observedGeneration)"
