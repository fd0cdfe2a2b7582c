"""Streams to HTTP/2 servers that are reset, and connections that go away under them."""

import threading

import pytest

import h2wire
from h2wire import CODES, LAST_STREAM, NO_ERROR, REFUSED_STREAM
from harness import assert_problem
from upstream_h2_rig import BIG, OK, Crowd, h2_proxy, upstream
from wire import TIMEOUT, wait_for


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
