"""HTTP/2 towards upstreams: many requests on a connection, and what becomes of them."""

import hashlib
import random
import signal
import threading
import time

import pytest

import h2wire
from h2wire import (CANCEL, CODES, CONTINUATION, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY,
                    HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, LAST_STREAM,
                    MAX_CONCURRENT_STREAMS, NO_ERROR, PING, PROTOCOL_ERROR, REFUSED_STREAM,
                    RST_STREAM, SETTINGS, WINDOW_UPDATE, block)
from harness import assert_problem, forward
from wire import SLOW, TIMEOUT, wait_for

BIG = random.Random(5).randbytes(8 << 20)
OK = [(":status", "200")]


def h2_proxy(sc, script=h2wire.ok_app, settings=(), upstream=None, backend=None, pool=None,
             breaker=None, http2=None, proxy=None, **how):
    """A listener of HTTP/1.1 before an HTTP/2 server."""
    backend = backend or h2wire.Backend(script, settings=settings, **how)
    sc.backends.append(backend)
    conf = {"protocol": "http2", "pool": {"idleTimeout": "60s", **(pool or {})},
            "circuitBreaker": breaker or {}, "http2": http2 or {}, **(upstream or {})}
    sc.proxy(backend=backend, upstream=conf, **(proxy or {}))
    return backend


def upstream(sc):
    return sc.s.status()["upstreams"][0]


class Crowd:
    """Requests at once, each on a client connection of its own."""

    def __init__(self, sc, n, method="GET", target="/", **how):
        self.method = method
        self.clients = [sc.client() for _ in range(n)]
        for i, c in enumerate(self.clients):
            c.request(method, target.replace("{i}", str(i)), **how)

    def responses(self):
        return [c.response(self.method) for c in self.clients]

    def statuses(self):
        return sorted(r.status for r in self.responses())


def hold(n, release=None):
    """A script that answers when n requests have come, and the event is set."""
    def script(conn):
        got = []
        while len(got) < n:
            st = conn.request()
            if st is None:
                return
            got.append(st)
        assert release is None or release.wait(TIMEOUT)
        for st in got:
            conn.answer(st, st.get(":path").encode())
        h2wire.ok_app(conn)
    return script


# --- the shape of requests and responses ---

def test_request_and_response(sc):
    def script(conn):
        st = conn.request()
        conn.answer(st, b"body", headers=[("content-length", "4"), ("x-answer", "yes"),
                                          ("set-cookie", "a=1"), ("set-cookie", "b=2")])
        h2wire.ok_app(conn)

    app = h2_proxy(sc, script)
    response = sc.ask("GET", "/a/b?c=d", headers=[("X-Ask", "1"), ("Connection", "X-Hop"),
                                                  ("X-Hop", "no"), ("TE", "trailers")])
    assert response.status == 200 and response.body == b"body"
    assert response.get("x-answer") == "yes" and response.all("set-cookie") == ["a=1", "b=2"]
    st = app.requests[0]
    assert [n for n, _ in st.head[:4]] == [":method", ":scheme", ":authority", ":path"]
    assert (st.get(":method"), st.get(":scheme"), st.get(":authority"), st.get(":path")) == \
        ("GET", "http", "test", "/a/b?c=d")
    assert st.get("x-ask") == "1" and not st.has("x-hop") and not st.has("host")
    assert st.get("te") == "trailers" and st.get("via") == "1.1 sluice"
    assert st.ended and not st.body


@pytest.mark.parametrize("chunked", [False, True])
def test_request_body(sc, chunked):
    app = h2_proxy(sc)
    client = sc.client()
    if chunked:
        client.send("POST /up HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
                    "Trailer: X-T\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: end\r\n\r\n")
        assert client.response("POST").status == 200
    else:
        assert client.ask("POST", "/up", body=b"abcde").status == 200
    st = app.requests[0]
    assert bytes(st.body) == b"abcde"
    assert st.get("content-length") == (None if chunked else "5")
    assert (st.trailers or []) == ([("x-t", "end")] if chunked else [])


def test_empty_bodies(sc):
    app = h2_proxy(sc)
    client = sc.client()
    assert client.ask("POST", "/", body=b"").status == 200
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert client.response("POST").status == 200
    assert [s.get("content-length") for s in app.requests] == ["0", None]
    assert all(s.ended and not s.body for s in app.requests)


def test_trailers_and_interims(sc):
    def script(conn):
        while (st := conn.request()) is not None:
            conn.headers(st.id, [(":status", "103"), ("link", "</a.css>")])
            conn.headers(st.id, [(":status", "103"), ("link", "</b.css>")])
            conn.answer(st, b"x" * 100, trailers=[("x-sum", "42"), ("host", "x")])

    h2_proxy(sc, script)
    client = sc.client()
    for _ in range(2):
        response = client.ask(headers=[("TE", "trailers")])
        assert [m.get("link") for m in response.interim] == ["</a.css>", "</b.css>"]
        assert response.body == b"x" * 100
        assert response.trailers == [("x-sum", "42")]


def test_expect_continue(sc):
    def script(conn):
        st = conn.accept()
        assert not st.body
        conn.headers(st.id, [(":status", "100")])
        conn.whole(st)
        conn.answer(st, bytes(st.body))

    h2_proxy(sc, script)
    client = sc.client()
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert client._head().status == 100
    client.send("abc")
    assert client.response("POST").body == b"abc"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("method,status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(sc, method, status, late):
    """Whether the stream ends with the head or with an empty DATA frame."""
    def script(conn):
        while (st := conn.request()) is not None:
            fields = [(":status", str(status)), ("etag", "x")]
            if status != 204:
                fields.append(("content-length", "7"))
            conn.headers(st.id, fields, end=not late)
            if late:
                conn.data(st.id, end=True)

    h2_proxy(sc, script)
    client = sc.client()
    for _ in range(3):
        response = client.ask(method)
        assert response.status == status and not response.body
        assert response.get("content-length") == (None if status == 204 else "7")
        assert not response.has("transfer-encoding")


# --- many on a connection ---

def test_many_requests_on_one_connection(sc):
    release = threading.Event()
    app = h2_proxy(sc, hold(50, release))
    crowd = Crowd(sc, 50, target="/{i}")
    app.wait_requests(50)
    state = upstream(sc)
    assert (state["connections"], state["active"], state["idle"]) == (1, 1, 0)
    assert state["endpoints"][0]["active"] == 50
    assert sc.s.metrics().get("sluice_upstream_http2_streams", upstream="app") == 50
    assert state["http2_streams"] == 50
    release.set()
    assert sorted(r.body for r in crowd.responses()) == sorted(b"/%d" % i for i in range(50))
    assert len(app.conns) == 1
    assert [s.id for s in app.requests] == list(range(1, 100, 2))
    wait_for(lambda: upstream(sc)["idle"] == 1, "the connection is idle")


@pytest.mark.parametrize("most", [1, 2, 7])
def test_max_concurrent_streams_of_ours(sc, most):
    """More connections are opened when the streams of those that stand are used up."""
    release = threading.Event()

    def script(conn):
        while (st := conn.accept()) is not None:
            release.wait(TIMEOUT)
            conn.answer(st, b"ok")

    app = h2_proxy(sc, script, http2={"maxConcurrentStreams": most})
    crowd = Crowd(sc, 14)
    app.wait_conns(-(-14 // most))
    release.set()
    assert crowd.statuses() == [200] * 14
    assert len(app.conns) == -(-14 // most)


@pytest.mark.parametrize("most", [1, 2])
def test_max_concurrent_streams_of_the_server(sc, most):
    """Nobody is refused, once the server has told how many it takes."""
    seen = []

    def script(conn):
        while (st := conn.request()) is not None:
            conn.read_ready()
            open_now = [s for s in conn.streams.values() if s.head and not getattr(s, "done", 0)]
            seen.append(len(open_now))
            conn.answer(st, b"ok")
            st.done = True

    app = h2_proxy(sc, script, settings={MAX_CONCURRENT_STREAMS: most},
                   breaker={"maxConnections": 2})
    assert sc.ask().status == 200  # its SETTINGS are known
    for _ in range(3):
        assert Crowd(sc, 20).statuses() == [200] * 20
    assert max(seen) <= most
    assert len(app.conns) == 2 and not any(c.goaways for c in app.conns)


def test_settings_that_lower_the_limit(sc):
    """Streams above it go on; new ones wait, or go on another connection."""
    app_conns = []

    def script(conn):
        app_conns.append(conn)
        if conn.number > 0:
            return h2wire.ok_app(conn)
        got = [conn.request() for _ in range(4)]
        conn.own_settings = {MAX_CONCURRENT_STREAMS: 1}
        conn.send(conn.settings_frame())
        conn.until(lambda: conn.settings_acks == 2, "the ACK")
        release.wait(TIMEOUT)
        for st in got:
            conn.answer(st, b"first")
        h2wire.ok_app(conn)

    release = threading.Event()
    app = h2_proxy(sc, script)
    crowd = Crowd(sc, 4)
    wait_for(lambda: app.conns and app.conns[0].settings_acks == 2, "SETTINGS are acknowledged")
    assert sc.ask().status == 200
    assert len(app.conns) == 2
    release.set()
    assert [r.body for r in crowd.responses()] == [b"first"] * 4


def test_queue_for_a_stream(sc):
    """At maxConnections requests wait for a stream, in order, and time out there."""
    release = threading.Event()

    def script(conn):
        st = conn.request()
        release.wait(TIMEOUT)
        conn.answer(st, b"one")
        h2wire.ok_app(conn)

    app = h2_proxy(sc, script, http2={"maxConcurrentStreams": 1},
                   breaker={"maxConnections": 1, "queueTimeout": "300ms"})
    first = sc.client().request()
    app.wait_requests(1)
    assert_problem(sc.ask(), "queue_timeout")
    crowd = Crowd(sc, 5)
    wait_for(lambda: upstream(sc)["pending"] == 5, "five wait")
    release.set()
    assert first.response().body == b"one"
    assert crowd.statuses() == [200] * 5
    assert len(app.conns) == 1


def test_requests_wait_for_the_connection_that_is_being_made(sc):
    app = h2_proxy(sc, hold(100))
    crowd = Crowd(sc, 100)
    assert crowd.statuses() == [200] * 100
    assert len(app.conns) == 1


def test_connect_fails_for_all_who_wait(sc):
    backend = h2wire.Backend()
    backend.stop()
    h2_proxy(sc, backend=backend)
    for r in Crowd(sc, 20).responses():
        assert_problem(r, "connect_refused")
