#!/usr/bin/env bash
# A pod that asks for a sidecar and has none is told why by an event of the controller: where no webhook looks, and where it
# asked only after it had been created.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
make_cache wanted <<'YAML'
  memory: {capacity: 16Mi}
YAML
name=naked-$RANDOM
afterwards "kubectl --namespace $release_namespace delete pod $name --ignore-not-found --wait=false"
ko apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $name
  annotations: {synapse.dev/inject: wanted}
spec:
  # Never scheduled: it only has to exist.
  schedulingGates: [{name: synapse.dev/scenario}]
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: app
      image: $registry/busybox:test
      command: [sleep, "3600"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
YAML
equal "init containers" "" "$(ko get pod "$name" -o jsonpath='{.spec.initContainers}')"
explained() {
    ko get events.events.k8s.io -o jsonpath='{range .items[*]}{.reason} {.regarding.name} {.note}{"\n"}{end}' | grep "^ExcludedNamespace $name "
}
eventually 60 "the event says ExcludedNamespace" explained

# One that was asked for after the pod had been created is told from a webhook that was away.
k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  schedulingGates: [{name: synapse.dev/scenario}]
  containers: [{name: app, image: $registry/busybox:test, command: [sleep, "3600"]}]
YAML
# The API server notes moments in whole seconds.
asked_a_while_later() {
    local created
    created=$(k get pod late -o jsonpath='{.metadata.creationTimestamp}')
    (($(date +%s) - $(date -d "$created" +%s) > 2))
}
eventually 10 "two seconds have passed" asked_a_while_later
k annotate pod late synapse.dev/inject=wanted >/dev/null
told_late() {
    k get events.events.k8s.io -o jsonpath='{range .items[*]}{.reason} {.regarding.name}{"\n"}{end}' | grep "^RequestedLater late$"
}
eventually 60 "the event says RequestedLater" told_late
equal "naked pods" 0 "$(k get scache wanted -o jsonpath='{.status.pods.naked}')"
