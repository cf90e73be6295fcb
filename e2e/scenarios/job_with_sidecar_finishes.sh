#!/usr/bin/env bash
# A Job whose pod has a sidecar completes: the native sidecar ends after the work, without help from the program.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
{
    cat <<'YAML'
apiVersion: batch/v1
kind: Job
metadata: {name: work}
spec:
  backoffLimit: 0
YAML
    # shellcheck disable=SC2016  # the pod's shell expands it
    client_template work results Never '[sh, -ec, "redis-cli -s $SYNAPSE_SOCKET SET result 42; test $(redis-cli -s $SYNAPSE_SOCKET GET result) = 42"]'
} | apply
k wait job/work --for=condition=Complete --timeout=90s >/dev/null
note "the Job is complete"
pod=$(pods_of work)
equal "phase of its pod" Succeeded "$(field "$pod" .status.phase)"
equal "native sidecars" 1 "$(sidecars "$pod" | wc -l)"
equal "exit code of the sidecar" 0 "$(field "$pod" '.status.initContainerStatuses[0].state.terminated.exitCode')"
