"""Circuit breakers: what opens one, who is refused meanwhile, and how it closes again."""

import json
import os
import re
import subprocess
import threading
import time

import pytest

from grpc_app import App, Client as GrpcClient, failure, grpc
from harness import SLUICE, Backend, assert_problem
from wire import SLOW, free_port, wait_for


class Moody:
    """A server that answers as it is told: a status, "hang" until `free` is set, "close", or
    "begin" (a response that goes on until then)."""

    def __init__(self):
        self.mood, self.seen, self.lock = 200, [], threading.Lock()
        self.free = threading.Event()

    def __call__(self, conn):
        while (request := conn.request()) is not None:
            mood = request.get("x-mood") or self.mood
            with self.lock:
                self.seen.append(str(mood))
            if mood == "close":
                return
            if mood == "begin":
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
                self.free.wait(30)
                conn.send("cd")
                continue
            if mood == "hang":
                self.free.wait(30)
                mood = self.mood if self.mood != "hang" else 200
            conn.answer(b"x", status=f"{mood} Word")


@pytest.fixture
def moody(sc):
    app = Moody()
    sc.moody = app
    yield app
    app.free.set()


def start(sc, app, breaker, **how):
    return sc.proxy(script=app, upstream={"circuitBreaker": breaker}, **how)


def look(sc):
    code, response = sc.s.admin("GET", "/v1/breakers")
    assert code == 200, response
    return json.loads(response.body)["breakers"][0]


def state(sc):
    return look(sc)["state"]


def wait_state(sc, want):
    wait_for(lambda: state(sc) == want, lambda: f"{want}: {look(sc)}\n{sc.s.log_end(2000)}")


def post(sc, verb, name="app"):
    code, response = sc.s.admin("POST", f"/v1/breakers/{name}/{verb}")
    assert code == 200, response
    return json.loads(response.body)


def metric(sc, name, **labels):
    return sc.s.metrics().get(name, upstream="app", **labels)


def fail(sc, app, n=5, mood=503):
    """n requests that go wrong."""
    before, app.mood = app.mood, mood
    client = sc.client()
    for _ in range(n):
        assert client.ask().status in (500, 502, 503)
        if mood == "close":
            client.close()
            client = sc.client()
    client.close()
    app.mood = before


def refused(sc):
    response = sc.ask()
    assert_problem(response, "breaker_open")
    assert int(response.get("retry-after")) >= 1
    return response


def test_opens_and_closes(sc, moody):
    start(sc, moody, {"consecutiveErrors": 5, "openDuration": "300ms"})
    assert look(sc)["state"] == "closed"
    fail(sc, moody, 4)
    assert look(sc)["consecutive_errors"] == 4
    fail(sc, moody, 1)
    assert refused(sc).get("retry-after") == "1"
    assert len(moody.seen) == 5
    assert look(sc)["last_cause"] == "consecutive_errors"
    assert sc.s.status()["upstreams"][0]["circuit_breaker"]["opened"]["consecutive_errors"] == 1
    wait_for(lambda: sc.ask().status == 200, "the probe goes through")
    wait_state(sc, "closed")
    log = sc.s.log()
    # With its jitter.
    assert re.search(r"upstream app: circuit breaker opened for 0\.[34] s: 5 errors in a row", log), log
    assert "half-open" in log and "closed: 1 probe went well" in log
    assert metric(sc, "sluice_breaker_probes_total") == 1
    assert metric(sc, "sluice_breaker_opened_total", cause="consecutive_errors") == 1
    assert metric(sc, "sluice_breaker_refused_total", dry_run="false") >= 1
    assert metric(sc, "sluice_breaker_state", state="closed") == 1


def test_without_a_key_only_limits_act(sc, moody):
    start(sc, moody, {"maxConnections": 10})
    fail(sc, moody, 30)
    assert look(sc)["state"] == "off"
    assert sc.ask().status == 200


@pytest.mark.parametrize("mood", [500, "close"])
def test_failures_of_other_kinds(sc, moody, mood):
    start(sc, moody, {"consecutiveErrors": 3, "openDuration": "1m", "maxOpenDuration": "1m"})
    fail(sc, moody, 3, mood)
    assert int(refused(sc).get("retry-after")) in range(58, 74)


def test_connections_that_are_refused(sc, moody):
    sc.proxy(backend=Backend(accept=False), upstream={"circuitBreaker": {"consecutiveErrors": 3}})
    sc.app.stop()
    for _ in range(3):
        assert_problem(sc.ask(), "connect_refused")
    refused(sc)


def test_connections_that_hang(sc, moody):
    """Nobody is there to answer the SYN: the request's own deadline is sooner than the connect's."""
    sc.proxy(backend=sc.backend(accept=False, backlog=0), route={"timeout": "200ms"},
             upstream={"connectTimeout": "1s", "circuitBreaker": {"consecutiveErrors": 2}})
    with pytest.raises(OSError):
        for _ in range(8):  # until the backlog is full
            sc.client(sc.app.address, connect_timeout=0.2)
    for _ in range(2):
        assert_problem(sc.ask(), "deadline")
    refused(sc)


def test_what_is_no_failure(sc, moody):
    """4xx, 429, and clients that go away."""
    start(sc, moody, {"consecutiveErrors": 3, "errorRate": 0})
    for mood in (404, 429):
        moody.mood = mood
        for _ in range(10):
            assert sc.ask().status == mood
    moody.mood = "hang"
    for _ in range(10):
        client = sc.client().request()
        n = len(moody.seen)
        wait_for(lambda: sc.s.status()["upstreams"][0]["active"] > 0, "it is sent")
        client.reset()
        wait_for(lambda: sc.s.status()["streams"] == 0, "it has gone")
        assert n <= len(moody.seen)
    assert look(sc)["consecutive_errors"] == 0
    assert state(sc) == "closed"


def test_error_rate(sc, moody):
    start(sc, moody, {"errorRate": 50, "minRequests": 10, "openDuration": "1m", "maxOpenDuration": "1m"})
    client = sc.client()
    for i in range(10):
        assert state(sc) == "closed"
        moody.mood = 429 if i % 2 else 200
        client.ask()
    assert state(sc) == "open"
    assert "5 of the last 10 requests failed" in sc.s.log()


def test_slow_calls(sc, moody):
    start(sc, moody, {"slowCallDuration": "50ms", "minRequests": 2, "openDuration": "1m", "maxOpenDuration": "1m"})
    moody.mood = "hang"
    for _ in range(2):
        moody.free.clear()
        client = sc.client().request()
        threading.Timer(0.06, moody.free.set).start()
        assert client.response().status == 200
    wait_state(sc, "open")
    assert look(sc)["last_cause"] == "slow_calls"


def test_half_open_with_an_upstream_that_hangs(sc, moody):
    start(sc, moody, {"consecutiveErrors": 1, "openDuration": "1s", "halfOpenTimeout": "1s"},
          route={"timeout": "0s"})
    fail(sc, moody, 1)
    moody.mood = "hang"

    def probes():
        n = look(sc)["probes"]
        client = sc.client().request()
        wait_for(lambda: look(sc)["probes"] > n or client.is_closed() or client.received,
                 "it is let through, or refused")
        return look(sc)["probes"] > n
    wait_for(probes, "a probe is out")
    sent = 2
    wait_for(lambda: len(moody.seen) == sent, "it has arrived")
    refused(sc)
    wait_for(lambda: state(sc) == "open", "the probe has had its time")
    refused(sc)
    assert look(sc)["opened"]["probe_timeout"] == 1
    assert len(moody.seen) == sent
    wait_for(probes, "another probe is out")
    assert len(moody.seen) <= sent + 1
    moody.mood = 200
    moody.free.set()
    wait_for(lambda: sc.ask().status == 200, "it answers again")
    wait_state(sc, "closed")


def test_probe_whose_response_goes_on(sc, moody):
    """A stream of events is an answer: it closes the breaker at the probe's deadline at the latest."""
    start(sc, moody, {"consecutiveErrors": 1, "openDuration": "100ms", "halfOpenTimeout": "300ms"})
    fail(sc, moody, 1)
    moody.mood = "begin"

    def begin():
        client = sc.client().request()
        return client if client.response_head().status == 200 else None
    client = wait_for(begin, "a probe is out")
    assert state(sc) in ("half_open", "open")
    moody.mood = 200
    wait_for(lambda: sc.ask().status == 200, "it is closed")
    assert state(sc) == "closed"
    moody.free.set()
    assert client.read(4) == b"abcd"


def test_probe_that_its_client_cancels(sc, moody):
    start(sc, moody, {"consecutiveErrors": 1, "openDuration": "100ms"})
    fail(sc, moody, 1)
    moody.mood = "hang"
    for n in range(1, 4):
        def probe(n=n):
            client = sc.client().request()
            wait_for(lambda: client.received or client.is_closed() or look(sc)["probes"] == n,
                     "refused or let through")
            return client if look(sc)["probes"] == n else None
        client = wait_for(probe, f"probe {n}")
        refused(sc)
        client.reset()
        wait_for(lambda: look(sc)["state"] == "half_open" and not look(sc)["probing"], "given back")
    moody.mood = 200
    assert sc.ask().status == 200
    assert state(sc) == "closed"


def test_answers_of_an_earlier_epoch(sc, moody):
    start(sc, moody, {"consecutiveErrors": 2, "openDuration": "100ms", "maxOpenDuration": "100ms"})
    late = [sc.client().request(headers=[("X-Mood", "hang")]) for _ in range(6)]
    wait_for(lambda: moody.seen.count("hang") == 6, "they are under way")
    fail(sc, moody, 2)
    wait_for(lambda: sc.ask().status == 200, "it is closed again")
    moody.mood = 500
    moody.free.set()
    assert [c.response().status for c in late] == [500] * 6
    assert state(sc) == "closed" and look(sc)["consecutive_errors"] == 0


def reload(sc, change):
    change(sc.s.config)
    with open(sc.s.config_path + "~", "w") as f:
        json.dump(sc.s.config, f)
    os.rename(sc.s.config_path + "~", sc.s.config_path)
    code, response = sc.s.admin("POST", "/v1/reload", timeout=30)
    assert code == 200, response


def test_reload_while_open(sc, moody):
    """The state stays, other limits act at once, and without its keys it is off."""
    start(sc, moody, {"consecutiveErrors": 5, "openDuration": "1h", "maxOpenDuration": "1h"})
    fail(sc, moody, 5)
    breaker = sc.s.config["upstreams"][0]["circuitBreaker"]
    reload(sc, lambda c: breaker.update(consecutiveErrors=2, openDuration="100ms"))
    refused(sc)  # as long as it was said then
    assert state(sc) == "open"
    reload(sc, lambda c: breaker.update(dryRun=True))
    assert sc.ask().status == 200
    reload(sc, lambda c: breaker.clear())
    assert state(sc) == "off"
    assert sc.ask().status == 200
    reload(sc, lambda c: breaker.update(consecutiveErrors=2, openDuration="100ms"))
    refused(sc)
    post(sc, "reset")
    fail(sc, moody, 2)
    refused(sc)
    wait_for(lambda: sc.ask().status == 200, "it is closed, after the new time")


def test_drain_while_open(sc, moody):
    """It refuses as before, what is under way ends as it would, and the drain does not wait for it."""
    start(sc, moody, {"consecutiveErrors": 2, "openDuration": "1h", "maxOpenDuration": "1h"},
          more={"lifecycle": {"drainTimeout": "60s"}})
    under_way = sc.client().request(headers=[("X-Mood", "hang")])
    moody_seen = wait_for(lambda: moody.seen, "it is under way")
    waiting = sc.client()
    fail(sc, moody, 2)
    assert waiting.ask().status == 503
    sc.s.admin("POST", "/v1/drain")
    assert look(sc)["state"] == "open" and "hang" in moody_seen
    moody.free.set()
    assert under_way.response().status == 200
    wait_for(lambda: sc.s.status()["phase"] == "drained", "nothing is waited for")


def test_drain_trips_nothing(sc, moody):
    start(sc, moody, {"consecutiveErrors": 2, "openDuration": "1h", "maxOpenDuration": "1h"})
    moody.mood = "hang"
    clients = [sc.client().request() for _ in range(6)]
    wait_for(lambda: len(moody.seen) == 6, "they are under way")
    sc.s.admin("POST", "/v1/drain", body=b'{"deadline_ms": 700}')
    assert {c.response().status for c in clients} == {503}  # last call
    assert look(sc)["opened"]["consecutive_errors"] == 0
    moody.free.set()


def test_dry_run(sc, moody):
    start(sc, moody, {"consecutiveErrors": 2, "dryRun": True, "openDuration": "1m", "maxOpenDuration": "1m"})
    fail(sc, moody, 2)
    assert state(sc) == "open"
    for _ in range(3):
        assert sc.ask().status == 200
    assert look(sc)["refused_dry_run"] == 3 and look(sc)["refused"] == 0
    assert metric(sc, "sluice_breaker_refused_total", dry_run="true") == 3
    assert "(dryRun)" in sc.s.log()
    post(sc, "open")  # an operator means it
    refused(sc)


def test_who_waits_is_refused_when_it_opens(sc, moody):
    """In the queue for a place, and in that for a connection, on every worker."""
    start(sc, moody, {"maxRequests": 6, "maxConnections": 2, "queueTimeout": "20s",
                      "consecutiveErrors": 2, "openDuration": "1m", "maxOpenDuration": "1m"}, route={"timeout": "30s"})
    moody.mood = "hang"
    clients = [sc.client().request() for _ in range(12)]
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 10,
             lambda: f"two are out, all others wait: {sc.s.status()['upstreams'][0]}")
    moody.mood = 500
    moody.free.set()
    codes = sorted(c.response().status for c in clients)
    assert codes.count(500) <= 4 and codes.count(503) >= 8, codes
    assert len(moody.seen) <= 4
    assert look(sc)["refused"] >= 8


def test_operator(sc, moody):
    start(sc, moody, {"maxRequests": 1, "queueTimeout": "20s"}, route={"timeout": "30s"})
    moody.mood = "hang"
    clients = [sc.client().request() for _ in range(4)]
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 3, "three wait")
    assert post(sc, "open")["state"] == "forced_open"
    wait_for(lambda: sum(c.is_closed() or bool(c.buffer) for c in clients) == 3,
             "who waited is refused")
    moody.mood = 200
    moody.free.set()
    assert sorted(c.response().status for c in clients) == [200, 503, 503, 503]
    assert refused(sc).get("retry-after") == "60"
    reload(sc, lambda c: c["upstreams"][0]["circuitBreaker"].update(maxRequests=10))
    refused(sc)
    assert metric(sc, "sluice_breaker_state", state="forced_open") == 1
    assert post(sc, "open")["opened"]["operator"] == 1
    assert post(sc, "reset")["state"] == "off"
    assert sc.ask().status == 200
    log = sc.s.log()
    assert "audit: circuit breaker opened: upstream app, was closed" in log
    assert "audit: circuit breaker reset: upstream app, was forced_open" in log


def test_admin_says_no(sc, moody):
    admin = f"127.0.0.1:{free_port()}"
    start(sc, moody, {"consecutiveErrors": 5})
    for path, code in (("/v1/breakers/none/open", 404), ("/v1/breakers/app/close", 404),
                       ("/v1/breakers/app", 404), ("/v1/breakers/", 404),
                       ("/v1/breakers//open", 404)):
        assert sc.s.admin("POST", path)[0] == code, path
    assert sc.s.admin("GET", "/v1/breakers/app/open")[0] == 405
    other = sc.sluice({"admin": {"address": admin}, "listeners": [
        {"name": "main", "address": f"127.0.0.1:{free_port()}",
         "routes": [{"match": {"pathPrefix": "/"}, "upstream": "app"}]}],
        "upstreams": [{"name": "app", "endpoints": [sc.app.address]}]})
    assert other.http(admin, "GET", "/v1/breakers")[0] == 200
    assert other.http(admin, "POST", "/v1/breakers/app/open")[0] == 403


def sluice(sc, *args, code=0):
    run = subprocess.run([SLUICE, "breaker", "--admin", sc.s.socket_path, *args],
                         capture_output=True, text=True)
    assert run.returncode == code, (run.stdout, run.stderr)
    return run.stdout + run.stderr


def test_command_line(sc, moody):
    start(sc, moody, {"consecutiveErrors": 2, "openDuration": "1h", "maxOpenDuration": "1h"})
    assert sluice(sc).split("\n")[1].split() == [
        "app", "closed", "0", "in", "a", "row,", "0", "of", "0", "0", "0", "-"]
    fail(sc, moody, 2)
    assert "half-open in " in sluice(sc, "list")
    assert "consecutive_errors" in sluice(sc, "list")
    assert "closed" in sluice(sc, "reset", "app")
    assert "forced_open" in sluice(sc, "open", "app")
    refused(sc)
    assert "forced_open" in json.loads(sluice(sc, "list", "-o", "json"))["breakers"][0]["state"]
    assert json.loads(sluice(sc, "reset", "app", "-o", "json"))["state"] == "closed"
    assert "no upstream" in sluice(sc, "open", "none", code=1)
    for words in (["close", "app"], ["open"], ["open", "a", "b"], ["list", "app"], ["open", "a?b"]):
        sluice(sc, *words, code=2)


def test_tcp(sc, moody):
    sc.proxy(backend=Backend(accept=False), listener={"protocol": "tcp"},
             upstream={"circuitBreaker": {"consecutiveErrors": 3, "openDuration": "1m", "maxOpenDuration": "1m"}})
    sc.app.stop()
    for _ in range(3):
        sc.client().expect_end()
    wait_state(sc, "open")
    sc.client().expect_end()
    wait_for(lambda: look(sc)["refused"] == 1, "the fourth is refused")
    assert sc.s.wait_access_log(4)[-1]["reason"] == "breaker_open"


def test_grpc(sc):
    """Trailers only: the status is in the head of a 200. What is the caller's fault is no failure."""
    app = App()
    sc.backends.append(app)
    sc.proxy(backend=app, upstream={
        "protocol": "http2", "pool": {"idleTimeout": "60s"},
        "circuitBreaker": {"consecutiveErrors": 3, "openDuration": "1m", "maxOpenDuration": "1m"}})
    client = GrpcClient(sc.address)
    for code in (3, 5, 16, 3, 8):
        failure(lambda: client.unary_status(str(code).encode()))
    assert look(sc)["consecutive_errors"] == 0
    for code in (14, 13, 14):
        failure(lambda: client.unary_status(str(code).encode()))
    wait_state(sc, "open")
    error, _ = failure(lambda: client.unary(b"x"))
    assert error.code() == grpc.StatusCode.UNAVAILABLE and error.details() == "breaker_open"
    client.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_let_through(sc, moody, workers):
    """Under load an upstream turns bad: no more failures reach clients than were in flight, and the
    threshold."""
    clients, threshold, stop = 24, 5, threading.Event()
    start(sc, moody, {"consecutiveErrors": threshold, "errorRate": 0, "openDuration": "1h",
                      "maxOpenDuration": "1h"}, more={"workers": workers})
    counts = {200: 0, 500: 0, 503: 0}
    lock = threading.Lock()

    def load():
        client = sc.client()
        while not stop.is_set():
            status = client.ask().status
            with lock:
                counts[status] += 1
    threads = [threading.Thread(target=load) for _ in range(clients)]
    for t in threads:
        t.start()
    wait_for(lambda: counts[200] > 500, "load")
    moody.mood = 500
    wait_for(lambda: counts[503] > 500, lambda: f"it is open: {counts}", 30 * SLOW)
    stop.set()
    for t in threads:
        t.join()
    assert threshold <= counts[500] <= clients + threshold, counts
    assert moody.seen.count("500") == counts[500]
    assert look(sc)["opened"]["consecutive_errors"] == 1


def test_a_longer_window(sc, moody):
    """A reload makes the window longer: the rate is that of the requests from then on."""
    start(sc, moody, {"consecutiveErrors": 0, "errorRate": 50, "minRequests": 4, "window": "1s"})
    end = time.monotonic() + 1.2  # so that each step of it has been used
    while time.monotonic() < end:
        assert sc.ask().status == 200
    reload(sc, lambda c: c["upstreams"][0]["circuitBreaker"].update(window="60s"))
    moody.mood = 500
    assert [sc.ask().status for _ in range(5)] == [500] * 4 + [503]
    assert look(sc)["last_cause"] == "error_rate"
