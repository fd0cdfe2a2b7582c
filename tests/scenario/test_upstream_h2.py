"""HTTP/2 towards upstreams: many requests on a connection, and what becomes of them."""

import hashlib
import threading

import pytest

import certs
import h2wire
import harness
from h2wire import CANCEL, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, NO_ERROR
from harness import SANITIZE, assert_problem
from upstream_h2_rig import BIG, OK, Crowd, h2_proxy, hold, upstream
from wire import TIMEOUT, wait_for


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
