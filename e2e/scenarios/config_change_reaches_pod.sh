#!/usr/bin/env bash
# A change of the SynapseCache reaches a running pod by the ConfigMap, with default kubelet settings and without a restart.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
cache_on_redis live
client_deployment app live
rolled_out app
pod=$(pods_of app)
eventually 30 "the cache is Ready" condition_is scache/live Ready True
revision=$(field scache/live .status.revision)
[[ -n $revision ]] || fail "no revision in status"
equal "written with the old prefix" OK "$(cli app SET key old)"
equal "in Redis" old "$(redis GET "$ns:live:key")"

begun=$SECONDS
k patch scache live --type=merge -p '{"spec":{"redis":{"keyPrefix":"moved:"}}}' >/dev/null
written() { cli app SET key new >/dev/null && prints new redis GET moved:key; }
new_revision() { [[ $(field scache/live .status.revision) != "$revision" ]]; }
eventually 20 "status has a new revision" new_revision
eventually 120 "what the pod writes has the new prefix" written
note "it took $((SECONDS - begun)) s"
equal "restarts" 0 "$(restarts "$pod")"
eventually 60 "no pod is outdated" prints 0 field scache/live .status.pods.outdated
