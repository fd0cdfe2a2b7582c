"""Which endpoint is good: ejections, panic, slow start, over real sockets with bad backends."""

import json
import threading
import time

import pytest

from harness import forward
from wire import Client, free_port, wait_for

OUTLIER = {"consecutive5xx": 5, "baseEjectionTime": "60s"}
PACE_FLOOR = 0.1  # seconds, of least_request.h: no endpoint is slower by less


def says(status, delay=0.0):
    """Answers everything with that status; `delay` and `status` may be changed while it runs."""
    state = {"status": status, "delay": delay}

    def script(conn):
        while conn.request() is not None:
            if state["delay"]:
                time.sleep(state["delay"])
            conn.answer(b"x", status=state["status"])
    script.state = state
    return script


def start(sc, scripts, outlier=None, workers=1, route=None, **upstream):
    """One upstream with a backend for each script; round robin, so that each has its turn."""
    backends = [sc.backend(script) for script in scripts]
    sc.proxy(backend=backends[0], route=route, more={"workers": workers},
             upstream={"endpoints": [b.address for b in backends], "balance": "roundRobin",
                       **({"outlierDetection": outlier} if outlier is not None else {}), **upstream})
    return backends


def ask_many(sc, n, **how):
    client = sc.client()
    return [client.ask(**how).status for _ in range(n)]


def slowest_of_many(sc, n):
    """Seconds."""
    client, slowest = sc.client(), 0
    for _ in range(n):
        start = time.monotonic()
        assert client.ask().status == 200
        slowest = max(slowest, time.monotonic() - start)
    return slowest


def endpoints(sc):
    code, response = sc.s.admin("GET", "/v1/endpoints?upstream=app")
    assert code == 200, response
    return json.loads(response.body)["upstreams"][0]


def states(sc):
    return [e["state"] for e in endpoints(sc)["endpoints"]]


def reload(sc, change):
    change(sc.s.config)
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    code, response = sc.s.admin("POST", "/v1/reload")
    assert code == 200, response.body


def ejections(sc, cause, dry="false"):
    return sc.s.metrics().get("sluice_outlier_ejections_total", upstream="app", cause=cause,
                              dry_run=dry)


def test_without_the_key_nothing_is_ejected(sc):
    start(sc, [says(200), says(500), says(500)])
    got = ask_many(sc, 60)
    assert got.count(500) == 40
    assert states(sc) == ["well"] * 3


def test_a_bad_one_of_three(sc):
    backends = start(sc, [says(200), says(503), says(200)], OUTLIER)
    got = ask_many(sc, 60)
    assert got.count(503) == 5
    assert len(backends[1].requests) == 5
    e = endpoints(sc)["endpoints"][1]
    assert e["state"] == "ejected" and e["cause"] == "consecutive_gateway_errors"
    assert 50000 < e["returns_in_ms"] <= 60000 and e["percent"] == 0
    assert ejections(sc, "consecutive_gateway_errors") == 1
    assert f"endpoint {backends[1].address} is ejected for 60000 ms: " \
           "consecutive_gateway_errors, 5 in a row; 1 of 3 are" in sc.s.log()


def test_it_comes_back_and_goes_for_longer(sc):
    bad = says(500)
    start(sc, [says(200), bad], {"baseEjectionTime": "300ms", "consecutive5xx": 2})
    assert ask_many(sc, 20).count(500) == 2
    bad.state["status"] = 200
    wait_for(lambda: states(sc) == ["well", "well"], "its ejection is over")
    bad.state["status"] = 500
    wait_for(lambda: ask_many(sc, 4) and ejections(sc, "consecutive_5xx") == 2, "it is bad again")
    assert "is ejected for 600 ms" in sc.s.log()
    assert "is used again, its ejection is over" in sc.s.log()


@pytest.mark.parametrize("n,ejected", [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_every_endpoint_bad(sc, n, ejected):
    """Never more than half, never the last: the client gets the servers' own answers."""
    start(sc, [says(500) for _ in range(n)], OUTLIER)
    got = ask_many(sc, 40 * n)
    assert set(got) == {500}
    assert states(sc).count("ejected") == ejected
    if n > 1:
        refused = sc.s.metrics().get("sluice_outlier_ejections_refused_total", upstream="app")
        assert refused > 0


def test_several_workers_count_together(sc):
    """What is let through is the threshold and what is in flight, whoever saw it."""
    clients = 8
    bad = says(500)
    backends = start(sc, [says(200), bad, says(200)], OUTLIER, workers=4)
    got = []

    def run():
        client = Client(sc.address)
        mine = [client.ask().status for _ in range(100)]
        client.close()
        got.extend(mine)
    threads = [threading.Thread(target=run) for _ in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(got) == 100 * clients
    assert 5 <= got.count(500) <= 5 + clients
    assert len(backends[1].requests) == got.count(500)
    assert ejections(sc, "consecutive_5xx") == 1


def test_a_killed_one_costs_nothing(sc):
    """Connections refused: idempotent requests notice nothing, and it is soon left alone."""
    backends = start(sc, [says(200), says(200), says(200)], OUTLIER)
    failed, killed, stop = [], [], threading.Event()

    def run():
        client = Client(sc.address)
        while not stop.is_set():
            status = client.ask().status
            if status != 200:
                failed.append((time.monotonic(), status))
        client.close()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    wait_for(lambda: len(backends[1].requests) > 50, "it works")
    backends[1].stop()
    killed.append(time.monotonic())
    # 1 s without it after each connect that failed, by every worker
    wait_for(lambda: states(sc)[1] == "ejected", "it is ejected", 20)
    stop.set()
    for t in threads:
        t.join()
    assert [f for f in failed if f[0] > killed[0] + 0.05] == []
    assert failed == []
    assert ejections(sc, "consecutive_local_errors") == 1


def test_a_slow_one_among_fast_ones(sc):
    slow = says(200, 0.3)
    start(sc, [says(200), slow, says(200), says(200)],
          {**OUTLIER, "interval": "1s", "latency": {"minimumRequests": 3}})
    def known():
        ask_many(sc, 8)
        return states(sc)[1] == "ejected"
    wait_for(known, "the slow one is ejected", 20)
    assert states(sc).count("ejected") == 1
    assert ejections(sc, "latency") == 1
    begin = time.monotonic()
    ask_many(sc, 20)
    assert time.monotonic() - begin < 20 * 0.3 / 4


def test_one_that_fails_more_often(sc):
    """Never five in a row: only beside the others it is seen."""
    def every_third(conn):
        n = 0
        while conn.request() is not None:
            n += 1
            conn.answer(b"x", status=500 if n % 3 == 0 else 200)
    start(sc, [says(200), says(200), every_third, says(200), says(200), says(200)],
          {**OUTLIER, "interval": "1s", "successRate": {"minimumRequests": 20}})
    def known():
        ask_many(sc, 120)
        return states(sc)[2] == "ejected"
    wait_for(known, "it is ejected", 20)
    assert ejections(sc, "success_rate") == 1


def test_a_reload_resets_nothing(sc):
    backends = start(sc, [says(200), says(500), says(200)], OUTLIER)
    ask_many(sc, 40)
    assert states(sc) == ["well", "ejected", "well"]
    another = sc.backend(says(200))
    app = sc.s.config["upstreams"][0]
    reload(sc, lambda c: c.update(accessLog={**c["accessLog"], "bufferSize": "64KiB"}))
    assert states(sc) == ["well", "ejected", "well"]
    # one more, and one less
    reload(sc, lambda c: app.update(endpoints=[another.address, *app["endpoints"]]))
    assert states(sc) == ["well", "well", "ejected", "well"]
    reload(sc, lambda c: app.update(endpoints=[another.address, backends[1].address]))
    assert states(sc) == ["well", "ejected"]
    assert set(ask_many(sc, 20)) == {200}
    # it is the last: nobody else is there to be preferred
    reload(sc, lambda c: app.update(endpoints=[backends[1].address]))
    assert set(ask_many(sc, 5)) == {500}
    wait_for(lambda: states(sc) == ["well"], "the last is not ejected")
    # the key is gone, and with it what it said
    reload(sc, lambda c: app.update(endpoints=[b.address for b in backends]))
    ask_many(sc, 40)
    assert states(sc)[1] == "ejected"
    reload(sc, lambda c: app.pop("outlierDetection"))
    wait_for(lambda: states(sc) == ["well"] * 3, "nothing is ejected without the key")
    assert 500 in ask_many(sc, 6)


def test_dry_run(sc):
    start(sc, [says(200), says(500)], {**OUTLIER, "dryRun": True})
    got = ask_many(sc, 40)
    assert got.count(500) == 20
    e = endpoints(sc)["endpoints"][1]
    assert e["state"] == "well" and e["dry_run"] and e["percent"] == 100
    assert ejections(sc, "consecutive_5xx", "true") == 1
    assert ejections(sc, "consecutive_5xx") == 0
    assert "would be ejected (dryRun)" in sc.s.log()


def test_dry_run_takes_no_share_away(sc):
    """What would have been ejected was used all the time: there is nothing that it starts from."""
    bad = says(500)
    backends = start(sc, [says(200), bad],
                     {"consecutive5xx": 2, "baseEjectionTime": "100ms", "dryRun": True},
                     slowStart={"window": "1h", "initialPercent": 10})
    ask_many(sc, 4)
    assert endpoints(sc)["endpoints"][1]["dry_run"]
    bad.state["status"] = 200
    wait_for(lambda: "dry_run" not in endpoints(sc)["endpoints"][1], "it would be back")
    before = len(backends[1].requests)
    ask_many(sc, 40)
    assert len(backends[1].requests) - before == 20
    assert endpoints(sc)["endpoints"][1]["percent"] == 100
    assert "would be used again (dryRun), its ejection is over" in sc.s.log()


def test_the_end_of_a_dry_run(sc):
    """Who would be ejected by then is ejected when it goes on to fail."""
    backends = start(sc, [says(200), says(500)], {**OUTLIER, "dryRun": True})
    ask_many(sc, 20)
    assert endpoints(sc)["endpoints"][1]["dry_run"]
    reload(sc, lambda c: c["upstreams"][0]["outlierDetection"].update(dryRun=False))
    wait_for(lambda: ask_many(sc, 2) and states(sc)[1] == "ejected", "it is ejected")
    before = len(backends[1].requests)
    assert set(ask_many(sc, 20)) == {200}
    assert len(backends[1].requests) == before


def test_panic(sc):
    """Two of three are out, which is more than may be: all are used."""
    start(sc, [says(500), says(500), says(200)], {**OUTLIER, "maxEjectionPercent": 67},
          panicThreshold=50)
    got = ask_many(sc, 60)
    assert endpoints(sc)["standing"] == {"there": 3, "well": 1, "ejected": 2, "panic": True}
    assert got.count(500) > 30
    assert sc.s.metrics().get("sluice_upstream_panic", upstream="app") == 1
    reload(sc, lambda c: c["upstreams"][0].update(panicThreshold=30))
    assert set(ask_many(sc, 30)) == {200}


def test_nobody_is_well_and_no_panic(sc):
    """Then all are used, and are shown as what they are."""
    start(sc, [says(200), says(200)], panicThreshold=0,
          healthCheck={"tcp": {"send": "x", "expect": "y"}, "interval": "100ms", "fall": 1})
    wait_for(lambda: states(sc) == ["unhealthy"] * 2, "none is well")
    assert set(ask_many(sc, 4)) == {200}
    assert [e["percent"] for e in endpoints(sc)["endpoints"]] == [100, 100]


def test_slow_start_after_an_ejection(sc):
    bad = says(500)
    backends = start(sc, [says(200), bad], {"baseEjectionTime": "100ms", "consecutive5xx": 2},
                     slowStart={"window": "1h", "initialPercent": 10})
    ask_many(sc, 10)
    bad.state["status"] = 200
    wait_for(lambda: states(sc) == ["well", "well"], "it is back")
    before = len(backends[1].requests)
    ask_many(sc, 220)
    assert 15 <= len(backends[1].requests) - before <= 25
    metrics = sc.s.metrics()
    assert [metrics.get("sluice_endpoint_weight", upstream="app", endpoint=b.address)
            for b in backends] == [100, 10]


def test_least_request_keeps_shares(sc):
    backends = start(sc, [says(200), says(200), says(200)], balance="leastRequest",
                     slowStart={"window": "1h", "initialPercent": 10})
    slowest = slowest_of_many(sc, 30)
    new = sc.backend(says(200))
    reload(sc, lambda c: c["upstreams"][0]["endpoints"].append(new.address))
    slowest = max(slowest, slowest_of_many(sc, 620))
    got = [len(b.requests) for b in (new, *backends)]
    even = 5 <= got[0] <= 45 and min(got[1:]) > 150  # 20 and 200 of 620
    # One that the machine has held up is rightly given less, and the others more.
    assert even or slowest > PACE_FLOOR, (got, slowest)


def test_nobody_answers_at_the_limit_of_connections(sc):
    """Idle connections to one that is ejected do not hold the only places."""
    bad = says(500)
    start(sc, [bad, says(200)], {"baseEjectionTime": "60s", "consecutive5xx": 2},
          circuitBreaker={"maxConnections": 2}, pool={"idleTimeout": "60s"})
    ask_many(sc, 10)
    assert states(sc)[0] == "ejected"
    clients = [sc.client() for _ in range(2)]
    for _ in range(10):
        for c in clients:
            c.request()
        assert [c.response().status for c in clients] == [200, 200]
