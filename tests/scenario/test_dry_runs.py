"""Limits and timeouts that are only counted (limitsDryRun, timeoutDryRun): what they would have held
up or ended goes on, and is counted once."""

import subprocess
import threading

import pytest

import h2wire
from drains import gated
from harness import SLUICE, assert_problem
from test_breakers import reload
from test_deadlines import DEADLINE, at
from test_endpoint_limits import Counted
from test_retries import answers
from wire import Client, wait_for

LIMITS = ("max_connections", "max_requests", "max_connections_per_endpoint",
          "max_requests_per_endpoint", "max_retries")


def held_up(sc):
    """What each limit would have held up; the metric and /v1/status agree."""
    limits = sc.s.status()["upstreams"][0]["limits"]
    counts = {name: limits[name + "_dry_run"] for name in LIMITS}
    metrics = sc.s.metrics()
    assert counts == {name: metrics.get("sluice_upstream_limits_dry_run_total", upstream="app", limit=name)
                      for name in LIMITS}
    return {name: n for name, n in counts.items() if n > 0}


def late(sc, kind="timeout"):
    """How many requests took longer than that; the metric, when it is looked at again, and
    /v1/status agree."""
    def metric():
        return sc.s.metrics().get("sluice_timeouts_dry_run_total", kind=kind)
    before, n = metric(), sc.s.status()["routes"][0]["timeouts"][kind + "_dry_run"]
    assert before <= n <= metric()
    return n


def held(gate):
    """Answers each request when the gate is open."""
    def script(conn):
        while conn.request() is not None:
            gate.wait(20)
            conn.answer(b"ok")
    return script


# --- limits ---

@pytest.mark.parametrize("workers", [1, 3])
def test_nobody_waits(sc, workers):
    gate = threading.Event()
    sc.proxy(script=held(gate), more={"workers": workers}, upstream={"circuitBreaker": {
        "maxConnections": 2, "maxRequests": 3, "limitsDryRun": True}})
    clients = [sc.client().request() for _ in range(8)]
    sc.app.wait_requests(8)
    assert held_up(sc) == {"max_connections": 6, "max_requests": 5}
    assert sc.s.status()["upstreams"][0]["pending"] == 0
    limits = sc.s.status()["upstreams"][0]["limits"]
    assert limits["dry_run"] and limits["max_connections"] == 2 and limits["connections"] == 8
    shown = subprocess.run([SLUICE, "status", "--admin", sc.s.socket_path], capture_output=True, timeout=30)
    assert b"2 (dryRun)" in shown.stdout
    gate.set()
    for client in clients:
        assert client.response().status == 200


def test_connections_beyond_the_limit_are_used_again(sc):
    gate = threading.Event()
    sc.proxy(script=held(gate), upstream={"circuitBreaker": {"maxConnections": 1, "limitsDryRun": True},
                                          "pool": {"idleTimeout": "60s"}})
    clients = [sc.client().request() for _ in range(4)]
    sc.app.wait_requests(4)
    gate.set()
    for client in clients:
        assert client.response().status == 200
    assert all(sc.ask().status == 200 for _ in range(8))
    assert len(sc.app.conns) == 4
    assert held_up(sc) == {"max_connections": 3}


@pytest.mark.parametrize("limit", ["maxConnections", "maxConnectionsPerEndpoint"])
def test_spare_connections_keep_to_them(sc, limit):
    """Nobody has asked for them, and so nobody would have waited: with these, idle ones would be
    counted each time that they are replaced."""
    gate = threading.Event()
    gate.set()
    sc.proxy(script=held(gate), upstream={"circuitBreaker": {limit: 2, "limitsDryRun": True},
                                          "pool": {"minIdle": 2, "idleTimeout": "100ms"}})
    sc.app.wait_conns(2)
    gate.clear()
    client = sc.client().request()
    sc.app.wait_requests(1)
    sc.app.wait_conns(6)  # replaced beside it, one at a time
    assert sc.s.status()["upstreams"][0]["connections"] <= 2
    assert held_up(sc) == {}
    clients = [client, *(sc.client().request() for _ in range(2))]
    sc.app.wait_requests(3)
    assert sum(held_up(sc).values()) > 0, "the third has asked for it"
    gate.set()
    for client in clients:
        assert client.response().status == 200


def test_below_the_limits_nothing_is_counted(sc):
    sc.proxy(upstream={"circuitBreaker": {"maxConnections": 1, "maxRequests": 1, "limitsDryRun": True}})
    assert all(sc.ask().status == 200 for _ in range(5))
    assert held_up(sc) == {}


def test_limits_of_endpoints(sc):
    gate = threading.Event()
    both = [sc.backend(held(gate)), sc.backend(held(gate))]
    sc.proxy(backend=both[0], upstream={
        "endpoints": [b.address for b in both], "balance": "roundRobin",
        "circuitBreaker": {"maxConnectionsPerEndpoint": 2, "maxRequestsPerEndpoint": 1, "limitsDryRun": True}})
    clients = [sc.client().request() for _ in range(6)]
    for backend in both:
        backend.wait_requests(3)
    assert held_up(sc) == {"max_connections_per_endpoint": 2, "max_requests_per_endpoint": 4}
    assert sc.s.metrics().get("sluice_upstream_endpoints_full_total", upstream="app") == 0
    gate.set()
    for client in clients:
        assert client.response().status == 200


def test_retries_beyond_their_limit(sc):
    sc.proxy(script=answers(503, 200), route={"retry": {"on": ["5xx"], "backoff": {"base": "1ms", "max": "1ms"}}},
             upstream={"circuitBreaker": {"maxRetries": 0, "limitsDryRun": True}})
    assert sc.ask().status == 200
    assert held_up(sc) == {"max_retries": 1}


def test_a_reload_turns_it_on_and_off(sc):
    gate = threading.Event()
    limits = {"maxRequests": 1, "queueTimeout": "20s"}
    sc.proxy(script=held(gate), upstream={"circuitBreaker": limits})
    clients = [sc.client().request() for _ in range(3)]
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 2, "two wait")
    conf = sc.s.config["upstreams"][0]
    reload(sc, lambda _: conf.update(circuitBreaker={**limits, "limitsDryRun": True}))
    sc.app.wait_requests(3)
    assert held_up(sc) == {"max_requests": 2}
    reload(sc, lambda _: conf.update(circuitBreaker=limits))
    clients.append(sc.client().request())
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 1, "the next one waits")
    gate.set()
    for client in clients:
        assert client.response().status == 200
    reload(sc, lambda _: conf.update(circuitBreaker={**limits, "limitsDryRun": True}))
    assert held_up(sc) == {"max_requests": 2}, "it knows what it has counted"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
@pytest.mark.parametrize("limit", ["maxConnections", "maxConnectionsPerEndpoint"])
def test_what_is_beyond_goes_when_they_hold(sc, limit, busy, workers):
    """Not what carries a request, but behind it; else as many requests as there are connections would
    go on being let through."""
    gate = threading.Event()
    limits = {limit: 2, "queueTimeout": "20s"}
    sc.proxy(script=held(gate), more={"workers": workers}, upstream={
        "pool": {"idleTimeout": "60s"}, "circuitBreaker": {**limits, "limitsDryRun": True}})
    clients = [sc.client().request() for _ in range(6)]
    sc.app.wait_requests(6)

    def answered():
        gate.set()
        for client in clients:
            assert client.response().status == 200
    if not busy:
        answered()
    conf = sc.s.config["upstreams"][0]
    reload(sc, lambda _: conf.update(circuitBreaker=limits))
    if busy:
        answered()
    wait_for(lambda: sc.s.status()["upstreams"][0]["limits"]["connections"] <= 2, "the others close")
    assert sc.ask().status == 200


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("limit", ["maxConnections", "maxConnectionsPerEndpoint", "maxRequests",
                                   "maxRequestsPerEndpoint"])
def test_they_come_to_hold_under_load(sc, limit, workers):
    """Somebody waits all the time, and a connection beyond the limit is not handed on to him."""
    app, over, failed = Counted(), threading.Event(), []
    limits = {limit: 2, "queueTimeout": "10s"}
    sc.proxy(script=app, more={"workers": workers}, upstream={"circuitBreaker": {**limits, "limitsDryRun": True}})

    def run():
        client = Client(sc.address)
        while not over.is_set():
            if client.ask().status != 200:
                failed.append(client)
        client.close()

    def at_once():
        """Of the next requests."""
        app.most = 0
        sc.app.wait_requests(len(sc.app.requests) + 50)
        return app.most
    threads = [threading.Thread(target=run) for _ in range(8)]
    for t in threads:
        t.start()
    try:
        wait_for(lambda: app.now >= 5, "more than there will be")
        conf = sc.s.config["upstreams"][0]
        reload(sc, lambda _: conf.update(circuitBreaker=limits))
        wait_for(lambda: at_once() <= 2, "the limit holds")
        assert at_once() <= 2
    finally:
        over.set()
        for t in threads:
            t.join()
    assert not failed


# --- timeouts ---

def test_a_late_answer_comes(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), route={"timeout": "100ms", "timeoutDryRun": True})
    client = sc.client().request()
    wait_for(lambda: late(sc) == 1, "it is counted while it goes on")
    gate.set()
    assert client.response().body == b"whole"
    assert late(sc) == 1 and late(sc, "first_byte_timeout") == 0


def test_a_quick_answer_is_not_counted(sc):
    sc.proxy(route={"timeout": "10s", "firstByteTimeout": "5s", "timeoutDryRun": True})
    assert sc.ask().status == 200
    assert late(sc) == 0 and late(sc, "first_byte_timeout") == 0


def test_a_late_first_byte(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), route={"timeout": "400ms", "firstByteTimeout": "100ms", "timeoutDryRun": True})
    client = sc.client().request()
    wait_for(lambda: late(sc, "first_byte_timeout") == 1, "its first byte is late")
    wait_for(lambda: late(sc) == 1, "and then all of it")
    gate.set()
    assert client.response().status == 200
    assert late(sc, "first_byte_timeout") == 1


def test_over_http2(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), route={"timeout": "100ms", "timeoutDryRun": True})
    client = h2wire.Client(sc.address)
    stream = client.request()
    wait_for(lambda: late(sc) == 1, "it is counted")
    gate.set()
    assert client.response(stream).status == 200
    client.close()


def test_while_it_waits_for_a_connection(sc):
    gate = threading.Event()
    sc.proxy(script=held(gate), route={"timeout": "100ms", "timeoutDryRun": True},
             upstream={"circuitBreaker": {"maxConnections": 1, "queueTimeout": "20s"}})
    clients = [sc.client().request() for _ in range(2)]
    wait_for(lambda: late(sc) == 2, "both are late, one of them in the queue")
    gate.set()
    for client in clients:
        assert client.response().status == 200


def test_a_request_s_own_deadline_holds(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), route={"timeout": "100ms", "timeoutDryRun": True, "passDeadline": True})
    assert_problem(sc.ask(headers=[(DEADLINE, at(0.6))]), "deadline", 504)
    assert late(sc) == 1
    gate.set()


def test_the_upstream_is_not_told_of_it(sc):
    sc.proxy(route={"timeout": "10s", "timeoutDryRun": True, "passDeadline": True})
    assert sc.ask().status == 200
    assert sc.app.requests[0].get(DEADLINE) is None


def test_a_client_that_goes_before_is_not_late(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), route={"timeout": "10s", "timeoutDryRun": True})
    client = sc.client().request()
    sc.app.wait_requests(1)
    client.reset()
    wait_for(lambda: sc.s.status()["streams"] == 0, "it has ended")
    gate.set()
    assert late(sc) == 0


def test_a_websocket_that_begins_late(sc):
    gate = threading.Event()

    def script(conn):
        conn.request()
        gate.wait(20)
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        conn.read_to_end()
    sc.proxy(script=script, route={"timeout": "100ms", "timeoutDryRun": True})
    client = sc.client().request(headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    wait_for(lambda: late(sc) == 1, "it is counted")
    gate.set()
    assert client.response_head().status == 101
    client.close()


def test_a_reload_makes_it_hold(sc):
    gate = threading.Event()
    sc.proxy(script=held(gate), route={"timeout": "200ms", "timeoutDryRun": True})
    client = sc.client().request()
    wait_for(lambda: late(sc) == 1, "it is counted")
    route = sc.s.config["listeners"][0]["routes"][0]
    reload(sc, lambda _: route.pop("timeoutDryRun"))
    assert_problem(sc.ask(), "deadline", 504)
    gate.set()
    assert client.response().status == 200, "it began under the other rule"
    reload(sc, lambda _: route.update(timeoutDryRun=True))
    assert late(sc) == 1


def test_a_retry_is_not_cut_short(sc):
    """The time that is left bounds a retry's wait: a timeout that only counts leaves all of it."""
    sc.proxy(script=answers(503, 200), route={
        "timeout": "50ms", "timeoutDryRun": True,
        "retry": {"on": ["5xx"], "backoff": {"base": "200ms", "max": "200ms"}}})
    assert sc.ask().status == 200
