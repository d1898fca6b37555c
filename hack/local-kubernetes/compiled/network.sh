# The bridge that nodes and control plane hang on, the nodes' network namespaces, the packet rules, and the kernel's
# settings. To be sourced.
# shellcheck shell=bash

RULES=(
  "filter INPUT -i $BRIDGE -j ACCEPT"
  "filter FORWARD -i $BRIDGE -j ACCEPT"
  "filter FORWARD -o $BRIDGE -j ACCEPT"
  "nat POSTROUTING -s $CLUSTER_NETWORK ! -d $CLUSTER_NETWORK -j MASQUERADE"
)

start_network() {
  modprobe br_netfilter 2>/dev/null || true
  modprobe overlay 2>/dev/null || true
  set_sysctl net.ipv4.ip_forward 1
  raise_sysctl fs.inotify.max_user_instances 1024
  raise_sysctl fs.inotify.max_user_watches 524288
  ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
  ip address replace "$CONTROL_PLANE_IP/${NODE_NETWORK#*/}" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  local rule table arguments
  for rule in "${RULES[@]}"; do
    read -r table rule <<<"$rule"
    read -ra arguments <<<"$rule -m comment --comment k8s-sky"
    iptables -w -t "$table" -C "${arguments[@]}" 2>/dev/null || iptables -w -t "$table" -I "${arguments[@]}"
  done
}

# The wire of a node: called like the node on this machine, eth0 in the node's namespace.
start_node_network() { # start_node_network NODE
  local node=$1 other
  [ -e "/run/netns/$node" ] || ip netns add "$node"
  if ! ip link show "$node" >/dev/null 2>&1; then
    ip link add "$node" type veth peer name eth0 netns "$node"
    ip link set "$node" master "$BRIDGE"
  fi
  ip link set "$node" up
  ip -n "$node" link set lo up
  ip -n "$node" address replace "$(node_ip "$node")/${NODE_NETWORK#*/}" dev eth0
  ip -n "$node" link set eth0 up
  ip -n "$node" route replace default via "$CONTROL_PLANE_IP"
  for other in $(nodes); do
    if [ "$other" != "$node" ]; then ip -n "$node" route replace "$(pod_network "$other")" via "$(node_ip "$other")"; fi
  done
  ip route replace "$(pod_network "$node")" via "$(node_ip "$node")"
  nsenter --net="/run/netns/$node" sysctl -qw net.ipv4.ip_forward=1
  # Without it a pod that calls a service on its own node gets answers from an address it did not call.
  nsenter --net="/run/netns/$node" sysctl -qw net.bridge.bridge-nf-call-iptables=1
}

stop_network() {
  local node
  # All that is in a namespace ends with it: the pods' wires, the rules of kube-proxy.
  for node in $(nodes); do
    ip link delete "$node" 2>/dev/null || true
    if [ -e "/run/netns/$node" ]; then ip netns delete "$node"; fi
  done
  # ip mounts the directory of the namespaces on itself.
  if [ -d /run/netns ] && [ -z "$(ls /run/netns)" ]; then
    umount /run/netns 2>/dev/null || true
    rmdir /run/netns
  fi
  ip link delete "$BRIDGE" 2>/dev/null || true
  remove_rules
  restore_sysctls
}

remove_rules() {
  local saved
  have iptables-save || return 0
  saved=$(iptables-save 2>/dev/null) || return 0
  grep -q 'k8s-sky' <<<"$saved" || return 0
  awk '
    /^\*/ || /^COMMIT/ { print }
    /^-A .*--comment k8s-sky/ { sub(/^-A/, "-D"); print }
  ' <<<"$saved" | iptables-restore -w --noflush
}

set_sysctl() { # set_sysctl KEY VALUE: the value before is kept, for stop_network
  local before
  before=$(sysctl -n "$1" 2>/dev/null) || return 0
  [ "$before" != "$2" ] || return 0
  echo "$1=$before" >>"$STATE_DIR/sysctls"
  sysctl -qw "$1=$2" || fail "the kernel setting $1=$2 is refused" "the cluster needs it"
}

raise_sysctl() {
  local before
  before=$(sysctl -n "$1" 2>/dev/null) || return 0
  if [ "$before" -lt "$2" ]; then set_sysctl "$1" "$2"; fi
}

restore_sysctls() {
  if [ -f "$STATE_DIR/sysctls" ]; then tac "$STATE_DIR/sysctls" | xargs -r sysctl -qw 2>/dev/null || true; fi
}
