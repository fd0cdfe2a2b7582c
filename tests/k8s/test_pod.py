"""The pod of docs/guide/kubernetes.md: it becomes ready, serves through its Service, and ends in order:
notice, drain, the application's release, its SIGTERM, its exit, our exit."""

import json

import pytest
from clients import Clients, assert_none_failed
from ends import NOTICE, assert_in_order, delete, name_of, wait_gone
from pods import App


def test_a_pod_is_ready_serves_and_ends_in_order(cluster):
    app = App("smoke")
    with cluster.applied(app.objects()):
        [pod] = cluster.wait_ready(app.selector, 1)
        cluster.address("smoke")
        delete(cluster, pod)
        wait_gone(cluster, pod)
        when = assert_in_order(cluster, name_of(pod))
        # By two clocks, and with a tick of the loop.
        assert when["drain"] - when["notice"] > NOTICE - 0.1, when


@pytest.mark.long
def test_an_application_that_exits_slowly_keeps_its_way_out(cluster):
    """It goes on asking through sluice for 3 s after its SIGTERM, and none of that fails."""
    backend = App("backend")
    app = App("slow", replicas=2, exits_after=3)
    app.config["listeners"].append({
        "name": "out", "direction": "outbound", "address": "127.0.0.1:15081",
        "routes": [{"match": {"pathPrefix": "/"}, "upstream": "backend"}]})
    app.config["upstreams"].append({
        "name": "backend", "endpoints": ["backend.default.svc.cluster.local:80"]})
    # The load client tells what came of its requests when it is interrupted, at the very end.
    app.add_container("asks", """
load --url http://127.0.0.1:15081/ --json --allow-failed --quiet -c 4 --think 10 & load=$!
trap 'echo SIGTERM; sleep 3; kill -INT $load; wait $load; exit 0' TERM
wait""")
    with cluster.applied(backend.objects()):
        cluster.wait_ready(backend.selector, 1)
        with cluster.applied(app.objects()):
            pod, _ = cluster.wait_ready(app.selector, 2)
            address = cluster.address("slow")
            with Clients(cluster, address, n=4, kinds=["keep-alive GET"]) as clients:
                delete(cluster, pod)
                wait_gone(cluster, pod)
                counts, notes = clients.result()
            name = name_of(pod)
            when = assert_in_order(cluster, name)
            assert when["exits"] - when["SIGTERM"] > 2.5, when
            asked = next(json.loads(line.text) for line in cluster.logs.of(name, "asks")
                         if line.text.startswith("{"))
            assert_none_failed({"outbound": asked, **counts}, notes)


@pytest.mark.long
def test_an_application_that_ignores_sigterm_is_outlived(cluster):
    """Its whole grace goes by; sluice still writes its report, in what is left."""
    app = App("deaf", application="trap 'echo SIGTERM' TERM; sluice demo-app --listen 0.0.0.0:8080 &"
                                  " while true; do wait; done")
    app.grace(8)
    app.config["lifecycle"].update(noticePeriod="2s", drainTimeout="3s", appCleanup="2s")
    with cluster.applied(app.objects()):
        [pod] = cluster.wait_ready(app.selector, 1)
        cluster.address("deaf")
        delete(cluster, pod)
        wait_gone(cluster, pod)
        name = name_of(pod)
        sigterm = cluster.logs.find(name, "app", "^SIGTERM$")
        report = cluster.logs.find(name, "sluice", "drain report ")
        assert sigterm and report and sigterm < report, (sigterm, cluster.logs.of(name, "sluice"))


@pytest.mark.long
def test_ten_pods_deleted_at_once(cluster):
    """Two stay, and whoever asked one of the ten is served by it or by them."""
    app = App("ten", replicas=12)
    with cluster.applied(app.objects()):
        pods = cluster.wait_ready(app.selector, 12)
        with Clients(cluster, cluster.address("ten"), n=8, kinds=[
                "new connection each", "keep-alive GET", "keep-alive POST"]) as clients:
            delete(cluster, *pods[:10])
            wait_gone(cluster, *pods[:10])
            counts, notes = clients.result()
        for pod in pods[:10]:
            assert_in_order(cluster, name_of(pod))
        assert_none_failed(counts, notes)
