"""What operators said outlives the serving process: a crash, and an upgrade."""

import json
import os
import signal

import pytest

from harness import SLUICE, assert_problem
from test_endpoint_words import post
from test_outliers import ask_many, endpoints, reload, says, states
from test_supervisor import kill_serving
from test_upgrade import MISFIT, install, upgrade
from wire import wait_for


def start(sc, n):
    """One upstream with n backends, round robin, by a program that can be replaced."""
    backends = [sc.backend(says(200)) for _ in range(n)]
    sc.proxy(backend=backends[0], program=install(sc), upstream={
        "endpoints": [b.address for b in backends], "balance": "roundRobin"})
    return backends


def say(sc, backend, action, **more):
    code, body = post(sc, {"upstream": "app", "address": backend.address, "action": action, **more})
    assert code == 200, body


def breaker(sc, verb, upstream="app"):
    assert sc.s.admin("POST", f"/v1/breakers/{upstream}/{verb}")[0] == 200


def crash(sc):
    old = kill_serving(sc.s)
    sc.s.wait_ready()
    assert sc.s.pid != old
    sc.s.base_fds = None  # of another process


def write_file(sc):
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)


def percents(sc):
    return [e["operator_percent"] for e in endpoints(sc)["endpoints"]]


@pytest.mark.parametrize("ends", ["crash", "upgrade"])
def test_endpoints(sc, ends):
    backends = start(sc, 3)

    def another():
        upgrade(sc.s, wait_gone=True) if ends == "upgrade" else crash(sc)

    say(sc, backends[0], "drain")
    say(sc, backends[1], "weight", percent=25)
    for _ in range(2):  # what was taken over is passed on, too
        another()
        assert states(sc) == ["drained", "well", "well"]
        assert percents(sc) == [100, 25, 100]
    assert f"endpoint {backends[0].address} is still drained, with 100 % of its share" in sc.s.log()
    assert set(ask_many(sc, 50)) == {200}
    assert not backends[0].requests
    assert 8 <= len(backends[1].requests) <= 12
    # A word that was taken back is not heard again.
    say(sc, backends[0], "ready")
    another()
    assert states(sc) == ["well", "well", "well"]
    assert percents(sc) == [100, 25, 100]
    say(sc, backends[1], "ready")
    another()
    assert percents(sc) == [100, 100, 100]
    assert sc.s.log().count("is still ready, with 25 %") == 3


@pytest.mark.parametrize("ends", ["crash", "upgrade"])
def test_breakers(sc, ends):
    start(sc, 1)
    breaker(sc, "open")
    for _ in range(2):
        upgrade(sc.s, wait_gone=True) if ends == "upgrade" else crash(sc)
        assert_problem(sc.ask(), "breaker_open")
    breaker(sc, "reset")
    upgrade(sc.s, wait_gone=True) if ends == "upgrade" else crash(sc)
    assert sc.ask().status == 200


def test_what_goes_with_its_upstream(sc):
    """A reload takes a word away with its upstream, and the next process has not heard of it."""
    backends = start(sc, 2)
    app, route = sc.s.config["upstreams"][0], sc.s.config["listeners"][0]["routes"][0]
    say(sc, backends[0], "drain")
    breaker(sc, "open")
    reload(sc, lambda c: (app.update(name="other"), route.update(upstream="other")))
    reload(sc, lambda c: (app.update(name="app"), route.update(upstream="app")))
    assert states(sc) == ["well", "well"]
    crash(sc)
    assert states(sc) == ["well", "well"]
    assert sc.ask().status == 200
    assert "operators' words" not in sc.s.log()
    # The file changed, and nobody reloaded: a crash reads it as it is.
    say(sc, backends[0], "drain")
    say(sc, backends[1], "weight", percent=50)
    app.update(endpoints=[backends[1].address])
    write_file(sc)
    crash(sc)
    assert states(sc) == ["well"] and percents(sc) == [50]
    app.update(name="other")
    route.update(upstream="other")
    write_file(sc)
    crash(sc)
    assert "operators' words: 2 of the process before this one are lost" in sc.s.log()
    assert sc.ask().status == 200


def test_said_while_an_upgrade_starts(sc):
    """The newcomer may have read the words already: it is started once more."""
    backends = start(sc, 2)
    install(sc, MISFIT)
    with open(os.path.join(sc.directory, "bin", "misfit"), "w") as f:
        f.write("hang")
    old = sc.s.pid
    sc.s.signal(signal.SIGUSR2)
    wait_for(lambda: "upgrade: " in sc.s.log() and "starts as process" in sc.s.log(), "it starts")
    install(sc, SLUICE)
    seen = sc.s.log().count(" supervises, pid ")
    say(sc, backends[0], "drain")
    wait_for(lambda: sc.s.log().count(" supervises, pid ") > seen, lambda: "upgraded:\n" + sc.s.log())
    assert sc.s.status()["pid"] != old
    sc.s.base_fds = None
    assert states(sc) == ["drained", "well"]
    assert set(ask_many(sc, 10)) == {200}
    assert not backends[0].requests
