#!/usr/bin/env bash
# One real Kubernetes node: etcd, API server, controller manager, scheduler, containerd, kubelet,
# kube-proxy and CoreDNS, ready in some seconds. All of it lives in mount, network and process
# namespaces of its own (node.sh is process 1 there), so that down.sh ends it by ending one process.
# Root; the programs by build.sh. One at a time on a machine.
#
#     up.sh     then: kubectl by `. tests/k8s/lib.sh`, images by images.sh; logs in $K8S_RUN/log
set -euo pipefail
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$0")/lib.sh"

"$HERE/can-run.sh" || exit 1
rm -rf "$RUN"
mkdir -p "$RUN"/{log,containerd,cni}
mkdir -m 700 "$RUN/keys"

# --- keys: one authority, one certificate to serve with, one to be root with -------------------
cd "$RUN/keys"
EC=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
openssl req -x509 "${EC[@]}" -keyout ca.key -out ca.crt -days 30 -subj /CN=sluice-k8s 2>/dev/null
certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
    openssl req "${EC[@]}" -keyout "$1.key" -subj "$2" 2>/dev/null |
        openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
            -extfile <(echo "subjectAltName=$3") 2>/dev/null
}
certificate server /CN=kube-apiserver \
    "IP:127.0.0.1,IP:10.96.0.1,IP:$NODE_ADDRESS,DNS:kubernetes.default.svc,DNS:localhost"
certificate admin /O=system:masters/CN=admin DNS:admin

# --- what the programs read --------------------------------------------------------------------
cat >"$RUN/kubeconfig" <<END
apiVersion: v1
kind: Config
clusters:
  - name: node
    cluster: { server: "https://127.0.0.1:6443", certificate-authority: $RUN/keys/ca.crt }
users:
  - name: admin
    user: { client-certificate: $RUN/keys/admin.crt, client-key: $RUN/keys/admin.key }
contexts:
  - name: admin
    context: { cluster: node, user: admin }
current-context: admin
END
for file in containerd.toml kubelet.yaml kube-proxy.yaml; do
    sed "s#@RUN@#$RUN#g; s#@CGROUP@#$CGROUP#g" "$HERE/node/$file" >"$RUN/$file"
done
cp "$HERE/node/10-ptp.conflist" "$RUN/cni"
# The kubelet insists on this place; node.sh mounts another over it.
mkdir /var/lib/kubelet 2>/dev/null && touch "$RUN/made-var-lib-kubelet"
cgroups | while read -r directory; do mkdir -p "$directory"; done

# --- start -------------------------------------------------------------------------------------
export BIN RUN NODE_ADDRESS
setsid unshare --mount --net --pid --fork --kill-child --mount-proc \
    "$HERE/node/node.sh" >"$RUN/log/node" 2>&1 </dev/null &
outer=$!
trap '[ $? -eq 0 ] || { tail -n 5 "$RUN"/log/*; "$HERE/down.sh"; }' EXIT

# wait_for WHAT COMMAND...
wait_for() {
    local what=$1
    shift
    for _ in {1..600}; do
        "$@" >/dev/null 2>&1 && return
        kill -0 "$outer" 2>/dev/null || break
        sleep 0.1
    done
    echo "up.sh: $what: not within a minute, or the node ended" >&2
    return 1
}
inner() { inner=$(<"/proc/$outer/task/$outer/children") && [ -n "$inner" ]; }
wait_for "process 1 of the node" inner
echo "$outer" >"$RUN/outer"
echo "${inner% }" >"$RUN/pid"
wait_for "containerd listens" ctr version
"$HERE/images.sh" node
wait_for "the node is ready" kubectl wait --for=condition=Ready node/node1 --timeout=1s
kubectl apply -f "$HERE/node/coredns.yaml" >/dev/null
wait_for "the default service account" kubectl get serviceaccount default
