# lib.sh - where the cluster's things are; sourced by the other scripts here.
#
#   K8S_BIN   the programs that build.sh made     (~/.cache/sluice-k8s/bin)
#   K8S_RUN   the running node: keys, logs, disks (~/.cache/sluice-k8s/run); gone after down.sh
# shellcheck shell=bash
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/sluice-k8s
BIN=${K8S_BIN:-$CACHE/bin}
RUN=${K8S_RUN:-$CACHE/run}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)

PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns)
NODE_ADDRESS=172.30.0.2
CGROUP=sluice-k8s # below which the kubelet has its pods

# kubectl, from inside the node's network.
kubectl() {
    nsenter --target "$(<"$RUN/pid")" --net "$BIN/kubectl" --kubeconfig "$RUN/kubeconfig" "$@"
}

ctr() { command ctr --address "$RUN/containerd.sock" --namespace k8s.io "$@"; }

# The directories of the node's cgroup: one on version 2, one for each controller on version 1.
cgroups() {
    local hierarchy
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo "/sys/fs/cgroup/$CGROUP"
        return
    fi
    for hierarchy in /sys/fs/cgroup/*/; do
        [ -e "$hierarchy/cgroup.procs" ] && echo "$hierarchy$CGROUP"
    done
}
