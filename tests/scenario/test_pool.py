"""Connections to upstreams: kept, limited, replaced."""

import socket
import threading
import time

import pytest

from harness import assert_problem, ok_app
from wire import SLOW, SPARE, wait_for, within


def test_reuse_across_clients(sc):
    sc.proxy()
    for _ in range(10):
        assert sc.ask().status == 200
    assert len(sc.app.conns) == 1


def test_idle_timeout(sc):
    sc.proxy(upstream={"pool": {"idleTimeout": "1s"}})
    start = time.monotonic()
    sc.ask()
    sc.app.wait_done()  # sluice closed it
    assert time.monotonic() - start > 0.9
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 0, "none is idle")
    assert sc.ask().status == 200
    assert len(sc.app.conns) == 2


def test_keep_alive_timeout_of_the_application_is_heeded(sc):
    """Less one second, so that nothing is sent on what is being closed."""
    def script(conn):
        while conn.request() is not None:
            conn.answer(b"ok", headers=[("Connection", "keep-alive"), ("Keep-Alive", "timeout=2")])

    sc.proxy(script=script, upstream={"pool": {"idleTimeout": "60s"}})
    start = time.monotonic()
    sc.ask()
    sc.app.wait_done()
    assert 0.8 < time.monotonic() - start < 1 + SPARE


def test_max_lifetime(sc):
    sc.proxy(upstream={"pool": {"maxLifetime": "200ms", "idleTimeout": "60s"}})
    client = sc.client()
    end = time.monotonic() + 5
    while len(sc.app.conns) < 2 and time.monotonic() < end:
        assert client.ask().status == 200
        time.sleep(0.01)
    assert len(sc.app.conns) >= 2


def test_max_requests_per_connection(sc):
    sc.proxy(upstream={"pool": {"maxRequestsPerConnection": 2}})
    client = sc.client()
    for _ in range(6):
        assert client.ask().status == 200
    assert len(sc.app.conns) == 3
    assert [r.conn for r in sc.app.requests] == [0, 0, 1, 1, 2, 2]


def test_min_idle(sc):
    sc.proxy(upstream={"pool": {"minIdle": 3, "idleTimeout": "60s"}})
    sc.app.wait_conns(3)
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 3, "three idle connections")
    assert sc.ask().status == 200
    assert len(sc.app.conns) == 3
    # Whether they were there when the start was counted is not known.
    sc.s.base_fds = sc.s.rest_fds() - 3


def keeps(seconds):
    """Closes a connection that has been silent for so long, and says so."""
    def script(conn):
        while conn.request() is not None:
            conn.answer(b"", headers=[("Keep-Alive", f"timeout={seconds}")])
    return script


@pytest.mark.parametrize("pool", [{"idleTimeout": "60s"}, {"idleTimeout": "300ms"},
                                  {"idleTimeout": "60s", "maxLifetime": "300ms"}])
def test_min_idle_keeps_none_beyond_its_time(sc, pool):
    """Told by the application, by idleTimeout, or by maxLifetime: a fresh one takes its place."""
    sc.proxy(script=keeps(2) if pool == {"idleTimeout": "60s"} else ok_app,
             upstream={"pool": {"minIdle": 1, **pool}})
    assert sc.ask().status == 200
    first = len(sc.app.conns)
    sc.app.wait_conns(first + 1)
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 1, "one is kept")
    sc.s.base_fds = None  # whether one was there at the start is not known


def test_an_idle_connection_ends_with_its_lifetime(sc):
    sc.proxy(upstream={"pool": {"idleTimeout": "60s", "maxLifetime": "300ms"}})
    assert sc.ask().status == 200
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 0, "it is closed")


def stale(answered=1):
    """Answers `answered` requests, then reads one more and closes without a byte."""
    def script(conn):
        for _ in range(answered):
            conn.request()
            conn.answer(b"first")
        conn.request()
    return script


def test_stale_connection_is_retried_for_get(sc):
    sc.proxy(script=[stale(), ok_app])
    client = sc.client()
    assert client.ask().body == b"first"
    response = client.ask("GET", "/again")
    assert response.status == 200 and response.body == b"GET /again\n"
    assert [r.conn for r in sc.app.requests] == [0, 0, 1]


def test_stale_connection_by_reset_is_retried_for_get(sc):
    def script(conn):
        conn.request()
        conn.answer(b"first")
        conn.request()
        conn.reset()

    sc.proxy(script=[script, ok_app])
    client = sc.client()
    client.ask()
    assert client.ask("GET", "/again").body == b"GET /again\n"


def test_stale_connection_is_not_retried_for_post(sc):
    sc.proxy(script=[stale(), ok_app])
    client = sc.client()
    assert client.ask().body == b"first"
    assert_problem(client.ask("POST", "/once", body=b"x"), "upstream_closed")
    assert [r.target for r in sc.app.requests].count("/once") == 1


def test_a_fresh_connection_that_closes_is_not_retried(sc):
    def script(conn):
        conn.request()

    sc.proxy(script=[script])
    assert_problem(sc.ask(), "upstream_closed")
    assert len(sc.app.requests) == 1


def test_retried_once_only(sc):
    def second(conn):
        conn.request()

    sc.proxy(script=[stale(), second])
    client = sc.client()
    client.ask()
    assert_problem(client.ask(), "upstream_closed")
    assert len(sc.app.conns) == 2


def test_no_retry_behind_the_first_byte(sc):
    def script(conn):
        conn.request()
        conn.answer(b"first")
        conn.request()
        conn.send("HTTP/1.1 2")

    sc.proxy(script=[script, ok_app])
    client = sc.client()
    client.ask()
    assert client.ask().status == 502
    assert len(sc.app.conns) == 1


def test_an_idle_connection_that_the_application_closed_is_not_used(sc):
    def script(conn):
        conn.request()
        conn.answer(b"first")

    sc.proxy(script=[script, ok_app], upstream={"pool": {"idleTimeout": "60s"}})
    client = sc.client()
    client.ask()
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 0, "the idle connection is dropped")
    assert client.ask("POST", "/x", body=b"1").status == 200


def held(sc, gate):
    """An application that answers when the gate opens."""
    def script(conn):
        while conn.request() is not None:
            gate.wait(20)
            conn.answer(b"ok")
    return script


def test_max_connections_queues(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {"maxConnections": 2, "queueTimeout": "10s"}})
    clients = [sc.client().request("GET", f"/{i}") for i in range(6)]
    sc.app.wait_conns(2)
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 4, "four wait")
    gate.set()
    for client in clients:
        assert client.response().status == 200
    assert len(sc.app.conns) == 2
    assert len(sc.app.requests) == 6


def test_queue_timeout(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {"maxConnections": 1, "queueTimeout": "200ms"}})
    first = sc.client().request()
    sc.app.wait_requests(1)

    def attempt():
        start = time.monotonic()
        response = sc.ask()
        assert_problem(response, "queue_timeout")
        assert response.has("retry-after")
        assert time.monotonic() - start > 0.15
    within(0.9 * SLOW, attempt)
    gate.set()
    assert first.response().status == 200


def test_pending_overflow(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {
        "maxConnections": 1, "maxPendingRequests": 1, "queueTimeout": "10s"}})
    first = sc.client().request()
    sc.app.wait_requests(1)
    second = sc.client().request()
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 1, "one waits")
    assert_problem(sc.ask(), "pending_overflow")
    gate.set()
    assert first.response().status == 200 and second.response().status == 200


def test_a_burst_below_the_limit_is_not_pending(sc):
    """Who waits for a connection that is being made does not stand in the queue."""
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {"maxConnections": 50, "maxPendingRequests": 0}})
    clients = [sc.client().request() for _ in range(50)]
    sc.app.wait_requests(50)
    assert sc.s.status()["upstreams"][0]["pending"] == 0
    assert_problem(sc.ask(), "pending_overflow")
    gate.set()
    for client in clients:
        assert client.response().status == 200


def test_max_requests_wait_for_a_place(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {
        "maxRequests": 2, "queueTimeout": "10s"}})
    clients = [sc.client().request() for _ in range(2)]
    sc.app.wait_requests(2)
    more = [sc.client().request() for _ in range(3)]
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 3, "three wait")
    assert len(sc.app.requests) == 2
    gate.set()
    for client in clients + more:
        assert client.response().status == 200
    assert len(sc.app.requests) == 5


def test_max_requests_waits_no_longer_than_queue_timeout(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {
        "maxRequests": 2, "queueTimeout": "100ms"}})
    clients = [sc.client().request() for _ in range(2)]
    sc.app.wait_requests(2)
    response = sc.ask()
    assert_problem(response, "queue_timeout", 503)
    gate.set()
    for client in clients:
        assert client.response().status == 200


def test_max_requests_with_a_full_queue(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {
        "maxRequests": 1, "maxPendingRequests": 1, "queueTimeout": "10s"}})
    first = sc.client().request()
    sc.app.wait_requests(1)
    second = sc.client().request()
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 1, "one waits")
    response = sc.ask()
    assert_problem(response, "request_limit", 503)
    gate.set()
    assert first.response().status == 200
    assert second.response().status == 200


def test_who_waits_for_a_place_and_goes_leaves_the_queue(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {
        "maxRequests": 1, "queueTimeout": "10s"}}, more={"workers": 4})
    first = sc.client().request()
    sc.app.wait_requests(1)
    gone = [sc.client().request() for _ in range(4)]
    stays = [sc.client().request() for _ in range(4)]
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 8, "all wait")
    for client in gone:
        client.reset()
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 4, "those that went do not")
    gate.set()
    for client in [first] + stays:
        assert client.response().status == 200
    assert len(sc.app.requests) == 5


def test_a_waiting_client_that_goes_leaves_the_queue(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {"maxConnections": 1, "queueTimeout": "10s"}})
    first = sc.client().request()
    sc.app.wait_requests(1)
    second = sc.client().request()
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 1, "one waits")
    second.reset()
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 0, "nobody waits")
    gate.set()
    assert first.response().status == 200
    assert len(sc.app.requests) == 1


def test_limits_hold_across_workers(sc):
    gate = threading.Event()
    sc.proxy(script=held(sc, gate), upstream={"circuitBreaker": {"maxConnections": 3, "queueTimeout": "10s"}},
             more={"workers": 4})
    clients = [sc.client().request() for _ in range(12)]
    sc.app.wait_requests(3)
    wait_for(lambda: sc.s.status()["upstreams"][0]["pending"] == 9, "nine wait")
    assert len(sc.app.conns) == 3
    cpu = sc.s.cpu_seconds()
    time.sleep(0.5)  # while all wait, nothing is to be done
    assert sc.s.cpu_seconds() - cpu < 0.1 * SLOW, "it spins"
    gate.set()
    for client in clients:
        assert client.response().status == 200
    wait_for(lambda: sc.s.metrics().get("sluice_upstream_connections", upstream="app") <= 3,
             "three connections at most")


def test_an_idle_connection_of_another_worker_gives_way(sc):
    """One connection in all: whichever worker holds it idle closes it for another's request."""
    sc.proxy(upstream={"circuitBreaker": {"maxConnections": 1, "queueTimeout": "60s"},
                       "pool": {"idleTimeout": "60s"}},
             more={"workers": 4}, route={"timeout": "60s"})
    for _ in range(40):
        start = time.monotonic()
        assert sc.ask().status == 200
        assert time.monotonic() - start < 5, "it waited for the queue's timeout"


def test_connect_refused(sc):
    backend = sc.backend()
    backend.stop_listening()
    sc.proxy(backend)
    client = sc.client()
    assert_problem(client.ask(), "connect_refused")
    assert_problem(client.ask("POST", body=b"x"), "connect_refused")


def test_connect_refused_goes_to_another_endpoint(sc):
    gone, there = sc.backend(), sc.backend()
    gone.stop_listening()
    sc.proxy(there, upstream={"endpoints": [gone.address, there.address]})
    client = sc.client()
    for _ in range(20):
        assert client.ask("POST", body=b"x").status == 200


def test_the_upstream_comes_back(sc):
    backend = sc.backend()
    sc.proxy(backend)
    assert sc.ask().status == 200
    backend.stop()
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 0, "the connection is gone")
    assert_problem(sc.ask(), "connect_refused")
    again = sc.backend(address=backend.address)
    assert wait_for(lambda: sc.ask().status == 200, "it serves again")
    assert len(again.requests) >= 1


def test_connect_timeout(sc):
    # A listener whose backlog is full answers no SYN.
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    for _ in range(8):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(full.getsockname())
        fillers.append(s)
    try:
        sc.proxy(upstream={"endpoints": ["127.0.0.1:%d" % full.getsockname()[1]],
                           "connectTimeout": "300ms"})
        start = time.monotonic()
        assert_problem(sc.ask(), "connect_timeout")
        assert 0.25 < time.monotonic() - start < 0.3 + SPARE
    finally:
        for s in [full, *fillers]:
            s.close()


def test_missing_unix_socket(sc):
    sc.proxy(upstream={"endpoints": [f"unix:{sc.directory}/nobody.sock"]})
    response = sc.ask()
    assert response.status == 502


@pytest.mark.parametrize("balance", ["leastRequest", "roundRobin"])
def test_balance(sc, balance):
    backends = [sc.backend() for _ in range(3)]
    sc.proxy(backends[0], upstream={"endpoints": [b.address for b in backends], "balance": balance})
    clients = [sc.client() for _ in range(3)]
    for _ in range(60):
        for client in clients:
            client.request()
        for client in clients:
            client.response()
    counts = [len(b.requests) for b in backends]
    assert sum(counts) == 180 and min(counts) >= (40 if balance == "roundRobin" else 20), counts


def test_least_request_avoids_the_slow_one(sc):
    gate = threading.Event()
    slow, fast = sc.backend(held(sc, gate)), sc.backend()
    sc.proxy(fast, upstream={"endpoints": [slow.address, fast.address]})
    stuck = []
    for n in range(60):
        stuck.append(sc.client().request())
        wait_for(lambda n=n: len(slow.requests) + len(fast.requests) > n, "it arrived")
    assert len(slow.requests) < 20, len(slow.requests)
    gate.set()
    for client in stuck:
        assert client.response().status == 200
