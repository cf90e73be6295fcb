#!/usr/bin/env bash
# Operators killed again and again while they provision: every topic ends Ready, its groups exist, and nobody is in conflict with itself.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
# New pods: the kubelet lets a container that died often wait.
afterwards "ko rollout restart deployment/synapse-operator && operator_ready"
rounds=3
each=60
midway=0

topics() { # ROUND
    local number
    for ((number = 1; number <= each; number++)); do
        cat <<YAML
apiVersion: synapse.dev/v1alpha1
kind: SynapseTopic
metadata: {name: topic-$1-$number}
spec:
  broker: {redis: {connection: {url: "redis://redis.$ns:6379"}}}
  consumerGroups: [{name: readers, startFrom: Earliest}, {name: writers}]
  deletionPolicy: Delete
  deletionDeadline: 30s
---
YAML
    done
}
streams() { redis KEYS "topic-*" | grep -c '^topic-' || true; }
# One command, so that no time is lost between seeing the first stream and killing.
first_stream() { k exec deploy/redis -- timeout 60 sh -c "until redis-cli KEYS 'topic-$1-*' | grep -q .; do sleep 0.02; done"; }

for ((round = 1; round <= rounds; round++)); do
    operator_ready >/dev/null
    eventually 60 "round $round: somebody leads" other_lease_holder ""
    mapfile -t operators < <(operator_pods)
    aim_at "${operators[@]}"
    old=$(lease_holder)
    before=$(streams)
    topics "$round" | apply &
    applying=$!
    first_stream "$round" || fail "no stream was made"
    kill_aimed
    made=$(($(streams) - before))
    note "killed all operators at $made of $each streams"
    if ((made < each)); then midway=$((midway + 1)); fi
    wait "$applying"
    eventually 60 "a new one leads" other_lease_holder "$old"
done
((midway > 0)) || fail "every round was over before the operators died"
operator_ready >/dev/null
k wait stopic --all --for=condition=Ready --timeout=120s >/dev/null
note "all topics are Ready"
equal "streams" $((rounds * each)) "$(streams)"
equal "streams without both groups" "" "$(redis --raw EVAL "
    local without = {}
    for _, stream in ipairs(redis.call('KEYS', 'topic-*')) do
        local names = {}
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do names[#names + 1] = group[2] end
        table.sort(names)
        if table.concat(names, ' ') ~= 'readers writers' then without[#without + 1] = stream end
    end
    return without" 0)"
k delete stopic --all --timeout=90s >/dev/null
equal "streams left" 0 "$(streams)"
