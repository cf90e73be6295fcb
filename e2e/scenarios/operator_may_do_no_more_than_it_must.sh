#!/usr/bin/env bash
# The operator's permissions, asked of the API server: what it needs it may do, and what would make it dangerous it may not.
# shellcheck source=e2e/scenarios/lib.sh
source "$(dirname "$0")/lib.sh"
begin
may() { # NAMESPACE VERB RESOURCE[/NAME] [SUBRESOURCE]: yes or no
    kubectl auth can-i --as "system:serviceaccount:$release_namespace:synapse-operator" --namespace "$1" "$2" "$3" --subresource="${4:-}" 2>/dev/null || true
}
answers() { # WANT NAMESPACE; lines of "VERB RESOURCE[/NAME] [SUBRESOURCE]" on standard input
    local verb resource subresource
    while read -r verb resource subresource; do
        equal "in $2, may $verb $resource $subresource" "$1" "$(may "$2" "$verb" "$resource" "$subresource")"
    done
}

answers yes "$ns" <<'TEXT'
list pods
watch namespaces
list synapsecaches.synapse.dev
patch synapsetopics.synapse.dev
patch synapsecaches.synapse.dev status
create configmaps
get secrets/any
create events.events.k8s.io
patch mutatingwebhookconfigurations.admissionregistration.k8s.io/synapse-injector
create tokenreviews.authentication.k8s.io
TEXT
answers yes "$release_namespace" <<'TEXT'
create leases.coordination.k8s.io
update leases.coordination.k8s.io/synapse-operator
update secrets/synapse-webhook-tls
TEXT
answers no "$ns" <<'TEXT'
list secrets
watch secrets
create secrets
delete configmaps
create pods
patch pods
delete pods
create pods exec
create pods eviction
delete synapsecaches.synapse.dev
update synapsecaches.synapse.dev finalizers
update synapsetopics.synapse.dev
patch mutatingwebhookconfigurations.admissionregistration.k8s.io/another
create mutatingwebhookconfigurations.admissionregistration.k8s.io
update leases.coordination.k8s.io/synapse-operator
create clusterrolebindings.rbac.authorization.k8s.io
escalate clusterroles.rbac.authorization.k8s.io
impersonate users
TEXT
answers no "$release_namespace" <<'TEXT'
update leases.coordination.k8s.io/another
patch secrets/another
patch secrets/synapse-webhook-tls
delete secrets
list secrets
TEXT
