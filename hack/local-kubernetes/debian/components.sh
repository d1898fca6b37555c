# The configuration and the command line of each component. To be sourced.
# shellcheck shell=bash

start_components() {
  mkdir -p "$LOG_DIR" "$CONFIG_DIR/cni" "$RUN_DIR" "$REGISTRY_DATA" "$STATE_DIR/volumes"
  make_certificates
  start_registry
  start_etcd
  start_containerd
  start_apiserver
  wait_for 60 registry "the image registry at $REGISTRY_ADDRESS answers" registry_answers
  wait_for 60 containerd "containerd answers" import_pause_image
  wait_for 120 apiserver "the Kubernetes API answers" kubernetes_answers
  start_controller_manager
  start_scheduler
  start_kubelet
  start_kube_proxy
  start_addons
  wait_for 60 apiserver "the storage class can be made" \
    "$KUBECTL" --kubeconfig "$PKI_DIR/admin.conf" apply -f "$HACK_DIR/debian/storage-class.yaml"
  wait_for 120 kubelet "the node is ready" node_is_ready
  wait_for 60 controller-manager "the default service account exists" default_account_exists
  wait_for 60 addons "the name server answers" names_are_resolved
}

registry_answers() { : 2>/dev/null <"/dev/tcp/127.0.0.1/$REGISTRY_PORT"; }
kubernetes_answers() { "$KUBECTL" --kubeconfig "$PKI_DIR/admin.conf" get --raw /readyz; }
node_is_ready() { "$KUBECTL" --kubeconfig "$PKI_DIR/admin.conf" get node "$NODE" --no-headers | grep -q ' Ready '; }
default_account_exists() { "$KUBECTL" --kubeconfig "$PKI_DIR/admin.conf" -n default get serviceaccount default; }
names_are_resolved() {
  PYTHONPATH=$STATE_DIR "$ADDONS_VENV/bin/python" -m cluster_addons.check "$NODE_IP" kubernetes.default.svc.cluster.local
}

start_registry() {
  cat >"$CONFIG_DIR/registry.yml" <<CONFIG
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $REGISTRY_DATA}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$REGISTRY_PORT"}
CONFIG
  start registry docker-registry serve "$CONFIG_DIR/registry.yml"
}

# Not etcd's own ports: an etcd of the machine may hold them. No fsync: the data needs not outlive the machine.
start_etcd() {
  start etcd etcd --data-dir "$STATE_DIR/etcd" --unsafe-no-fsync --logger zap --log-level warn \
    --listen-client-urls http://127.0.0.1:23790 --advertise-client-urls http://127.0.0.1:23790 \
    --listen-peer-urls http://127.0.0.1:23800 --initial-advertise-peer-urls http://127.0.0.1:23800 \
    --initial-cluster default=http://127.0.0.1:23800
}

start_apiserver() {
  start apiserver kube-apiserver \
    --etcd-servers=http://127.0.0.1:23790 \
    --bind-address="$NODE_IP" --secure-port=6443 --advertise-address="$NODE_IP" \
    --service-cluster-ip-range="$SERVICE_NETWORK" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --client-ca-file="$PKI_DIR/ca.crt" \
    --tls-cert-file="$PKI_DIR/apiserver.crt" --tls-private-key-file="$PKI_DIR/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$PKI_DIR/service-accounts.pub" \
    --service-account-signing-key-file="$PKI_DIR/service-accounts.key" \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$PKI_DIR/ca.crt" \
    --kubelet-client-certificate="$PKI_DIR/admin.crt" --kubelet-client-key="$PKI_DIR/admin.key" \
    --requestheader-client-ca-file="$PKI_DIR/ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI_DIR/front-proxy.crt" --proxy-client-key-file="$PKI_DIR/front-proxy.key"
}

start_controller_manager() {
  start controller-manager kube-controller-manager \
    --kubeconfig="$PKI_DIR/controller-manager.conf" --bind-address=127.0.0.1 --port=0 --leader-elect=false \
    --use-service-account-credentials=true --root-ca-file="$PKI_DIR/ca.crt" \
    --service-account-private-key-file="$PKI_DIR/service-accounts.key" \
    --cluster-signing-cert-file="$PKI_DIR/ca.crt" --cluster-signing-key-file="$PKI_DIR/ca.key" \
    --flex-volume-plugin-dir="$STATE_DIR/volume-plugins"
}

start_scheduler() {
  start scheduler kube-scheduler \
    --kubeconfig="$PKI_DIR/scheduler.conf" --bind-address=127.0.0.1 --port=0 --leader-elect=false
}

# restrict_oom_score_adj: in a sandbox without CAP_SYS_RESOURCE runc dies without it ("can't get final child's PID").
start_containerd() {
  mkdir -p "$CONFIG_DIR/certs.d/$REGISTRY_ADDRESS"
  cat >"$CONFIG_DIR/certs.d/$REGISTRY_ADDRESS/hosts.toml" <<CONFIG
server = "http://127.0.0.1:$REGISTRY_PORT"
CONFIG
  cat >"$CONFIG_DIR/containerd.toml" <<CONFIG
version = 2
root = "$STATE_DIR/containerd"
state = "$RUN_DIR/containerd"
[grpc]
  address = "$CONTAINERD_SOCKET"
[plugins."io.containerd.internal.v1.opt"]
  path = "$STATE_DIR/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$DEBIAN_ROOT/usr/lib/cni"
    conf_dir = "$CONFIG_DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$CONFIG_DIR/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$DEBIAN_ROOT/usr/sbin/runc"
CONFIG
  cat >"$CONFIG_DIR/cni/10-bridge.conflist" <<CONFIG
{"cniVersion": "0.4.0", "name": "k8s-sky", "plugins": [
  {"type": "bridge", "bridge": "$BRIDGE", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$STATE_DIR/cni", "ranges": [[{"subnet": "$POD_NETWORK"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}}]}
CONFIG
  # Pulls from outside may need the machine's proxy and certificates.
  local name
  COMPONENT_ENVIRONMENT=()
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR; do
    if [ -n "${!name:-}" ]; then COMPONENT_ENVIRONMENT+=("$name=${!name}"); fi
  done
  start containerd containerd --config "$CONFIG_DIR/containerd.toml"
  COMPONENT_ENVIRONMENT=()
}

containerd_client() { "$DEBIAN_ROOT/usr/bin/ctr" --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }

# The container that holds each pod's network.
import_pause_image() {
  python3 "$HACK_DIR/debian/pause_image.py" "$DEBIAN_ROOT/usr/bin/catatonit" "$PAUSE_IMAGE" "$STATE_DIR/pause.tar" &&
    containerd_client images import "$STATE_DIR/pause.tar"
}

# Evictions only for want of memory: a disk that is nearly full is no reason to end a local cluster's pods.
# The quality-of-service groups of Kubernetes 1.20 need a cgroup layout that not every machine has.
start_kubelet() {
  # Pods ask our name server whatever the machine's own resolver is: it may listen where they cannot reach it.
  echo "nameserver $NODE_IP" >"$CONFIG_DIR/resolv.conf"
  cat >"$CONFIG_DIR/kubelet.yaml" <<CONFIG
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI_DIR/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI_DIR/kubelet.crt
tlsPrivateKeyFile: $PKI_DIR/kubelet.key
clusterDNS: [$NODE_IP]
clusterDomain: cluster.local
resolvConf: $CONFIG_DIR/resolv.conf
volumePluginDir: $STATE_DIR/volume-plugins
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
maxPods: 200
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
CONFIG
  start kubelet kubelet --config="$CONFIG_DIR/kubelet.yaml" --kubeconfig="$PKI_DIR/kubelet.conf" \
    --root-dir="$STATE_DIR/kubelet" --hostname-override="$NODE" --node-ip="$NODE_IP" \
    --container-runtime=remote --container-runtime-endpoint="unix://$CONTAINERD_SOCKET" \
    --pod-infra-container-image="$PAUSE_IMAGE"
}

start_kube_proxy() {
  start kube-proxy kube-proxy --kubeconfig="$PKI_DIR/kube-proxy.conf" --hostname-override="$NODE" \
    --proxy-mode=iptables --cluster-cidr="$POD_NETWORK" --conntrack-max-per-core=0 \
    --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
}

start_addons() {
  # A copy: the cluster outlives the working tree that started it.
  rm -rf "$STATE_DIR/cluster_addons"
  cp -r "$HACK_DIR/cluster_addons" "$STATE_DIR/cluster_addons"
  COMPONENT_ENVIRONMENT=("PYTHONPATH=$STATE_DIR" PYTHONDONTWRITEBYTECODE=1)
  start addons "$ADDONS_VENV/bin/python" -u -m cluster_addons --server "https://$NODE_IP:6443" \
    --ca "$PKI_DIR/ca.crt" --certificate "$PKI_DIR/admin.crt" --key "$PKI_DIR/admin.key" \
    --node "$NODE" --address "$NODE_IP" --volumes "$STATE_DIR/volumes"
  COMPONENT_ENVIRONMENT=()
}
