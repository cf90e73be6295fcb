#!/usr/bin/env bash
# While no operator answers, pods start without a sidecar; when it is back they are counted as naked, and told why.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
make_cache absent <<'YAML'
  memory: {capacity: 16Mi}
YAML
before=$(fail_open_count)
operator_away
client_deployment unlucky absent
rolled_out unlucky
pod=$(pods_of unlucky)
equal "native sidecars" 0 "$(sidecars "$pod" | wc -l)"
(($(fail_open_count) > before)) || fail "the API server did not count a failure that it let pass"
note "the API server counted it"

operator_back
eventually 60 "counted as naked" prints 1 field scache/absent .status.pods.naked
eventually 60 "the event says WebhookNotReached" has_event WebhookNotReached
k delete "$pod" --wait=false >/dev/null
healed() { prints 0 field scache/absent .status.pods.naked >/dev/null && prints 1 field scache/absent .status.pods.injected; }
rolled_out unlucky
eventually 60 "its successor is injected" healed
