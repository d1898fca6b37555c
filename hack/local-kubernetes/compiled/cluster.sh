# A Kubernetes compiled from Go modules, each node in a network namespace: up, down, status. To be sourced.
# shellcheck shell=bash

COMPILED_DIR=$HACK_DIR/compiled
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$COMPILED_DIR/settings.sh"
# shellcheck source-path=SCRIPTDIR source=programs.sh
. "$COMPILED_DIR/programs.sh"
# shellcheck source-path=SCRIPTDIR source=network.sh
. "$COMPILED_DIR/network.sh"
# shellcheck source-path=SCRIPTDIR source=certificates.sh
. "$COMPILED_DIR/certificates.sh"
# shellcheck source-path=SCRIPTDIR source=processes.sh
. "$COMPILED_DIR/processes.sh"
# shellcheck source-path=SCRIPTDIR source=control_plane.sh
. "$COMPILED_DIR/control_plane.sh"
# shellcheck source-path=SCRIPTDIR source=node.sh
. "$COMPILED_DIR/node.sh"
# shellcheck source-path=SCRIPTDIR source=teardown.sh
. "$COMPILED_DIR/teardown.sh"

compiled_up() {
  require_debian
  if [ -z "$(running_components)" ]; then rm -f "$STATE_DIR/kubernetes"; fi
  check_settings
  find_programs
  take_lock
  if ! compiled_healthy; then
    ensure_programs
    # A cluster none of whose processes is left (the machine was restarted, or all were killed) is gone: a new one starts.
    # One that lost some of them gets those back and keeps its pods.
    if [ -z "$(running_components)" ]; then
      say "starting a new cluster (about 20 seconds)"
      remove_cluster
      require_free_ports
      mkdir -p "$STATE_DIR"
      wanted_nodes >"$STATE_DIR/nodes"
      echo "$KUBERNETES_MINOR" >"$STATE_DIR/kubernetes"
    else
      say "the cluster is not complete: starting what is missing beside $(running_components | paste -sd' ')"
    fi
    start_cluster
  fi
  ln -sf "$KUBERNETES_BIN/kubectl" "$KUBECTL"
  install -m 600 "$PKI_DIR/admin.conf" "$BUILD_DIR/kubeconfig"
  write_cluster_env compiled "$BUILD_DIR/kubeconfig" "$REGISTRY_ADDRESS"
}

start_cluster() {
  mkdir -p "$LOG_DIR" "$CONFIG_DIR" "$RUN_DIR" "$REGISTRY_DATA" "$STATE_DIR/volumes"
  raise_open_files
  make_certificates
  start_network
  start_control_plane
  local node
  for node in $(nodes); do start_node "$node"; done
  for node in $(nodes); do
    wait_for 120 "kubelet.$node" "the node $node is ready" node_is_ready "$node"
    start_network_policies "$node"
  done
  wait_for 60 controller-manager "the default service account exists" default_account_exists
  wait_for 60 dns "the name server answers" names_are_resolved
  local component
  for component in $(components); do
    running "$component" || component_failed "$component" "$component has ended"
  done
}

compiled_down() {
  [ "$(id -u)" = 0 ] || fail "the compiled cluster is stopped as root only"
  take_lock
  remove_cluster
}

compiled_exists() { [ -d "$STATE_DIR" ] || [ -d "$RUN_DIR" ]; }

compiled_status() {
  local name state
  for name in $(components); do
    state=stopped
    if running "$name"; then state=running; fi
    printf '%-30s %s\n' "$name" "$state"
  done
  printf 'logs: %s\n' "$LOG_DIR"
}

compiled_node_down() {
  check_node "$1"
  take_lock
  say "cutting $1 off and killing all that runs on it"
  node_down "$1"
}

compiled_node_up() {
  check_node "$1"
  check_settings
  find_programs
  take_lock
  say "booting $1"
  raise_open_files
  node_up "$1"
}

compiled_healthy() {
  [ -f "$STATE_DIR/nodes" ] && [ "$(running_components | wc -l)" = "$(components | wc -l)" ] &&
    { registry_answers && kubernetes_answers && names_are_resolved && nodes_are_ready; } >/dev/null 2>&1
}

nodes_are_ready() {
  local node
  for node in $(nodes); do node_is_ready "$node" || return 1; done
}

require_debian() {
  local release=0
  release=$(sed -n 's/^VERSION_ID="\?\([0-9]*\).*/\1/p' /etc/os-release)
  { grep -qx 'ID=debian' /etc/os-release && [ "$release" -ge 12 ]; } || fail "this way needs Debian 12 or newer" \
    "elsewhere use kind, or a cluster of your own (K8S_SKY_KUBECONFIG)"
  [ "$(dpkg --print-architecture)" = amd64 ] || fail "this way needs an amd64 machine"
  local free
  mkdir -p "$CACHE_DIR"
  free=$(df --output=avail -B1G "$CACHE_DIR" | tail -n 1)
  [ "$free" -ge 8 ] || fail "only $free GB free in $CACHE_DIR" "the cluster needs at least 8 GB: free some, or set K8S_SKY_CACHE"
}

require_free_ports() {
  local port
  for port in "$REGISTRY_PORT" 10257 10259 23790; do
    if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      fail "port $port of this machine is taken by: $(ss -Htlnp "sport = :$port" | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u | paste -sd' ')" \
        "stop that program (another Kubernetes, a registry?)" "the registry's port can be changed: K8S_SKY_REGISTRY_PORT=5001"
    fi
  done
}

# Containers inherit the limit of the shell that starts containerd, and 1024 is too few for Ray.
raise_open_files() {
  local wanted=1048576 hard
  hard=$(ulimit -Hn)
  if [ "$hard" != unlimited ] && [ "$hard" -lt $wanted ]; then wanted=$hard; fi
  ulimit -Sn $wanted
}

take_lock() {
  exec 9>"$LOCK_FILE"
  if ! flock --nonblock 9; then
    say "waiting for another hack/cluster (up to 20 minutes)"
    flock --timeout 1200 9 || fail "another hack/cluster holds $LOCK_FILE"
  fi
}
