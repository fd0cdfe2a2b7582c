#!/usr/bin/env bash
# Builds the cluster's programs from their Go modules, as modules/*/go.mod pins them: about 7 minutes on
# two cores and 3 GB of disk the first time, and nothing where they are there. Needs Go 1.25.
#
#     build.sh [--check]     into $K8S_BIN; --check: could it? Exit status 0, or 1 with a line why not
set -euo pipefail
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$0")/lib.sh"

go=go
command -v go >/dev/null || go=/usr/local/go/bin/go
command -v "$go" >/dev/null || {
    echo "no Go to build the cluster's programs with"
    exit 1
}
version=$("$go" env GOVERSION)
minor=${version#go1.}
[ "${minor%%[!0-9]*}" -ge 25 ] || {
    echo "Kubernetes needs Go 1.25 to be built, and this is $version"
    exit 1
}
[ "${1:-}" != --check ] || exit 0

# Modules only as pinned; the programs need no C library in their containers.
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false -trimpath'
mkdir -p "$BIN"
# build MODULE PACKAGE PROGRAM [VARIABLE=VALUE]...
build() {
    local module=$1 package=$2 program=$3 flags='-s -w' setting
    shift 3
    [ ! -x "$BIN/$program" ] || return 0
    for setting in "$@"; do flags+=" -X $setting"; done
    (cd "$HERE/modules/$module" && "$go" build -ldflags "$flags" -o "$BIN/$program.new" "$package")
    mv "$BIN/$program.new" "$BIN/$program" # whole, or not there
    echo "built $program"
}
# Kubernetes compares the versions of its parts.
tag=$(sed -n 's,^require k8s.io/kubernetes ,,p' "$HERE/modules/kubernetes/go.mod")
stamp=k8s.io/component-base/version
number=${tag#v1.}
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    build kubernetes "k8s.io/kubernetes/cmd/$program" "$program" "$stamp.gitVersion=$tag" \
        "$stamp.gitMajor=1" "$stamp.gitMinor=${number%%.*}" "$stamp.gitTreeState=clean"
done
build etcd go.etcd.io/etcd/server/v3 etcd
build coredns github.com/coredns/coredns coredns
