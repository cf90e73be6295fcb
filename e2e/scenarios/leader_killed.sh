#!/usr/bin/env bash
# The leader dies without a word: another replica takes the Lease and goes on; a leader that ends in order hands over at once.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
afterwards operator_ready
operator_ready >/dev/null
holder() { ko get lease synapse-operator -o jsonpath='{.spec.holderIdentity}'; }
# The holder's identity begins with, or is, the name of its pod.
holder_pod() {
    local pod identity
    identity=$(holder)
    for pod in $(operator_pods); do
        [[ $identity != *"${pod#pod/}"* ]] || printf '%s' "$pod"
    done
}
other_holder() { # OLD
    local now
    now=$(holder)
    printf '%s' "$now"
    [[ -n $now && $now != "$1" ]]
}
topic_works() { # NAME
    make_topic "$1" <<<'  consumerGroups: [{name: readers}]'
    eventually 30 "topic $1 is Ready" condition_is "stopic/$1" Ready True
}

eventually 30 "somebody leads" test -n "$(holder)"
old=$(holder)
pod=$(holder_pod)
[[ -n $pod ]] || fail "the Lease is held by '$old', which names none of: $(operator_pods)"
begun=$SECONDS
ko delete "$pod" --grace-period=0 --force >/dev/null 2>&1
eventually 40 "another replica leads" other_holder "$old"
note "takeover after a kill: $((SECONDS - begun)) s"
topic_works after-kill

operator_ready >/dev/null
old=$(holder)
pod=$(holder_pod)
begun=$SECONDS
ko delete "$pod" --wait=false >/dev/null
eventually 40 "another replica leads" other_holder "$old"
took=$((SECONDS - begun))
note "takeover after an orderly end: $took s"
# The preStop pause of 5 s comes first; a Lease that was not released would take its whole duration more.
((took <= 12)) || fail "the Lease was not released: $took s"
topic_works after-hand-over
