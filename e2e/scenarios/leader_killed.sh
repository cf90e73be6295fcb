#!/usr/bin/env bash
# The leader dies without a word: another replica takes the Lease and goes on; a leader that ends in order hands over at once.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
# New pods: the kubelet lets a container that died often wait.
afterwards "ko rollout restart deployment/synapse-operator && operator_ready"
operator_ready >/dev/null
topic_works() { # NAME
    make_topic "$1" <<<'  consumerGroups: [{name: readers}]'
    eventually 30 "topic $1 is Ready" condition_is "stopic/$1" Ready True
}

eventually 30 "somebody leads" other_lease_holder ""
old=$(lease_holder)
pod=$(lease_holder_pod)
[[ -n $pod ]] || fail "the Lease is held by '$old', which names none of: $(operator_pods)"
aim_at "$pod"
begun=$SECONDS
kill_aimed
# What the dead one wrote is valid for 15 s, and nobody may doubt it before.
eventually 40 "another replica leads" other_lease_holder "$old"
took=$((SECONDS - begun))
note "takeover after a kill: $took s"
[[ ! -e /run/synapse-box ]] || ((took >= 8)) || fail "the Lease was taken before it had ended, or its holder was not killed"
topic_works after-kill

operator_ready >/dev/null
old=$(lease_holder)
pod=$(lease_holder_pod)
begun=$SECONDS
ko delete "$pod" --wait=false >/dev/null
eventually 40 "another replica leads" other_lease_holder "$old"
took=$((SECONDS - begun))
note "takeover after an orderly end: $took s"
# The preStop pause of 5 s comes first; a Lease that was not released would take its whole duration more.
((took <= 12)) || fail "the Lease was not released: $took s"
topic_works after-hand-over
