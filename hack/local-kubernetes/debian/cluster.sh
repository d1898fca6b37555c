# A Kubernetes of one node made of Debian packages: up, down, status. To be sourced.
# shellcheck shell=bash

DEBIAN_DIR=$HACK_DIR/debian
# shellcheck source-path=SCRIPTDIR source=settings.sh
. "$DEBIAN_DIR/settings.sh"
# shellcheck source-path=SCRIPTDIR source=programs.sh
. "$DEBIAN_DIR/programs.sh"
# shellcheck source-path=SCRIPTDIR source=network.sh
. "$DEBIAN_DIR/network.sh"
# shellcheck source-path=SCRIPTDIR source=certificates.sh
. "$DEBIAN_DIR/certificates.sh"
# shellcheck source-path=SCRIPTDIR source=processes.sh
. "$DEBIAN_DIR/processes.sh"
# shellcheck source-path=SCRIPTDIR source=components.sh
. "$DEBIAN_DIR/components.sh"
# shellcheck source-path=SCRIPTDIR source=teardown.sh
. "$DEBIAN_DIR/teardown.sh"

debian_up() {
  require_debian_12
  take_lock
  if ! debian_healthy; then
    ensure_programs
    # A cluster none of whose processes is left (the machine was restarted, or all were killed) is gone: a new one starts.
    # One that lost some of them gets those back and keeps its pods.
    if [ -z "$(running_components)" ]; then
      say "starting a new cluster (about 30 seconds)"
      remove_cluster
      require_free_ports
    else
      say "the cluster is not complete: starting what is missing beside $(running_components | paste -sd' ')"
    fi
    mkdir -p "$STATE_DIR"
    start_network
    raise_open_files
    start_components
  fi
  install -m 600 "$PKI_DIR/admin.conf" "$BUILD_DIR/kubeconfig"
  write_cluster_env debian "$BUILD_DIR/kubeconfig" "$REGISTRY_ADDRESS"
}

debian_down() {
  [ "$(id -u)" = 0 ] || fail "the cluster made of Debian packages is stopped as root only"
  take_lock
  remove_cluster
}

debian_exists() { [ -d "$STATE_DIR" ] || [ -d "$RUN_DIR" ]; }

debian_status() {
  local name state
  for name in "${COMPONENTS[@]}"; do
    state=stopped
    if running "$name"; then state=running; fi
    printf '%-20s %s\n' "$name" "$state"
  done
  printf 'logs: %s\n' "$LOG_DIR"
}

debian_healthy() {
  [ "$(running_components | wc -l)" = ${#COMPONENTS[@]} ] &&
    { registry_answers && kubernetes_answers && node_is_ready && names_are_resolved; } >/dev/null 2>&1
}

require_debian_12() {
  grep -qx 'VERSION_CODENAME=bookworm' /etc/os-release || fail "this way needs Debian 12 (bookworm)" \
    "elsewhere use kind, or a cluster of your own (K8S_SKY_KUBECONFIG)"
  [ "$(dpkg --print-architecture)" = amd64 ] || fail "this way needs an amd64 machine"
  local free
  mkdir -p "$CACHE_DIR"
  free=$(df --output=avail -B1G "$CACHE_DIR" | tail -n 1)
  [ "$free" -ge 5 ] || fail "only $free GB free in $CACHE_DIR" "the cluster needs at least 5 GB: free some, or set K8S_SKY_CACHE"
}

require_free_ports() {
  local port
  for port in "$REGISTRY_PORT" 10248 10249 23790; do
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
