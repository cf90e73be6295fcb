# shellcheck shell=bash
# What every scenario starts from: a namespace of its own, waiting with a deadline, and the objects that most of them need.
set -euo pipefail

scenario=$(basename "$0" .sh)
release_namespace=synapse-system
registry=${IMAGE_REGISTRY:-localhost}
socket=/run/synapse/synapse.sock
# Two runs at once, or a namespace that is still going away, must not meet.
ns=$(tr _ - <<<"$scenario" | cut -c1-40)-$(printf '%05x' $((RANDOM * 32768 + RANDOM)) | tail -c 6)

# === saying and failing ===

note() { printf '%s  %s\n' "$(date +%T)" "$*"; }

fail() {
    note "FAILED: $*"
    exit 1
}

equal() { # WHAT WANT GOT
    [[ $2 == "$3" ]] || fail "$1: expected '$2', got '$3'"
    note "$1: $3"
}

# Polls until the command succeeds; its last output is shown when the deadline passes.
eventually() { # SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2 output
    shift 2
    until output=$("$@" 2>&1); do
        ((SECONDS < deadline)) || fail "not in time: $what ($*): $output"
        sleep 0.3
    done
    note "$what"
}

# Polls for the whole time and fails at the first time that the command does.
throughout() { # SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2 output
    shift 2
    while ((SECONDS < deadline)); do
        output=$("$@" 2>&1) || fail "not all the time: $what ($*): $output"
        sleep 0.3
    done
    note "$what"
}

# For use with eventually: whether a command prints exactly this.
prints() { # WANT COMMAND...
    local want=$1 got
    shift
    got=$("$@") && printf '%s' "$got" && [[ $got == "$want" ]]
}

refused() { # COMMAND...: fails when the command succeeds
    ! "$@"
}

# === the cluster ===

k() { kubectl --namespace "$ns" "$@"; }
ko() { kubectl --namespace "$release_namespace" "$@"; }

undo=()
# Says how to put back what a scenario changed for others; run in reverse order, whatever happens.
afterwards() { undo+=("$*"); }

leave() {
    local code=$? index
    trap - EXIT
    set +e
    if ((code)); then
        note "--- what was there when it failed"
        k get pods,scache,stopic -o wide 2>&1 | tail -n 40
        k get events --sort-by=.lastTimestamp 2>&1 | tail -n 15
        ko get pods 2>&1
        ko logs -l app.kubernetes.io/name=synapse-operator --tail=15 --prefix 2>&1 | cut -c1-400
    fi
    for ((index = ${#undo[@]} - 1; index >= 0; index--)); do
        eval "${undo[index]}" >/dev/null 2>&1 || note "could not: ${undo[index]}"
    done
    kubectl delete namespace "$ns" --wait=false --ignore-not-found >/dev/null
    exit "$code"
}

begin() {
    trap leave EXIT
    trap 'exit 130' INT TERM
    kubectl create namespace "$ns" >/dev/null
    eventually 20 "namespace $ns" k get serviceaccount default
}

operator_ready() {
    local deadline
    ko rollout status deployment/synapse-operator --timeout=180s || return
    # Those of before are on their way out, and one of them may still lead.
    deadline=$((SECONDS + 60))
    until prints "" ko get pods -l app.kubernetes.io/name=synapse-operator \
        -o jsonpath='{.items[*].metadata.deletionTimestamp}'; do
        ((SECONDS < deadline)) || return
        sleep 0.3
    done
}

operator_pods() { ko get pods -l app.kubernetes.io/name=synapse-operator -o name; }

# What the API server counted since it started, summed over all webhooks.
fail_open_count() {
    kubectl get --raw /metrics | awk '/^apiserver_admission_webhook_fail_open_count/ && /synapse/ { sum += $NF } END { print sum + 0 }'
}

# The end that no program can prepare for: `aim_at` takes the time that finding the processes takes, `kill_aimed` none.
# On a cluster whose processes are out of reach, deleting by force is the nearest thing to it.
aim_at() { # POD...
    local pod uid process
    aimed=()
    for pod; do
        if [[ ! -e /run/synapse-box ]]; then
            aimed+=("$pod")
            continue
        fi
        uid=$(ko get "$pod" -o jsonpath='{.metadata.uid}')
        # The kernel keeps 15 letters of a name. A container's cgroup is named by its pod, with either dash.
        for process in $(pgrep -x synapse-operato); do
            if grep -q "${uid//-/[-_]}" "/proc/$process/cgroup"; then aimed+=("$process"); fi
        done
    done
    ((${#aimed[@]} == $#)) || fail "no process found for one of: $*"
}
kill_aimed() {
    if [[ -e /run/synapse-box ]]; then
        kill -KILL "${aimed[@]}"
    else
        ko delete "${aimed[@]}" --grace-period=0 --force >/dev/null 2>&1
    fi
}

lease_holder() { ko get lease synapse-operator -o jsonpath='{.spec.holderIdentity}'; }
# The holder's identity begins with the name of its pod.
lease_holder_pod() {
    local pod identity
    identity=$(lease_holder)
    for pod in $(operator_pods); do
        [[ $identity != "${pod#pod/}"* ]] || printf '%s' "$pod"
    done
}
# For use with eventually: somebody leads, and it is not OLD.
other_lease_holder() { # OLD
    local now
    now=$(lease_holder)
    printf '%s' "$now"
    [[ -n $now && $now != "$1" ]]
}

# Takes every operator away and waits until none answers; they come back when the scenario ends, or with operator_back.
operator_away() {
    local replicas
    replicas=$(ko get deployment synapse-operator -o jsonpath='{.spec.replicas}')
    afterwards "ko scale deployment/synapse-operator --replicas=$replicas && operator_ready"
    ko scale deployment/synapse-operator --replicas=0 >/dev/null
    eventually 60 "no operator runs" prints "" operator_pods
}

operator_back() {
    ko scale deployment/synapse-operator --replicas=2 >/dev/null
    operator_ready >/dev/null
    note "the operator is back and Ready"
    # The API server's way to its Service is laid a moment later.
    eventually 30 "a pod would get its sidecar" would_inject
}

would_inject() {
    k run asks --image=none --restart=Never --annotations=synapse.dev/inject=any --dry-run=server \
        --output=jsonpath='{.spec.initContainers[*].name}' | grep -q synapse-sidecar
}

# === objects ===

apply() { k apply -f - >/dev/null; }

start_redis() {
    apply <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 999, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: redis
          image: $registry/redis:test
          command: [redis-server, --bind, "0.0.0.0", --protected-mode, "no", --save, "", --enable-debug-command, "yes", --dir, /tmp]
          readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1, timeoutSeconds: 2}
          resources: {requests: {cpu: 10m, memory: 16Mi}}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec:
  selector: {app: redis}
  ports: [{port: 6379}]
YAML
    k rollout status deployment/redis --timeout=60s >/dev/null
    note "Redis answers"
}

redis() { k exec deploy/redis -- redis-cli "$@"; }

# A cache on that Redis; further lines of its spec come from standard input.
make_cache() { # NAME
    {
        cat <<YAML
apiVersion: synapse.dev/v1alpha1
kind: SynapseCache
metadata: {name: $1}
spec:
YAML
        cat
    } | apply
}

cache_on_redis() { # NAME
    make_cache "$1" <<YAML
  memory: {capacity: 16Mi}
  redis: {connection: {url: "redis://redis.$ns:6379"}}
YAML
}

# A topic on that Redis; further lines of its spec come from standard input.
make_topic() { # NAME
    {
        cat <<YAML
apiVersion: synapse.dev/v1alpha1
kind: SynapseTopic
metadata: {name: $1}
spec:
  broker: {redis: {connection: {url: "redis://redis.$ns:6379"}}}
YAML
        cat
    } | apply
}

# The template of a client pod, indented for a Deployment or a Job: redis-cli and a shell, restricted, annotated.
client_template() { # APP ANNOTATION_VALUE RESTART_POLICY COMMAND_AS_JSON
    cat <<YAML
  template:
    metadata:
      labels: {app: $1}
      annotations: {synapse.dev/inject: "$2"}
    spec:
      restartPolicy: $3
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: app
          image: $registry/redis:test
          command: $4
          resources: {requests: {cpu: 5m, memory: 8Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
YAML
}

client_deployment() { # NAME CACHE [REPLICAS]
    {
        cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: ${3:-1}
  selector: {matchLabels: {app: $1}}
YAML
        client_template "$1" "$2" Always '[sh, -c, "trap exit TERM; while :; do sleep 1; done"]'
    } | apply
}

rolled_out() { # NAME
    k rollout status "deployment/$1" --timeout=90s >/dev/null
    note "deployment $1 is rolled out"
}

# redis-cli in a client's pod, on the pod's socket.
cli() { # DEPLOYMENT ARGUMENT...
    local name=$1
    shift
    k exec "deploy/$name" -c app -- redis-cli -s "$socket" "$@"
}

# === looking ===

pods_of() { # APP
    k get pods -l app="$1" -o name
}

# Names of the injected sidecars of a pod: the native ones that carry our image.
sidecars() { # POD
    k get "$1" -o jsonpath='{range .spec.initContainers[?(@.restartPolicy=="Always")]}{.name}{"\n"}{end}'
}

restarts() { # POD: the restarts of all its containers, summed
    k get "$1" -o jsonpath='{range .status.initContainerStatuses[*]}{.restartCount}{"\n"}{end}{range .status.containerStatuses[*]}{.restartCount}{"\n"}{end}' |
        awk '{ sum += $1 } END { print sum + 0 }'
}

condition() { # OBJECT TYPE: "Status Reason"
    k get "$1" -o jsonpath="{.status.conditions[?(@.type==\"$2\")].status} {.status.conditions[?(@.type==\"$2\")].reason}"
}

condition_is() { # OBJECT TYPE STATUS
    local got
    got=$(condition "$1" "$2")
    printf '%s is %s' "$2" "$got"
    [[ ${got%% *} == "$3" ]]
}

field() { # OBJECT JSONPATH
    k get "$1" -o jsonpath="{$2}"
}

groups_of() { # STREAM: names of its groups, sorted, in one line
    redis --raw XINFO GROUPS "$1" | awk 'previous == "name" { print } { previous = $0 }' | sort | paste -sd' '
}

has_event() { # REASON: on any object of the namespace
    k get events.events.k8s.io -o jsonpath='{range .items[*]}{.reason}{" "}{.regarding.kind}/{.regarding.name}{"\n"}{end}' | grep -E "^$1 "
}
