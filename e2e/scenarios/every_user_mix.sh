#!/usr/bin/env bash
# Whoever runs in the pod can use the socket: root, 65532, any user, with and without fsGroup, without a writable file, restricted.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin

# A container, as an item of a pod's list.
container() { # NAME USER READ_ONLY_ROOT
    cat <<YAML
    - name: $1
      image: $registry/redis:test
      command: [sh, -c, "trap exit TERM; while :; do sleep 1; done"]
      resources: {requests: {cpu: 1m, memory: 4Mi}}
      securityContext: {runAsUser: $2, readOnlyRootFilesystem: $3, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
YAML
}

pod() { # NAME POD_SECURITY_CONTEXT
    cat <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $1
  annotations: {synapse.dev/inject: shared}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: $2
  containers:
YAML
}

{
    pod plain '{}'
    container root 0 false
    container root-read-only 0 true
    container nonroot 65532 true
    container arbitrary 1234567 true
} | apply
{
    pod grouped '{fsGroup: 2000, supplementalGroups: [3000]}'
    container root 0 true
    container nonroot 65532 true
    container arbitrary 1234567 false
} | apply
kubectl label namespace "$ns" pod-security.kubernetes.io/enforce=restricted >/dev/null 2>&1
{
    pod restricted '{runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}'
    container nonroot 65532 true
    container arbitrary 4242 true
} | apply

for name in plain grouped restricted; do
    k wait "pod/$name" --for=condition=Ready --timeout=90s >/dev/null
    for container in $(field "pod/$name" '.spec.containers[*].name'); do
        equal "$name/$container connects" PONG "$(k exec "$name" -c "$container" -- redis-cli -s "$socket" PING)"
        equal "$name/$container writes" OK "$(k exec "$name" -c "$container" -- redis-cli -s "$socket" SET "from-$container" "$container")"
        refused k exec "$name" -c "$container" -- sh -c 'rm -f /run/synapse/synapse.sock' 2>/dev/null ||
            fail "$name/$container could remove the socket"
    done
    for container in $(field "pod/$name" '.spec.containers[*].name'); do
        equal "$name: one cache for all its containers" "$container" \
            "$(k exec "$name" -c "$(field "pod/$name" '.spec.containers[0].name')" -- redis-cli -s "$socket" GET "from-$container")"
    done
done
