# shellcheck shell=bash disable=SC2154  # sourced by start, which sets state and name
# The settings files of the programs that take no flags for what matters: containerd, its network plugin, kubelet, kube-proxy, CoreDNS.

write_settings() {
    containerd_settings >"$state/containerd.toml"
    network_settings >"$state/net/10-synapse.conflist"
    kubelet_settings >"$state/kubelet.yaml"
    kube_proxy_settings >"$state/kube-proxy.yaml"
    sed "s/@DNS_ADDRESS@/$dns_address/; s/@VERSION@/$coredns_version/" "$here/coredns.yaml" >"$state/coredns.yaml"
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower a score, and no pod would start.
containerd_settings() {
    cat <<TOML
version = 3
root = "$state/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile"]
[grpc]
address = "$state/containerd.sock"
[ttrpc]
address = "$state/containerd.sock.ttrpc"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "localhost/pause:$pause_version"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_hugetlb_controller = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "$state/net"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "$programs/bin/runc"
SystemdCgroup = false
TOML
}

# ptp and not bridge: every packet between pods is routed, so a Service's answers pass iptables again without the br_netfilter module.
network_settings() {
    cat <<JSON
{"cniVersion": "0.4.0", "name": "synapse", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "$pod_range"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

kubelet_settings() {
    cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$state/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /synapse-$name
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
clusterDomain: cluster.local
clusterDNS: [$dns_address]
resolvConf: ""
podLogsDir: $state/log/pods
volumePluginDir: $state/kubelet/plugins
maxPods: 250
serializeImagePulls: false
# The disk is the machine's own: how full it is says nothing about the tests.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
# A test that changes a ConfigMap should not wait a minute for the pod to see it.
syncFrequency: 5s
YAML
}

kube_proxy_settings() {
    cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $pod_range
clientConnection: {kubeconfig: $state/pki/proxy.kubeconfig}
# The table of connections belongs to the machine and cannot be sized from here.
conntrack: {maxPerCore: 0, min: 0}
YAML
}
