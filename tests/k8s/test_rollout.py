"""`rollout restart` under clients of every kind: none of them has anything fail.

K8S_ROLLOUTS: how many in a row (2). From 20 on, three replicas are rolled out again until K8S_REQUESTS
(1,000,000) single requests were sent."""

import os
import time

import pytest
from clients import Clients, assert_none_failed
from ends import assert_in_order, name_of, wait_gone
from pods import App

ROLLOUTS = int(os.environ.get("K8S_ROLLOUTS") or 2)
REQUESTS = int(os.environ.get("K8S_REQUESTS") or (1_000_000 if ROLLOUTS >= 20 else 0))


@pytest.mark.parametrize("replicas", [3, pytest.param(1, marks=pytest.mark.long)])
def test_rollouts_fail_nobody(cluster, replicas):
    app = App(f"roll{replicas}", replicas=replicas)
    app.add_grpc()
    with cluster.applied(app.objects()):
        pods = {name_of(p): p for p in cluster.wait_ready(app.selector, replicas)}
        with Clients(cluster, cluster.address(app.name)) as clients:
            began, rolled = time.monotonic(), 0
            while rolled < ROLLOUTS or (replicas == 3 and clients.sent() < REQUESTS):
                rolled += 1
                cluster.kubectl("rollout", "restart", f"deployment/{app.name}")
                cluster.kubectl("rollout", "status", f"deployment/{app.name}", "--timeout=120s")
                pods.update({name_of(p): p for p in cluster.pods(app.selector)})
            stay = {name_of(p) for p in cluster.wait_ready(app.selector, replicas)}
            ended = [p for name, p in pods.items() if name not in stay]
            wait_gone(cluster, *ended)
            counts, notes = clients.result()
        took = time.monotonic() - began
        assert len(ended) == replicas * rolled
        print(f"\n{rolled} rollouts of {replicas} in {took:.0f} s, "
              f"{sum(c['sent'] for c in counts.values()):,} requests")
        assert_none_failed(counts, notes)
        for pod in ended:
            assert_in_order(cluster, name_of(pod))
