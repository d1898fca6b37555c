# The bridge that pods hang on, the packet rules, and the kernel's settings. To be sourced.
# shellcheck shell=bash

RULES=(
  "filter INPUT -i $BRIDGE -j ACCEPT"
  "filter FORWARD -i $BRIDGE -j ACCEPT"
  "filter FORWARD -o $BRIDGE -j ACCEPT"
  "nat POSTROUTING -s $POD_NETWORK ! -d $POD_NETWORK -j MASQUERADE"
)

start_network() {
  modprobe br_netfilter 2>/dev/null || true
  modprobe overlay 2>/dev/null || true
  set_sysctl net.ipv4.ip_forward 1
  # Without it a pod that calls a service gets answers from an address it did not call.
  set_sysctl net.bridge.bridge-nf-call-iptables 1
  raise_sysctl fs.inotify.max_user_instances 1024
  raise_sysctl fs.inotify.max_user_watches 524288
  ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
  ip address replace "$NODE_IP/${POD_NETWORK#*/}" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  ip route replace "$SERVICE_NETWORK" dev "$BRIDGE"
  local rule table arguments
  for rule in "${RULES[@]}"; do
    read -r table rule <<<"$rule"
    read -ra arguments <<<"$rule -m comment --comment k8s-sky"
    iptables -w -t "$table" -C "${arguments[@]}" 2>/dev/null || iptables -w -t "$table" -I "${arguments[@]}"
  done
}

stop_network() {
  local link
  if ip link show "$BRIDGE" >/dev/null 2>&1; then
    for link in $(ip -o link show master "$BRIDGE" | sed -E 's/^[0-9]+: ([^@:]+).*/\1/'); do
      # Most are gone by now: they end with the pods' own network namespaces.
      ip link delete "$link" 2>/dev/null || true
    done
    ip link delete "$BRIDGE"
  fi
  remove_rules iptables
  remove_rules ip6tables
  restore_sysctls
}

# Ours carry the comment k8s-sky; those of kubelet and kube-proxy live in chains called KUBE-... .
remove_rules() { # remove_rules iptables|ip6tables
  local saved
  have "$1" || return 0
  saved=$("$1-save" 2>/dev/null) || return 0
  grep -qE 'KUBE-|k8s-sky' <<<"$saved" || return 0
  awk '
    /^\*/ { print; chains = "" }
    /^:KUBE-/ { print $1, "- [0:0]"; sub(/^:/, "", $1); chains = chains "-X " $1 "\n" }
    /^-A KUBE-/ { next }
    /^-A .*(KUBE-|k8s-sky)/ { sub(/^-A/, "-D"); print }
    /^COMMIT/ { printf "%s", chains; print }
  ' <<<"$saved" | "$1-restore" -w --noflush
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
