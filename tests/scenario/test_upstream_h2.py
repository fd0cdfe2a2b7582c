"""HTTP/2 towards upstreams: many requests on a connection, and what becomes of them."""

import hashlib
import random
import signal
import threading
import time

import pytest

import certs
import h2wire
import harness
from h2wire import (CANCEL, CODES, CONTINUATION, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY,
                    HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, LAST_STREAM,
                    MAX_CONCURRENT_STREAMS, NO_ERROR, PING, PROTOCOL_ERROR, REFUSED_STREAM,
                    RST_STREAM, SETTINGS, WINDOW_UPDATE, block)
from harness import SANITIZE, assert_problem, forward
from wire import SLOW, TIMEOUT, free_port, wait_for

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


# --- bodies and flow control ---

def test_large_bodies_both_ways(sc):
    """8 MB up and down, with small windows on our side."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, bytes(st.body), headers=[("content-length", str(len(st.body)))])

    h2_proxy(sc, script, http2={"streamWindow": "16KiB", "connectionWindow": "64KiB"})
    client = sc.client()
    for _ in range(2):
        response = client.ask("POST", "/", body=BIG)
        assert hashlib.sha256(response.body).digest() == hashlib.sha256(BIG).digest()


def test_large_bodies_at_once(sc):
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, hashlib.sha256(st.body).hexdigest().encode())

    app = h2_proxy(sc, script)
    body = BIG[:1 << 20]
    crowd = [threading.Thread(target=lambda: results.append(sc.ask("POST", "/", body=body).body))
             for _ in range(8)]
    results = []
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    assert results == [hashlib.sha256(body).hexdigest().encode()] * 8
    assert len(app.conns) == 1


def test_a_slow_client_stalls_only_its_own_stream(sc):
    """And holds no more than its windows."""
    served = []

    def script(conn):
        answered = []
        while (st := conn.accept()) is not None:
            if st.get(":path") == "/big":
                conn.headers(st.id, OK)
                answered.append(st)
                feed(conn, answered)
            else:
                conn.answer(st, b"small")

    def feed(conn, answered):
        """As much of the big ones as the windows take."""
        for st in answered:
            while st.reset is None and (n := min(16384, conn.window, st.window)) > 0:
                conn.data(st.id, bytes(n))
                conn.window -= n
                st.window -= n
                served.append(n)

    h2_proxy(sc, script)
    slow = []
    for _ in range(4):
        client = sc.client()
        client.sock.setsockopt(h2wire.socket.SOL_SOCKET, h2wire.socket.SO_RCVBUF, 4096)
        slow.append(client.request(target="/big"))
    fast = sc.client()
    for _ in range(200):
        assert fast.ask(target="/small").body == b"small"
    before = sc.s.anon_kb()
    assert 4 * 65536 <= sum(served) < 40 << 20
    for _ in range(200):
        assert fast.ask(target="/small").body == b"small"
    assert SANITIZE or sc.s.anon_kb() - before < 2048
    for c in slow:
        c.close()


def test_a_server_that_reads_slowly(sc):
    """Its windows stop the client, whatever it wants to send; others go on."""
    accepted = threading.Event()

    def script(conn):
        first = conn.accept()
        accepted.set()
        while (st := conn.accept()) is not None:
            conn.answer(st, b"small")
            if st.get(":path") == "/last":
                break
        assert first.received <= h2wire.DEFAULT_WINDOW
        conn.credit = True
        conn.window_update(0, 1 << 30)
        conn.window_update(first.id, 1 << 30)
        conn.whole(first)
        conn.answer(first, hashlib.sha256(first.body).hexdigest().encode())
        h2wire.ok_app(conn)

    h2_proxy(sc, script, credit=False)
    slow = sc.client()
    sender = threading.Thread(target=lambda: slow.request("POST", "/slow", body=BIG))
    sender.start()
    assert accepted.wait(TIMEOUT)
    client = sc.client()
    for _ in range(50):
        assert client.ask().body == b"small"
    assert SANITIZE or sc.s.anon_kb() < 40 << 10
    assert client.ask(target="/last").body == b"small"
    sender.join()
    assert slow.response("POST").body == hashlib.sha256(BIG).hexdigest().encode()


def test_zero_window(sc):
    """A body waits for the server's window, until the route's idle time. A server that has said
    nothing meanwhile gets no more on that connection."""
    def script(conn):
        while (st := conn.accept()) is not None:
            if st.get(":method") == "GET":
                conn.answer(st, b"ok")

    app = h2_proxy(sc, script, settings={INITIAL_WINDOW_SIZE: 0},
                   proxy={"route": {"idleTimeout": "300ms"}})
    assert sc.ask().status == 200  # SETTINGS are known
    assert_problem(sc.ask("POST", "/", body=b"x" * 1000), "idle_timeout")
    assert sc.ask().status == 200
    assert len(app.conns) == 2
    wait_for(lambda: any(s.reset == CANCEL for s in app.requests), "the stream is cancelled")


def test_early_response(sc):
    """The rest of the request is not wanted; the connection goes on."""
    def script(conn):
        while (st := conn.accept()) is not None:
            if st.get(":method") == "POST":
                conn.answer(st, b"enough", status=413)
            else:
                conn.answer(st, b"ok")

    app = h2_proxy(sc, script)
    client = sc.client()
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\nxxx")
    response = client.response("POST")
    assert (response.status, response.body) == (413, b"enough")
    client.close()
    assert sc.ask().body == b"ok"
    assert len(app.conns) == 1
    assert app.requests[0].end == "CANCEL"


def test_early_response_and_reset_without_error(sc):
    """RFC 9113 §8.1: the server asks for no more of the body, the response counts."""
    def script(conn):
        while (st := conn.accept()) is not None:
            conn.answer(st, b"early")
            if not st.ended:
                conn.rst(st.id, NO_ERROR)

    app = h2_proxy(sc, script)
    client = sc.client()
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nxxx")
    assert client.response("POST").body == b"early"
    assert sc.ask().body == b"early"
    assert len(app.conns) == 1


def test_a_client_that_goes_away_cancels(sc):
    def script(conn):
        while (st := conn.accept()) is not None:
            if st.get(":path") == "/hold":
                conn.headers(st.id, OK)
                conn.data(st.id, b"x" * 100)
            elif st.get(":path") != "/never":
                conn.answer(st, b"ok")

    app = h2_proxy(sc, script)
    one = sc.client().request(target="/never")
    two = sc.client().request(target="/hold")
    app.wait_requests(2)
    two.read_until(b"xxx")
    one.reset()
    two.reset()
    wait_for(lambda: sc.s.status()["streams"] == 0, "both have ended")
    assert sc.ask().status == 200
    assert sorted(s.end for s in app.requests) == ["CANCEL", "CANCEL", "end"]
    assert len(app.conns) == 1 and not app.conns[0].goaways


# --- streams that are reset, connections that go away ---

@pytest.mark.parametrize("code", range(len(CODES)))
def test_reset_before_the_head(sc, code):
    """A POST, which nobody may send twice unless the server says that it did not look at it."""
    def script(conn):
        while (st := conn.request()) is not None:
            if st.get(":path") == "/reset" and len(conn.backend.requests) == 1:
                conn.rst(st.id, code)
            else:
                conn.answer(st, b"ok")

    app = h2_proxy(sc, script)
    response = sc.ask("POST", "/reset", body=b"x")
    if code == REFUSED_STREAM:
        assert response.body == b"ok"
        assert [bytes(s.body) for s in app.requests] == [b"x", b"x"]
    else:
        assert_problem(response, "upstream_reset")
        assert len(app.requests) == 1
    assert sc.ask().status == 200
    assert len(app.conns) == 1


@pytest.mark.parametrize("code", range(len(CODES)))
def test_reset_behind_the_head(sc, code):
    def script(conn):
        while (st := conn.request()) is not None:
            if st.get(":path") == "/reset":
                conn.headers(st.id, [*OK, ("content-length", "100")])
                conn.data(st.id, b"x" * 50)
                conn.rst(st.id, code)
            else:
                conn.answer(st, b"ok")

    app = h2_proxy(sc, script)
    client = sc.client().request(target="/reset")
    try:
        response = client.response()
        assert_problem(response, "upstream_truncated")  # nothing had reached the client
    except EOFError:
        pass  # cut
    assert sc.ask().status == 200
    assert len(app.conns) == 1 and len(app.requests) == 2
    assert sc.s.wait_access_log(2)[0]["reason"] == "upstream_truncated"


def test_goaway_midway(sc):
    """What the server did not process goes to another connection, bodies and all; the rest ends
    where it is."""
    def script(conn):
        if conn.number > 0:
            return h2wire.ok_app(conn)
        got = [conn.request() for _ in range(10)]
        conn.goaway(NO_ERROR, got[4].id)
        conn.backend.wait_conns(2)
        for st in got[:5]:
            conn.answer(st, b"first")
        assert conn.request() is None  # nothing new comes

    app = h2_proxy(sc, script)
    crowd = Crowd(sc, 10, "POST", "/{i}", body=b"y" * 3000)
    bodies = sorted(r.body for r in crowd.responses())
    assert bodies.count(b"first") == 5 and len([b for b in bodies if b.startswith(b"POST")]) == 5
    app.wait_conns(2)
    assert all(len(s.body) == 3000 for s in app.requests if s.ended)
    wait_for(lambda: upstream(sc)["connections"] == 1, "the first connection is closed")
    assert sc.ask().status == 200
    assert len(app.conns) == 2


def test_goaway_in_two_stages(sc):
    """RFC 9113 §6.8: a notice, and then what really is the last stream."""
    def script(conn):
        if conn.number > 0:
            return h2wire.ok_app(conn)
        st = conn.request()
        conn.goaway(NO_ERROR, LAST_STREAM)
        conn.expect_ping()
        gone.set()
        conn.backend.wait_conns(2)
        conn.goaway(NO_ERROR, st.id)
        conn.answer(st, b"last")
        assert conn.request() is None  # nothing new has come: sluice closes it
        assert [g[1] for g in conn.goaways] == [NO_ERROR]

    gone = threading.Event()
    app = h2_proxy(sc, script)
    first = sc.client().request()
    assert gone.wait(TIMEOUT)
    assert sc.ask().status == 200
    assert first.response().body == b"last"
    assert len(app.conns) == 2
    wait_for(lambda: upstream(sc)["connections"] == 1, "the first connection is closed")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_streams_go_to_another_endpoint(sc, method):
    def refuse(conn):
        while (st := conn.accept()) is not None:
            conn.rst(st.id, REFUSED_STREAM)

    other = h2wire.Backend()
    refusing = h2wire.Backend(refuse)
    sc.backends.append(other)
    h2_proxy(sc, backend=refusing, upstream={"endpoints": [refusing.address, other.address],
                                             "balance": "roundRobin"})
    for _ in range(10):
        assert sc.ask(method, "/", body=b"abc" if method == "POST" else None).status == 200
    assert len(other.requests) == 10 and 1 <= len(refusing.requests) <= 10
    assert all(bytes(s.body) == (b"abc" if method == "POST" else b"") for s in other.requests)


def test_refused_everywhere(sc):
    def refuse(conn):
        while (st := conn.accept()) is not None:
            conn.rst(st.id, REFUSED_STREAM)

    app = h2_proxy(sc, refuse)
    assert_problem(sc.ask(), "upstream_reset")
    assert len(app.requests) == 3  # and no more
    assert len(app.conns) == 1


def test_a_body_that_is_too_large_to_be_sent_again(sc):
    """64 KiB are kept; what is larger is refused rather than sent in part."""
    def script(conn):
        st = conn.accept()
        conn.until(lambda: st.received >= 200000, "most of the body")
        conn.rst(st.id, REFUSED_STREAM)
        h2wire.ok_app(conn)

    app = h2_proxy(sc, script)
    assert_problem(sc.ask("POST", "/", body=BIG[:300000]), "upstream_reset")
    assert len(app.requests) == 1


def test_a_body_that_is_still_coming_is_sent_again(sc):
    def script(conn):
        st = conn.accept()
        if len(conn.backend.requests) == 1:
            conn.until(lambda: st.received == 5, "the beginning")
            conn.rst(st.id, REFUSED_STREAM)
            refused.set()
            h2wire.ok_app(conn)

    refused = threading.Event()
    app = h2_proxy(sc, script)
    client = sc.client()
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
    assert refused.wait(TIMEOUT)
    app.wait_requests(2)
    client.send(b"world")
    assert client.response("POST").status == 200
    assert bytes(app.requests[1].body) == b"helloworld"


def test_the_server_is_killed_with_a_hundred_streams(sc):
    """Heads and parts of bodies have come for half of them."""
    def script(conn):
        if conn.number > 0:
            return h2wire.ok_app(conn)
        got = [conn.request() for _ in range(100)]
        for st in got[:50]:
            conn.headers(st.id, [*OK, ("content-length", "1000")])
            conn.data(st.id, b"z" * 100)
        conn.expect_ping()
        conn.sock.setsockopt(h2wire.socket.SOL_SOCKET, h2wire.socket.SO_LINGER,
                             h2wire.struct.pack("ii", 1, 0))
        conn.sock.close()

    app = h2_proxy(sc, script)
    crowd = Crowd(sc, 100, "POST", body=b"x")
    cut, failed = 0, 0
    for c in crowd.clients:
        try:
            response = c.response("POST")
            assert response.status == 502, response
            failed += 1
        except EOFError:
            cut += 1
    assert cut == 50 and failed == 50
    assert sc.ask().status == 200
    assert len(app.conns) == 2


def test_requests_that_crossed_the_end_of_an_idle_connection(sc):
    """It ends without a word, as nothing had come on it since: GETs are sent once more."""
    def script(conn):
        if conn.number > 0:
            return h2wire.ok_app(conn)
        conn.answer(conn.request(), b"one")
        conn.request()
        conn.sock.close()

    app = h2_proxy(sc, script)
    assert sc.ask().body == b"one"
    assert sc.ask().status == 200
    assert len(app.conns) == 2


# --- a server that is wrong, or hostile ---

def wrong(kind):
    """(fields, body, end) of a response that must not reach the client."""
    return {
        "length above the body": ([*OK, ("content-length", "10")], b"x" * 5),
        "length below the body": ([*OK, ("content-length", "3")], b"x" * 5),
        "two lengths": ([*OK, ("content-length", "5"), ("content-length", "6")], b"x" * 5),
        "length that is none": ([*OK, ("content-length", "-5")], b"x" * 5),
        "CR in a value": ([*OK, ("a", "b\rc")], b""),
        "LF in a value": ([*OK, ("a", "b\nSet-Cookie: c=d")], b""),
        "NUL in a value": ([*OK, ("a", "b\0c")], b""),
        "upper case": ([*OK, ("Abc", "d")], b""),
        "a space in a name": ([*OK, ("a b", "d")], b""),
        "a colon in a name": ([*OK, ("a:b", "d")], b""),
        "transfer-encoding": ([*OK, ("transfer-encoding", "chunked")], b"0\r\n\r\n"),
        "connection": ([*OK, ("connection", "close")], b""),
        "no status": ([("a", "b")], b""),
        "two statuses": ([*OK, *OK], b""),
        "status behind a field": ([("a", "b"), *OK], b""),
        "status 20": ([(":status", "20")], b""),
        "status 2000": ([(":status", "2000")], b""),
        "status abc": ([(":status", "abc")], b""),
        "status 101": ([(":status", "101")], b""),
        "unknown pseudo-field": ([*OK, (":foo", "b")], b""),
        "a request's pseudo-field": ([*OK, (":path", "/")], b""),
    }[kind]


WRONG = """length above the body|length below the body|two lengths|length that is none|CR in a value|
LF in a value|NUL in a value|upper case|a space in a name|a colon in a name|transfer-encoding|
connection|no status|two statuses|status behind a field|status 20|status 2000|status abc|status 101|
unknown pseudo-field|a request's pseudo-field""".replace("\n", "").split("|")


@pytest.mark.parametrize("kind", WRONG)
def test_a_malformed_response(sc, kind):
    """502, and its stream alone is reset."""
    def script(conn):
        while (st := conn.request()) is not None:
            if st.get(":path") != "/wrong":
                conn.answer(st, b"ok")
                continue
            fields, body = wrong(kind)
            conn.headers(st.id, fields, end=not body)
            if body:
                conn.data(st.id, body, end=True)

    app = h2_proxy(sc, script)
    other = sc.client()
    assert other.ask().body == b"ok"
    client = sc.client().request(target="/wrong")
    try:
        assert_problem(client.response(), "upstream_protocol")
    except EOFError:
        assert kind.startswith("length"), "only a body can be cut"
    assert other.ask().body == b"ok"
    assert len(app.conns) == 1 and not app.conns[0].goaways
    assert app.requests[1].end in ("PROTOCOL_ERROR", "CANCEL", "INTERNAL_ERROR", "end")


def broken(kind, conn, st):
    if kind == "headers that are too large":
        for i in range(5):
            conn.frame(HEADERS if i == 0 else CONTINUATION, 0x4 if i == 4 else 0, st.id,
                       block([*(OK if i == 0 else []), (f"a{i}", "x" * 10000)]))
    elif kind == "endless continuation":
        conn.headers(st.id, OK, end_headers=False)
        for _ in range(10000):
            conn.frame(CONTINUATION, 0, st.id, block([("a", "b" * 1000)]))
    elif kind == "continuation without end, tiny":
        conn.headers(st.id, OK, end_headers=False)
        for _ in range(100000):
            conn.frame(CONTINUATION, 0, st.id, b"")
    elif kind == "window overflow":
        conn.window_update(0, LAST_STREAM)
        conn.window_update(0, LAST_STREAM)
    elif kind == "a frame that is too large":
        conn.frame(h2wire.DATA, 0, st.id, b"", length=1 << 20)
    elif kind == "DATA on stream 0":
        conn.frame(h2wire.DATA, 0, 0, b"x")
    elif kind == "HEADERS on an idle stream":
        conn.headers(99, OK, end=True)
    elif kind == "a push":
        conn.frame(h2wire.PUSH_PROMISE, 0x4, st.id, b"\0\0\0\2" + block([(":method", "GET")]))
    elif kind == "bytes that are no header block":
        conn.headers(st.id, b"\xff" * 40, end=True)
    elif kind == "HTTP/1.1":
        conn.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    elif kind == "a flood of PINGs":
        for _ in range(5000):
            conn.ping()
    elif kind == "a flood of SETTINGS":
        for _ in range(5000):
            conn.frame(SETTINGS)
    elif kind == "a flood of empty DATA":
        conn.headers(st.id, OK)
        for _ in range(5000):
            conn.data(st.id)
    elif kind == "a flood of WINDOW_UPDATEs":
        for _ in range(20000):
            conn.window_update(0, 1)


BROKEN = """endless continuation|continuation without end, tiny|window overflow|
a frame that is too large|DATA on stream 0|HEADERS on an idle stream|a push|
bytes that are no header block|HTTP/1.1|a flood of PINGs|
a flood of SETTINGS|a flood of empty DATA|a flood of WINDOW_UPDATEs""".replace("\n", "").split("|")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_connection_that_breaks_the_protocol(sc, kind):
    """GOAWAY with an error, all its streams 502, and it is not used again; memory stays small."""
    def script(conn):
        if conn.number > 0:
            return h2wire.ok_app(conn)
        got = [conn.request() for _ in range(3)]
        conn.auto = False
        try:
            broken(kind, conn, got[0])
        finally:
            conn.expect_end()
            codes.extend(g[1] for g in conn.goaways)

    codes = []
    app = h2_proxy(sc, script)
    crowd = Crowd(sc, 3, "POST", body=b"x")
    outcomes = []
    for c in crowd.clients:
        try:
            outcomes.append(c.response("POST").status)
        except EOFError:
            outcomes.append("cut")
    assert outcomes.count(502) >= 2 and set(outcomes) <= {502, "cut"}
    reasons = {r["reason"] for r in sc.s.wait_access_log(3)}
    assert reasons <= {"upstream_protocol", "upstream_truncated"}
    assert sc.ask().status == 200
    assert len(app.conns) == 2
    assert SANITIZE or sc.s.anon_kb() < 30 << 10
    if "continuation" not in kind and "flood" not in kind:
        wait_for(lambda: codes, "GOAWAY")
        assert codes[0] != NO_ERROR


def test_more_than_the_window(sc):
    """What comes beyond it is not kept: the stream ends, the others go on."""
    def script(conn):
        while (st := conn.request()) is not None:
            if st.get(":path") != "/more":
                conn.answer(st, b"ok")
                continue
            conn.headers(st.id, OK)
            for _ in range(1000):  # more than the sockets on the way take
                conn.data(st.id, b"x" * 16384)

    app = h2_proxy(sc, script)
    client = sc.client().request(target="/more")
    app.wait_requests(1)
    assert sc.ask().body == b"ok"
    assert sc.s.wait_access_log(2)
    assert {r["reason"] for r in sc.s.access_log()} == {"none", "upstream_protocol"}
    wait_for(lambda: app.requests[0].end == "FLOW_CONTROL_ERROR", "its stream is reset")
    assert SANITIZE or sc.s.anon_kb() < 30 << 10
    assert len(app.conns) == 1
    client.reset()


def test_heads_that_are_too_large(sc):
    def script(conn):
        while (st := conn.request()) is not None:
            if st.get(":path") == "/large":
                broken("headers that are too large", conn, st)
            elif st.get(":path") == "/many":
                conn.headers(st.id, [*OK, *[(f"a{i}", "b") for i in range(200)]], end=True)
            else:
                conn.answer(st, b"ok")

    app = h2_proxy(sc, script)
    assert_problem(sc.ask(target="/large"), "upstream_headers_too_large")
    assert_problem(sc.ask(target="/many"), "upstream_headers_too_large")
    assert sc.ask().body == b"ok"
    assert len(app.conns) == 1


def test_endless_interim_responses(sc):
    def script(conn):
        while (st := conn.request()) is not None:
            if st.get(":path") != "/endless":
                conn.answer(st, b"ok")
                continue
            for i in range(1000):
                conn.headers(st.id, [(":status", "103"), ("link", f"</{i}>")])

    app = h2_proxy(sc, script)
    assert_problem(sc.ask(target="/endless"), "upstream_protocol")
    assert sc.ask().body == b"ok"
    assert len(app.conns) == 1


# --- connections that come and go ---

def test_idle_close_says_goodbye(sc):
    def script(conn):
        h2wire.ok_app(conn)
        ends.append((conn.eof, [g[:2] for g in conn.goaways]))

    ends = []
    app = h2_proxy(sc, script, pool={"idleTimeout": "200ms"})
    assert sc.ask().status == 200
    app.wait_done()
    assert ends == [(True, [(0, NO_ERROR)])]
    assert upstream(sc)["connections"] == 0


def test_a_server_that_closes_an_idle_connection(sc):
    def script(conn):
        conn.answer(conn.request(), b"ok")
        if conn.number % 2:
            conn.goaway(NO_ERROR, 1)

    app = h2_proxy(sc, script)
    for i in range(6):
        assert sc.ask("POST", "/", body=b"x").status == 200
        wait_for(lambda: upstream(sc)["connections"] == 0, "its end is seen")
    assert len(app.conns) == 6
    assert sc.s.metrics().get("sluice_upstream_closed_idle_total", upstream="app") >= 3


def test_max_requests_and_lifetime(sc):
    app = h2_proxy(sc, pool={"maxRequestsPerConnection": 5})
    for _ in range(3):
        assert Crowd(sc, 5).statuses() == [200] * 5
    client = sc.client()
    for _ in range(10):
        assert client.ask().status == 200
    app.wait_conns(5)
    assert max(max(c.streams, default=0) for c in app.conns) <= 9
    wait_for(lambda: all(c.eof for c in app.conns), "all are closed")
    assert all(c.goaways and c.goaways[0][1] == NO_ERROR for c in app.conns)


def test_max_lifetime_under_load(sc):
    """Requests never end with the connection: it takes no more, and closes behind its last."""
    app = h2_proxy(sc, pool={"maxLifetime": "100ms"})
    end = time.monotonic() + 1
    clients = [sc.client() for _ in range(4)]
    while time.monotonic() < end:
        for c in clients:
            c.request()
        for c in clients:
            assert c.response().status == 200
    assert 5 <= len(app.conns) <= 60


def test_pings(sc):
    """Only while requests are open, and a server that does not answer is given up."""
    def script(conn):
        st = conn.request()
        if conn.number == 0:
            conn.until(lambda: len(conn.kinds(PING)) >= 3, "three PINGs")
            conn.answer(st, b"alive")
            st = conn.request()
            conn.answer(st, b"still")
            seen.append(len(conn.kinds(PING)))
            time.sleep(0.5)
            conn.read_ready()
            seen.append(len(conn.kinds(PING)))
            st = conn.request()
            conn.auto = False
            conn.expect_end()

    seen = []
    app = h2_proxy(sc, script, http2={"pingInterval": "100ms"})
    assert sc.ask().body == b"alive"
    assert sc.ask().body == b"still"
    wait_for(lambda: len(seen) == 2, "it rests")
    assert seen[0] == seen[1]
    start = time.monotonic()
    assert_problem(sc.ask("POST", body=b""), "upstream_reset")
    assert 0.15 < time.monotonic() - start < 1 + SLOW
    assert len(app.conns) == 1


def test_no_pings_by_default(sc):
    def script(conn):
        st = conn.request()
        time.sleep(0.5)
        conn.read_ready()
        conn.answer(st, str(len(conn.kinds(PING))).encode())
        h2wire.ok_app(conn)

    h2_proxy(sc, script)
    assert sc.ask().body == b"0"


# --- reload, drain, the other workers ---

def reload(sc, change):
    import json
    change(sc.s.config)
    with open(sc.s.config_path, "w") as f:
        f.write(json.dumps(sc.s.config))
    code, answer = sc.s.admin("POST", "/v1/reload")
    assert code == 200, answer


def test_reload_while_streams_run(sc):
    """The endpoint goes: its streams end where they are, new ones go to the other, and its
    connection is closed behind the last."""
    release = threading.Event()
    other = h2wire.Backend()
    sc.backends.append(other)
    app = h2_proxy(sc, hold(10, release))
    crowd = Crowd(sc, 10, target="/{i}")
    app.wait_requests(10)
    reload(sc, lambda c: c["upstreams"][0].update(endpoints=[other.address]))
    assert sc.ask().status == 200
    assert len(other.requests) == 1 and len(app.requests) == 10
    release.set()
    assert sorted(r.body for r in crowd.responses()) == [b"/%d" % i for i in range(10)]
    app.conns[0].eof or wait_for(lambda: app.conns[0].eof, "the old connection is closed")
    assert app.conns[0].goaways[0][1] == NO_ERROR


def test_reload_to_another_protocol(sc):
    """And back: what was leased ends where it is, and nothing of it is leased again."""
    release = threading.Event()
    app = h2_proxy(sc, lambda c: h2wire.ok_app(c) if c.number else hold(3, release)(c))
    old = sc.backend()
    crowd = Crowd(sc, 3, target="/{i}")
    app.wait_requests(3)
    reload(sc, lambda c: c["upstreams"][0].update(protocol="http1", endpoints=[old.address],
                                                  http2={}) or c["upstreams"][0].pop("http2"))
    assert sc.ask().status == 200
    assert len(old.requests) == 1
    reload(sc, lambda c: c["upstreams"][0].update(protocol="http2", endpoints=[app.address]))
    release.set()
    assert [r.status for r in crowd.responses()] == [200] * 3
    assert sc.ask().status == 200


def test_reload_that_removes_the_upstream(sc):
    release = threading.Event()
    other = h2wire.Backend()
    sc.backends.append(other)
    app = h2_proxy(sc, hold(4, release))
    crowd = Crowd(sc, 4, target="/{i}")
    app.wait_requests(4)

    def change(conf):
        conf["upstreams"] = [{"name": "new", "endpoints": [other.address], "protocol": "http2"}]
        conf["listeners"][0]["routes"] = [forward("new")]

    reload(sc, change)
    assert sc.ask().status == 200
    release.set()
    assert [r.status for r in crowd.responses()] == [200] * 4
    wait_for(lambda: app.conns[0].eof, "the old connection is closed")


def test_drain_while_streams_run(sc):
    """Requests end, and then the connection, with a word of goodbye."""
    release = threading.Event()
    app = h2_proxy(sc, hold(20, release))
    crowd = Crowd(sc, 20, target="/{i}")
    app.wait_requests(20)
    sc.s.signal(signal.SIGTERM)
    wait_for(lambda: sc.s.get_health("/readyz")[0] == 503, "the drain has begun")
    release.set()
    assert [r.status for r in crowd.responses()] == [200] * 20
    sc.s.check_end(sc.s.wait_exit())
    assert app.conns[0].goaways and app.conns[0].goaways[-1][1] == NO_ERROR


def test_drain_whose_time_is_up(sc):
    """LAST_CALL answers what has no response, and cancels it at the server."""
    app = h2_proxy(sc, lambda conn: conn.request() and conn.expect_end())
    client = sc.client().request()
    app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    assert_problem(client.response(), "last_call")
    sc.s.check_end(sc.s.wait_exit())
    assert app.requests[0].end == "CANCEL"


def test_workers_share_the_limit(sc):
    """Two workers, one connection: neither keeps it for ever."""
    app = h2_proxy(sc, breaker={"maxConnections": 1, "queueTimeout": "2s"},
                   proxy={"more": {"workers": 2}})
    stop = time.monotonic() + 1.5
    failed = []

    def load():
        client = sc.client()
        while time.monotonic() < stop:
            if client.ask().status != 200:
                failed.append(1)

    threads = [threading.Thread(target=load) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert len(app.conns) >= 1


def test_a_tcp_listener_before_the_same_upstream(sc):
    """It passes bytes on a connection of its own, whatever the upstream speaks."""
    address, raw = (f"127.0.0.1:{free_port()}" for _ in range(2))
    h2_proxy(sc, proxy={"address": address, "more": {"listeners": [
        {"name": "main", "address": address, "routes": [forward()]},
        {"name": "raw", "address": raw, "protocol": "tcp", "backends": [{"upstream": "app"}]}]}})
    assert sc.ask().status == 200
    client = h2wire.Client(raw)
    assert bytes(client.ask().body) == b"GET /\n"
    client.close()
    assert sc.ask().status == 200


# --- HTTP/2 on both sides ---

def h2_client(sc, **how):
    client = h2wire.Client(sc.address, **how)
    sc.clients.append(client)
    return client


def test_many_streams_through_both_sides(sc):
    app = h2_proxy(sc, hold(100))
    client = h2_client(sc).ready()
    asked = [client.request(path=f"/{i}") for i in range(100)]
    for i, st in enumerate(asked):
        assert bytes(client.response(st).body) == b"/%d" % i
    assert len(app.conns) == 1


def test_bodies_and_trailers_through_both_sides(sc):
    def script(conn):
        while (st := conn.request()) is not None:
            trailer = st.trailer("x-up")
            conn.headers(st.id, [(":status", "103"), ("link", "</a>")])
            conn.answer(st, bytes(st.body), headers=[("x-sum", hashlib.sha256(st.body).hexdigest())],
                        trailers=[("x-down", trailer or "none")])

    h2_proxy(sc, script)
    client = h2_client(sc)
    for body in (b"", b"a", BIG[:65536], BIG):
        st = client.request("POST", headers=[("te", "trailers")], body=body, end=False)
        client.headers(st.id, [("x-up", "mine")], end=True)
        client.response(st)
        assert st.get("x-sum") == hashlib.sha256(body).hexdigest()
        assert bytes(st.body) == body and st.trailers == [("x-down", "mine")]
        assert len(st.interim) == 1


def test_a_stalled_stream_between_others(sc):
    """A client of HTTP/2 that takes nothing of one response still gets the others."""
    h2_proxy(sc, lambda conn: serve(conn))

    def serve(conn):
        big = None
        while (st := conn.accept()) is not None:
            if st.get(":path") == "/big":
                big = st
                conn.headers(st.id, OK)
            else:
                conn.answer(st, b"y" * 30000)
            while big and big.reset is None and (n := min(conn.window, big.window, 16384)) > 0:
                conn.data(big.id, bytes(n))
                conn.window -= n
                big.window -= n

    client = h2_client(sc, credit=False)
    big = client.request(path="/big")
    client.until(lambda: big.received >= 30000, "some of it")
    client.window_update(0, 1 << 30)
    before = sc.s.anon_kb()
    for _ in range(100):
        assert len(client.ask(path="/small").body) == 30000
    assert big.received <= h2wire.DEFAULT_WINDOW
    assert SANITIZE or sc.s.anon_kb() - before < 2048
    client.rst(big.id)
    client.ask(path="/small")


def test_cancel_passes_through(sc):
    def script(conn):
        st = conn.accept()
        conn.headers(st.id, OK)
        conn.data(st.id, b"part")
        conn.until(lambda: st.reset is not None, "the reset")
        assert st.reset == CANCEL
        h2wire.ok_app(conn)

    app = h2_proxy(sc, script)
    client = h2_client(sc)
    st = client.request()
    client.until(lambda: st.body == b"part", "the beginning")
    client.rst(st.id, CANCEL)
    assert client.ask().status == 200
    assert len(app.conns) == 1


def test_the_upstream_resets_behind_the_head(sc):
    """The client sees a reset, no end."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.headers(st.id, OK)
            conn.data(st.id, b"part")
            conn.rst(st.id, INTERNAL_ERROR)

    h2_proxy(sc, script)
    client = h2_client(sc)
    st = client.request()
    client.until(lambda: st.over, "its end")
    assert st.reset is not None or st.status == 502


# --- ALPN ---

def tls_upstream(ca, **more):
    return {"tls": {"caFile": ca.cert, "serverName": "a.test"}, **more}


@pytest.mark.parametrize("protocol", ["http2", "auto"])
def test_over_tls(sc, protocol):
    ca = certs.authority()
    pair = ca.issue("a.test", sans=["DNS:a.test"])
    app = h2_proxy(sc, hold(20), tls=h2wire.server_tls(pair),
                   upstream=tls_upstream(ca, protocol=protocol))
    crowd = Crowd(sc, 20, target="/{i}")
    assert crowd.statuses() == [200] * 20
    assert len(app.conns) == 1
    assert {s.get(":scheme") for s in app.requests} == {"https"}
    sc.ask("POST", "/", body=BIG[:1 << 20])
    assert bytes(app.requests[-1].body) == BIG[:1 << 20]


def test_auto_where_the_server_chooses_http1(sc):
    """All who waited for the one connection get connections of their own."""
    ca = certs.authority()
    pair = ca.issue("a.test", sans=["DNS:a.test"])
    context = h2wire.server_tls(pair, alpn=("http/1.1",))

    class Old(harness.Backend):
        def _run(self, conn):
            conn.sock = context.wrap_socket(conn.sock, server_side=True)
            super()._run(conn)

    old = Old()
    sc.backends.append(old)
    sc.proxy(backend=old, upstream=tls_upstream(ca, protocol="auto"))
    assert Crowd(sc, 20).statuses() == [200] * 20
    assert len(old.requests) == 20
    assert Crowd(sc, 20).statuses() == [200] * 20


def test_auto_without_tls_is_http1(sc):
    sc.proxy(upstream={"protocol": "auto"})
    assert sc.ask().status == 200
    assert len(sc.app.requests) == 1
