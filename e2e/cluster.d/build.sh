# shellcheck shell=bash
# Builds the cluster's programs and system images from Go modules, once for each set of versions, into the cache.

# Sets $programs to the folder of the programs that belong to this checkout: its name carries everything they are made from.
locate_programs() {
    local inputs
    inputs=$(cd "$here" && sha256sum build.sh versions.sh kube/go.mod kube/go.sum kube/main.go pause/pause.c | sha256sum)
    programs=$cluster_home/$kubernetes_version-${inputs:0:12}
}

ensure_programs() {
    [[ -e $programs/complete ]] && return
    need_go
    mkdir -p "$programs"/{bin,log,kwok}
    # Two `up` at once build once: the second waits here.
    exec {build_lock}>"$programs/lock"
    if ! flock --nonblock "$build_lock"; then
        patiently "waiting for another build of the same programs" "$programs/log/wait" flock "$build_lock"
    fi
    if [[ ! -e $programs/complete ]]; then
        say "building Kubernetes $kubernetes_version and its parts into $programs: once, about 10 minutes on 2 cores"
        build_all
        touch "$programs/complete"
        say "built in $SECONDS s"
    fi
    exec {build_lock}>&-
}

# Apart from the programs, which take minutes: a change in how images are made remakes these in a second.
ensure_system_images() {
    local recipes name
    recipes=$(cat "$here"/../images "$here"/../images.d/*.sh "$here/versions.sh" | sha256sum)
    images=$programs/images-${recipes:0:12}
    for name in pause coredns; do
        [[ -e $images/$name.tar ]] || "$here/../images" "$name" "$programs/bin/$name" "$images/$name.tar"
    done
}

build_all() {
    step 1 "containerd $containerd_version" build_containerd
    step 2 "runc $runc_version" build_runc
    step 3 "Kubernetes $kubernetes_version" build_kubernetes
    step 4 "CoreDNS $coredns_version" build_module coredns "github.com/coredns/coredns@v$coredns_version"
    step 5 "helm $helm_version" build_module helm "helm.sh/helm/v4/cmd/helm@v$helm_version"
    step 6 "kwok $kwok_version" build_kwok
    step 7 "pause" gcc -Os -static -o "$programs/bin/pause" "$here/pause/pause.c"
}

step() { # NUMBER WHAT COMMAND...
    local number=$1 what=$2
    shift 2
    say "step $number of 7: $what"
    # A shell of its own with -e: a function called in a condition would run on after an error.
    patiently "step $number of 7: $what" "$programs/log/step-$number" in_strict_shell "$@"
}

in_strict_shell() (
    set -euo pipefail
    "$@"
)

# $GOBIN would put cross-compiled programs elsewhere, and a caller's GOFLAGS or workspace could change what is built.
go_install() { # CGO TAGS MODULE
    env GOWORK=off GOFLAGS=-buildvcs=false GOBIN="$programs/bin" CGO_ENABLED="$1" \
        go install -trimpath -tags "$2" -ldflags "-s -w" "$3"
}

build_module() { # NAME MODULE
    go_install 0 "" "$2"
    [[ -x $programs/bin/$1 ]]
}

build_containerd() {
    local name
    for name in containerd containerd-shim-runc-v2 ctr; do
        go_install 0 "" "github.com/containerd/containerd/v2/cmd/$name@v$containerd_version"
    done
}

# Without the tag (and libseccomp), a pod's RuntimeDefault seccomp profile would be accepted and not enforced.
build_runc() { go_install 1 seccomp "github.com/opencontainers/runc@v$runc_version"; }

build_kubernetes() {
    local version=k8s.io/component-base/version name
    (
        cd "$here/kube"
        env GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath -o "$programs/bin/kube" -ldflags \
            "-s -w -X $version.gitVersion=v$kubernetes_version -X $version.gitMajor=${kubernetes_version%%.*} -X $version.gitMinor=$(cut -d. -f2 <<<"$kubernetes_version")" .
    )
    for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        ln -sf kube "$programs/bin/$name"
    done
}

# kwok's own stages say how a fake node and a fake pod become Ready.
build_kwok() {
    local module=sigs.k8s.io/kwok source
    build_module kwok "$module/cmd/kwok@v$kwok_version"
    source=$(GOWORK=off GOFLAGS=-buildvcs=false go mod download -json "$module@v$kwok_version" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    find "$source"/kustomize/stage/{node,pod}/fast -name '*.yaml' ! -name kustomization.yaml ! -name '*.input.yaml' ! -name '*.output.yaml' \
        -exec cp --no-preserve=mode {} "$programs/kwok/" \;
}
