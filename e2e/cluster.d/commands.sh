# shellcheck shell=bash disable=SC2154  # sourced by cluster, which sets name, state, programs and cluster_home
# What each command of `e2e/cluster` does.

command_up() {
    need_root
    mkdir -p "$cluster_home/running"
    need_debian_packages
    ensure_programs
    ensure_system_images
    lock_name
    if box_alive "$state"; then
        say "$name is up already"
        return
    fi
    # What a crash left whose keeper was killed with it.
    box_sweep "$name" "$state"
    rm -f "$state.crash"
    mkdir -p "$state"
    # A session of its own: the cluster outlives this terminal and its Ctrl-C. Not the lock on the name, which is this command's.
    setsid "$here/keeper" "$name" "$state" "$programs" "$images" >"$state/keeper.log" 2>&1 </dev/null {name_lock}>&- &
    trap 'say "stopping $name"; end_box; exit 130' INT TERM
    watch_start
    trap - INT TERM
    say "$name is up after ${SECONDS} s; e2e/cluster exec --name $name -- kubectl get nodes"
}

# Repeats the box's own progress until it is ready or has ended.
watch_start() {
    local deadline=$((SECONDS + 120)) shown=0 begun=$SECONDS lines=()
    until [[ -e $state/ready ]]; do
        if [[ -e $state/progress ]]; then
            mapfile -t lines <"$state/progress"
            for (( ; shown < ${#lines[@]}; shown++)); do say "$((SECONDS - begun)) s: ${lines[shown]}"; done
        fi
        if [[ ! -e $state ]]; then
            say "$name did not start; its last words:"
            cat "$state.crash" >&2 2>/dev/null || true
            exit 1
        fi
        if ((SECONDS > deadline)); then
            say "$name was not ready after 120 s; the end of its start log:"
            tail -n 20 "$state/log/start.log" >&2 || true
            end_box
            exit 1
        fi
        sleep 0.1
    done
}

command_down() {
    need_root
    mkdir -p "$cluster_home/running"
    lock_name
    if [[ ! -e $state ]] && ! box_alive "$state"; then
        # A crash may have left cgroups without state.
        box_sweep "$name" "$state"
        say "$name is not up"
        return
    fi
    end_box
    say "$name is down"
}

# Kills the first process of the box, and with it all of them; then waits for the keeper to sweep, or sweeps in its place.
end_box() {
    local deadline=$((SECONDS + 20))
    if box_alive "$state"; then
        [[ ! -s $state/pid ]] || kill -KILL "$(<"$state/pid")" 2>/dev/null || true
    fi
    while [[ -e $state ]] && ((SECONDS < deadline)); do
        sleep 0.1
        # No lock held and still there: its keeper died with it.
        if ! box_alive "$state" && ((SECONDS > deadline - 15)); then break; fi
    done
    box_sweep "$name" "$state"
    rm -f "$state.crash"
}

command_status() {
    if ! box_alive "$state"; then
        say "$name is not up$([[ -e $state.crash ]] && printf ': it ended by itself, because %s' "$(head -n 1 "$state.crash")")"
        return 1
    fi
    need_root
    [[ -e $state/ready ]] || die "$name is starting"
    (box_exec "$name" "$state" kubectl get nodes,pods --all-namespaces --output wide)
    (box_exec "$name" "$state" kubectl wait --for=condition=Ready "node/$name" --timeout=1s >/dev/null)
}

command_exec() {
    (($#)) || die "exec needs a command: e2e/cluster exec -- kubectl get pods"
    need_up
    box_exec "$name" "$state" "$@"
}

command_load() {
    local file said
    (($#)) || die "load needs the files of images: e2e/cluster load image.tar"
    need_up
    for file; do
        [[ -r $file ]] || die "cannot read $file"
        # Its output is progress bars and warnings: of interest when it failed.
        if ! said=$(box_exec "$name" "$state" ctr --address "$state/containerd.sock" --namespace k8s.io images import "$file" 2>&1); then
            printf '%s\n' "$said" >&2
            die "containerd did not take $file: is it an OCI image tar, as e2e/images makes them?"
        fi
        say "loaded $(basename "$file") into $name"
    done
}

command_kubeconfig() {
    need_up
    printf '%s\n' "$state/kubeconfig"
}

command_build() {
    need_root
    mkdir -p "$cluster_home"
    need_debian_packages
    ensure_programs
    ensure_system_images
}

command_logs() {
    need_up
    if (($#)); then
        cat "$state/log/$1.log"
    else
        ls "$state/log"
    fi
}

need_up() {
    # Inside the box the lock is held as well, but the process id of its first process means nothing.
    need_root
    box_alive "$state" && [[ -e $state/ready ]] || die "the cluster $name is not up: e2e/cluster up --name $name"
}

# One `up` or `down` at a time for each name.
lock_name() {
    mkdir -p "$cluster_home/lock"
    exec {name_lock}>"$cluster_home/lock/$name"
    patiently "waiting for another up or down of $name" /dev/null flock "$name_lock"
}
