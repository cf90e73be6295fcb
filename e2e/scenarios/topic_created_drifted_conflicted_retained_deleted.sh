#!/usr/bin/env bash
# The life of a topic on a real Redis: made, repaired, reported, contested, retained, adopted, deleted when drained.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis

note "--- created"
make_topic events <<'YAML'
  retention: {entries: 1000}
  consumerGroups: [{name: billing, startFrom: Earliest}, {name: search}]
YAML
eventually 30 "Ready" condition_is stopic/events Ready True
equal "type on the broker" stream "$(redis TYPE events)"
equal "groups" "billing search" "$(groups_of events)"
redis XADD events '*' type created >/dev/null
eventually 60 "status counts the entry" prints 1 field stopic/events .status.entries

note "--- drifted"
redis XGROUP DESTROY events search >/dev/null
redis XGROUP CREATE events unknown 0 >/dev/null
eventually 60 "enforced: the group is back" prints "billing search unknown" groups_of events
note "and the group that nobody declared is still there"
k patch stopic events --type=merge -p '{"spec":{"drift":"Report"}}' >/dev/null
eventually 20 "the change is observed" prints "$(field stopic/events .metadata.generation)" field stopic/events .status.observedGeneration
redis XGROUP DESTROY events search >/dev/null
eventually 60 "reported: Drifted" condition_is stopic/events Drifted True
equal "groups are left as they are" "billing unknown" "$(groups_of events)"
k patch stopic events --type=merge -p '{"spec":{"drift":"Enforce"}}' >/dev/null
eventually 60 "no longer Drifted" condition_is stopic/events Drifted False

note "--- conflicted"
make_topic rival <<'YAML'
  name: events
  consumerGroups: [{name: spies}]
YAML
eventually 60 "the second object is in Conflict" condition_is stopic/rival Conflict True
[[ $(k get stopic rival -o jsonpath='{.status.conditions[?(@.type=="Conflict")].message}') == *"$ns/events"* ]] ||
    fail "Conflict does not name the winner: $(k get stopic rival -o jsonpath='{.status.conditions}')"
note "and names the winner"
equal "groups" "billing search unknown" "$(groups_of events)"
k delete stopic rival --timeout=30s >/dev/null

note "--- retained"
k delete stopic events --timeout=30s >/dev/null
equal "the stream stays" stream "$(redis TYPE events)"
make_topic adopter <<'YAML'
  name: events
YAML
eventually 60 "a stream that belongs to nobody is not taken" condition_is stopic/adopter Conflict True
k patch stopic adopter --type=merge -p '{"spec":{"adoption":"Adopt","deletionPolicy":"DeleteWhenDrained","deletionDeadline":"5m"}}' >/dev/null
eventually 60 "adopted" condition_is stopic/adopter Ready True
equal "its entries are there" 1 "$(redis XLEN events)"

note "--- deleted when drained"
redis XGROUP DESTROY events search >/dev/null
redis XGROUP DESTROY events unknown >/dev/null
k patch stopic adopter --type=merge -p '{"spec":{"consumerGroups":[{"name":"billing","startFrom":"Earliest"}]}}' >/dev/null
eventually 20 "the change is observed" prints "$(field stopic/adopter .metadata.generation)" field stopic/adopter .status.observedGeneration
k delete stopic adopter --wait=false >/dev/null
eventually 30 "it waits for its group" condition_is stopic/adopter Draining True
equal "the stream waits too" stream "$(redis TYPE events)"
id=$(redis XREADGROUP GROUP billing worker COUNT 1 STREAMS events '>' | grep -oE '[0-9]{10,}-[0-9]+' | head -n 1)
redis XACK events billing "$id" >/dev/null
k wait stopic/adopter --for=delete --timeout=60s >/dev/null
equal "drained, and gone" none "$(redis TYPE events)"
