# shellcheck shell=bash
# A cluster seen from outside: one box of namespaces, alive as long as its lock is held, and what is swept when it ended.

# The lock is inherited by every process of the box and by nothing else, so it cannot outlive them as a process id in a file can.
box_alive() { # STATE
    [[ -e $1/alive ]] && ! flock --nonblock "$1/alive" true
}

# Removes what namespaces do not: the cgroups, and the state. For a box that has ended.
box_sweep() { # NAME STATE
    local deadline=$((SECONDS + 10)) group left
    # v2, v1's controllers, and the v2 tree that runc also uses beside v1.
    for group in /sys/fs/cgroup/{,*/}"synapse-$1"; do
        [[ -d $group ]] || continue
        # The kernel lets go of a killed process a moment later than it reports the end.
        until find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null && [[ ! -d $group ]]; do
            ((SECONDS < deadline)) || break
            sleep 0.1
        done
        [[ ! -d $group ]] || say "could not remove $group"
    done
    rm -rf -- "$2"
}

# Each controller's root of cgroup v1, or the one root of v2.
box_cgroup_roots() {
    local root found=0
    for root in /sys/fs/cgroup/*/cgroup.procs; do
        # A v1 controller's folder has a release agent; a group of the v2 root has none.
        [[ -e ${root%/*}/release_agent ]] && found=1 && printf '%s\n' "${root%/*}"
    done
    ((found)) || printf '/sys/fs/cgroup\n'
}

# Replaces this shell by a command inside the box.
box_exec() { # NAME STATE COMMAND...
    local name=$1 state=$2
    shift 2
    export KUBECONFIG=$state/kubeconfig SYNAPSE_CLUSTER=$name PATH=$programs/bin:$PATH
    export NO_PROXY=${NO_PROXY:+$NO_PROXY,}127.0.0.1,10.0.0.0/8,.svc,.cluster.local
    export no_proxy=$NO_PROXY
    if [[ -e /run/synapse-box ]]; then
        [[ $(</run/synapse-box) == "$name" ]] || die "this shell is inside the cluster $(</run/synapse-box), from which $name cannot be reached"
        exec "$@"
    fi
    # nsenter goes to `/`, hence the way back. A command whose nsenter is killed gets TERM: it would be left in the box otherwise.
    # shellcheck disable=SC2016  # the inner shell expands these
    exec nsenter --target "$(<"$state/pid")" --net --mount --pid -- \
        setpriv --pdeathsig TERM -- bash -c 'cd "$1" && shift && exec "$@"' bash "$PWD" "$@"
}
