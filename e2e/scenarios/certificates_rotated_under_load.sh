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

bundle() { kubectl get mutatingwebhookconfiguration synapse-injector -o jsonpath='{.webhooks[0].clientConfig.caBundle}' | base64 -d; }
part() { ko get secret synapse-webhook-tls -o jsonpath="{.data.${1/./\\.}}" | base64 -d; }
put() { # KEY=FILE...: into the operator's Secret
    local pair data=
    for pair; do data+="${data:+,}\"${pair%%=*}\":\"$(base64 -w0 "${pair#*=}")\""; done
    ko patch secret synapse-webhook-tls --type=merge -p "{\"data\":{$data}}" >/dev/null
}
new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
serial() { openssl x509 -noout -serial <<<"$1"; }
leaf_is_not() { [[ $(serial "$(part tls.crt)") != "$1" ]]; }
work=$(mktemp -d)
afterwards "rm -rf $work"

note "--- a serving certificate with ten days to live is replaced"
part ca.crt >"$work/ca.crt"
part ca.key >"$work/ca.key"
new_key "$work/leaf.key"
host=synapse-webhook.$release_namespace.svc
openssl req -new -key "$work/leaf.key" -subj "/CN=$host" -out "$work/leaf.csr"
openssl x509 -req -in "$work/leaf.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -days 10 -out "$work/leaf.crt" \
    -extfile <(printf 'subjectAltName=DNS:%s,DNS:%s.cluster.local\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$host" "$host") 2>/dev/null
short=$(serial "$(<"$work/leaf.crt")")
put tls.crt="$work/leaf.crt" tls.key="$work/leaf.key"
eventually 60 "it was replaced" leaf_is_not "$short"
openssl x509 -noout -checkend $((80 * 86400)) <<<"$(part tls.crt)" >/dev/null || fail "the new one does not live long"

note "--- the authority is replaced: first published beside the old one, then used"
# An authority that was made an hour ago, less 25 s: old enough to sign after 25 s more. Certificates are dated an hour back.
new_key "$work/authority.key"
openssl req -new -key "$work/authority.key" -subj "/CN=a later authority" -out "$work/authority.csr"
cat >"$work/ca.conf" <<TEXT
[ca]
default_ca = this
[this]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = authority
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
TEXT
: >"$work/index"
openssl ca -batch -notext -selfsign -config "$work/ca.conf" -keyfile "$work/authority.key" -in "$work/authority.csr" -out "$work/authority.crt" \
    -startdate "$(date -u -d '-7175 seconds' +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d '+1000 days' +%Y%m%d%H%M%SZ)" 2>/dev/null
cat "$work/authority.crt" "$work/ca.crt" >"$work/both.crt"
before_leaf=$(serial "$(part tls.crt)")
put ca.crt="$work/both.crt" ca.key="$work/authority.key"
published_beside() { [[ $(bundle) == "$(<"$work/both.crt")" ]]; }
eventually 20 "both authorities are published" published_beside
equal "the old one's certificate is still served" "$before_leaf" "$(serial "$(part tls.crt)")"
eventually 90 "the new authority has signed" leaf_is_not "$before_leaf"
openssl verify -CAfile "$work/authority.crt" <(part tls.crt) >/dev/null || fail "not signed by the new authority"
operator_ready >/dev/null

note "--- a caBundle that something reset"
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
