"""An application that holds a device's session and gives nothing back: what sluice saw of the login, it gives
back in its place, once, when it is certain that the holder has gone, and never while it lives."""

import json
import os
import signal
import subprocess
import time

import pytest
from cluster import PATIENCE
from ends import assert_in_order, delete, make_sick, name_of, wait_gone, wait_restarted
from pods import App
from wire import wait_for

DEVICE = "trap 'exit 0' TERM; sluice demo-app --listen 0.0.0.0:8080 --sessions 16 & wait"
LOGS_IN = "sluice demo-app --listen 0.0.0.0:{port} --login 127.0.0.1:15081 & wait"
SLOWLY = "sleep 3; "  # the kubelet's first restart of a container comes sooner than deathGrace
ENDS = "trap 'echo SIGTERM; echo exits; exit 0' TERM; "
LEARN = {"name": "session", "acquire": {"path": "/login"},
         "take": [{"name": "session", "json": "$.session"}],
         "hold": {"path": "/logout?session={session}"}}


def with_a_way_out(app):
    """To the device, by an outbound listener that learns."""
    app.config["listeners"].append({
        "name": "out", "direction": "outbound", "address": "127.0.0.1:15081",
        "routes": [{"match": {"pathPrefix": "/"}, "upstream": "device", "learn": [LEARN]}]})
    app.config["upstreams"].append(
        {"name": "device", "endpoints": ["device.default.svc.cluster.local:80"]})
    return app


@pytest.fixture(scope="module")
def device(cluster):
    """Where it listens: it outlives those that log in to it."""
    app = App("device", application=DEVICE)
    with cluster.applied(app.objects()):
        cluster.wait_ready(app.selector, 1)
        yield cluster.address("device")


def ask(cluster, address, path):
    out = subprocess.run(cluster.inside("curl", "-sf", "-m", "2", f"http://{address}{path}"),
                         capture_output=True, check=True).stdout
    return json.loads(out)


def held(cluster, pod, port=8080):
    return ask(cluster, f"{pod['status']['podIP']}:{port}", "/held")["session"]


def fate(cluster, device, session):
    return ask(cluster, device, f"/sessions?session={session}")


def wait_released(cluster, device, session):
    """That one; returns when, by time.monotonic()'s clock."""
    wait_for(lambda: fate(cluster, device, session)["state"] == "released",
             lambda: f"{session} is given back: {ask(cluster, device, '/sessions')} {cluster.told()}",
             PATIENCE, 0.1)
    return fate(cluster, device, session)["logoutUs"] / 1e6


def assert_released_once(cluster, device, *sessions):
    for session in sessions:
        assert fate(cluster, device, session)["logouts"] == 1, fate(cluster, device, session)


PROOFS = {"pidfd": (1, "its process has ended"), "ports": (2, "its ports refuse")}


@pytest.mark.parametrize("proof", PROOFS)
def test_a_killed_application_holds_no_session(cluster, device, proof):
    seconds, why = PROOFS[proof]  # what is promised between its end and the release
    start = ENDS + (SLOWLY if proof == "ports" else "") + LOGS_IN.format(port=8080)
    app = with_a_way_out(App("holder", application=start))
    if proof == "pidfd":
        app.spec["shareProcessNamespace"] = True
        app.config["app"] = {"process": "sluice"}  # the sidecar's own are none of the application's
    with cluster.applied(app.objects()):
        [pod] = cluster.wait_ready(app.selector, 1)
        name = name_of(pod)
        session = held(cluster, pod)
        sidecar = cluster.sidecar(pod)
        killed = time.monotonic()
        os.kill(cluster.processes(pod, "demo-app")[0], signal.SIGKILL)
        took = wait_released(cluster, device, session) - killed
        print(f"\nreleased {took:.2f} s after the kill, by {proof}")
        assert took < seconds + 3, took  # a machine that does other things, too
        assert cluster.logs.find(name, "sluice", rf"the application has gone \({why}"), (
            cluster.logs.of(name, "sluice"))
        # Its container is started again, and logs in anew: that session is its own to keep.
        wait_restarted(cluster, pod, "app")
        cluster.wait_ready(app.selector, 1)
        another = held(cluster, pod)
        assert another != session
        assert fate(cluster, device, another)["state"] == "held"
        assert cluster.sidecar(pod) == sidecar
        delete(cluster, pod)
        wait_gone(cluster, pod)
        wait_released(cluster, device, another)
        assert_released_once(cluster, device, session, another)
        assert cluster.logs.find(name, "sluice", "drain report")


@pytest.mark.parametrize("how", [pytest.param("in order", marks=pytest.mark.long), "by force",
                                 pytest.param("in less time", marks=pytest.mark.long)])
def test_a_pod_that_goes_holds_no_session(cluster, device, how):
    """"In less time" than is configured, which no container is told, and the application ignores its SIGTERM: ours
    comes at the grace's end, 2 s before SIGKILL."""
    deaf = "trap '' TERM; " if how == "in less time" else ENDS
    app = with_a_way_out(App("holder", application=deaf + LOGS_IN.format(port=8080)))
    with cluster.applied(app.objects()):
        [pod] = cluster.wait_ready(app.selector, 1)
        session = held(cluster, pod)
        if how == "by force":
            # Two seconds, whatever its grace is.
            cluster.kubectl("delete", "pod", "--grace-period=0", "--force", name_of(pod))
        elif how == "in less time":
            cluster.kubectl("delete", "pod", "--grace-period=5", "--wait=false", name_of(pod))
        else:
            delete(cluster, pod)
        wait_gone(cluster, pod)
        wait_released(cluster, device, session)
        assert_released_once(cluster, device, session)
        if how == "in order":
            when = assert_in_order(cluster, name_of(pod))
            released = cluster.logs.find(name_of(pod), "sluice", "audit: release released: ")
            assert when["exits"] < released < when["exit"] + 0.01, (released, when)
        if how == "in less time":
            assert cluster.logs.find(name_of(pod), "sluice", "drain report ")


def test_a_container_restart_takes_nothing_from_the_others(cluster, device):
    """By liveness, and longer than deathGrace; another container of the pod holds a session. sluice knows
    no port of that one: its connection is what tells that somebody lives."""
    app = with_a_way_out(App("both", application=ENDS + SLOWLY +
                             "sluice demo-app --listen 0.0.0.0:8080 & wait"))
    app.restart_when_sick()
    app.add_container("holder", ENDS + LOGS_IN.format(port=8081))
    with cluster.applied(app.objects()):
        [pod] = cluster.wait_ready(app.selector, 1)
        session = held(cluster, pod, 8081)
        make_sick(cluster, pod)
        wait_restarted(cluster, pod, "app")
        cluster.wait_ready(app.selector, 1)
        cluster.wait_answer(f"{pod['status']['podIP']}:15080")
        assert fate(cluster, device, session)["state"] == "held"
        assert held(cluster, pod, 8081) == session
        delete(cluster, pod)
        wait_gone(cluster, pod)
        wait_released(cluster, device, session)
        assert_released_once(cluster, device, session)
