# Removes every trace of the cluster, whatever state it is in: also after SIGKILL or a restart of the machine.
# To be sourced.
# shellcheck shell=bash

remove_cluster() {
  # The kubelets first: they would start containers again. Then the containers, while containerd can still see them end.
  end_processes TERM kubelet_processes
  end_processes KILL container_processes
  end_processes TERM marked_processes
  unmount_below "$STATE_DIR"
  unmount_below "$RUN_DIR"
  stop_network
  remove_cgroups
  if [ -d /var/lib/cni/results ]; then
    find /var/lib/cni/results -type f -exec grep -qF "$RUN_DIR/" {} \; -delete
  fi
  remove_dead_sockets
  rm -rf "$RUN_DIR" "$STATE_DIR"
  # Places that Kubernetes and containerd have no setting for.
  rm -rf /var/log/containers /var/lib/kubelet/device-plugins
  rmdir --ignore-fail-on-non-empty /run/containerd/s /run/containerd /var/lib/kubelet /var/lib/cni/results /var/lib/cni \
    2>/dev/null || true
}

# containerd has no setting for the place of its shims' sockets; those of another containerd are listened on.
remove_dead_sockets() {
  local socket
  for socket in /run/containerd/s/*; do
    if [ -S "$socket" ] && ! grep -q " $socket\$" /proc/net/unix; then rm -f "$socket"; fi
  done
}

unmount_below() { # unmount_below DIRECTORY
  local mount
  mounts_below "$1" | while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount" || true; done
  # What is mounted there may be data of others: nothing is deleted through a mount.
  [ -z "$(mounts_below "$1")" ] || fail "still mounted: $(mounts_below "$1" | paste -sd' ')" "unmount it and try again"
}

mounts_below() { # mounts_below DIRECTORY: the deepest first
  awk -v prefix="$1/" 'index($2, prefix) == 1 { print $2 }' /proc/mounts | sort -r
}

# Only those without a process: rmdir refuses the others.
remove_cgroups() {
  local directory
  for directory in /sys/fs/cgroup/k8s.io /sys/fs/cgroup/*/k8s.io; do
    if [ -d "$directory" ]; then find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
  done
}
