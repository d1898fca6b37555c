# Shared by the scripts in hack/: where things are kept, and how to talk to the user. To be sourced.
# shellcheck shell=bash disable=SC2034

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HACK_DIR=$REPOSITORY/hack/local-kubernetes
BUILD_DIR=$REPOSITORY/.build
CACHE_DIR=${K8S_SKY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/k8s-sky-provider}

say() { printf '==> %s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if [ $# -gt 0 ]; then printf '       %s\n' "$@" >&2; fi
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

on_debian_as_root() { [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ] && have apt-get; }

# install_debian_packages PACKAGE...: installs those that are missing.
install_debian_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then return 0; fi
  say "installing Debian packages: ${missing[*]} (up to two minutes)"
  local log=$CACHE_DIR/apt.log
  mkdir -p "$CACHE_DIR"
  # Another apt-get may hold the lock for a while: wait for it instead of failing.
  if ! { apt-get -o DPkg::Lock::Timeout=300 update &&
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "apt-get could not install ${missing[*]}" "the whole output is in $log"
  fi
}

# python_venv DIR REQUIREMENTS: a virtual environment with exactly the pinned packages.
python_venv() {
  local directory=$1 requirements=$2 stamp
  stamp=$(sha256sum "$requirements" | cut -c1-16)
  if [ "$(cat "$directory/.requirements" 2>/dev/null)" = "$stamp" ] && "$directory/bin/python" -c '' 2>/dev/null; then return 0; fi
  have python3 || fail "python3 is missing" "install Python 3.11 or newer"
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    on_debian_as_root || fail "this python3 cannot make virtual environments" "install the package python3-venv"
    install_debian_packages python3-venv
  fi
  rm -rf "$directory"
  mkdir -p "$(dirname "$directory")"
  python3 -m venv "$directory"
  "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements" ||
    fail "pip could not install $requirements" "is PyPI reachable from here?"
  printf '%s\n' "$stamp" >"$directory/.requirements"
}

# with_progress WHAT LOG COMMAND...: runs it with its output in LOG, and says every 20 seconds how far it is.
with_progress() {
  local what=$1 log=$2 job started=$SECONDS shown=$SECONDS
  shift 2
  setsid "$@" >>"$log" 2>&1 &
  job=$!
  # shellcheck disable=SC2064 # the process group of now is meant
  trap "kill -- -$job 2>/dev/null" EXIT
  while kill -0 "$job" 2>/dev/null; do
    sleep 1
    if [ $((SECONDS - shown)) -ge 20 ]; then
      shown=$SECONDS
      say "$what: $((SECONDS - started)) s, $(wc -l <"$log") steps, now $(tail -n 1 "$log" | cut -c1-80)"
    fi
  done
  if ! wait "$job"; then
    tail -n 25 "$log" >&2
    fail "$what failed" "the whole output is in $log"
  fi
  trap - EXIT
  say "$what: done in $((SECONDS - started)) s"
}
