#!/usr/bin/env bash
# Can the cluster run here? Exit status 0, or 1 with one line that says why not.
#
#     can-run.sh [--build] [--early]     --build: missing programs may be built, where Go is new enough
#                                        --early: without what Debian's packages bring
set -euo pipefail
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$0")/lib.sh"
options=" $* "

no() {
    echo "$*"
    exit 1
}

[ "$(uname -s)" = Linux ] || no "not Linux"
[ "$(id -u)" -eq 0 ] || no "not root"
missing=()
for program in "${PROGRAMS[@]}"; do [ -x "$BIN/$program" ] || missing+=("$program"); done
if [ ${#missing[@]} -ne 0 ]; then
    [[ $options == *" --build "* ]] ||
        no "not built yet: ${missing[*]} (tests/k8s/build.sh makes them, in $BIN)"
    "$HERE/build.sh" --check || exit 1
fi
modprobe -qa overlay nf_tables 2>/dev/null || true
grep -qw overlay /proc/filesystems || no "the kernel has no overlay file system"
made=0
while read -r directory; do
    [ ! -d "$directory" ] || no "$directory is there: another cluster runs (tests/k8s/down.sh ends it)"
    ! mkdir "$directory" 2>/dev/null || { rmdir "$directory" && made=1; }
done < <(cgroups)
[ $made -eq 1 ] || no "no cgroup can be made below /sys/fs/cgroup"
[[ $options != *" --early "* ]] || exit 0

for program in containerd ctr runc nft ip curl openssl unshare nsenter; do
    command -v "$program" >/dev/null || no "no $program (make deps-k8s installs it)"
done
[ -x /usr/lib/cni/ptp ] || no "no /usr/lib/cni/ptp (make deps-k8s installs it)"
# In namespaces of its own, as the node will do it.
unshare --mount --net --pid --fork --mount-proc sh -c '
    ip link add name try0 type bridge && ip link add name try1 type veth peer name try2 &&
    nft add table ip t && nft add chain ip t c "{ type nat hook output priority 0; }" &&
    nft add rule ip t c ip daddr 10.0.0.1 dnat to 10.0.0.2' >/dev/null 2>&1 ||
    no "the kernel refuses namespaces, bridges, veth or the NAT of nftables"
