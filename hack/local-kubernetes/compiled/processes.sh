# Starting, finding and ending the cluster's processes. To be sourced.
# shellcheck shell=bash

# start COMPONENT COMMAND...: unless it runs. COMPONENT_ENVIRONMENT may hold more NAME=VALUE.
# The mark in the environment tells our processes, and what they start, from all others of the machine.
COMPONENT_ENVIRONMENT=()
start() {
  local name=$1
  shift
  if running "$name"; then return 0; fi
  # 9 is the lock: a component must not keep it.
  env -i PATH="$PROGRAM_PATH:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root \
    K8S_SKY_COMPONENT="$name" "${COMPONENT_ENVIRONMENT[@]}" setsid "$@" >>"$LOG_DIR/$name.log" 2>&1 </dev/null 9>&- &
  local pid=$!
  echo $pid >"$RUN_DIR/$name.pid"
  # The mark is there as soon as the shell's child has become the component.
  until running "$name" || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
}

running() { # running COMPONENT
  local pid
  pid=$(cat "$RUN_DIR/$1.pid" 2>/dev/null) && [ -n "$pid" ] &&
    grep -qzxs "K8S_SKY_COMPONENT=$1" "/proc/$pid/environ"
}

running_components() { # running_components [NODE]
  local name
  for name in $(components "$@"); do
    if running "$name"; then echo "$name"; fi
  done
}

# wait_for SECONDS COMPONENT WHAT COMMAND...: until the command succeeds.
wait_for() {
  local component=$2 what=$3 deadline=$((SECONDS + $1)) started=$SECONDS
  shift 3
  until "$@" >/dev/null 2>&1; do
    if ! running "$component"; then
      component_failed "$component" "$component ended while it was waited for ($what)"
    elif [ $SECONDS -ge $deadline ]; then
      component_failed "$component" "$what: not within $((SECONDS - started)) s"
    fi
    sleep 0.3
  done
}

component_failed() { # component_failed COMPONENT MESSAGE
  tail -n 25 "$LOG_DIR/$1.log" >&2 || true
  fail "$2" "the logs are in $LOG_DIR" "a new start: hack/cluster down, then hack/cluster up"
}

# Every process that carries the mark: components, and helpers that they started.
marked_processes() {
  grep -lzs '^K8S_SKY_COMPONENT=' /proc/[0-9]*/environ | cut -d/ -f3
}

# Every process in a container of ours: its root file system is an overlay in our state directory. It is found
# so even when containerd and its shims were killed before it.
container_processes() { # container_processes [NODE]
  grep -lsE "^[^ ]+ [^ ]+ [^ ]+ / / .*upperdir=$STATE_DIR/${1:-}" /proc/[0-9]*/mountinfo | cut -d/ -f3
}

node_processes() { # node_processes NODE: its components, what they started, and its containers
  grep -lzsE "^K8S_SKY_COMPONENT=.*\\.$1\$" /proc/[0-9]*/environ | cut -d/ -f3
  container_processes "$1/"
}

kubelet_processes() {
  local node
  for node in $(nodes); do
    if running "kubelet.$node"; then cat "$RUN_DIR/kubelet.$node.pid"; fi
  done
}

# end_processes SIGNAL LISTER...: sends it to the processes that LISTER prints, and after ten seconds SIGKILL.
end_processes() {
  local signal=$1
  shift
  for signal in "$signal" KILL; do
    "$@" | xargs -r kill -s "$signal" 2>/dev/null || true
    for _ in $(seq 50); do
      [ -n "$("$@")" ] || return 0
      sleep 0.2
    done
  done
  fail "these processes of the cluster do not end: $("$@" | paste -sd' ')"
}
