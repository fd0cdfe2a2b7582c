#!/usr/bin/env bash
# Makes images out of single programs and gives them to the running node; there is no registry.
#
#     images.sh node     what the node itself runs: pause, CoreDNS
#     images.sh pods     sluice (by `make image`) and the application of the tests: a shell, the demo
#                        application, the load client, grpc-go's interoperability server
set -euo pipefail
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$0")/lib.sh"
BUILD=$ROOT/${BUILD:-build}
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# add IMAGE PROGRAM...     each to /usr/bin, with the libraries that ldd names
add() {
    local root=$work/$1 program library
    shift
    for program in "$@"; do
        install -D "$program" "$root/usr/bin/$(basename "$program")"
        { ldd "$program" 2>/dev/null || true; } | sed -nE 's,^[^/]*(/[^ ]+) \(.*,\1,p' |
            while read -r library; do install -D "$library" "$root$library"; done
    done
}
# give IMAGE ENTRYPOINT
give() {
    python3 "$ROOT/packaging/image/oci.py" "$work/$1" "$work/$1.tar" --name "localhost/$1:1" \
        --level 0 --entrypoint "$2" >/dev/null
    ctr images import "$work/$1.tar" >/dev/null
}

case ${1:-} in
node)
    # Process 1 where pods share their processes: it reaps.
    printf '%s\n' '#include <signal.h>' '#include <unistd.h>' \
        'int main(void) { signal(SIGCHLD, SIG_IGN); for (;;) pause(); }' >"$work/pause.c"
    gcc -static -Os -o "$work/pause-program" "$work/pause.c"
    install -D "$work/pause-program" "$work/pause/pause"
    give pause /pause
    add coredns "$BIN/coredns"
    give coredns /usr/bin/coredns
    ;;
pods)
    ctr images import "$BUILD/image/sluice.tar" >/dev/null
    ctr images tag --force "localhost/sluice:$(<"$ROOT/VERSION")" localhost/sluice:test >/dev/null
    add app /bin/dash /bin/sleep "$BUILD/sluice" "$BUILD/tools/load/load" \
        "$ROOT/build/gobin/grpc-interop-server"
    strip "$work/app/usr/bin/sluice"
    ln -s dash "$work/app/usr/bin/sh"
    install -d -m 1777 "$work/app/tmp"
    give app /usr/bin/sh
    ;;
*)
    echo "usage: images.sh node|pods" >&2
    exit 2
    ;;
esac
