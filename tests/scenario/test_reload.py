"""What a reload does to traffic: the next request sees the new configuration, and what goes on is
neither cut nor counted anew."""

import re
import threading
import time

import pytest

from harness import forward, free_port
from reload_rig import (alive, echo_bytes, held, live, named, tcp_listener, websocket, weigh, word,
                     ws_echo)
from test_proxying import tunnel
from wire import SPARE, wait_for


# --- routes and weights --------------------------------------------------------------------------

class Shares:
    """Asks, and holds each prefix to its share."""

    def __init__(self, client, weight):
        self.client, self.weight, self.n, self.got = client, weight, 0, 0

    def ask(self, times):
        for _ in range(times):
            self.n += 1
            self.got += self.client.ask().body == b"two"
            off = abs(self.got - self.n * self.weight)
            assert off <= 1, f"{self.got} of {self.n} at {self.weight}"


def two_backends(live, weights):
    live.start(script=named("one"), listener={"routes": [forward()]})
    live.two = live.sc.backend(named("two"))
    live.add_upstream("two", live.two)
    live.route.pop("upstream")
    weigh(live, *weights)
    live.apply()


def test_weights_from_the_next_request_on(live):
    two_backends(live, (9, 1))
    client = live.sc.client()
    for one, two in ((9, 1), (1, 1), (1, 99), (0, 1), (1, 0), (3, 1)):
        weigh(live, one, two)
        live.touch()
        live.apply()
        Shares(client, two / (one + two)).ask(120)


def test_weights_stay_exact_over_reloads_of_something_else(live):
    two_backends(live, (13, 7))
    shares = Shares(live.sc.client(), 7 / 20)
    for _ in range(25):
        shares.ask(7)
        live.touch()
        live.apply()
    shares.ask(100)
    backends = live.s.status()["routes"][0]["backends"]
    assert {b["upstream"]: b["picked"] for b in backends} == {
        "app": shares.n - shares.got, "two": shares.got}


def test_routes_come_and_go_and_change_places(live):
    live.start()
    client = live.sc.client()

    def route(path, word):
        return {"name": word, "match": {"pathPrefix": path}, "directResponse": {"body": word}}

    def word(target):
        return client.ask("GET", target).body.decode()

    a, ab, every = route("/a", "a"), route("/a/b", "ab"), forward(name="every")
    for routes, want in (
            ([every], {"/a": "GET /a\n", "/a/b": "GET /a/b\n"}),
            ([a, every], {"/a": "a", "/a/b": "a", "/c": "GET /c\n"}),
            ([ab, a, every], {"/a": "a", "/a/b": "ab"}),
            ([a, ab, every], {"/a": "a", "/a/b": "a"}),
            ([ab, every], {"/a": "GET /a\n", "/a/b": "ab"})):
        live.listener["routes"] = routes
        live.apply()
        assert {t: word(t) for t in want} == want
    live.listener["routes"] = [ab]
    live.apply()
    assert client.ask("GET", "/a").status == 404


# --- upstreams -----------------------------------------------------------------------------------

def test_limits_of_an_upstream(live):
    go = threading.Event()
    live.start(script=held(go), upstream={
        "circuitBreaker": {"maxRequests": 1, "queueTimeout": "30s"}})
    app = live.sc.app
    clients = [live.sc.client().request() for _ in range(5)]

    def pending():
        return live.s.status()["upstreams"][0]["pending"]
    wait_for(lambda: pending() == 4, lambda: f"four wait, not {pending()}")
    app.wait_requests(1)
    assert len(app.requests) == 1

    live.upstream()["circuitBreaker"]["maxRequests"] = 3
    live.apply()
    app.wait_requests(3)  # now, and not when the next one ends
    assert pending() == 2

    # Lowered: what is under way goes on, what waits goes on waiting.
    live.upstream()["circuitBreaker"]["maxRequests"] = 1
    live.apply()
    assert (len(app.requests), pending()) == (3, 2)
    live.upstream()["circuitBreaker"]["maxPendingRequests"] = 2
    live.apply()
    late = live.sc.client().ask()
    assert late.status == 503 and pending() == 2
    go.set()
    for client in clients:
        assert client.response().body == b"done"
    assert len(app.requests) == 5


def test_queue_timeout_of_those_who_come_later(live):
    go = threading.Event()
    live.start(script=held(go), upstream={
        "circuitBreaker": {"maxRequests": 1, "queueTimeout": "30s"}})
    first = live.sc.client().request()
    live.sc.app.wait_requests(1)
    live.upstream()["circuitBreaker"]["queueTimeout"] = "50ms"
    live.apply()
    assert live.sc.client().ask().status == 503
    go.set()
    assert first.response().status == 200


def test_endpoints(live):
    """Of one that is removed idle connections close and busy ones finish; the others' are kept."""
    go = threading.Event()

    def slow(conn):
        while (request := conn.request()) is not None:
            if request.target == "/slow":
                go.wait(30)
            conn.answer(b"slow")
    live.start(upstream={"balance": "roundRobin", "pool": {"idleTimeout": "60s"}})
    app, other = live.sc.app, live.sc.backend(slow)
    live.upstream()["endpoints"] = [app.address, other.address]
    live.apply()
    client, busy = live.sc.client(), live.sc.client()
    while not (app.requests and other.requests):
        client.ask()
    while other.requests[-1].target != "/slow":
        seen = len(app.requests) + len(other.requests)
        busy.request("GET", "/slow")
        wait_for(lambda: len(app.requests) + len(other.requests) > seen, "one has it")
        if app.requests[-1].target == "/slow" and other.requests[-1].target != "/slow":
            busy.response()
    # A second, idle one beside the busy one.
    n = len(other.conns)
    while len(other.conns) == n:
        client.ask()
    kept, reused = len(app.conns), live.s.metrics().get("sluice_upstream_connections_reused_total")
    gone = other.conns[-1]
    live.upstream()["endpoints"] = [app.address]
    live.apply()
    wait_for(lambda: gone.sock.fileno() < 0, "the idle one is closed")
    assert other.conns[0].sock.fileno() >= 0
    before = len(other.requests)
    for _ in range(10):
        assert client.ask().body == b"GET /\n"
    assert (len(app.conns), len(other.requests)) == (kept, before)
    assert live.s.metrics().get("sluice_upstream_connections_reused_total") >= reused + 10
    go.set()
    assert busy.response().body == b"slow"
    other.wait_done()  # not kept either
    live.upstream()["endpoints"] = [app.address, other.address]
    live.apply()
    client.ask(), client.ask()
    assert len(other.requests) == before + 1


def counters(live):
    """Of listeners, routes and upstreams."""
    names = re.compile(r"sluice_(requests|split_picked|upstream_requests|connections_accepted|"
                       r"route_errors|upstream_connections_opened|response_body_bytes|errors)_total")
    return {k: v for k, v in live.s.metrics().samples.items() if names.fullmatch(k[0])}


def test_counters_are_kept(live):
    two_backends(live, (1, 1))
    live.route["name"] = "stays"
    live.apply()
    client = live.sc.client()
    for _ in range(20):
        client.ask()
    live.sc.client().send("nonsense\r\n\r\n").read_to_end()
    live.rest()
    before = counters(live)
    weigh(live, 1, 3)
    live.upstream()["connectTimeout"] = "3s"
    live.listener["maxConnections"] = 77
    live.listener["routes"].insert(0, {"name": "new", "match": {"path": "/new"},
                                       "directResponse": {"body": "x"}})
    live.apply()
    after = counters(live)
    lost = {k: (v, after.get(k)) for k, v in before.items() if after.get(k) != v}
    assert not lost, lost
    for _ in range(20):
        client.ask()
    live.rest()
    after = counters(live)
    assert all(after[k] >= v for k, v in before.items())
    requests = [after[k] - before[k] for k in before
                if k[0] == "sluice_requests_total" and ("code", "2xx") in k[1]]
    assert sum(requests) == 20


def test_an_upstream_goes_during_a_request_and_comes_back(live):
    go = threading.Event()
    live.start(script=held(go))
    other = live.sc.backend(named("other"))
    live.add_upstream("other", other)
    busy = live.sc.client().request()
    live.sc.app.wait_requests(1)
    app = live.config["upstreams"].pop(0)
    live.route["upstream"] = "other"
    live.apply()
    assert live.sc.ask().body == b"other"
    live.config["upstreams"].append(app)
    live.route["upstream"] = "app"
    live.apply()
    second = live.sc.client().request()
    live.sc.app.wait_requests(2)
    live.config["upstreams"].remove(app)  # and once more, with two under way
    live.route["upstream"] = "other"
    live.apply()
    assert live.sc.ask().body == b"other"
    live.expect_generations(3)
    go.set()
    assert busy.response().body == b"done" and second.response().body == b"done"
    live.wait_generations()
    live.sc.app.wait_done()  # nobody keeps connections to it


def test_a_request_waits_for_an_upstream_that_goes(live):
    """In the queue of an upstream that the file does not name any more: it is served all the same."""
    go = threading.Event()
    live.start(script=held(go), upstream={
        "circuitBreaker": {"maxRequests": 1, "queueTimeout": "30s"}})
    first, second = live.sc.client().request(), live.sc.client().request()
    wait_for(lambda: live.s.status()["upstreams"][0]["pending"] == 1, "one waits")
    other = live.sc.backend(named("other"))
    live.add_upstream("other", other)
    live.config["upstreams"].pop(0)
    live.route["upstream"] = "other"
    live.apply()
    go.set()
    assert first.response().body == b"done" and second.response().body == b"done"


# --- what is under way ---------------------------------------------------------------------------

def to_other(live, script=named("other")):
    """The route leads to another upstream, and the first one is gone."""
    other = live.sc.backend(script)
    live.config["upstreams"] = [{"name": "other", "endpoints": [other.address]}]
    live.route["upstream"] = "other"
    live.apply()
    return other


def test_keep_alive_connections(live):
    live.start(script=named("one"))
    clients = [live.sc.client() for _ in range(20)]
    assert all(c.ask().body == b"one" for c in clients)
    to_other(live)
    for client in clients:
        response = client.ask()
        assert response.body == b"other" and not response.closes
    assert live.s.metrics().get("sluice_connections_accepted_total") == 20


def test_a_head_half_sent(live):
    """Its request began with its first byte, and keeps what was in force then; the next one has
    what is in force now."""
    live.start(script=named("one"))
    client = live.sc.client().send("GET /a HTTP/1.1\r\nHo")
    wait_for(lambda: live.s.status()["streams"] == 1, "it is there")
    to_other(live)
    live.expect_generations(2)
    client.send("st: test\r\n\r\nGET /b HTTP/1.1\r\nHo")
    assert client.response().body == b"one"
    client.send("st: test\r\n\r\n")
    assert client.response().body == b"other"
    live.wait_generations()


def test_a_body_under_way(live):
    def script(conn):
        request = conn.request()
        conn.answer(b"%d" % len(request.body))
        conn.read_to_end()
    live.start(script=script)
    client = live.sc.client()
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + "x" * 40000)
    live.sc.app.wait_conns(1)
    to_other(live)
    for _ in range(8):
        live.reloads(1)
        client.send("x" * 7500)
    assert client.response().body == b"100000"
    assert client.ask().body == b"other"


def test_a_response_under_way(live):
    go = threading.Event()

    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + "x" * 100000)
        go.wait(30)
        conn.send("x" * 100000)
    live.start(script=script)
    client = live.sc.client().request()
    head = client.response_head()
    assert client.read(100000)
    to_other(live)
    live.reloads(10)
    go.set()
    assert head.get("content-length") == "200000" and client.read(100000)
    assert client.ask().body == b"other"


@pytest.mark.parametrize("workers", [1, 2])
def test_tunnels_through_many_reloads(live, workers):
    echo = live.sc.backend(echo_bytes)
    address = f"127.0.0.1:{free_port()}"
    live.start(script=ws_echo, more={"workers": workers})
    live.add_upstream("echo", echo)
    live.config["listeners"].append(tcp_listener(address, "echo"))
    live.s.base_fds += 1
    live.apply()
    clients = []
    for i in range(30):
        clients += [websocket(live), live.sc.client(address)]
        for client in clients:
            alive(client)
        live.reloads(1)
        # The one in force, those that are kept, and those that a worker is about to leave.
        live.wait_generations(8)
    live.wait_generations(6)
    for client in clients:
        alive(client)
    for client in clients[1:]:
        client.close()
    alive(clients[0])
    live.wait_generations(2)
    assert live.s.metrics().get("sluice_errors_total", reason="route_removed") == 0
    clients[0].close()
    live.wait_generations(1)


def removed_routes(live, n):
    """A tunnel in each of n generations, whose routes all are gone in the newest."""
    tunnels = []
    for i in range(n):
        live.route["name"] = f"r{i}"
        live.apply()
        tunnels.append(websocket(live))
    live.route["name"] = "last"
    live.apply()
    return tunnels


def test_tunnels_of_removed_routes_go_on(live):
    """As long as few generations are alive."""
    live.start(script=ws_echo, more={"lifecycle": {"drainTimeout": "500ms", "lastCall": "100ms"}})
    tunnels = removed_routes(live, 4)
    live.reloads(10)
    time.sleep(0.8)  # more than drainTimeout
    live.reloads(10)
    for tunnel in tunnels:
        alive(tunnel)
    live.expect_generations(5)


def test_tunnels_of_removed_routes_end_when_generations_pile_up(live):
    """The oldest ones, drainTimeout after their route went."""
    live.start(script=ws_echo, more={"lifecycle": {"drainTimeout": "8s", "lastCall": "100ms"}})
    start = time.monotonic()
    tunnels = removed_routes(live, 6)
    for tunnel in tunnels:
        alive(tunnel)
    live.expect_generations(7)
    for tunnel in tunnels[:2]:
        tunnel.read_to_end()
    assert 7.9 <= time.monotonic() - start <= 8 + 3 * SPARE
    live.wait_generations(5)
    for tunnel in tunnels[2:]:
        alive(tunnel)
    assert [r["reason"] for r in live.s.wait_access_log(2)] == ["route_removed"] * 2
    assert live.s.metrics().get("sluice_errors_total", reason="route_removed") == 2
