#!/usr/bin/env bash
# Operators killed again and again while they provision: every topic ends Ready, its groups exist, and nobody is in conflict with itself.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
afterwards operator_ready
count=30
for ((number = 1; number <= count; number++)); do
    cat <<YAML
apiVersion: synapse.dev/v1alpha1
kind: SynapseTopic
metadata: {name: topic-$number}
spec:
  broker: {redis: {connection: {url: "redis://redis.$ns:6379"}}}
  consumerGroups: [{name: readers, startFrom: Earliest}, {name: writers}]
  deletionPolicy: Delete
  deletionDeadline: 30s
---
YAML
done >"/tmp/$ns.yaml"
afterwards "rm -f /tmp/$ns.yaml"
k apply -f "/tmp/$ns.yaml" >/dev/null &
applying=$!
for _ in 1 2 3; do
    sleep 1
    ko delete pods -l app.kubernetes.io/name=synapse-operator --grace-period=0 --force >/dev/null 2>&1
    note "killed all operators"
    eventually 60 "one is Ready again" ko wait deployment/synapse-operator --for=condition=Available --timeout=1s
done
wait "$applying"
operator_ready >/dev/null
k wait stopic --all --for=condition=Ready --timeout=120s >/dev/null
note "all $count topics are Ready"
for ((number = 1; number <= count; number++)); do
    [[ $(groups_of "topic-$number") == "readers writers" ]] || fail "groups of topic-$number: $(groups_of "topic-$number")"
done
note "each stream has its groups, once"
k delete stopic --all --timeout=90s >/dev/null
equal "streams left" 0 "$(redis KEYS 'topic-*' | grep -c '^topic-' || true)"
