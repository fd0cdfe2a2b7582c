"""HTTP/2 from clients, as honest ones speak it: messages in both directions, many streams, flow
control, ends."""

import threading

import pytest

import h2wire
from h2_rig import gated, h2
from h2wire import INITIAL_WINDOW_SIZE, NO_ERROR, request_fields
from wire import SLOW, wait_for

MB = 1 << 20


# --- messages ----------------------------------------------------------------------------------

def test_get(sc):
    sc.proxy()
    client = h2(sc)
    st = client.ask("GET", "/a/b?c=d&e", headers=[("x-one", "1"), ("x-two", "a"), ("x-two", "b")])
    assert st.status == 200 and st.body == b"GET /a/b?c=d&e\n"
    assert st.get("content-length") == "15"
    request = sc.app.requests[0]
    assert request.target == "/a/b?c=d&e" and request.get("host") == "test"
    assert request.get("x-one") == "1" and request.all("x-two") == ["a", "b"]
    assert not request.has("content-length") and not request.has("transfer-encoding")
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("via") in ("2 sluice", "2.0 sluice")  # how it was received


def test_no_connection_fields_reach_the_client(sc):
    def script(conn):
        conn.request()
        conn.answer(b"x", headers=[("Connection", "keep-alive, X-Private"), ("X-Private", "1"),
                                   ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"),
                                   ("X-Public", "1")])
        conn.request()
    sc.proxy(script=script)
    st = h2(sc).ask()  # h2wire refuses fields that may not be there
    assert not st.has("x-private") and st.get("x-public") == "1"


@pytest.mark.parametrize("size", [0, 1, 16384, 65535, 65536, 3 * MB])
@pytest.mark.parametrize("declared", [True, False])
def test_post(sc, size, declared):
    body = bytes(i * 7 % 251 for i in range(min(size, 65536))) * max(1, size // 65536)

    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(request.body)
    sc.proxy(script=script)
    client = h2(sc)
    headers = [("content-length", str(len(body)))] if declared else []
    st = client.ask("POST", "/echo", headers=headers, body=body)
    assert st.body == body
    request = sc.app.requests[0]
    if declared:
        assert request.get("content-length") == str(len(body))
    elif size:
        assert request.tokens("transfer-encoding") == ["chunked"]


def test_head(sc):
    sc.proxy()
    client = h2(sc)
    st = client.ask("HEAD", "/x")
    assert st.status == 200 and st.get("content-length") == "8" and st.body == b""
    assert client.ask("GET", "/x").body == b"GET /x\n"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(sc, status):
    def script(conn):
        while conn.request():
            conn.answer(status=status, length=False, headers=[("ETag", '"x"')])
    sc.proxy(script=script)
    client = h2(sc)
    for _ in range(2):
        st = client.ask()
        assert st.status == int(status[:3]) and st.body == b"" and st.get("etag") == '"x"'


@pytest.mark.parametrize("n", [0, 1, 100000])
def test_chunked_answer(sc, n):
    def script(conn):
        while conn.request():
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            if n:
                conn.send(f"{n:x}\r\n".encode() + bytes(n) + b"\r\n")
            conn.send("0\r\n\r\n")
    sc.proxy(script=script)
    client = h2(sc)
    st = client.ask()
    assert st.received == n and not st.has("transfer-encoding") and not st.has("content-length")
    lives = client.ask()
    assert lives.received == n


def test_answer_until_the_connections_end(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\n\r\nall of it")
    sc.proxy(script=script)
    st = h2(sc).ask()
    assert st.body == b"all of it" and st.trailers is None


def test_trailers_both_ways(sc):
    def script(conn):
        request = conn.request()
        assert request.body == b"hello"
        assert dict(request.trailers)["x-sum"] == "5", request.trailers
        conn.send("HTTP/1.1 200 OK\r\nTrailer: X-Back\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nok\r\n0\r\nX-Back: 1\r\n\r\n")
        conn.request()
    sc.proxy(script=script)
    client = h2(sc)
    st = client.open(request_fields("POST", "/", headers=[("te", "trailers"),
                                                          ("trailer", "x-sum")]), end=False)
    client.data(st.id, b"hello")
    client.headers(st.id, [("x-sum", "5")], end=True)
    client.response(st)
    assert st.body == b"ok" and st.trailer("x-back") == "1"


def test_framing_in_trailers_is_dropped(sc):
    def script(conn):
        request = conn.request()
        assert not request.trailers, request.trailers
        conn.answer(b"ok")
        conn.request()
    sc.proxy(script=script)
    client = h2(sc)
    st = client.open(request_fields("POST", "/"), end=False)
    client.headers(st.id, [("host", "evil"), ("authorization", "x"), ("x-forwarded-for", "1.1.1.1")],
                   end=True)
    assert client.response(st).body == b"ok"


def test_interim_answers(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
                  "HTTP/1.1 102 Processing\r\n\r\n")
        conn.answer(b"done")
        conn.request()
    sc.proxy(script=script)
    st = h2(sc).ask()
    assert [dict(i)[":status"] for i in st.interim] == ["103", "102"]
    assert dict(st.interim[0])["link"] == "</a>; rel=preload"
    assert st.body == b"done"


def test_expect_100(sc):
    def script(conn):
        request = conn.head()
        if request.has("expect"):
            conn.send("HTTP/1.1 100 Continue\r\n\r\n")
        conn.body(request)
        conn.answer(request.body)
        conn.request()
    sc.proxy(script=script)
    client = h2(sc)
    st = client.open(request_fields("POST", "/", headers=[("expect", "100-continue")]), end=False)
    client.until(lambda: st.interim, "100")
    assert dict(st.interim[0]) == {":status": "100"}
    client.send_body(st, b"after", end=True)
    assert client.response(st).body == b"after"


def test_priority_is_passed_on(sc):
    """RFC 9218 §4: end to end, both ways."""
    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(b"x", headers=[("Priority", "u=5")])
            assert request.get("priority") == "u=1, i"
    sc.proxy(script=script)
    client = h2(sc)
    assert client.ask(headers=[("priority", "u=1, i")]).get("priority") == "u=5"


def test_padding_and_priority_in_headers(sc):
    sc.proxy()
    client = h2(sc)
    fields = h2wire.block(request_fields(path="/padded"))
    client.headers(1, b"\x03" + b"\0\0\0\0\x10" + fields + bytes(3), end=True,
                   more_flags=h2wire.PADDED | h2wire.WITH_PRIORITY)
    assert client.response(client.stream(1)).body == b"GET /padded\n"


def test_padded_data(sc):
    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(request.body)
    sc.proxy(script=script)
    client = h2(sc)
    st = client.open(request_fields("POST", "/"), end=False)
    client.frame(h2wire.DATA, h2wire.PADDED, st.id, b"\x05hello" + bytes(5))
    client.frame(h2wire.DATA, h2wire.PADDED | h2wire.END_STREAM, st.id, b"\0")
    assert client.response(st).body == b"hello"


def test_padding_is_credited(sc):
    """Padding counts in the windows (RFC 9113 §6.9.1): without its credit a long request of padded
    frames stops."""
    sc.proxy()
    client = h2(sc)
    st = client.open(request_fields("POST", "/"), end=False)
    for _ in range(2000):
        client.until(lambda: min(client.window, st.window) >= 256, "the windows open again")
        client.frame(h2wire.DATA, h2wire.PADDED, st.id, b"\xffx" + bytes(254 + 1))
        client.window -= 257
        st.window -= 257
    client.data(st.id, end=True)
    assert client.response(st).status == 200
    assert len(sc.app.requests[0].body) == 2000


def test_http_1_and_2_on_one_port(sc):
    sc.proxy()
    client, old = h2(sc), sc.client()
    for _ in range(3):
        assert client.ask("GET", "/2").body == b"GET /2\n"
        assert old.ask("GET", "/1").body == b"GET /1\n"


def test_access_log(sc):
    sc.proxy()
    h2(sc).ask("GET", "/logged")
    record = sc.s.wait_access_log(1)[0]
    assert record["path"] == "/logged" and record["status"] == 200, record
    assert "HTTP/2" in str(record.get("protocol", "HTTP/2")), record


def test_no_route(sc):
    sc.proxy(route={"match": {"path": "/only"}})
    client = h2(sc)
    st = client.ask("GET", "/other")
    assert st.status == 404 and st.get("content-type") == "application/problem+json"
    assert client.ask("GET", "/only").status == 200


# --- many at once ------------------------------------------------------------------------------

def test_a_hundred_streams_at_once(sc):
    go = threading.Event()

    def script(conn):
        while (request := conn.request()) is not None:
            go.wait(20)
            conn.answer(request.target.encode())
    sc.proxy(script=script)
    client = h2(sc)
    sts = [client.request("GET", f"/{i}") for i in range(100)]
    sc.app.wait_requests(100)
    go.set()
    for i, st in enumerate(sts):
        assert client.response(st).body == f"/{i}".encode()


def test_answers_come_as_they_are_ready(sc):
    go = threading.Event()
    sc.proxy(script=gated(go))
    client = h2(sc)
    slow = client.request("GET", "/slow")
    for i in range(10):
        assert client.ask("GET", f"/{i}").body == b"late"
    assert not slow.over
    go.set()
    assert client.response(slow).body == b"late"


def test_ten_thousand_requests_on_a_connection(sc):
    sc.proxy()
    client = h2(sc)
    n = 10000 if SLOW == 1 else 1000
    waiting = []
    for i in range(n):
        waiting.append(client.request("GET", f"/{i}"))
        if len(waiting) == 50:
            for st in waiting:
                client.response(st)
                del client.streams[st.id]
            waiting.clear()
            del client.frames[:]
    assert sc.s.metrics().get("sluice_requests_total") == n


# --- flow control ------------------------------------------------------------------------------

def test_a_stalled_stream_does_not_stall_others(sc):
    """A client that takes nothing of one stream gets all of the next."""
    def script(conn):
        while conn.request():
            conn.answer(bytes(2 * MB))
    sc.proxy(script=script)
    client = h2(sc, credit=False)
    client.window_update(0, 64 * MB)
    stalled = [client.request("GET", f"/stalled/{i}") for i in range(4)]
    for st in stalled:
        client.until(lambda st=st: st.received == 65535, "as much as its window allows")
    st = client.open(request_fields(path="/moving"))
    client.window_update(st.id, 4 * MB)
    assert client.response(st).received == 2 * MB
    for st in stalled:
        assert st.received == 65535
        client.window_update(st.id, 4 * MB)
        assert client.response(st).received == 2 * MB


def test_a_stalled_upload_does_not_stall_others(sc):
    """The upstream reads nothing of one; the others go on, and the stalled one's window stays
    shut: what sluice holds of it is bounded."""
    go = threading.Event()

    def script(conn):
        while (request := conn.head()) is not None:
            if request.target == "/stalled":
                go.wait(20)
                conn.discard(32 * MB)
                conn.answer(b"all")
                continue
            conn.body(request)
            conn.answer(str(len(request.body)).encode())
    sc.proxy(script=script, route={"timeout": "60s"})
    client = h2(sc)
    stalled = client.open(request_fields("POST", "/stalled", headers=[
        ("content-length", str(32 * MB))]), end=False)
    sc.app.wait_requests(1)
    base = sc.s.anon_kb()
    sent = 0

    def push():
        """As much as the windows allow."""
        nonlocal sent
        while (room := min(16384, stalled.window, client.window, 32 * MB - sent)) > 0:
            client.data(stalled.id, bytes(room), end=sent + room == 32 * MB)
            stalled.window -= room
            client.window -= room
            sent += room
            client.read_ready()

    # Kernel buffers take some MB before it stands still: then a PING comes back without a byte more.
    last = -1
    while last != sent:
        last = sent
        push()
        client.expect_ping()
    assert sent < 24 * MB, "it does not stall"
    for i in range(5):
        assert client.ask("POST", f"/{i}", body=bytes(MB)).body == str(MB).encode()
    if SLOW == 1:
        assert sc.s.anon_kb() - base < 2048
    go.set()
    while sent < 32 * MB:
        push()
        if sent < 32 * MB:
            client.pump()
    assert client.response(stalled).body == b"all"


def test_windows_are_shared_by_all_streams(sc):
    """30 uploads of 1 MB at once: the connection's window is not lost piece by piece."""
    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(str(len(request.body)).encode())
    sc.proxy(script=script)
    client = h2(sc)
    sts = [client.open(request_fields("POST", f"/{i}"), end=False) for i in range(30)]
    left = {st.id: MB for st in sts}
    while left:
        moved = False
        for st in sts:
            room = min(16384, st.window, client.window, left.get(st.id, 0))
            if room > 0:
                left[st.id] -= room
                client.data(st.id, bytes(room), end=left[st.id] == 0)
                st.window -= room
                client.window -= room
                moved = True
                if left[st.id] == 0:
                    del left[st.id]
        client.read_ready() if moved else client.pump()
    for st in sts:
        assert client.response(st).body == str(MB).encode()


def test_the_initial_window_changes_under_way(sc):
    """SETTINGS change the windows of open streams, below zero too (RFC 9113 §6.9.2)."""
    sc.proxy(script=lambda conn: conn.request() and conn.answer(bytes(200000)) and conn.request())
    client = h2(sc, credit=False)
    st = client.request("GET", "/")
    client.until(lambda: st.received == 65535, "the first window")
    client.window_update(0, MB)
    client.own_settings[INITIAL_WINDOW_SIZE] = 100
    client.send(client.settings_frame())
    client.window_update(st.id, 65435)  # the window is 0 by that
    client.expect_ping()
    assert st.received == 65535
    client.window_update(st.id, 10)
    client.until(lambda: st.received == 65545, "ten bytes")
    client.own_settings[INITIAL_WINDOW_SIZE] = MB
    client.send(client.settings_frame())
    assert client.response(st).received == 200000


def test_a_window_of_one_byte(sc):
    sc.proxy(script=lambda conn: conn.request() and conn.answer(bytes(300)) and conn.request())
    client = h2(sc, settings={INITIAL_WINDOW_SIZE: 1})
    assert client.ask().received == 300
    assert len(client.kinds(h2wire.DATA)) >= 300  # a byte a frame


# --- ends --------------------------------------------------------------------------------------

def test_early_answer_ends_the_upload(sc):
    """RFC 9113 §8.1: the answer, then RST_STREAM(NO_ERROR)."""
    def script(conn):
        conn.head()
        conn.answer(b"no", status="413 Content Too Large", headers=[("Connection", "close")])
        conn.read_to_end()
    sc.proxy(script=script)
    client = h2(sc)
    st = client.open(request_fields("POST", "/", headers=[("content-length", str(MB))]), end=False)
    client.data(st.id, bytes(1000))
    client.until(lambda: st.reset is not None, "the reset")
    assert st.status == 413 and st.body == b"no" and st.ended and st.reset == NO_ERROR
    client.expect_ping()


def test_cancellation_reaches_the_upstream(sc):
    ends = []

    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        ends.append(conn.sock.recv(10))
    sc.proxy(script=script)
    client = h2(sc)
    st = client.request()
    client.until(lambda: st.received == 2, "the first bytes")
    client.rst(st.id)
    wait_for(lambda: ends == [b""], "the upstream connection is closed")
    client.expect_ping()
    assert sc.s.wait_access_log(1)[0]["reason"] == "client_abort"


def test_the_clients_end_cancels_all(sc):
    go = threading.Event()
    sc.proxy(script=gated(go))
    client = h2(sc)
    for _ in range(20):
        client.request("GET", "/slow")
    sc.app.wait_requests(20)
    client.close()
    wait_for(lambda: not sc.s.status()["streams"], "the streams end")
    go.set()
    assert {r["reason"] for r in sc.s.wait_access_log(20)} == {"client_abort"}


def test_a_truncated_answer_is_no_end(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    sc.proxy(script=script)
    client = h2(sc)
    st = client.request()
    client.until(lambda: st.over, "its end")
    assert st.reset is not None and not st.ended, st
    client.expect_ping()
    assert sc.s.wait_access_log(1)[0]["reason"] == "upstream_truncated"


def test_an_upstream_that_refuses(sc):
    sc.proxy()
    sc.app.stop_listening()
    client = h2(sc)
    st = client.ask()
    assert st.status == 502
    client.expect_ping()


def test_keep_alive_timeout(sc):
    """GOAWAY before the close, so that a client's next request is not lost in between."""
    sc.proxy(http={"keepAliveTimeout": "300ms"})
    client = h2(sc)
    client.ask()
    client.expect_goaway(NO_ERROR)


def test_max_requests(sc):
    """Nothing is refused: GOAWAY says which were the last."""
    sc.proxy(http={"maxRequests": 5})
    client = h2(sc)
    for _ in range(4):
        assert client.ask().status == 200
    assert not client.goaways
    assert client.ask().status == 200
    client.until(lambda: client.goaways, "GOAWAY")
    assert client.goaways[-1][1] == NO_ERROR
