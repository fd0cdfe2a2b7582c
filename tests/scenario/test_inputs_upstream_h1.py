"""Hostile upstreams by HTTP/1: number 43 of the project's list of inputs."""

import pytest

from harness import assert_problem
from inputs import cases
from wire import wait_for


def hostile(sc, answer, then_close=True):
    """The backend answers the first request with these bytes, others well."""
    def script(conn):
        conn.head()
        conn.send(answer)
        if then_close:
            conn.read_to_end()

    def good(conn):
        while conn.request() is not None:
            conn.answer(b"good")

    sc.proxy(script=[script, good, good])


@pytest.mark.parametrize("answer,code", cases(
    two_lengths=("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "upstream_protocol"),
    length_and_coding=("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "2\r\nok\r\n0\r\n\r\n", "upstream_protocol"),
    splitting=("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    bare_lf=("HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    nul=("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    folded=("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    no_http=("hello\r\n\r\n", "upstream_protocol"),
    http2=("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    status=("HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    status_4=("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "upstream_protocol"),
    length=("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "upstream_protocol"),
    coding=("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "upstream_protocol"),
    huge_field=("HTTP/1.1 200 OK\r\nX: " + "y" * 40000 + "\r\nContent-Length: 0\r\n\r\n",
                "upstream_headers_too_large"),
    many_fields=("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200 + "Content-Length: 0\r\n\r\n",
                 "upstream_headers_too_large"),
    endless_line=("HTTP/1.1 200 " + "O" * 50000, "upstream_headers_too_large")))
def test_43_hostile_upstream(sc, answer, code):
    hostile(sc, answer)
    response = sc.ask()
    assert response.status == 502, response
    assert_problem(response, code)
    # That connection is not used again.
    assert sc.ask().body == b"good"
    assert sc.app.requests[1].conn == 1


def test_43_endless_interim_responses(sc):
    def script(conn):
        conn.head()
        while True:
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 10)

    sc.proxy(script=script)
    client = sc.client().request()
    response = client.response()
    assert_problem(response, "upstream_protocol")
    assert len(response.interim) < 100


def test_43_bytes_after_the_end(sc):
    hostile(sc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    response = sc.ask()
    if response.status == 502:  # they came together with the answer
        assert_problem(response, "upstream_protocol")
    else:
        assert response.body == b"ok"
    assert sc.ask().body == b"good"
    assert sc.app.requests[1].conn == 1


def test_43_bytes_on_an_idle_connection(sc):
    def script(conn):
        conn.request()
        conn.answer(b"ok")
        idle.append(conn)
        conn.read_to_end()

    def good(conn):
        while conn.request() is not None:
            conn.answer(b"good")

    idle = []
    sc.proxy(script=[script, good])
    client = sc.client()
    assert client.ask().body == b"ok"
    wait_for(lambda: idle, "the connection is idle")
    idle[0].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    sc.app.wait_done()  # sluice has closed it
    assert client.ask().body == b"good"


@pytest.mark.parametrize("rest", cases(
    size="zz\r\n", no_crlf="2\r\nokok\r\n0\r\n\r\n", negative="-2\r\nok\r\n"))
def test_43_a_bad_chunk_cuts_the_response(sc, rest):
    """The head has gone: the client must be able to tell that the body is not whole."""
    hostile(sc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    client = sc.client().request()
    head = client.response_head()
    assert head.status == 200 and client.read(7) == b"2\r\nok\r\n"
    sc.app.conns[0].send(rest)
    try:
        left = client.read_to_end()
    except ConnectionResetError:
        left = client.buffer
    assert not left.endswith(b"0\r\n\r\n"), left
