"""The operator's word on an endpoint: sluice endpoint, and /v1/endpoints."""

import json
import subprocess
import threading

from harness import SLUICE
from test_outliers import ask_many, endpoints, reload, says, start, states
from wire import wait_for


def sluice_endpoint(sc, *words, code=0):
    done = subprocess.run([SLUICE, "endpoint", *words, "--admin", sc.s.socket_path],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == code, done
    return done.stdout + done.stderr


def post(sc, body):
    code, response = sc.s.admin("POST", "/v1/endpoints", body=json.dumps(body).encode())
    return code, json.loads(response.body)


def test_drain_is_soft(sc):
    """What is under way ends, idle connections close, nothing new comes."""
    goes_on = threading.Event()

    def waits(conn):
        while (request := conn.request()) is not None:
            if request.target == "/wait":
                goes_on.wait(20)
            conn.answer(b"x")
    backends = start(sc, [waits, says(200)], pool={"idleTimeout": "60s"})
    ask_many(sc, 4)
    long = sc.client()
    for _ in range(2):  # one of the two goes there
        if len(backends[0].requests) == 2:
            long.request(target="/wait")
            wait_for(lambda: [r.target for b in backends for r in b.requests].count("/wait") == 1,
                     "it is under way")
        if any(r.target == "/wait" for r in backends[0].requests):
            break
        long.response()
    assert any(r.target == "/wait" for r in backends[0].requests)
    idle = sc.client()
    ask_many(sc, 4)
    before = len(backends[0].requests)
    sluice_endpoint(sc, "drain", "app", backends[0].address)
    assert states(sc) == ["drained", "well"]
    assert set(ask_many(sc, 20)) == {200}
    assert len(backends[0].requests) == before
    wait_for(lambda: endpoints(sc)["endpoints"][0]["connections"] == 1, "idle ones are closed")
    goes_on.set()
    assert long.response().status == 200
    wait_for(lambda: endpoints(sc)["endpoints"][0]["connections"] == 0, "and then the last")
    assert "drained" in sluice_endpoint(sc, "list")
    # over reloads, also over one without the address
    app = sc.s.config["upstreams"][0]
    both = list(app["endpoints"])
    reload(sc, lambda c: app.update(endpoints=both[1:]))
    assert states(sc) == ["well"]
    reload(sc, lambda c: app.update(endpoints=both))
    assert states(sc) == ["drained", "well"]
    ask_many(sc, 10)
    assert len(backends[0].requests) == before
    sluice_endpoint(sc, "ready", "app", backends[0].address)
    ask_many(sc, 4)
    assert len(backends[0].requests) == before + 2
    idle.close()


def test_all_drained(sc):
    backends = start(sc, [says(200), says(200)], {"consecutive5xx": 3}, pool={"minIdle": 1})
    for b in backends:
        sluice_endpoint(sc, "drain", "app", b.address)
    assert ask_many(sc, 1) == [503]
    wait_for(lambda: sc.s.status()["upstreams"][0]["connections"] == 0, "none is kept open")
    sluice_endpoint(sc, "ready", "app", backends[0].address)
    assert set(ask_many(sc, 4)) == {200}


def test_ready_begins_anew(sc):
    """What an endpoint was ejected for counts no more when the operator has looked after it."""
    bad = says(500)
    backends = start(sc, [says(200), bad], {"consecutive5xx": 3, "baseEjectionTime": "60s"})
    ask_many(sc, 10)
    assert states(sc) == ["well", "ejected"]
    sluice_endpoint(sc, "drain", "app", backends[1].address)
    sluice_endpoint(sc, "ready", "app", backends[1].address)
    assert states(sc) == ["well", "well"]
    assert ask_many(sc, 4).count(500) == 2
    assert states(sc) == ["well", "well"]
    assert ask_many(sc, 4).count(500) == 1
    assert states(sc) == ["well", "ejected"]


def test_weight(sc):
    backends = start(sc, [says(200), says(200)])
    sluice_endpoint(sc, "weight", "app", backends[0].address, "25")
    ask_many(sc, 100)
    assert 18 <= len(backends[0].requests) <= 22
    e = endpoints(sc)["endpoints"][0]
    assert e["percent"] == e["operator_percent"] == 25
    # a drain keeps it, ready takes both back
    code, told = post(sc, {"upstream": "app", "address": backends[0].address, "action": "drain"})
    assert code == 200 and told["name"] == "app" and told["standing"]["there"] == 1
    assert [e["address"] for e in told["endpoints"]] == [backends[0].address]
    assert told["endpoints"][0]["state"] == "drained"
    assert endpoints(sc)["endpoints"][0]["operator_percent"] == 25
    sluice_endpoint(sc, "ready", "app", backends[0].address)
    assert endpoints(sc)["endpoints"][0]["operator_percent"] == 100


def test_what_is_refused(sc):
    app = start(sc, [says(200)])[0].address
    for body, code in [
        ({}, 400),
        ({"upstream": "app", "address": app}, 400),
        ({"upstream": "app", "address": app, "action": "stop"}, 400),
        ({"upstream": "app", "address": app, "action": "weight"}, 400),
        ({"upstream": "app", "address": app, "action": "weight", "percent": 0}, 400),
        ({"upstream": "app", "address": app, "action": "weight", "percent": 101}, 400),
        ({"upstream": "app", "address": app, "action": "weight", "percent": "5"}, 400),
        ({"upstream": "app", "address": app, "action": "drain", "percent": 5}, 400),
        ({"upstream": "app", "address": "127.0.0.9:9", "action": "drain"}, 404),
        ({"upstream": "app", "address": "x", "action": "drain"}, 404),
        ({"upstream": "other", "address": app, "action": "drain"}, 404),
    ]:
        assert post(sc, body)[0] == code, body
    assert sc.s.admin("POST", "/v1/endpoints", body=b"[")[0] == 400
    assert sc.s.admin("GET", "/v1/endpoints?upstream=other")[0] == 404
    assert sc.s.http(sc.s.health, "POST", "/v1/endpoints", body=b"{}")[0] == 404
    assert "no_endpoint" in sluice_endpoint(sc, "drain", "app", "127.0.0.9:9", code=1)
    sluice_endpoint(sc, "weight", "app", app, "0", code=2)
    sluice_endpoint(sc, "weight", "app", app, code=2)
    sluice_endpoint(sc, "stop", "app", app, code=2)
    assert states(sc) == ["well"]
