#!/usr/bin/env bash
# Ends the node that up.sh started, with all that ran in it: its processes die with process 1 of their
# namespace, mounts, networks and rules with the namespaces. Then its cgroups and files. Says what
# could not be removed, and fails then.
set -euo pipefail
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$0")/lib.sh"

outer=$(cat "$RUN/outer" 2>/dev/null || true)
# Another process may have that number by now.
if [ -n "$outer" ] && grep -qz "$HERE/node/node.sh" "/proc/$outer/cmdline" 2>/dev/null; then
    kill -KILL "$outer" # unshare --kill-child ends process 1 of the node with it
fi

left() {
    local directory
    while read -r directory; do
        [ ! -d "$directory" ] || find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ ! -d "$directory" ] || echo "$directory"
    done < <(cgroups)
}
for _ in {1..100}; do
    remaining=$(left)
    [ -n "$remaining" ] || break
    sleep 0.1
done
[ ! -e "$RUN/made-var-lib-kubelet" ] || rmdir /var/lib/kubelet
# One file system: whatever should still be mounted below is not emptied.
rm -rf --one-file-system "$RUN"
[ -z "$remaining" ] || {
    echo "down.sh: still there: $remaining" >&2
    exit 1
}
