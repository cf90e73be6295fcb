# shellcheck shell=bash
# What a machine must have before a cluster can run on it: root, Linux's namespaces, Go, and a few Debian packages, which it installs.

need_root() {
    [[ $(id -u) == 0 ]] || die "this needs root, to make namespaces and mounts: run it with sudo, or use a cluster that you have: make demo KUBECONFIG=..."
}

need_debian_packages() {
    local missing=()
    lacks umoci && missing+=(umoci)
    lacks readelf && missing+=(binutils)
    lacks busybox && missing+=(busybox-static)
    lacks iptables && missing+=(iptables)
    lacks conntrack && missing+=(conntrack)
    lacks ip && missing+=(iproute2)
    lacks openssl && missing+=(openssl)
    lacks unshare && missing+=(util-linux)
    lacks gcc && missing+=(gcc)
    lacks pkg-config && missing+=(pkg-config)
    [[ -x /usr/lib/cni/ptp ]] || missing+=(containernetworking-plugins)
    [[ -e /usr/include/seccomp.h ]] || missing+=(libseccomp-dev)
    [[ -e /usr/include/stdlib.h ]] || missing+=(libc6-dev)
    install_packages "${missing[@]}"
}

# For images alone, which need neither root nor a cluster when these are there.
need_image_packages() {
    local missing=()
    lacks umoci && missing+=(umoci)
    lacks readelf && missing+=(binutils)
    lacks busybox && missing+=(busybox-static)
    [[ -d /usr/share/ca-certificates/mozilla ]] || missing+=(ca-certificates)
    lacks redis-server && missing+=(redis-server)
    lacks redis-cli && missing+=(redis-tools)
    [[ -x /usr/bin/python3 ]] || missing+=(python3)
    install_packages "${missing[@]}"
}

install_packages() { # PACKAGE...
    local said
    (($#)) || return 0
    if lacks apt-get || [[ $(id -u) != 0 ]]; then
        die "these Debian packages, or what your system calls them, are missing: $*. Install them (here that takes root and apt-get), then try again"
    fi
    say "installing $*"
    # The lists may be absent or stale on a fresh machine; runlevel 1 keeps redis-server from starting as a service.
    if ! said=$({ apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } 2>&1 </dev/null); then
        printf '%s\n' "$said" >&2
        die "apt-get could not install $*"
    fi
}

need_go() {
    local version
    lacks go && die "no go on the PATH: install Go 1.26 or newer, which builds the cluster's programs"
    version=$(go env GOVERSION)
    [[ $(printf '%s\n' go1.26 "$version" | sort -V | head -n 1) == go1.26 ]] ||
        die "go is $version, but Kubernetes $kubernetes_version needs Go 1.26 or newer: install it and put it first on the PATH"
}

lacks() { ! command -v "$1" >/dev/null; }
