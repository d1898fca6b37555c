# A node: containerd, kubelet, kube-proxy and the agent for NetworkPolicies in a network namespace. To be sourced.
# shellcheck shell=bash

start_node() { # start_node NODE
  local node=$1
  # A node none of whose components runs boots: nothing of what it ran before is left.
  if [ -z "$(running_components "$node")" ]; then clear_node "$node"; fi
  mkdir -p "$(node_dir "$node")/cni" "$(node_run_dir "$node")"
  start_node_network "$node"
  start_containerd "$node"
  wait_for 60 "containerd.$node" "containerd answers" import_pause_image "$node"
  start_kubelet "$node"
  start_in "$node" kube-proxy kube-proxy --kubeconfig="$PKI_DIR/kube-proxy.conf" --hostname-override="$node" \
    --proxy-mode=iptables --cluster-cidr="$CLUSTER_NETWORK" --conntrack-max-per-core=0 \
    --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
}

# kube-router asks for its node, so it starts when that is there.
start_network_policies() { # start_network_policies NODE
  start_in "$1" network-policies kube-router --kubeconfig="$PKI_DIR/admin.conf" --hostname-override="$1" \
    --run-firewall=true --run-router=false --run-service-proxy=false \
    --service-cluster-ip-range="$SERVICE_NETWORK" --health-port=0 --metrics-port=0
}

# As in a power cut: first the network, so that no peer hears of the end, then all processes.
node_down() { # node_down NODE
  check_node "$1"
  ip link set "$1" down
  end_processes KILL node_processes "$1"
}

node_up() { # node_up NODE
  check_node "$1"
  start_node "$1"
  start_network_policies "$1"
  wait_for 120 "kubelet.$1" "the node is ready" node_is_ready "$1"
}

check_node() {
  nodes | grep -qx "${1:-}" || fail "there is no node called '${1:-}'" "the nodes are: $(nodes | paste -sd' ')"
}

node_is_ready() { kubernetes get node "$1" --no-headers | grep -qE ' Ready[ ,]'; }

clear_node() { # clear_node NODE
  local node=$1 link
  end_processes KILL node_processes "$node"
  unmount_below "$(node_dir "$node")"
  unmount_below "$(node_run_dir "$node")"
  rm -rf "$(node_run_dir "$node")"
  remove_cgroups
  if [ -e "/run/netns/$node" ]; then
    for link in $(ip -n "$node" -o link show type veth | sed -nE 's/^[0-9]+: (veth[^@:]+).*/\1/p'); do
      ip -n "$node" link delete "$link" 2>/dev/null || true
    done
  fi
}

start_in() { # start_in NODE COMPONENT COMMAND...: in the node's network
  local node=$1 component=$2
  shift 2
  start "$component.$node" nsenter --net="/run/netns/$node" "$@"
}

# restrict_oom_score_adj: in a sandbox without CAP_SYS_RESOURCE runc dies without it ("can't get final child's PID").
# The NRI socket of two containerd would be one.
start_containerd() { # start_containerd NODE
  local node=$1 config run state name
  state=$(node_dir "$node") run=$(node_run_dir "$node") config=$state/config
  mkdir -p "$config/cni" "$config/certs.d/$REGISTRY_ADDRESS"
  echo "server = \"http://$CONTROL_PLANE_IP:$REGISTRY_PORT\"" >"$config/certs.d/$REGISTRY_ADDRESS/hosts.toml"
  cat >"$config/containerd.toml" <<CONFIG
version = 3
root = "$state/containerd"
state = "$run/containerd"
[grpc]
  address = "$(containerd_socket "$node")"
[plugins."io.containerd.internal.v1.opt"]
  path = "$state/containerd-opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$PAUSE_IMAGE"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "$config/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$(program_directory node)"]
    conf_dir = "$config/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "$DEBIAN_ROOT/usr/sbin/runc"
        Root = "$run/runc"
CONFIG
  cat >"$config/cni/10-bridge.conflist" <<CONFIG
{"cniVersion": "1.0.0", "name": "k8s-sky", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/cni", "ranges": [[{"subnet": "$(pod_network "$node")"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]}
CONFIG
  # Pulls from outside may need the machine's proxy and certificates.
  COMPONENT_ENVIRONMENT=()
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR; do
    if [ -n "${!name:-}" ]; then COMPONENT_ENVIRONMENT+=("$name=${!name}"); fi
  done
  start_in "$node" containerd containerd --config "$config/containerd.toml"
  COMPONENT_ENVIRONMENT=()
}

# The container that holds each pod's network.
import_pause_image() { # import_pause_image NODE
  python3 "$COMPILED_DIR/pause_image.py" "$DEBIAN_ROOT/usr/bin/catatonit" "$PAUSE_IMAGE" "$STATE_DIR/pause.tar" &&
    "$(program_directory node)/ctr" --address "$(containerd_socket "$1")" --namespace k8s.io images import "$STATE_DIR/pause.tar"
}

# Evictions only for want of memory: a disk that is nearly full is no reason to end a local cluster's pods.
# The groups for qualities of service need a cgroup layout that not every machine has.
start_kubelet() { # start_kubelet NODE
  local node=$1 state
  state=$(node_dir "$node")
  # Pods ask our name server whatever the machine's own resolver is: it may listen where they cannot reach it.
  echo "nameserver $CONTROL_PLANE_IP" >"$state/config/resolv.conf"
  cat >"$state/config/kubelet.yaml" <<CONFIG
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
address: $(node_ip "$node")
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI_DIR/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI_DIR/$node.crt
tlsPrivateKeyFile: $PKI_DIR/$node.key
clusterDNS: [$CONTROL_PLANE_IP]
clusterDomain: cluster.local
resolvConf: $state/config/resolv.conf
volumePluginDir: $STATE_DIR/volume-plugins
podLogsDir: $state/pod-logs
containerRuntimeEndpoint: unix://$(containerd_socket "$node")
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
maxPods: 200
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
CONFIG
  start_in "$node" kubelet kubelet --config="$state/config/kubelet.yaml" --kubeconfig="$PKI_DIR/$node.conf" \
    --root-dir="$state/kubelet" --cert-dir="$state/kubelet-pki" --hostname-override="$node" --node-ip="$(node_ip "$node")"
}
