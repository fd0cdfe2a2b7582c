"""What a try says about its endpoint."""

import pytest

from wire import wait_for


def told(sc):
    return sc.s.status()["upstreams"][0]["endpoints"][0]["errors"]


def answers(status):
    def script(conn):
        conn.request()
        conn.answer(b"", status=status)
        conn.read_to_end()
    return script


def never(conn):
    conn.request()
    conn.read_to_end()


def closes(conn):
    conn.request()


def cuts(conn):
    conn.request()
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")


GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("script,route,errors", [
    (answers(200), {}, 0),
    (answers(404), {}, 0),
    (answers(503), {}, 0),  # its own words
    (never, {"timeout": "200ms"}, 1),
    (never, {"firstByteTimeout": "200ms"}, 1),
    (closes, {}, 1),
    (cuts, {}, 1),
], ids=["200", "404", "503", "deadline", "first byte", "closed", "cut"])
def test_what_the_endpoint_did(sc, script, route, errors):
    sc.proxy(script=script, route=route)
    client = sc.client()
    client.send(GET)
    client.read_to_end() if script is cuts else client.response()
    wait_for(lambda: sc.s.status()["upstreams"][0]["active"] == 0, "the try has ended")
    assert told(sc) == errors


def test_what_the_client_did(sc):
    """One that goes away, and one that does not send what it promised."""
    sc.proxy(script=never, route={"timeout": "300ms"})
    gone = sc.client()
    gone.send(GET)
    sc.app.wait_requests(1)
    gone.reset()
    slow = sc.client()
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert slow.response().status == 504
    wait_for(lambda: sc.s.status()["upstreams"][0]["active"] == 0, "both have ended")
    assert told(sc) == 0
