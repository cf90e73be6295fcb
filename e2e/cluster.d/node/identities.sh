# shellcheck shell=bash disable=SC2154  # sourced by start, which sets state and name
# Who is who in the cluster: one certificate authority, one token and kubeconfig for each program and for the person who runs tests.

make_identities() {
    local pki=$state/pki
    make_key "$pki/accounts.key"
    openssl pkey -in "$pki/accounts.key" -pubout -out "$pki/accounts.pub"
    make_key "$pki/ca.key"
    openssl req -x509 -new -key "$pki/ca.key" -subj "/CN=synapse-$name" -days 3650 -out "$pki/ca.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>>"$state/log/start.log"
    make_certificate apiserver /CN=kube-apiserver serverAuth \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$node_address,IP:$service_address"
    # The kubelet serves logs and exec to this one alone.
    make_certificate kubelet-client /O=system:masters/CN=kube-apiserver clientAuth DNS:kube-apiserver
    : >"$pki/tokens.csv"
    make_user admin '"system:masters"' "$state/kubeconfig"
    make_user system:kube-controller-manager '' "$pki/controllers.kubeconfig"
    make_user system:kube-scheduler '' "$pki/scheduler.kubeconfig"
    make_user system:kube-proxy '' "$pki/proxy.kubeconfig"
    make_user "system:node:$name" '"system:nodes"' "$pki/kubelet.kubeconfig"
}

make_key() { # FILE
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>>"$state/log/start.log"
}

make_certificate() { # NAME SUBJECT USAGE ALTERNATIVE_NAMES
    local file=$state/pki/$1
    make_key "$file.key"
    openssl req -x509 -new -key "$file.key" -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -subj "$2" -days 3650 -out "$file.crt" \
        -addext basicConstraints=critical,CA:FALSE -addext "extendedKeyUsage=$3" -addext "subjectAltName=$4" 2>>"$state/log/start.log"
}

make_user() { # NAME GROUPS KUBECONFIG
    local token
    token=$(openssl rand -hex 24)
    printf '%s,%s,%s%s\n' "$token" "$1" "$1" "${2:+,$2}" >>"$state/pki/tokens.csv"
    (umask 077 && cat >"$3") <<YAML
apiVersion: v1
kind: Config
clusters: [{name: $name, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: $(base64 -w0 "$state/pki/ca.crt")}}]
users: [{name: "$1", user: {token: "$token"}}]
contexts: [{name: $name, context: {cluster: $name, user: "$1"}}]
current-context: $name
YAML
}
