"""HTTP/2 at its edges: what a second reading of it found."""

import signal
import threading

import pytest

import h2wire
import websocket
from drains import lifecycle, report
from h2_rig import h2
from h2wire import INITIAL_WINDOW_SIZE
from harness import assert_problem
from upstream_h2_rig import h2_proxy
from wire import TIMEOUT, wait_for


def test_end_behind_a_closed_window(sc):
    """The body fits into the window exactly, its end comes later: only the end waits for the window,
    and does not wait for ever."""
    go = threading.Event()

    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert go.wait(TIMEOUT)
        conn.send("0\r\n\r\n")
        conn.request()

    sc.proxy(script=script, http={"writeTimeout": "300ms"})
    client = h2(sc, settings={INITIAL_WINDOW_SIZE: 5}, credit=False)
    st = client.request()
    client.until(lambda: st.received == 5, "the body")
    go.set()
    client.until(lambda: st.over, "the stream's end")
    assert st.reset == h2wire.CANCEL


def test_request_without_authority(sc):
    """HTTP/1.0 has requests without one: none is made up, not even an empty one (RFC 9113 §8.3.1)."""
    app = h2_proxy(sc)
    client = sc.client()
    client.send("GET /a HTTP/1.0\r\n\r\n")
    assert client.response().status == 200
    assert not app.requests[0].has(":authority")


def test_deadline_passes_as_the_connection_comes(sc):
    """A call whose time is up just then gives up the connection that it has been given."""
    sc.proxy(upstream={"pool": {"maxRequestsPerConnection": 1, "idleTimeout": "1ms"}})
    client = h2(sc)
    pid = sc.s.pid
    for us in [*range(20, 300)] * 4:  # about as long as a connect takes
        st = client.request("POST", "/x", body=b"", headers=[
            ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", f"{us}u")])
        client.response(st)
    assert sc.s.pid == pid


@pytest.mark.parametrize("method, status", [("HEAD", "200"), ("GET", "304"), ("DELETE", "204")])
def test_bodiless_response_that_ends_later(sc, method, status):
    """The head is all that the client gets, and END_STREAM comes in a frame of its own."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.headers(st.id, [(":status", status), ("etag", "x")])
            conn.expect_ping()
            conn.data(st.id, b"", end=True)

    app = h2_proxy(sc, script)
    st = h2(sc).ask(method)
    assert st.status == int(status) and st.get("etag") == "x" and not st.body
    assert sc.ask(method).status == int(status)
    assert [r["reason"] for r in sc.s.wait_access_log(2)] == ["none", "none"]
    assert [r.reset for r in app.requests] == [None, None]


def test_bodiless_response_that_never_ends(sc):
    def script(conn):
        st = conn.request()
        conn.headers(st.id, [(":status", "304")])
        conn.until(lambda: st.reset is not None, "the reset")
        assert st.reset == h2wire.CANCEL
        h2wire.ok_app(conn)

    h2_proxy(sc, script, proxy={"route": {"timeout": "300ms"}})
    assert_problem(sc.ask(), "deadline")


@pytest.mark.parametrize("more, status", [(0, 200), (60, 502)])
def test_limits_of_a_response_are_the_listeners(sc, more, status):
    """As with HTTP/1.1: maxHeaders and maxHeaderBytes, not the presets."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, headers=[(f"h{i}", 50 * "v") for i in range(150 + more)])

    app = h2_proxy(sc, script, proxy={"http": {"maxHeaders": 200, "maxHeaderBytes": "48KiB"}})
    response = sc.ask()
    assert response.status == status
    if status == 502:
        assert_problem(response, "upstream_headers_too_large")
    assert app.conns[0].settings[h2wire.MAX_HEADER_LIST_SIZE] == 1 << 20


@pytest.mark.parametrize("ends", [False, True])
def test_drain_of_a_websocket_waits_for_the_server(sc, ends):
    """The client's echo, and its END_STREAM, come first: the server's is waited for all the same."""
    go, server = threading.Event(), []

    def script(conn):
        ws = websocket.accept(conn)
        server.append(ws.message()[1].code)
        assert go.wait(TIMEOUT)
        ws.close(1001)
        conn.read_to_end()
        server.append("end")

    sc.proxy(script=script, more=lifecycle(drain="6s"))
    client = h2(sc)
    ws = websocket.connect_h2(client)
    sc.s.signal(signal.SIGTERM)
    opcode, got = ws.message()
    assert opcode == websocket.CLOSE and got.code == 1001
    ws.close(1001)
    if ends:
        client.data(ws.response.id, end=True)
    client.expect_ping()
    go.set()
    client.until(lambda: ws.response.over, "the stream's end")
    assert ws.response.end == "end"
    wait_for(lambda: len(server) == 2, "the server's end")
    if not ends:
        client.data(ws.response.id, end=True)
    client.expect_end()
    sc.s.stop()
    counts = report(sc)["classes"]["websocket"]
    assert counts["closed"] == 1 and server == [1001, "end"], counts
    assert sc.s.access_log()[0]["reason"] == "draining"
