# Which tool builds images here; hack/build-images and tests/images source it after local-kubernetes/common.sh.
# CONTAINER_TOOL: docker, podman or buildah; default: the first that works, else buildah is installed (Debian).
# shellcheck shell=bash

choose_tool() {
  if [ -n "${CONTAINER_TOOL:-}" ]; then
    have "$CONTAINER_TOOL" || fail "CONTAINER_TOOL=$CONTAINER_TOOL is not installed"
    echo "$CONTAINER_TOOL"
  elif have docker && docker info >/dev/null 2>&1; then
    echo docker
  elif have podman && podman info >/dev/null 2>&1; then
    echo podman
  elif have buildah && [ "$(id -u)" = 0 ]; then
    echo buildah
  elif on_debian_as_root; then
    install_debian_packages buildah runc
    echo buildah
  else
    fail "nothing here can build images" "start Docker or podman, or run this as root on Debian, where buildah is installed"
  fi
}

set_up_tool() {
  TOOL=$(choose_tool)
  case $TOOL in
    docker)
      TOOL_COMMAND=(docker)
      BUILD_COMMAND=(env DOCKER_BUILDKIT=1 docker build --progress plain)
      ;;
    podman)
      TOOL_COMMAND=(podman)
      BUILD_COMMAND=(podman build --network host --layers --force-rm)
      ;;
    buildah)
      local driver=overlay
      buildah --storage-driver overlay info >/dev/null 2>&1 || driver=vfs
      TOOL_COMMAND=(buildah --storage-driver "$driver")
      BUILD_COMMAND=("${TOOL_COMMAND[@]}" bud --network host --layers --force-rm)
      # crun does not start in every sandbox; where runc is there it is the safe choice
      if have runc; then BUILD_COMMAND+=(--runtime runc); fi
      ;;
    *) fail "CONTAINER_TOOL=$TOOL is not known" "it is one of: docker, podman, buildah" ;;
  esac
}
