# shellcheck shell=bash
# What a machine must have before a cluster can run on it: root, Linux's namespaces, Go, and a few Debian packages, which it installs.

need_root() {
    [[ $(id -u) == 0 ]] || die "this needs root, to make namespaces and mounts: run it with sudo, or point KUBECONFIG at a cluster that you have"
}

need_debian_packages() {
    local missing=()
    lacks umoci && missing+=(umoci)
    lacks iptables && missing+=(iptables)
    lacks conntrack && missing+=(conntrack)
    lacks ip && missing+=(iproute2)
    lacks openssl && missing+=(openssl)
    lacks unshare && missing+=(util-linux)
    lacks gcc && missing+=(gcc libc6-dev)
    lacks pkg-config && missing+=(pkg-config)
    [[ -x /usr/lib/cni/ptp ]] || missing+=(containernetworking-plugins)
    [[ -x /usr/bin/busybox || -x /bin/busybox ]] || missing+=(busybox-static)
    [[ -e /usr/include/seccomp.h ]] || missing+=(libseccomp-dev)
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "these Debian packages, or what your system calls them, are missing: ${missing[*]}. Install them, then try again"
    say "installing ${missing[*]}"
    # The lists may be absent or stale on a fresh machine.
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    } >"$cluster_home/apt.log" 2>&1 </dev/null ||
        die "apt-get could not install ${missing[*]}: see $cluster_home/apt.log"
}

need_go() {
    local version
    lacks go && die "no go on the PATH: install Go 1.26 or newer, which builds the cluster's programs"
    version=$(go env GOVERSION)
    [[ $(printf '%s\n' go1.26 "$version" | sort -V | head -n 1) == go1.26 ]] ||
        die "go is $version, but Kubernetes $kubernetes_version needs Go 1.26 or newer: install it and put it first on the PATH"
}

lacks() { ! command -v "$1" >/dev/null; }
