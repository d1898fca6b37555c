# The configuration and the command line of each component of the control plane. To be sourced.
# shellcheck shell=bash

start_control_plane() {
  start_registry
  start_etcd
  start_apiserver
  wait_for 60 registry "the image registry at $REGISTRY_ADDRESS answers" registry_answers
  wait_for 120 apiserver "the Kubernetes API answers" kubernetes_answers
  start_controller_manager
  start_scheduler
  start_dns
  start_volume_provisioner
  wait_for 60 apiserver "the storage class can be made" kubernetes apply -f "$COMPILED_DIR/storage-class.yaml"
}

kubernetes() { "$KUBERNETES_BIN/kubectl" --kubeconfig "$PKI_DIR/admin.conf" --request-timeout 10s "$@"; }

registry_answers() { : 2>/dev/null <"/dev/tcp/$CONTROL_PLANE_IP/$REGISTRY_PORT"; }
kubernetes_answers() { kubernetes get --raw /readyz; }
default_account_exists() { kubernetes -n default get serviceaccount default; }
names_are_resolved() { python3 -c "import urllib.request as u; u.urlopen('http://$CONTROL_PLANE_IP:8181/ready', timeout=5)"; }

# The machine pushes to localhost; the nodes have another localhost and pull by the relay.
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
  start registry-relay socat "TCP-LISTEN:$REGISTRY_PORT,bind=$CONTROL_PLANE_IP,fork,reuseaddr" "TCP:127.0.0.1:$REGISTRY_PORT"
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
    --bind-address="$CONTROL_PLANE_IP" --secure-port=6443 --advertise-address="$CONTROL_PLANE_IP" \
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
    --kubeconfig="$PKI_DIR/controller-manager.conf" --bind-address=127.0.0.1 --leader-elect=false \
    --use-service-account-credentials=true --root-ca-file="$PKI_DIR/ca.crt" \
    --service-account-private-key-file="$PKI_DIR/service-accounts.key" \
    --cluster-signing-cert-file="$PKI_DIR/ca.crt" --cluster-signing-key-file="$PKI_DIR/ca.key" \
    --flex-volume-plugin-dir="$STATE_DIR/volume-plugins"
}

start_scheduler() {
  start scheduler kube-scheduler \
    --kubeconfig="$PKI_DIR/scheduler.conf" --bind-address=127.0.0.1 --leader-elect=false
}

start_dns() {
  # A machine without a network has no name server to ask.
  local forward=''
  if grep -q '^nameserver' /etc/resolv.conf; then forward='forward . /etc/resolv.conf'; fi
  cat >"$CONFIG_DIR/Corefile" <<CONFIG
.:53 {
  bind $CONTROL_PLANE_IP
  ready $CONTROL_PLANE_IP:8181
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $PKI_DIR/admin.conf
    fallthrough in-addr.arpa
  }
  $forward
  cache 30
}
CONFIG
  start dns coredns -conf "$CONFIG_DIR/Corefile"
}

start_volume_provisioner() {
  # A copy: the cluster outlives the working tree that started it.
  rm -rf "$STATE_DIR/volume_provisioner"
  cp -r "$HACK_DIR/volume_provisioner" "$STATE_DIR/volume_provisioner"
  local nodes
  mapfile -t nodes < <(nodes)
  COMPONENT_ENVIRONMENT=("PYTHONPATH=$STATE_DIR" PYTHONDONTWRITEBYTECODE=1)
  start volume-provisioner python3 -u -m volume_provisioner --server "https://$CONTROL_PLANE_IP:6443" \
    --ca "$PKI_DIR/ca.crt" --certificate "$PKI_DIR/admin.crt" --key "$PKI_DIR/admin.key" \
    --volumes "$STATE_DIR/volumes" --nodes "${nodes[@]}"
  COMPONENT_ENVIRONMENT=()
}
