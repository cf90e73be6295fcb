#!/usr/bin/env bash
# 200 pods of one Deployment, created as fast as the controller manager can, on nodes that kwok plays: every one is injected.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
command -v kwok >/dev/null || fail "no kwok on the PATH: e2e/cluster brings one"
stages=$(dirname "$(dirname "$(readlink -f "$(command -v kwok)")")")/kwok
[[ -d $stages ]] || fail "kwok's stages are not in $stages"
options=()
for stage in "$stages"/*.yaml; do options+=(--config "$stage"); done
kwok "${options[@]}" --kubeconfig "$KUBECONFIG" --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake >"/tmp/$ns.kwok" 2>&1 &
afterwards "kill $!; rm -f /tmp/$ns.kwok"
for number in 1 2 3; do
    afterwards "kubectl delete node $ns-$number --ignore-not-found"
    kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Node
metadata:
  name: $ns-$number
  annotations: {kwok.x-k8s.io/node: fake}
  labels: {type: kwok, scenario: $ns}
spec:
  taints: [{key: kwok, effect: NoSchedule}]
status:
  allocatable: {cpu: "64", memory: 256Gi, pods: "110"}
  capacity: {cpu: "64", memory: 256Gi, pods: "110"}
YAML
done
kubectl wait nodes -l scenario="$ns" --for=condition=Ready --timeout=60s >/dev/null
note "three nodes of kwok are Ready"
make_cache crowd <<'YAML'
  memory: {capacity: 16Mi}
YAML
before=$(fail_open_count)
begun=$SECONDS
{
    cat <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: crowd}
spec:
  replicas: 200
  selector: {matchLabels: {app: crowd}}
YAML
    client_template crowd crowd Always '[sleep, "3600"]'
    cat <<YAML
      nodeSelector: {scenario: $ns}
      tolerations: [{key: kwok, operator: Exists}]
YAML
} | apply
k rollout status deployment/crowd --timeout=180s >/dev/null
note "200 pods are Ready after $((SECONDS - begun)) s"
equal "pods with a native sidecar" 200 "$(k get pods -l app=crowd,synapse.dev/cache=crowd -o jsonpath='{range .items[*]}{.spec.initContainers[0].restartPolicy}{"\n"}{end}' | grep -c Always)"
equal "reviews that failed open" "$before" "$(fail_open_count)"
eventually 60 "the cache counts them" prints 200 field scache/crowd .status.pods.injected
