# What the files of this folder agree on. To be sourced.
# shellcheck shell=bash disable=SC2034

KUBERNETES_VERSION=1.20.2
COMPONENTS=(registry etcd apiserver controller-manager scheduler containerd kubelet kube-proxy addons)

# Kept between clusters.
KUBERNETES_BIN=$CACHE_DIR/kubernetes/bin
DEBIAN_ROOT=$CACHE_DIR/kubernetes/debian
ADDONS_VENV=$CACHE_DIR/cluster-addons-venv
REGISTRY_DATA=$CACHE_DIR/registry

# One cluster for each machine, so fixed places: whoever stops it finds it, whatever their cache directory is.
STATE_DIR=/var/lib/k8s-sky
RUN_DIR=/run/k8s-sky
LOCK_FILE=/run/k8s-sky.lock
LOG_DIR=$STATE_DIR/log
PKI_DIR=$STATE_DIR/pki
CONFIG_DIR=$STATE_DIR/config
CONTAINERD_SOCKET=$RUN_DIR/containerd.sock

# The node's address is that of its own bridge: it never changes and is not reachable from outside the machine.
NODE=k8s-sky
BRIDGE=k8s-sky0
NODE_IP=10.244.0.1
POD_NETWORK=10.244.0.0/24
SERVICE_NETWORK=10.96.0.0/16
KUBERNETES_SERVICE_IP=10.96.0.1
REGISTRY_PORT=${K8S_SKY_REGISTRY_PORT:-5000}
REGISTRY_ADDRESS=localhost:$REGISTRY_PORT
PAUSE_IMAGE=localhost/k8s-sky/pause:1
