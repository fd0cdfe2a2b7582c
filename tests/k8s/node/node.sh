#!/usr/bin/env bash
# Process 1 of the node's namespaces: makes the network and the places that programs write to, starts
# them, and reaps what is orphaned. When it ends, the kernel ends all others. Started by up.sh, with
# BIN, RUN and NODE_ADDRESS in the environment.
set -euo pipefail
export GOMAXPROCS=${GOMAXPROCS:-2}

# What runs here writes to /run and to the disks in $RUN, and its mounts are seen nowhere else.
mount --make-rprivate /
for directory in /run /var/log /var/lib/kubelet; do mount -t tmpfs tmpfs "$directory"; done
mount --make-rshared /
mkdir -p /run/{netns,etcd,kubelet,kubelet-plugins,pods,cni,cni-addresses,opt}

ip link set lo up
ip link add name node0 type bridge
ip addr add "$NODE_ADDRESS/24" dev node0
ip link set node0 up
# Nobody is there; the API server wants a default route, and Services are reached by one.
ip route add default via "${NODE_ADDRESS%.*}.1" dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

cd "$RUN"
start() { # PROGRAM ARGUMENTS...
    "$@" >"log/$(basename "$1")" 2>&1 </dev/null &
}
start "$BIN/etcd" --data-dir /run/etcd --unsafe-no-fsync
start containerd --config containerd.toml
start "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 \
    --advertise-address="$NODE_ADDRESS" --service-cluster-ip-range=10.96.0.0/16 \
    --authorization-mode=RBAC --client-ca-file=keys/ca.crt \
    --tls-cert-file=keys/server.crt --tls-private-key-file=keys/server.key \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=keys/ca.crt \
    --service-account-signing-key-file=keys/ca.key \
    --kubelet-client-certificate=keys/admin.crt --kubelet-client-key=keys/admin.key \
    --kubelet-preferred-address-types=InternalIP
for _ in {1..600}; do
    "$BIN/kubectl" --kubeconfig kubeconfig get --raw /readyz >/dev/null 2>&1 && break
    sleep 0.1
done
start "$BIN/kube-controller-manager" --kubeconfig kubeconfig --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file=keys/ca.key \
    --root-ca-file=keys/ca.crt --cluster-signing-cert-file=keys/ca.crt \
    --cluster-signing-key-file=keys/ca.key --flex-volume-plugin-dir=/run/kubelet-plugins
start "$BIN/kube-scheduler" --kubeconfig kubeconfig --leader-elect=false
start "$BIN/kubelet" --config=kubelet.yaml --kubeconfig=kubeconfig --hostname-override=node1 \
    --node-ip="$NODE_ADDRESS" --root-dir=/run/kubelet
start "$BIN/kube-proxy" --config=kube-proxy.yaml
while true; do wait || true; sleep 1; done
