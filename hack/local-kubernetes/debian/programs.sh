# Brings every program of the cluster into the cache: Debian's packages unpacked (not installed, so that
# none of their services starts on the machine) and Kubernetes compiled from Debian's source. To be sourced.
# shellcheck shell=bash

HOST_PACKAGES=(ca-certificates conntrack iproute2 iptables kmod mount openssl procps python3 socat util-linux)
UNPACKED_PACKAGES=(catatonit containerd containernetworking-plugins docker-registry etcd-server runc)
KUBERNETES_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet)

ensure_programs() {
  install_debian_packages "${HOST_PACKAGES[@]}"
  unpack_programs
  build_kubernetes
  python_venv "$ADDONS_VENV" "$REPOSITORY/requirements/cluster-addons.txt"
}

unpack_programs() {
  if [ -f "$DEBIAN_ROOT/.complete" ]; then return 0; fi
  say "unpacking ${UNPACKED_PACKAGES[*]} from Debian's archive (50 MB)"
  rm -rf "$DEBIAN_ROOT"
  unpack_debian_packages "$DEBIAN_ROOT" "${UNPACKED_PACKAGES[@]}"
  touch "$DEBIAN_ROOT/.complete"
}

# unpack_debian_packages DIRECTORY PACKAGE...
unpack_debian_packages() {
  local directory=$1 downloads package
  shift
  downloads=$(mktemp -d)
  chmod 755 "$downloads"
  # The first try is without "apt-get update": the machine's package lists may be fresh already.
  if ! (cd "$downloads" && { apt-get download "$@" || { apt-get update && apt-get download "$@"; }; }) >"$downloads/log" 2>&1; then
    tail -n 20 "$downloads/log" >&2
    rm -rf "$downloads"
    fail "apt-get could not download $*" "is Debian's archive reachable from here?"
  fi
  mkdir -p "$directory"
  for package in "$downloads"/*.deb; do dpkg-deb --extract "$package" "$directory"; done
  rm -rf "$downloads"
}

build_kubernetes() {
  local program complete=yes
  for program in "${KUBERNETES_PROGRAMS[@]}"; do [ -x "$KUBERNETES_BIN/$program" ] || complete=no; done
  if [ $complete = yes ]; then return 0; fi
  say "compiling Kubernetes $KUBERNETES_VERSION from Debian's source package: once, about 10 minutes on two cores"
  local work=$CACHE_DIR/kubernetes/build go_cache=$CACHE_DIR/kubernetes/go-cache
  rm -rf "$work"
  mkdir -p "$work/bin"
  install_debian_packages golang-1.19-go
  fetch_kubernetes_source "$work"
  with_progress "compiling Kubernetes" "$work/log" \
    "$HACK_DIR/debian/compile-kubernetes" "$KUBERNETES_VERSION" "$work" "$go_cache"
  rm -rf "$KUBERNETES_BIN"
  mv "$work/bin" "$KUBERNETES_BIN"
  rm -rf "$work" "$go_cache"
}

# Debian's archive by an index of our own: the machine's package sources stay as they are.
fetch_kubernetes_source() { # fetch_kubernetes_source DIRECTORY
  local work=$1 archive options
  [ -n "$(debian_archive)" ] || apt-get update >"$work/log" 2>&1 || true
  archive=$(debian_archive)
  [ -n "$archive" ] || fail "no Debian 12 (bookworm) archive among this machine's package sources" \
    "look at /etc/apt/sources.list and /etc/apt/sources.list.d"
  say "fetching the source package kubernetes from Debian's archive (40 MB)"
  mkdir -p "$work/lists/partial"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive bookworm main" >"$work/sources.list"
  options=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
  if ! (cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" source --download-only kubernetes) >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    fail "apt-get could not fetch the source package kubernetes" "the whole output is in $work/log"
  fi
  tar -xf "$work"/kubernetes_*.orig.tar.* -C "$work"
  [ -d "$work/kubernetes-$KUBERNETES_VERSION" ] ||
    fail "Debian's source package no longer holds Kubernetes $KUBERNETES_VERSION" "it was unpacked into $work"
  # The copy of reflect2 in the source panics with Go 1.18 and newer; Debian's package of it does not.
  unpack_debian_packages "$work/reflect2" golang-github-modern-go-reflect2-dev
  local vendored=$work/kubernetes-$KUBERNETES_VERSION/vendor/github.com/modern-go/reflect2
  rm -rf "${vendored:?}"
  cp -r "$work/reflect2/usr/share/gocode/src/github.com/modern-go/reflect2" "$vendored"
}

debian_archive() {
  # shellcheck disable=SC2016 # the dollar is for apt-get
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
    'Codename: bookworm' 'Component: main' | sed -n 1p
}
