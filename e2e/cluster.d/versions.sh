# shellcheck shell=bash disable=SC2034  # read by the files that source this one
# What the test cluster is made of; raising a version here (and in kube/go.mod) makes the next `up` build it.
kubernetes_version=1.36.3 # the same as in kube/go.mod
containerd_version=2.4.2
runc_version=1.5.2
coredns_version=1.14.6
helm_version=4.3.1
kwok_version=0.8.0
pause_version=1
redis_client_version=8.1.0 # the PyPI package redis, in the Python test image
