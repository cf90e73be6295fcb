#!/usr/bin/env bash
# Install, test, upgrade, rollback, uninstall, reinstall, and kinds applied by kubectl first; what users run goes on throughout.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
start_redis
values=/tmp/$ns.values.yaml
helm get values synapse --namespace "$release_namespace" --output yaml >"$values"
h() { # COMMAND ARGUMENT...
    helm "$@" --namespace "$release_namespace" >/dev/null
}
install() { h upgrade --install synapse charts/synapse --values "$values" "$@" && operator_ready >/dev/null; }
afterwards "install --take-ownership --force-conflicts; rm -f $values"

cache_on_redis kept
client_deployment app kept
make_topic stream <<'YAML'
  deletionPolicy: Delete
  consumerGroups: [{name: readers}]
YAML
rolled_out app
pod=$(pods_of app)
eventually 60 "the topic is Ready" condition_is stopic/stream Ready True
works() { [[ $(cli app SET key "$1") == OK && $(cli app GET key) == "$1" ]]; }

note "--- test"
h test synapse || fail "helm test failed"
note "helm test passes"

note "--- upgrade and rollback"
install --set operator.logLevel=debug
equal "log level" debug "$(ko get deployment synapse-operator -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name=="SYNAPSE_LOG_LEVEL")].value}')"
h rollback synapse
operator_ready >/dev/null
equal "log level" info "$(ko get deployment synapse-operator -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name=="SYNAPSE_LOG_LEVEL")].value}')"

note "--- uninstall"
h uninstall synapse --wait --timeout 180s
eventually 60 "no operator runs" prints "" operator_pods
works after-uninstall || fail "the pod's cache stopped"
equal "the pod is the same" "$pod" "$(pods_of app)"
equal "the stream is there" stream "$(redis TYPE stream)"
equal "the kinds are there" 2 "$(kubectl get crd -o name | grep -c '\.synapse\.dev$')"
equal "the webhook is gone" 0 "$(kubectl get mutatingwebhookconfiguration -o name | grep -c synapse-injector || true)"
k delete stopic stream --timeout=30s >/dev/null
note "a topic can be deleted without an operator: nothing hangs"

note "--- reinstall"
install
works after-reinstall || fail "the pod's cache stopped"
make_topic again <<<'  consumerGroups: [{name: readers}]'
eventually 60 "a new topic is Ready" condition_is stopic/again Ready True

note "--- kinds applied by kubectl first"
k delete stopic again --timeout=30s >/dev/null
h uninstall synapse --wait --timeout 180s
kubectl delete crd synapsecaches.synapse.dev synapsetopics.synapse.dev --timeout=60s >/dev/null
kubectl apply --server-side -f crds/ >/dev/null
refused install 2>/dev/null || fail "Helm took kinds that it does not own"
note "refused without being told"
helm uninstall synapse --namespace "$release_namespace" --wait >/dev/null 2>&1 || true
install --set crds.enabled=false
make_topic with-kubectl <<<'  consumerGroups: [{name: readers}]'
eventually 60 "crds.enabled=false: a topic is Ready" condition_is stopic/with-kubectl Ready True
install --take-ownership
# What kubectl applied is kubectl's too: without this the next upgrade that changes a kind would end in a conflict.
charts/hand-over-crds >/dev/null
equal "owners of the kinds' versions" helm "$(kubectl get crd synapsetopics.synapse.dev --show-managed-fields -o jsonpath='{range .metadata.managedFields[*]}{.manager}{" "}{.fieldsV1}{"\n"}{end}' | grep f:versions | cut -d' ' -f1 | paste -sd' ')"
equal "taken over by Helm" synapse "$(kubectl get crd synapsetopics.synapse.dev -o jsonpath='{.metadata.annotations.meta\.helm\.sh/release-name}')"
equal "objects survived" True "$(condition stopic/with-kubectl Ready | cut -d' ' -f1)"
