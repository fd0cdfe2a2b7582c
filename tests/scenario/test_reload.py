"""What a reload does to traffic: the next request sees the new configuration, and what goes on is
neither cut nor counted anew."""

import copy
import json
import os
import re
import signal
import socket
import threading
import time

import pytest

import tls
from harness import SANITIZE, deep_update, forward, free_port, ok_app
from test_proxying import tunnel, upgrade
from test_supervisor import kill_serving
from wire import SLOW, SPARE, Client, parse_address, wait_for

OFF = {"watch": False, "pollInterval": "0s"}


def named(name):
    """An application that answers with its name."""
    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(name.encode())
            if request.closes:
                return
    return script


def echo_bytes(conn):
    while data := conn.read_some():
        conn.send(data)


class Live:
    """A sluice with one listener and one upstream, and changes of its file."""

    def __init__(self, sc):
        self.sc = sc
        self.s = None

    def start(self, script=ok_app, **how):
        how["more"] = deep_update({"reload": OFF}, how.get("more", {}))
        self.s = self.sc.proxy(script=script, **how)
        self.config = copy.deepcopy(self.s.config)
        return self

    def write(self):
        new = self.s.config_path + "~"
        with open(new, "w") as f:
            f.write(json.dumps(self.config, indent=1) + "\n")
        os.rename(new, self.s.config_path)

    def post(self):
        code, response = self.s.admin("POST", "/v1/reload", timeout=30)
        return code, json.loads(response.body)

    def apply(self, change=None):
        """Takes the changed file; in force when it returns."""
        if change:
            change(self.config)
        self.write()
        code, told = self.post()
        assert (code, told.get("result")) == (200, "applied"), told
        return told

    def refused(self, change):
        before = copy.deepcopy(self.config)
        change(self.config)
        self.write()
        code, told = self.post()
        self.config = before
        assert code == 422, told
        return told["problems"]

    def told(self):
        code, response = self.s.admin("GET", "/v1/config")
        assert code == 200, response
        return json.loads(response.body)

    def wait_generations(self, n=1):
        """No more than n: workers leave the old ones in their own time."""
        wait_for(lambda: self.told()["generations_alive"] <= n,
                 lambda: f"{n} generations alive: {self.told()}")

    def expect_generations(self, n):
        self.wait_generations(n)
        assert self.told()["generations_alive"] == n

    def rest(self):
        """No request is under way, and each that was has been counted."""
        wait_for(lambda: self.s.status()["streams"] == 0, "all streams have ended")

    # --- parts of the file ---

    @property
    def listener(self):
        return self.config["listeners"][0]

    @property
    def route(self):
        return self.listener["routes"][0]

    def upstream(self, name="app"):
        return next(u for u in self.config["upstreams"] if u["name"] == name)

    def add_upstream(self, name, *backends):
        self.config["upstreams"].append({"name": name, "endpoints": [b.address for b in backends]})

    def touch(self):
        """A change that no request can tell."""
        self.route["timeout"] = "20s" if self.route.get("timeout") == "21s" else "21s"

    def reloads(self, n):
        for _ in range(n):
            self.touch()
            self.apply()


@pytest.fixture
def live(sc, request):
    it = Live(sc)
    yield it
    # One generation is left when the last stream is.
    if not getattr(request.node, "call_failed", True) and it.s and not it.s.ended:
        for client in sc.clients:
            client.close()
        it.wait_generations()


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


def weigh(live, one, two):
    live.route["backends"] = [{"upstream": "app", "weight": one}, {"upstream": "two", "weight": two}]


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


def held(go):
    """Answers each request when `go` is set."""
    def script(conn):
        while conn.request() is not None:
            go.wait(30)
            conn.answer(b"done")
    return script


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


def websocket(live):
    return tunnel(live.sc.client())


def ws_echo(conn):
    echo_bytes(upgrade(conn))


def alive(client, word=b"are you there"):
    client.send(word)
    assert client.read(len(word)) == word


def tcp_listener(address, upstream, name="tcp"):
    return {"name": name, "protocol": "tcp", "address": address,
            "backends": [{"upstream": upstream, "weight": 1}]}


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


# --- listeners -----------------------------------------------------------------------------------


def second_listener(live, **more):
    """A listener `second` besides the first."""
    address = f"127.0.0.1:{free_port()}"
    live.config["listeners"].append(
        {"name": "second", "address": address, "routes": [forward()], **more})
    return address


def is_refused(address):
    try:
        # A SYN that was dropped just before is repeated after a second.
        Client(address).close()
    except ConnectionRefusedError:
        return True
    return False


def open_files(pid):
    return {f: os.readlink(f"/proc/{pid}/fd/{f}") for f in os.listdir(f"/proc/{pid}/fd")}


def test_a_listener_is_added_and_removed(live):
    live.start(more={"lifecycle": {"drainTimeout": "4s", "lastCall": "500ms"}})
    fds = live.s.rest_fds()
    address = second_listener(live)
    live.apply()
    wait_for(lambda: live.s.count_fds() == fds + 1,
             lambda: f"one more than {fds} descriptors: {open_files(live.s.pid)}")
    idlers = [live.sc.client(address) for _ in range(10)]
    talker, other = live.sc.client(address), live.sc.client()
    for client in (*idlers, talker, other):
        assert client.ask().status == 200
    assert live.s.metrics().get("sluice_connections_accepted_total", listener="second") == 11
    live.sc.begin(talker)
    live.config["listeners"].pop()
    live.apply()
    response = talker.finish()
    assert response.status == 200 and response.closes
    talker.expect_fin()
    wait_for(lambda: is_refused(address), "new ones are refused")
    for client in idlers:
        client.expect_fin()
    assert not other.ask().closes
    wait_for(lambda: live.s.metrics().get("sluice_connections", listener="second") == 0,
             "none is left")
    wait_for(lambda: live.s.status()["connections"] == 1, "only the other one's is open")


def test_idle_connections_of_a_removed_listener_end_one_by_one(live):
    live.start(more={"lifecycle": {"drainTimeout": "5s", "lastCall": "500ms"}})
    address = second_listener(live)
    live.apply()
    idlers = [live.sc.client(address) for _ in range(20)]
    for client in idlers:
        assert client.ask().status == 200
    live.config["listeners"].pop()
    live.apply()
    ends, start = {}, time.monotonic()
    while len(ends) < len(idlers):
        for i, client in enumerate(idlers):
            if i not in ends and client.is_closed():
                ends[i] = time.monotonic() - start
        assert time.monotonic() - start < 6 * SLOW, ends
        time.sleep(0.005)
    assert max(ends.values()) - min(ends.values()) > 1.0, ends
    assert max(ends.values()) < 4.5 * SLOW, ends


def test_one_that_has_just_come_to_a_removed_listener_is_served(live):
    """It had its handshake when others were closed as idle, and its request is on the way."""
    live.start(more={"lifecycle": {"drainTimeout": "10s", "lastCall": "500ms"}})
    address = second_listener(live)
    live.config["listeners"][-1].update(tls.listener())
    live.apply()
    idle = tls.TlsClient(address)
    assert idle.ask().status == 200
    late = live.sc.client(address)
    wait_for(lambda: live.s.metrics().get("sluice_connections", listener="second") == 2,
             "both are accepted")
    live.config["listeners"].pop()
    live.apply()
    idle.expect_close_notify()
    late.sock = tls.client_context().wrap_socket(late.sock, server_hostname="a.test")
    time.sleep(0.1)  # it thinks, for some of the worker's ticks
    response = late.ask()
    assert response.status == 200 and response.closes


def test_busy_connections_of_a_removed_listener(live):
    """They finish, or are ended at drainTimeout."""
    go, never = threading.Event(), threading.Event()

    def script(conn):
        request = conn.request()
        (never if request.target == "/never" else go).wait(30)
        conn.answer(b"done")
        conn.read_to_end()
    live.start(script=script, more={"lifecycle": {"drainTimeout": "3s", "lastCall": "500ms"}})
    address = second_listener(live)
    live.config["listeners"].append(tcp_listener(f"127.0.0.1:{free_port()}", "app"))
    live.s.base_fds += 1
    live.apply()
    busy, stuck = live.sc.client(address).request(), live.sc.client(address)
    stuck.request("GET", "/never")
    live.sc.app.wait_requests(2)
    live.config["listeners"].pop(1)
    start = time.monotonic()
    live.apply()
    go.set()
    response = busy.response()
    assert response.body == b"done" and response.closes
    response = stuck.response()  # at the last call
    assert response.status == 503 and time.monotonic() - start >= 2.2
    stuck.expect_fin()
    assert time.monotonic() - start <= 3 + 2 * SPARE
    never.set()


def test_tunnels_of_a_removed_listener_end_at_drain_timeout(live):
    live.start(script=echo_bytes, more={"lifecycle": {"drainTimeout": "2s", "lastCall": "200ms"}})
    address = f"127.0.0.1:{free_port()}"
    live.config["listeners"].append(tcp_listener(address, "app"))
    live.apply()
    client = live.sc.client(address)
    alive(client)
    live.config["listeners"].pop()
    start = time.monotonic()
    live.apply()
    alive(client)
    try:
        client.read_to_end()
    except ConnectionResetError:
        pass
    assert 1.8 <= time.monotonic() - start <= 2 + 2 * SPARE
    live.wait_generations(1)


class Knocker:
    """Opens a connection for each request; what became of each."""

    def __init__(self, address, threads=4):
        self.address, self.stop, self.lock = address, threading.Event(), threading.Lock()
        self.count = {"ok": 0, "refused": 0}
        self.wrong = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                # The SYN may be dropped just before the end: repeated, it is refused.
                client = Client(self.address, 10 * SLOW)
            except (ConnectionRefusedError, FileNotFoundError):
                with self.lock:
                    self.count["refused"] += 1
                time.sleep(0.002)
                continue
            rest, sent = time.monotonic(), None
            try:
                client.request(headers=[("Connection", "close")])
                sent = time.monotonic()
                response = client.response()
                with self.lock:
                    self.count["ok"] += response.status == 200
                    if response.status != 200:
                        self.wrong.append(response)
            except (OSError, EOFError) as e:
                # One that the machine let rest may be closed as an idle one, half a second later.
                if (sent or time.monotonic()) - rest < 0.4:
                    with self.lock:
                        self.wrong.append(e)
            finally:
                client.close()

    def wait(self, what, more):
        before = self.count[what]
        wait_for(lambda: self.count[what] >= before + more or self.wrong,
                 lambda: f"{more} more {what}: {self.count}")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(20 * SLOW)
        assert not self.wrong, self.wrong[:5]


@pytest.mark.parametrize("kind,workers", [("tcp", 1), ("tcp", 2), ("unix", 2)])
def test_nobody_in_the_backlog_is_reset(live, kind, workers):
    """Whoever got in is answered, through five removals."""
    live.start(more={"workers": workers})
    address = second_listener(live)
    if kind == "unix":
        address = f"unix:{live.sc.directory}/second.sock"
        live.config["listeners"][1]["address"] = address
    live.apply()
    second = live.config["listeners"][1]
    knocker = Knocker(address)
    for _ in range(5):
        knocker.wait("ok", 30)
        live.config["listeners"].remove(second)
        live.apply()
        knocker.wait("refused", 8)
        live.config["listeners"].append(second)
        live.apply()
    live.config["listeners"].remove(second)
    live.apply()
    knocker.end()
    wait_for(lambda: is_gone(address), f"{address} is gone")


def is_gone(address):
    if address.startswith("unix:"):
        return not os.path.exists(address[5:])
    return is_refused(address)


def test_another_name_at_the_same_address(live):
    """The socket stays: nobody is refused, and the old one's connections drain."""
    live.start()
    client = live.sc.client()
    assert client.ask().status == 200
    knocker = Knocker(live.sc.address)
    for i in range(6):
        knocker.wait("ok", 20)
        before = knocker.count["ok"]
        live.listener["name"] = f"main{i}"
        live.apply()
        accepted = live.s.metrics().get("sluice_connections_accepted_total", listener=f"main{i}")
        # Those of each thread that were under way at either end, besides.
        assert accepted <= knocker.count["ok"] - before + 8, "it counts from the beginning"
    knocker.wait("ok", 20)
    knocker.end()
    assert knocker.count["refused"] == 0
    client.expect_fin()


def test_another_protocol_at_the_same_address(live):
    live.start(script=ws_echo)
    echo = live.sc.backend(echo_bytes)
    live.add_upstream("echo", echo)
    http = live.listener
    tunnel = websocket(live)
    live.config["listeners"][0] = tcp_listener(live.sc.address, "echo", "main")
    live.apply()
    raw = live.sc.client()
    alive(raw, b"GET / HTTP/1.1\r\n\r\n")
    alive(tunnel)
    live.config["listeners"][0] = http
    live.apply()
    alive(raw)
    alive(websocket(live))
    assert live.s.count_fds() >= live.s.base_fds


def test_another_direction_at_the_same_address(live):
    live.start()
    client = live.sc.client()
    assert client.ask().status == 200
    live.sc.begin(client)
    live.listener["direction"] = "outbound"
    live.apply()
    assert live.sc.ask().status == 200
    assert client.finish().closes
    assert live.s.metrics().get("sluice_connections_accepted_total", direction="outbound") >= 1


def test_another_address(live):
    live.start()
    old, new = live.sc.address, f"127.0.0.1:{free_port()}"
    client = live.sc.client()
    assert client.ask().status == 200
    live.sc.begin(client)
    live.listener["address"] = new
    live.apply()
    assert client.finish().closes
    assert live.sc.client(new).ask().status == 200
    wait_for(lambda: is_refused(old), "the old address is closed")
    live.listener["address"] = old
    live.apply()
    assert live.sc.client(old).ask().status == 200


def test_unix_listeners(live):
    live.start()
    path = os.path.join(live.sc.directory, "front.sock")
    entry = {"name": "unix", "address": "unix:" + path, "socketMode": "0600",
             "routes": [forward()]}
    inodes = set()
    for _ in range(3):
        live.config["listeners"].append(entry)
        live.apply()
        assert os.stat(path).st_mode & 0o777 == 0o600
        inodes.add(os.stat(path).st_ctime_ns)
        client = live.sc.client("unix:" + path)
        assert client.ask().status == 200
        live.sc.begin(client)
        live.config["listeners"].remove(entry)
        live.apply()
        assert client.finish().closes
        wait_for(lambda: not os.path.exists(path), "the path is unlinked")
    assert len(inodes) == 3
    other = live.sc.backend(named("free"), address="unix:" + path)  # anybody can have it now
    assert live.sc.client(other.address).ask().body == b"free"


def test_a_listener_that_cannot_be_bound(live):
    live.start()
    address = f"127.0.0.1:{free_port()}"
    taken = socket.socket()
    taken.bind(parse_address(address)[1])
    taken.listen()
    good, path = f"127.0.0.1:{free_port()}", os.path.join(live.sc.directory, "good.sock")
    before, fds = live.told(), live.s.rest_fds()
    held = live.s.count_fds(live.s.process.pid)

    def change(config):
        routes = [forward()]
        config["listeners"] += [
            {"name": "good", "address": good, "routes": routes},
            {"name": "unix", "address": "unix:" + path, "routes": routes},
            {"name": "bad", "address": address, "routes": routes}]
        config["listeners"][0]["routes"] = [{"match": {"pathPrefix": "/"},
                                             "directResponse": {"body": "new"}}]
    problems = live.refused(change)
    assert len(problems) == 1, problems
    p = problems[0]
    assert p["path"] == "listeners[3].address" and "Address already in use" in p["message"], p
    with open(live.s.config_path) as f:
        line = f.read().splitlines()[p["line"] - 1]
    assert '"bad"' in line or "{" in line or '"address"' in line, (p, line)
    assert f"{live.s.config_path}:{p['line']}:{p['column']}: listeners[3].address: " in live.s.log()
    assert is_refused(good) and not os.path.exists(path)
    assert live.sc.ask().body == b"GET /\n"
    after = live.told()
    assert (after["generation"], after["sha256"]) == (before["generation"], before["sha256"])
    wait_for(lambda: live.s.count_fds() == fds, "no descriptor is left")
    wait_for(lambda: live.s.count_fds(live.s.process.pid) == held, "nor at the supervisor")
    # The same file, when the address is free.
    taken.close()
    live.apply(change)
    assert live.sc.client(address).ask().body == b"GET /\n"
    assert live.sc.client(good).ask().body == b"GET /\n" and live.sc.ask().body == b"new"
    live.config["listeners"] = live.config["listeners"][:1]
    live.apply()


def test_max_connections(live):
    live.start(listener={"maxConnections": 2})
    clients = [live.sc.client() for _ in range(2)]
    for client in clients:
        assert client.ask().status == 200
    waiting = live.sc.client().request()
    time.sleep(0.1)
    assert live.s.status()["connections"] == 2
    live.listener["maxConnections"] = 3
    live.apply()
    assert waiting.response().status == 200
    live.listener["maxConnections"] = 1
    live.apply()
    for client in (*clients, waiting):
        assert client.ask().status == 200  # those who are in stay
    late = live.sc.client().request()
    time.sleep(0.1)
    assert live.s.status()["connections"] == 3
    live.config["limits"] = {"maxConnections": 3}
    live.listener["maxConnections"] = 100
    live.apply()
    time.sleep(0.1)
    assert live.s.status()["connections"] == 3  # the process's limit
    live.config["limits"]["maxConnections"] = 4
    live.apply()
    assert late.response().status == 200


def backlog_of(address):
    """As the kernel has it (ss -ltn)."""
    import subprocess
    out = subprocess.run(["ss", "-ltnH", f"sport = :{address.rpartition(':')[2]}"],
                         capture_output=True, text=True, check=True).stdout
    return int(out.split()[2])


def test_backlog(live):
    live.start(listener={"backlog": 100})
    try:
        assert backlog_of(live.sc.address) == 100
    except FileNotFoundError:
        pytest.skip("no ss")
    for n in (300, 50):
        live.listener["backlog"] = n
        live.apply()
        assert backlog_of(live.sc.address) == n


# --- what cannot change while it runs ------------------------------------------------------------


def test_pending_restart(live):
    live.start()
    before = copy.deepcopy(live.config)

    def change(config):
        config["workers"] = 2
        config["health"]["address"] = f"127.0.0.1:{free_port()}"
        config["admin"]["socket"] += "2"
        live.route["directResponse"] = {"body": "new"}
        del live.route["upstream"]
    told = live.apply(change)
    assert sorted(told["pending_restart"]) == ["admin.socket", "health.address", "workers"]
    assert live.s.metrics().get("sluice_config_pending_restart") == 3
    assert live.sc.ask().body == b"new"  # the rest is in force
    assert len(live.s.status()["workers"]) == 1
    live.config = before
    told = live.apply()
    assert told["pending_restart"] == []
    assert live.s.metrics().get("sluice_config_pending_restart") == 0


def test_during_a_drain(live):
    go = threading.Event()
    live.start(script=held(go), more={"lifecycle": {"drainTimeout": "8s"}})
    client = live.sc.client().request()
    live.sc.app.wait_requests(1)
    before = live.told()
    live.s.signal(signal.SIGTERM)
    wait_for(lambda: live.s.status()["phase"] != "serving", "it drains")
    live.touch()
    live.write()
    code, told = live.post()
    assert (code, told["code"]) == (409, "draining"), told
    live.s.signal(signal.SIGHUP)
    wait_for(lambda: "refused, a drain runs" in live.s.log(), "SIGHUP is refused")
    assert live.told()["generation"] == before["generation"]
    go.set()
    assert client.response().status == 200
    live.s.stop()


def test_sigterm_amid_reloads(live):
    """Wherever in a reload it comes, it drains, and what was let in is answered."""
    for delay in (0, 0.5, 1, 2, 4, 8, 20, 60):
        live.start(more={"lifecycle": {"drainTimeout": "800ms", "lastCall": "100ms"}})
        second_listener(live)
        live.apply()
        live.config["listeners"].pop()
        live.touch()
        live.write()
        client = live.sc.client()
        assert client.ask().status == 200
        live.s.signal(signal.SIGHUP)
        time.sleep(delay / 1e3)
        live.s.signal(signal.SIGTERM)
        try:
            assert client.ask().status == 200
        except (EOFError, ConnectionError):
            pass  # idle, it may have been closed
        live.s.stop()


def load_while(live, work, workers=4):
    """work() while keep-alive clients ask; every request is answered with 200."""
    stop, wrong, done = threading.Event(), [], [0] * workers

    def run(k):
        client = Client(live.sc.address)
        try:
            while not stop.is_set():
                response = client.ask()
                done[k] += 1
                if response.status != 200:
                    wrong.append(response)
                if response.closes:
                    client.close()
                    client = Client(live.sc.address)
        except (OSError, EOFError) as e:
            wrong.append(e)
        finally:
            client.close()
    threads = [threading.Thread(target=run, args=(k,)) for k in range(workers)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join(20 * SLOW)
    assert not wrong, wrong[:5]
    return sum(done)


@pytest.mark.parametrize("workers,args", [(1, []), (2, []), (2, ["--no-supervisor"])])
def test_reloads_under_load(live, workers, args):
    how = {"args": args} if args else {}
    live.start(script=named("one"), more={"workers": workers}, wait=not args, **how)
    if args:
        live.s.wait_ready()
    other = live.sc.backend(named("two"))
    knocker = Knocker(live.sc.address, 2)

    def work():
        for i in range(20):
            seen = knocker.count["ok"]
            route = live.listener["routes"][-1]
            if i % 4 == 0:
                live.add_upstream("two", other)
                route.pop("upstream", None)
                route["backends"] = [{"upstream": "app", "weight": 1},
                                     {"upstream": "two", "weight": 1 + i}]
            elif i % 4 == 2:
                live.config["upstreams"] = [live.upstream("app")]
                route.pop("backends")
                route["upstream"] = "app"
            elif i % 4 == 3:
                live.listener["routes"].insert(0, {"name": f"r{i}", "match": {"path": f"/{i}"},
                                                   "directResponse": {"body": "x"}})
                del live.listener["routes"][1:-2]
            live.config["lifecycle"]["noticePeriod"] = f"{i}ms"
            live.apply()
            wait_for(lambda: knocker.count["ok"] > seen + 3 or knocker.wrong, "requests go on")
        live.config["lifecycle"]["noticePeriod"] = "0s"
        live.apply()
    assert load_while(live, work) > 100
    knocker.end()
    assert knocker.count["refused"] == 0
    told = live.told()
    assert told["reloads"] == {"applied": 21, "unchanged": 0, "refused": 0}


def test_killed_right_after_a_reload(live):
    """The successor has the newest configuration, and every listener of it."""
    live.start()
    unix = os.path.join(live.sc.directory, "u.sock")
    added = []
    for i in range(4):
        added.append(f"127.0.0.1:{free_port()}")
        live.config["listeners"].append(
            {"name": f"added{i}", "address": added[-1], "routes": [
                {"match": {"pathPrefix": "/"}, "directResponse": {"body": f"word {i}"}}]})
        if i == 1:
            live.config["listeners"].append({"name": "u", "address": "unix:" + unix,
                                             "routes": [forward()]})
        live.apply()
        old = kill_serving(live.s)
        # Nobody is refused, not even while nobody serves.
        for k, address in enumerate(added):
            assert live.sc.client(address).ask().body == f"word {k}".encode()
        wait_for(lambda: live.s.pid != old, "another one serves")
    assert live.sc.client("unix:" + unix).ask().status == 200
    live.config["listeners"] = live.config["listeners"][:1]
    live.apply()
    wait_for(lambda: all(is_refused(a) for a in added), "they are closed")
    wait_for(lambda: not os.path.exists(unix), "the path is unlinked")
    old = kill_serving(live.s)
    assert live.sc.ask().status == 200
    wait_for(lambda: live.s.pid != old, "another one serves")
    assert all(is_refused(a) for a in added)
    live.s.base_fds = None  # of the first process


def test_killed_with_a_bad_file_after_a_reload(live):
    live.start(script=named("one"))
    live.route["directResponse"] = {"body": "new"}
    del live.route["upstream"]
    live.apply()
    with open(live.s.config_path, "w") as f:
        f.write("version: 1\nlisteners: 7\n")
    kill_serving(live.s)
    assert live.sc.ask().body == b"new"
    live.s.wait_ready()
    assert live.told()["source"] == "memory"
    live.s.base_fds = None


# --- no memory -----------------------------------------------------------------------------------

CRASH = re.compile(r"check failed|Sanitizer|runtime error|signal (6|11|4|7|8)\b|Segmentation|Aborted")


def test_allocations_fail_in_a_reload(live):
    """Whichever it is: it is refused and nothing has changed, or it is in force; never a crash."""
    first, results = first_that_is_up(live), []
    for n in range(first, first + 400, 5 if not SANITIZE else 13):
        results.append(reload_with_failure(live, n))
        if results[-3:] == ["untouched"] * 3:
            break  # the reload was over before
    counts = {word: results.count(word) for word in results}
    assert counts.get("refused", 0) > 3 and counts.get("applied", 0) > 0, counts


def start_with_failure(live, n):
    """False: it did not come up."""
    live.start(script=named("one"), env={"SLUICE_FAIL_ALLOC": str(n)}, wait=False)
    live.s.expect_faults = True

    def decided():
        if live.s.process.poll() is not None or "serving process" in live.s.log():
            return "ended"
        try:
            return live.s.get_health("/readyz")[0] == 200 and "ready"
        except (OSError, EOFError):
            return None
    result = wait_for(decided, lambda: f"up or down with allocation {n} failing:\n{live.s.log()}")
    assert not CRASH.search(live.s.log()), f"allocation {n}:\n{live.s.log()}"
    return result == "ready"


def failures(live):
    try:
        return live.s.metrics().get("sluice_allocation_failures_total")
    except (OSError, EOFError, AssertionError):
        return 1  # it was this question's


def throw_away(live):
    live.s.ended = True
    live.s.kill()
    live.sc.app.stop()


def first_that_is_up(live):
    """The number of allocations before anybody asks for a reload, or a few less."""
    low, high = 1, 1 << 12
    while low < high:
        middle = (low + high) // 2
        up = start_with_failure(live, middle) and failures(live) == 0
        throw_away(live)
        low, high = (low, middle) if up else (middle + 1, high)
    return low


def reload_with_failure(live, n):
    if not start_with_failure(live, n):
        throw_away(live)
        return "down"
    s, pid, other = live.s, live.s.pid, live.sc.backend(named("two"))
    address = second_listener(live)
    live.add_upstream("two", other)
    live.route.pop("upstream")
    weigh(live, 0, 1)
    live.write()
    try:
        code, _ = live.post()
    except (OSError, EOFError):
        code = 0  # the answer is lost, not what it was about
    told = wait_for(lambda: asked(live), "it answers")
    assert s.pid == pid and not CRASH.search(s.log()), f"allocation {n}:\n{s.log()}"
    applied = told["generation"] == 2
    assert code in (0, 503, 200 if applied else 422), (n, code, told)
    if failures(live) == 0:
        throw_away(live)
        other.stop()
        return "untouched"
    words = {word(live) for _ in range(4)}
    assert words == {b"two" if applied else b"one"}, f"allocation {n}: {words}\n{s.log()}"
    if not applied:
        assert is_refused(address), f"allocation {n}: a listener is left"
        code, told = live.post()  # with memory back the same file is taken
        assert (code, told.get("result")) == (200, "applied"), (n, told)
        assert word(live) == b"two"
    assert live.sc.client(address).ask().body == b"one"
    live.config["listeners"].pop()
    live.apply()
    live.wait_generations(1)
    s.base_fds = None  # the listener's end is not waited for
    s.settle()
    s.signal(signal.SIGTERM)
    s.check_end(s.wait_exit())
    live.sc.app.stop()
    other.stop()
    return "applied" if applied else "refused"


def asked(live):
    try:
        return live.told()
    except (OSError, EOFError, AssertionError):
        return None


def word(live):
    """None: that one request was lost for want of memory."""
    try:
        response = live.sc.ask()
        return response.body if response.status == 200 else None
    except (OSError, EOFError):
        return None
