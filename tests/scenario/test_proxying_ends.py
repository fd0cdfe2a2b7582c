"""Who ends an exchange and how: clients, upstreams, time."""

import threading

import pytest

from harness import assert_problem

HOST = "Host: test\r\n"


# --- who ends what ----------------------------------------------------------------------------

def test_client_half_close_gets_its_answer(sc):
    def script(conn):
        request = conn.request()
        half_closed.wait(10)
        conn.answer(request.body)
        conn.read_to_end()

    half_closed = threading.Event()
    sc.proxy(script=script)
    client = sc.client()
    client.request("POST", body=b"whole").half_close()
    sc.app.wait_requests(1)
    half_closed.set()
    assert client.response().body == b"whole"
    client.expect_end()


def test_client_half_close_within_a_request(sc):
    sc.proxy()
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Content-Length: 10\r\n\r\nhalf").half_close()
    try:
        left = client.read_to_end()
    except ConnectionResetError:
        left = b""
    assert left == b"" or left.startswith(b"HTTP/1.1 400"), left
    sc.app.wait_done()  # the backend's connection ends too, with half a request


def test_client_abort_cancels_the_upstream(sc):
    def script(conn):
        conn.request()
        conn.expect_end()
        cancelled.set()

    cancelled = threading.Event()
    sc.proxy(script=script)
    client = sc.client().request()
    sc.app.wait_requests(1)
    client.reset()
    assert cancelled.wait(10), "the upstream connection is closed"
    record = sc.s.wait_access_log(1)[0]
    assert record["reason"] == "client_abort", record


def test_client_abort_within_a_response(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                conn.send("4\r\ndata\r\n")
        finally:
            cancelled.set()

    cancelled = threading.Event()
    sc.proxy(script=script)
    client = sc.client().request()
    client.response_head()
    client.reset()
    assert cancelled.wait(10)


def test_early_response_then_close(sc):
    """The backend answers and closes while the body is still on its way: the answer arrives."""
    def script(conn):
        conn.head()
        conn.answer(b"enough", "401 Unauthorized", headers=[("Connection", "close")])

    sc.proxy(script=script)
    for _ in range(20):
        client = sc.client()
        client.send(f"POST / HTTP/1.1\r\n{HOST}Content-Length: 300000\r\n\r\n")
        try:
            client.send("x" * 300000)
        except OSError:
            pass
        response = client.response()
        assert response.status == 401 and response.body == b"enough"
        client.close()


@pytest.mark.parametrize("how,code", [("close", "upstream_closed"), ("reset", "upstream_reset")])
def test_upstream_ends_without_an_answer(sc, how, code):
    def script(conn):
        conn.request()
        getattr(conn, how)()

    sc.proxy(script=script)
    client = sc.client()
    assert_problem(client.ask("POST", body=b"x"), code)
    assert not client.is_closed(), "the client's connection is whole"


def test_upstream_ends_within_its_head(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-")

    sc.proxy(script=script)
    response = sc.ask("POST", body=b"x")
    assert response.status == 502
    assert response.get("content-type") == "application/problem+json"


# --- timeouts ---------------------------------------------------------------------------------

def test_route_timeout(sc):
    sc.proxy(script=lambda conn: (conn.request(), conn.expect_end()), route={"timeout": "200ms"})
    client = sc.client()
    assert_problem(client.ask(), "deadline")
    sc.app.wait_done()


def test_first_byte_timeout(sc):
    sc.proxy(script=lambda conn: (conn.request(), conn.expect_end()),
             route={"firstByteTimeout": "200ms"})
    assert_problem(sc.ask(), "first_byte_timeout")
    sc.app.wait_done()


def test_idle_timeout_within_a_body(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        conn.expect_end()

    sc.proxy(script=script, route={"idleTimeout": "1s"})
    client = sc.client().request()
    with pytest.raises((EOFError, ConnectionResetError)):
        client.response()
    assert sc.s.wait_access_log(1)[0]["reason"] == "idle_timeout"


def test_the_route_timeout_ends_with_the_head(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        go.wait(10)
        conn.send("late")
        conn.read_to_end()

    go = threading.Event()
    sc.proxy(script=script, route={"timeout": "1s"})
    client = sc.client().request()
    client.response_head()
    threading.Timer(1.5, go.set).start()  # well behind the timeout
    assert client.read(4) == b"late"
