"""The adaptive concurrency limit: who is let through, who is refused, and that nobody's place is
lost."""

import json
import os
import signal
import threading

import pytest

import h2wire
from grpc_app import Client as GrpcClient, failure, grpc
from harness import assert_problem, forward
from wire import wait_for

FIXED = {"minLimit": 4, "maxLimit": 5, "initialLimit": 4}  # no look comes without 20 answers


class Held:
    """A server that answers nobody until `free` is set."""

    def __init__(self):
        self.free, self.lock, self.waiting, self.status = threading.Event(), threading.Lock(), 0, 200

    def __call__(self, conn):
        while conn.request() is not None:
            with self.lock:
                self.waiting += 1
            self.free.wait(60)
            conn.answer(b"x", status=f"{self.status} Word")


@pytest.fixture
def held(sc):
    app = Held()
    yield app
    app.free.set()


def start(sc, app, concurrency=None, **how):
    upstream = {"concurrency": {**FIXED, **(concurrency or {})}, **how.pop("upstream", {})}
    routes = [forward(match={"pathPrefix": f"/{p}"}, priority=p) for p in ("critical", "low")]
    return sc.proxy(script=app, upstream=upstream, listener={"routes": routes + [forward()]}, **how)


def look(sc):
    [upstream] = sc.s.status()["upstreams"]
    return upstream["concurrency"]


def metric(sc, name, **labels):
    return sc.s.metrics().get(f"sluice_concurrency_{name}", upstream="app", **labels)


def fill(sc, app, n, target="/"):
    """n requests that wait for their answer."""
    before, clients = app.waiting, [sc.client() for _ in range(n)]
    for c in clients:
        c.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: app.waiting >= before + n, lambda: f"{n} more wait: {app.waiting}")
    return clients


def wait_in_flight(sc, n):
    wait_for(lambda: look(sc)["in_flight"] == n, lambda: f"{n} in flight: {look(sc)}")


def refused(sc, target="/"):
    response = sc.ask(target=target)
    assert_problem(response, "concurrency_limit")
    assert response.status == 503 and response.get("retry-after") == "1"


@pytest.mark.parametrize("workers", [1, 3])
def test_exact_by_priority(sc, held, workers):
    """Of 4: low may be the 3rd, normal the 4th, critical the 5th, whichever worker asks."""
    start(sc, held, more={"workers": workers})
    fill(sc, held, 3)
    refused(sc, "/low")
    clients = fill(sc, held, 4 - 3)
    wait_in_flight(sc, 4)
    refused(sc)
    refused(sc, "/low")
    [last] = fill(sc, held, 1, "/critical")
    wait_in_flight(sc, 5)
    refused(sc, "/critical")
    held.free.set()
    assert last.response().status == 200 and clients[0].response().status == 200
    wait_in_flight(sc, 0)
    assert sc.ask(target="/low").status == 200
    assert look(sc)["refused"] == {"critical": 1, "normal": 1, "low": 2}
    assert metric(sc, "refused_total", priority="low", dry_run="false") == 2
    assert metric(sc, "refused_total", priority="low", dry_run="true") == 0
    assert metric(sc, "limit") == 4 and metric(sc, "in_flight") == 0


def test_clients_that_cancel(sc, held):
    """Whoever goes away gives the place back; and refusals are no failures to the breaker."""
    start(sc, held, upstream={"circuitBreaker": {"consecutiveErrors": 1}})
    for _ in range(3):
        clients = fill(sc, held, 4)
        refused(sc)
        for c in clients:
            c.reset()
        wait_in_flight(sc, 0)
    held.free.set()
    assert sc.ask().status == 200
    code, response = sc.s.admin("GET", "/v1/breakers")
    assert json.loads(response.body)["breakers"][0]["state"] == "closed"


@pytest.mark.parametrize("http2", [False, True])
def test_clients_that_all_leave(sc, held, http2):
    """While nobody waits for an answer, fewer and fewer are let through."""
    start(sc, held, {"minLimit": 1, "maxLimit": 1000, "initialLimit": 100})

    def leave():
        before = held.waiting
        if http2:
            h2 = h2wire.Client(sc.address)
            h2.ready()
            streams = [h2.open(h2wire.request_fields("GET", "/")) for _ in range(6)]
            wait_for(lambda: held.waiting >= before + 6, "they wait")
            for st in streams:
                h2.rst(st.id)
            h2.expect_ping()
            h2.close()
        else:
            for c in fill(sc, held, 6):
                c.reset()
        wait_in_flight(sc, 0)
        return look(sc)["limit"] < 50
    wait_for(leave, lambda: f"{look(sc)}", timeout=60)
    held.free.set()
    assert sc.ask().status == 200


def test_long_answers_do_not_count(sc):
    """What is in flight has no answer yet: a body that goes on holds no place."""
    free = threading.Event()

    def streams(conn):
        while conn.request() is not None:
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            free.wait(60)
            conn.send("cd")

    start(sc, streams)
    clients = [sc.client() for _ in range(8)]
    try:
        for c in clients:
            c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert c.read_until(b"ab")
        wait_in_flight(sc, 0)
    finally:
        free.set()


def test_timeouts_give_it_back(sc, held):
    sc.proxy(script=held, upstream={"concurrency": FIXED}, route={"timeout": "500ms"})
    clients = fill(sc, held, 4)
    for c in clients:
        assert_problem(c.response(), "deadline")
    wait_in_flight(sc, 0)
    held.free.set()


def test_http2_and_grpc(sc, held):
    """Refused in the protocol's own words; the connection goes on."""
    start(sc, held)
    clients = fill(sc, held, 4)
    h2 = h2wire.Client(sc.address)
    sc.clients.append(h2)
    st = h2.ready().ask()
    assert st.status == 503 and b"concurrency_limit" in st.body
    caller = GrpcClient(sc.address)
    error, _ = failure(lambda: caller.unary(b"x"))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert error.details() == "concurrency_limit"
    caller.close()
    held.free.set()
    assert clients[0].response().status == 200
    wait_in_flight(sc, 0)
    assert h2.ask().status == 200


def test_dry_run(sc, held):
    """It counts, and refuses nobody."""
    start(sc, held, {"dryRun": True})
    clients = fill(sc, held, 6)
    assert look(sc)["in_flight"] == 6
    assert look(sc)["refused_dry_run"] == {"critical": 0, "normal": 2, "low": 0}
    assert metric(sc, "refused_total", priority="normal", dry_run="true") == 2
    held.free.set()
    assert [c.response().status for c in clients] == [200] * 6
    wait_in_flight(sc, 0)


def reload(sc, change):
    change(sc.s.config["upstreams"][0])
    with open(sc.s.config_path + "~", "w") as f:
        json.dump(sc.s.config, f)
    os.rename(sc.s.config_path + "~", sc.s.config_path)
    code, response = sc.s.admin("POST", "/v1/reload", timeout=30)
    assert code == 200, response


def test_reload(sc, held):
    """Other bounds hold at once; who is in flight stays counted, also without the key."""
    start(sc, held)
    clients = fill(sc, held, 4)
    refused(sc)
    reload(sc, lambda u: u["concurrency"].update(minLimit=6, maxLimit=7, initialLimit=6))
    clients += fill(sc, held, 2)
    refused(sc)
    assert look(sc)["limit"] == 6 and look(sc)["in_flight"] == 6
    reload(sc, lambda u: u["concurrency"].update(dryRun=True))
    clients += fill(sc, held, 1)
    given = sc.s.config["upstreams"][0].pop("concurrency")
    reload(sc, lambda u: None)
    clients += fill(sc, held, 2)  # which nobody counts
    held.free.set()
    assert [c.response().status for c in clients] == [200] * 9
    reload(sc, lambda u: u.update(concurrency=given))
    wait_in_flight(sc, 0)
    assert look(sc)["limit"] == 6


def test_drain(sc, held):
    """Who is in flight is answered, and who is refused is told so to the end."""
    start(sc, held, more={"lifecycle": {"noticePeriod": "3s", "drainTimeout": "30s"}})
    clients = fill(sc, held, 4)
    sc.s.signal(signal.SIGTERM)
    wait_for(lambda: sc.s.status()["drain"], "it drains")
    refused(sc)
    held.free.set()
    assert [c.response().status for c in clients] == [200] * 4
    sc.s.check_end(sc.s.wait_exit(60))


def test_finds_the_limit(sc):
    """A server with 4 places for 20 ms each: sixty clients that never wait leave it a short queue,
    and its own time is known."""
    places = threading.Semaphore(4)
    stop = threading.Event()

    def app(conn):
        while conn.request() is not None:
            with places:
                stop.wait(0.02)
            conn.answer(b"x")

    def ask():
        client = sc.client()
        while not stop.is_set():
            client.ask()

    sc.proxy(script=app, upstream={"concurrency": {"initialLimit": 100}})
    threads = [threading.Thread(target=ask) for _ in range(60)]
    for t in threads:
        t.start()
    try:
        wait_for(lambda: look(sc)["refused"]["normal"] > 0, "there are too many", timeout=60)
        wait_for(lambda: look(sc)["probes"] > 2 and 4 <= look(sc)["limit"] <= 30, look_told(sc),
                 timeout=60)
    finally:
        stop.set()
        for t in threads:
            t.join()
    wait_in_flight(sc, 0)


def look_told(sc):
    return lambda: f"{look(sc)}"
