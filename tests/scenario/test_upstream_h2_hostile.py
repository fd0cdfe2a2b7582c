"""HTTP/2 servers that are wrong, or hostile."""

import pytest

import h2wire
from h2wire import CONTINUATION, HEADERS, LAST_STREAM, NO_ERROR, SETTINGS, block
from harness import SANITIZE, assert_problem
from upstream_h2_rig import OK, Crowd, h2_proxy
from wire import wait_for


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
