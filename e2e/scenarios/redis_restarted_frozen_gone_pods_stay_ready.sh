#!/usr/bin/env bash
# Redis restarts, freezes and goes: no pod leaves its EndpointSlice, errors come within a deadline, and all heals by itself.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
cache_on_redis steady
client_deployment app steady 2
rolled_out app
apply <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80}]}
YAML
ready_endpoints() {
    k get endpointslices -l kubernetes.io/service-name=app -o jsonpath='{range .items[*].endpoints[*]}{.conditions.ready}{"\n"}{end}' | grep -c true
}
both_ready() { prints 2 ready_endpoints; }
eventually 20 "both pods are in the EndpointSlice" both_ready

# Watches from here to the end; a pod that left for a moment leaves a line.
(
    while :; do
        both_ready >/dev/null 2>&1 || date +%T
        sleep 0.5
    done
) >"/tmp/$ns.left" 2>/dev/null &
watcher=$!
afterwards "kill $watcher; rm -f /tmp/$ns.left"

works() { [[ $(cli app SET "$1" "$1") == OK ]] && prints "$1" redis GET "$ns:steady:$1"; }
# An answer of any kind within 5 s: a write while Redis is away is an error, and is not waited for.
answers_in_time() {
    local begun=$SECONDS
    timeout 8 kubectl --namespace "$ns" exec deploy/app -c app -- redis-cli -s "$socket" SET lost "$RANDOM" || true
    ((SECONDS - begun <= 6))
}
eventually 20 "writes reach Redis" works first

note "--- Redis restarts"
k delete pod -l app=redis --wait=false >/dev/null
k rollout status deployment/redis --timeout=60s >/dev/null
eventually 30 "writes reach the new Redis" works second

note "--- Redis freezes for 15 s"
redis DEBUG SLEEP 15 >/dev/null &
frozen=$!
sleep 1
answer=$(answers_in_time) || fail "a write waited for the frozen Redis"
note "a write while it is frozen: $answer"
[[ $answer != OK ]] || fail "a write was acknowledged while Redis was frozen"
wait "$frozen"
eventually 30 "writes reach Redis again" works third

note "--- Redis is gone"
k scale deployment/redis --replicas=0 >/dev/null
eventually 30 "no Redis runs" prints "" pods_of redis
answer=$(answers_in_time) || fail "a write waited for a Redis that is gone"
note "a write while it is gone: $answer"
[[ $answer != OK ]] || fail "a write was acknowledged without Redis"
eventually 60 "the cache says Degraded" condition_is scache/steady Degraded True
throughout 10 "both pods stay in the EndpointSlice" both_ready

k scale deployment/redis --replicas=1 >/dev/null
k rollout status deployment/redis --timeout=60s >/dev/null
eventually 30 "writes reach Redis again" works fourth
eventually 60 "the cache is no longer Degraded" condition_is scache/steady Degraded False
for pod in $(pods_of app); do equal "restarts of $pod" 0 "$(restarts "$pod")"; done
equal "times that a pod had left" "" "$(cat "/tmp/$ns.left")"
