"""An application that holds a device's session and gives nothing back: what it learned by looking on,
sluice gives back for it, when its container was killed and when its pod ends."""

import json
import os
import signal
import subprocess

import pytest
from cluster import PATIENCE
from ends import delete, name_of, wait_gone
from pods import App
from wire import wait_for

pytestmark = pytest.mark.skip("routes[].learn is read, and not yet acted on")

DEVICE = "trap 'exit 0' TERM; sluice demo-app --listen 0.0.0.0:8080 --sessions 16 & wait"
HOLDER = ("trap 'echo SIGTERM; echo exits; exit 0' TERM; "
          "sluice demo-app --listen 0.0.0.0:8080 --login 127.0.0.1:15081 & wait")
LEARN = {"name": "session", "acquire": {"path": "/login"},
         "take": [{"name": "session", "json": "$.session"}],
         "hold": {"path": "/logout?session={session}"},
         "release": {"path": "/logout?session={session}"}}


def holder():
    app = App("holder", application=HOLDER)
    app.config["listeners"].append({
        "name": "out", "direction": "outbound", "address": "127.0.0.1:15081",
        "routes": [{"match": {"pathPrefix": "/"}, "upstream": "device", "learn": [LEARN]}]})
    app.config["upstreams"].append(
        {"name": "device", "endpoints": ["device.default.svc.cluster.local:80"]})
    return app


def ask(cluster, address, path):
    out = subprocess.run(cluster.inside("curl", "-sf", "-m", "2", f"http://{address}{path}"),
                         capture_output=True, check=True).stdout
    return json.loads(out)


def held(cluster, pod):
    return ask(cluster, f"{pod['status']['podIP']}:8080", "/held")["session"]


def wait_released(cluster, device, session):
    """That one, and once."""
    wait_for(lambda: ask(cluster, device, f"/sessions?session={session}")["logouts"] == 1,
             lambda: f"{session} is given back: {ask(cluster, device, '/sessions')} {cluster.told()}",
             PATIENCE, 0.1)


def test_a_killed_application_holds_no_session(cluster):
    device, app = App("device", application=DEVICE), holder()
    with cluster.applied(device.objects()):
        cluster.wait_ready(device.selector, 1)
        where = cluster.address("device")
        with cluster.applied(app.objects()):
            [pod] = cluster.wait_ready(app.selector, 1)
            session = held(cluster, pod)
            os.kill(cluster.processes(pod, "demo-app")[0], signal.SIGKILL)
            wait_released(cluster, where, session)
            # Its container is started again, and logs in anew: that session is its own to keep.
            cluster.wait_ready(app.selector, 1)
            another = held(cluster, pod)
            assert another != session
            delete(cluster, pod)
            wait_gone(cluster, pod)
            wait_released(cluster, where, another)
            assert cluster.logs.find(name_of(pod), "sluice", "drain report")
