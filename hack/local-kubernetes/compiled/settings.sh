# What the files of this folder agree on. To be sourced.
# shellcheck shell=bash disable=SC2034

MODULES_DIR=$COMPILED_DIR/modules
DEFAULT_KUBERNETES=1.37

# Kept between clusters.
PROGRAMS_DIR=$CACHE_DIR/programs
DEBIAN_ROOT=$CACHE_DIR/debian
GO_DIR=$CACHE_DIR/go
REGISTRY_DATA=$CACHE_DIR/registry

# One cluster for each machine, so fixed places: whoever stops it finds it, whatever their cache directory is.
STATE_DIR=/var/lib/k8s-sky
RUN_DIR=/run/k8s-sky
LOCK_FILE=/run/k8s-sky.lock
LOG_DIR=$STATE_DIR/log
PKI_DIR=$STATE_DIR/pki
CONFIG_DIR=$STATE_DIR/config

# The control plane is a process each on this machine. Each node is a network namespace, a wire from it to the bridge,
# and a network of its own for its pods: nothing is reachable from outside the machine.
BRIDGE=k8s-sky0
CONTROL_PLANE_IP=10.244.0.1
NODE_NETWORK=10.244.0.0/24
CLUSTER_NETWORK=10.244.0.0/16
SERVICE_NETWORK=10.96.0.0/16
KUBERNETES_SERVICE_IP=10.96.0.1
REGISTRY_PORT=${K8S_SKY_REGISTRY_PORT:-5000}
REGISTRY_ADDRESS=localhost:$REGISTRY_PORT
PAUSE_IMAGE=localhost/k8s-sky/pause:1

CONTROL_PLANE=(registry registry-relay etcd apiserver controller-manager scheduler dns volume-provisioner)
NODE_COMPONENTS=(containerd kubelet kube-proxy network-policies)

# Of a node called k8s-sky-N.
node_ip() { echo "10.244.0.1${1##*-}"; }
pod_network() { echo "10.244.${1##*-}.0/24"; }
node_dir() { echo "$STATE_DIR/$1"; }
node_run_dir() { echo "$RUN_DIR/$1"; }
containerd_socket() { echo "$RUN_DIR/$1/containerd.sock"; }

# The nodes of the cluster that runs; without one those that were asked for.
nodes() {
  if [ -f "$STATE_DIR/nodes" ]; then cat "$STATE_DIR/nodes"; else wanted_nodes; fi
}

wanted_nodes() { seq -f 'k8s-sky-%g' "${K8S_SKY_NODES:-2}"; }

components() { # components [NODE]: of the node, or of the whole cluster
  local node component
  if [ $# = 0 ]; then printf '%s\n' "${CONTROL_PLANE[@]}"; fi
  for node in ${1:-$(nodes)}; do
    for component in "${NODE_COMPONENTS[@]}"; do echo "$component.$node"; done
  done
}

# Sets KUBERNETES_MINOR; what is not asked for is as in the cluster that runs.
check_settings() {
  case ${K8S_SKY_NODES:-2} in
    1 | 2) ;;
    *) fail "K8S_SKY_NODES=$K8S_SKY_NODES: a local cluster has 1 or 2 nodes" ;;
  esac
  local running
  running=$(cat "$STATE_DIR/kubernetes" 2>/dev/null || true)
  KUBERNETES_MINOR=${K8S_SKY_KUBERNETES:-${running:-$DEFAULT_KUBERNETES}}
  [ -d "$MODULES_DIR/kubernetes-$KUBERNETES_MINOR" ] ||
    fail "K8S_SKY_KUBERNETES=$KUBERNETES_MINOR is not known" \
      "it is one of: $(cd "$MODULES_DIR" && printf '%s ' kubernetes-* | sed 's/kubernetes-//g')"
  if [ -z "$running" ]; then return 0; fi
  [ "$KUBERNETES_MINOR" = "$running" ] || other_cluster_runs "K8S_SKY_KUBERNETES=$KUBERNETES_MINOR" "Kubernetes $running"
  [ "${K8S_SKY_NODES:-$(nodes | wc -l)}" = "$(nodes | wc -l)" ] ||
    other_cluster_runs "K8S_SKY_NODES=$K8S_SKY_NODES" "$(nodes | wc -l) nodes"
}

other_cluster_runs() { fail "$1, but a cluster with $2 runs" "stop it first: hack/cluster down"; }
