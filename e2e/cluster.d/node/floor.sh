# shellcheck shell=bash disable=SC2154  # sourced by start, which sets state and name
# The floor of the box: its own /proc, /run and folders that a node writes to, its own network, its cgroups.

node_address=10.10.0.1
pod_range=10.244.0.0/16
service_range=10.96.0.0/16
service_address=10.96.0.1
dns_address=10.96.0.10

lay_floor() {
    local pid
    # Still the outer /proc: this is the process id by which `exec` finds the box.
    read -r pid _ </proc/self/stat
    mkdir -p "$state"/{log,pki,net,upper,work,kubelet/plugins}
    printf '%s\n' "$pid" >"$state/pid"
    lay_folders
    lay_network
    lay_cgroups
}

# What a node's programs write at fixed places stays in the box; everything else is the machine's own, so that tests run as outside.
lay_folders() {
    local resolver
    # Volumes that a pod mounts after its start must reach it.
    mount --make-rshared /
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /var/log
    mount -t overlay -o "lowerdir=/var/lib,upperdir=$state/upper,workdir=$state/work" overlay /var/lib
    mkdir -p /run/lock
    printf '%s\n' "$name" >/run/synapse-box
    # Commands run by `exec` find Services by name.
    resolver=$(realpath --canonicalize-missing /etc/resolv.conf)
    mkdir -p "${resolver%/*}"
    [[ -e $resolver ]] || touch "$resolver"
    printf 'nameserver %s\nsearch svc.cluster.local cluster.local\noptions ndots:3\n' "$dns_address" >"$state/resolv.conf"
    mount --bind "$state/resolv.conf" "$resolver"
}

# Not every kernel has the dummy device; an empty bridge holds the node's address as well. It must be there before the kubelet starts,
# which otherwise finds no InternalIP. The default route gives Services' addresses a way to iptables.
lay_network() {
    ip link set lo up
    ip link add node0 type bridge
    ip address add "$node_address/24" dev node0
    ip link set node0 up
    ip route add default via "$node_address"
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# One group for each cluster: two kubelets under one root remove each other's pods.
lay_cgroups() {
    local root
    for root in $(box_cgroup_roots); do
        mkdir -p "$root/synapse-$name"
    done
}
