#!/usr/bin/env bash
# At rest the operator writes no status, and under steady traffic hardly any: counted at the API server.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
cache_on_redis quiet
make_topic quiet <<<'  consumerGroups: [{name: readers}]'
client_deployment app quiet 2
rolled_out app
eventually 60 "the cache is Ready" condition_is scache/quiet Ready True
eventually 60 "the topic is Ready" condition_is stopic/quiet Ready True
eventually 60 "both pods are counted" prints 2 field scache/quiet .status.pods.ready
eventually 90 "no pod is outdated or unknown" prints "0 0" field scache/quiet ".status.pods.outdated} {.status.pods.unknown"

# Requests that wrote a status of our kinds, whatever the verb and the answer.
writes() {
    kubectl get --raw /metrics |
        awk '/^apiserver_request_total/ && /group="synapse.dev"/ && /subresource="status"/ && !/verb="(GET|LIST|WATCH)"/ { sum += $NF } END { print sum + 0 }'
}
# What the last changes still cause.
sleep 10
before=$(writes)
((before > 0)) || fail "no status write was ever counted: the measurement is wrong"
sleep 40
equal "status writes in 40 s at rest" "$before" "$(writes)"

note "--- under traffic"
# shellcheck disable=SC2016  # the pod's shell expands it
k exec deploy/app -c app -- sh -c 'end=$(($(date +%s) + 40)); while [ $(date +%s) -lt $end ]; do redis-cli -s '"$socket"' -r 200 GET busy >/dev/null; redis-cli -s '"$socket"' SET busy x >/dev/null; done'
for _ in {1..20}; do redis XADD quiet '*' a b >/dev/null; done
sleep 10
after=$(writes)
((after - before <= 3)) || fail "$((after - before)) status writes in 50 s of traffic"
note "status writes in 50 s of traffic: $((after - before))"
