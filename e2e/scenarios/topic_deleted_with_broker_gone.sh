#!/usr/bin/env bash
# A topic that is to delete its stream can be deleted although its broker is gone: at its deadline the stream is retained.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
for policy in Delete DeleteWhenDrained; do
    make_topic "$(tr '[:upper:]' '[:lower:]' <<<"$policy")" <<YAML
  deletionPolicy: $policy
  deletionDeadline: 10s
  consumerGroups: [{name: readers}]
YAML
done
k wait stopic --all --for=condition=Ready --timeout=60s >/dev/null
note "both topics are Ready"
k scale deployment/redis --replicas=0 >/dev/null
eventually 30 "no Redis runs" prints "" pods_of redis
begun=$SECONDS
k delete stopic --all --timeout=60s >/dev/null
note "deleted after $((SECONDS - begun)) s"
begun=$SECONDS
kubectl delete namespace "$ns" --timeout=60s >/dev/null
note "the namespace went after $((SECONDS - begun)) s"
