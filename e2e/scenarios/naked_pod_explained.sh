#!/usr/bin/env bash
# A pod that asks for a sidecar where no webhook looks is told why: an event on the pod, by the controller.
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
