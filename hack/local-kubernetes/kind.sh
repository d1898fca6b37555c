# A cluster in Docker by kind, with a registry beside it that host and nodes reach by one name. To be sourced.
# shellcheck shell=bash

KIND_NAME=k8s-sky
KIND_REGISTRY=k8s-sky-registry
KIND_REGISTRY_PORT=${K8S_SKY_REGISTRY_PORT:-5000}

docker_runs() { have docker && timeout 20 docker info >/dev/null 2>&1; }

kind_usable() { have kind && docker_runs; }

kind_exists() { kind_usable && kind get clusters 2>/dev/null | grep -qx "$KIND_NAME"; }

kind_up() {
  local kubeconfig=$BUILD_DIR/kubeconfig
  if ! kind_exists; then
    say "kind makes the cluster $KIND_NAME (one to three minutes; the first time it fetches its node image)"
    kind create cluster --name "$KIND_NAME" --kubeconfig "$kubeconfig" --wait 180s --config - <<'CONFIG' ||
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
  - |-
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
CONFIG
      fail "kind could not make the cluster" "its messages are above; 'hack/cluster down' removes what is left of it"
  fi
  docker start "$KIND_NAME-control-plane" >/dev/null
  start_kind_registry
  (umask 077 && kind get kubeconfig --name "$KIND_NAME" >"$kubeconfig")
  wait_for_kubernetes "$kubeconfig" 120
  # As on other local clusters, volumes whose files belong to the pod's fsGroup.
  "$KUBECTL" --kubeconfig "$kubeconfig" annotate --overwrite storageclass standard defaultVolumeType=local >/dev/null
  write_cluster_env kind "$kubeconfig" "localhost:$KIND_REGISTRY_PORT"
}

# The recipe of kind's documentation ("Local Registry"). The images are in a volume, which outlives the cluster.
start_kind_registry() {
  if ! docker inspect "$KIND_REGISTRY" >/dev/null 2>&1; then
    say "starting the image registry $KIND_REGISTRY"
    docker run -d --restart=always -p "127.0.0.1:$KIND_REGISTRY_PORT:5000" --network bridge --name "$KIND_REGISTRY" \
      -v "$KIND_REGISTRY:/var/lib/registry" registry:2 >/dev/null ||
      fail "the image registry does not start" "is port $KIND_REGISTRY_PORT free? K8S_SKY_REGISTRY_PORT names another"
  fi
  docker start "$KIND_REGISTRY" >/dev/null
  local node directory=/etc/containerd/certs.d/localhost:$KIND_REGISTRY_PORT
  for node in $(kind get nodes --name "$KIND_NAME"); do
    docker exec "$node" mkdir -p "$directory"
    echo "[host.\"http://$KIND_REGISTRY:5000\"]" | docker exec -i "$node" cp /dev/stdin "$directory/hosts.toml"
  done
  if [ "$(docker inspect -f '{{json .NetworkSettings.Networks.kind}}' "$KIND_REGISTRY")" = null ]; then
    docker network connect kind "$KIND_REGISTRY"
  fi
}

kind_down() {
  kind delete cluster --name "$KIND_NAME"
  docker rm --force "$KIND_REGISTRY" >/dev/null 2>&1 || true
}

kind_status() {
  docker ps --all --filter "name=$KIND_NAME" --format '{{.Names}}\t{{.Status}}'
}
