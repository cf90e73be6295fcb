#!/usr/bin/env bash
# Certificates rotated, chart upgraded, operator rolled, under a stream of new pods: every pod is injected and nothing failed open.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
operator_ready >/dev/null
before=$(fail_open_count)

# Pods that are admitted and never scheduled, so that only admission is loaded; 10 at a time, until told to stop.
stream() {
    local batch=0 number
    trap 'exit 0' TERM
    while :; do
        batch=$((batch + 1))
        for number in {1..10}; do
            cat <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: stream-$batch-$number
  labels: {app: stream}
  annotations: {synapse.dev/inject: rotation}
spec:
  schedulingGates: [{name: synapse.dev/scenario}]
  containers: [{name: app, image: $registry/busybox:test}]
---
YAML
        done | k create -f - >/dev/null
        sleep 0.2
    done
}
stream &
streaming=$!
afterwards "kill $streaming"
created() { k get pods -l app=stream --no-headers | wc -l; }
grows() { (($(created) > $1)); }
eventually 20 "pods are being created" grows 0

bundle() { kubectl get mutatingwebhookconfiguration synapse-injector -o jsonpath='{.webhooks[0].clientConfig.caBundle}' | sha256sum; }
leaf() { ko get secret synapse-webhook-tls -o jsonpath='{.data}' | sha256sum; }
differs() { # OLD COMMAND
    [[ $("$2") != "$1" ]]
}

note "--- certificates"
old=$(leaf)
ko delete secret synapse-webhook-tls >/dev/null
has_new_leaf() { ko get secret synapse-webhook-tls >/dev/null && differs "$old" leaf; }
eventually 60 "a new certificate was made" has_new_leaf
operator_ready >/dev/null

note "--- a caBundle that something reset"
old=$(bundle)
kubectl patch mutatingwebhookconfiguration synapse-injector --type=json \
    -p '[{"op":"replace","path":"/webhooks/1/clientConfig/caBundle","value":""}]' >/dev/null
both_have_one() {
    [[ $(kubectl get mutatingwebhookconfiguration synapse-injector -o jsonpath='{range .webhooks[*]}{.clientConfig.caBundle}{"\n"}{end}' | grep -c .) == 2 ]]
}
eventually 30 "it was mended" both_have_one

note "--- chart upgraded"
helm upgrade synapse charts/synapse --namespace "$release_namespace" --reuse-values --set-string podAnnotations.scenario="$ns" >/dev/null
operator_ready >/dev/null

note "--- operator rolled"
ko rollout restart deployment/synapse-operator >/dev/null
operator_ready >/dev/null

so_far=$(created)
eventually 20 "pods are still being created" grows "$so_far"
kill "$streaming"
wait "$streaming" || true
total=$(created)
((total >= 100)) || fail "only $total pods were created: no load"
equal "of $total pods, injected" "$total" "$(k get pods -l app=stream,synapse.dev/cache=rotation -o jsonpath='{range .items[*]}{.spec.initContainers[0].restartPolicy}{"\n"}{end}' | grep -c Always)"
equal "reviews that failed open" "$before" "$(fail_open_count)"
