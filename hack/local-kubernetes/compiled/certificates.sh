# The cluster's certificates and kubeconfigs. To be sourced.
# shellcheck shell=bash

make_certificates() {
  if [ -f "$PKI_DIR/complete" ]; then return 0; fi
  mkdir -p "$PKI_DIR"
  chmod 700 "$PKI_DIR"
  make_certificate ca /CN=k8s-sky-ca basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign,cRLSign
  local kubernetes=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  make_client apiserver /CN=kube-apiserver \
    "subjectAltName=$kubernetes,DNS:localhost,IP:127.0.0.1,IP:$KUBERNETES_SERVICE_IP,IP:$CONTROL_PLANE_IP"
  local node
  for node in $(nodes); do
    make_client "$node" "/O=system:nodes/CN=system:node:$node" "subjectAltName=DNS:$node,IP:$(node_ip "$node")"
  done
  make_client admin /O=system:masters/CN=admin
  make_client controller-manager /CN=system:kube-controller-manager
  make_client scheduler /CN=system:kube-scheduler
  make_client kube-proxy /CN=system:kube-proxy
  make_client front-proxy /CN=front-proxy
  openssl ecparam -name prime256v1 -genkey -noout -out "$PKI_DIR/service-accounts.key"
  openssl ec -in "$PKI_DIR/service-accounts.key" -pubout -out "$PKI_DIR/service-accounts.pub" 2>/dev/null
  local user
  for user in admin controller-manager scheduler kube-proxy $(nodes); do make_kubeconfig "$user"; done
  touch "$PKI_DIR/complete"
}

make_client() { # make_client NAME SUBJECT [EXTENSION...]
  local name=$1 subject=$2
  shift 2
  make_certificate "$name" "$subject" basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
    extendedKeyUsage=serverAuth,clientAuth "$@" -CA "$PKI_DIR/ca.crt" -CAkey "$PKI_DIR/ca.key"
}

make_certificate() { # make_certificate NAME SUBJECT [EXTENSION...] [OPTION of openssl...]
  local name=$1 subject=$2 options=()
  shift 2
  while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
    options+=(-addext "$1")
    shift
  done
  openssl req -x509 -config <(printf '[req]\ndistinguished_name=name\n[name]\n') -days 3650 -nodes \
    -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout "$PKI_DIR/$name.key" -out "$PKI_DIR/$name.crt" \
    -subj "$subject" "${options[@]}" "$@" 2>"$PKI_DIR/openssl.log" ||
    fail "openssl could not make the certificate $name: $(tail -n 1 "$PKI_DIR/openssl.log")"
}

make_kubeconfig() { # make_kubeconfig USER
  local user=$1
  (umask 077 && cat >"$PKI_DIR/$user.conf") <<CONFIG
apiVersion: v1
kind: Config
current-context: k8s-sky
contexts: [{name: k8s-sky, context: {cluster: k8s-sky, user: $user}}]
clusters:
- name: k8s-sky
  cluster:
    server: https://$CONTROL_PLANE_IP:6443
    certificate-authority-data: $(base64 -w0 "$PKI_DIR/ca.crt")
users:
- name: $user
  user:
    client-certificate-data: $(base64 -w0 "$PKI_DIR/$user.crt")
    client-key-data: $(base64 -w0 "$PKI_DIR/$user.key")
CONFIG
}
