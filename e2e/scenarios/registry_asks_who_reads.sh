#!/usr/bin/env bash
# GET /registry and /state answer those who may read them, and say nothing to anyone else; /metrics shows what admission counted.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
cache_on_redis known
client_deployment app known
rolled_out app
# In the release's namespace, which the NetworkPolicy lets in.
afterwards "ko delete pod,serviceaccount $ns --ignore-not-found --wait=false"
afterwards "kubectl delete clusterrolebinding $ns --ignore-not-found"
ko create serviceaccount "$ns" >/dev/null
ko apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $ns}
spec:
  serviceAccountName: $ns
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: reader
      image: $registry/busybox:test
      command: [sh, -c, "trap exit TERM; while :; do sleep 1; done"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
YAML
ko wait "pod/$ns" --for=condition=Ready --timeout=60s >/dev/null
get() { # PATH [HEADER]: the body, or wget's complaint with the status
    ko exec "$ns" -- wget -qO- --header "${2:-X-None: 0}" "http://synapse-operator:8080$1" 2>&1
}
own_token='Authorization: Bearer '$(ko create token "$ns")
says() { # WANT PATH HEADER
    local got
    got=$(get "$2" "$3") || true
    printf '%s' "$got" | cut -c1-300
    [[ $got == *"$1"* ]]
}
eventually 20 "without a token: 401" says 401 /registry ""
eventually 20 "with a made-up token: 401" says 401 /registry "Authorization: Bearer nonsense"
eventually 20 "with a token that may not: 403" says 403 /registry "$own_token"
kubectl create clusterrolebinding "$ns" --clusterrole=synapse-registry-reader --serviceaccount="$release_namespace:$ns" >/dev/null
eventually 90 "with one that may: the pod is in /registry" says "$(pods_of app | cut -d/ -f2)" /registry "$own_token"
eventually 20 "and its cache in /state" says known /state "$own_token"
eventually 20 "/metrics counts reviews" says 'synapse_admission_reviews_total{outcome="Injected"}' /metrics ""
