"""What a proxy does on a good day: messages go through as the RFCs have it, both ways."""

import os
import re
import threading
import time

import pytest

import websocket
from harness import SANITIZE, forward, free_port, ok_app
from tunnels import tunnel, upgrade
from wire import Client, wait_for

HOST = "Host: test\r\n"

# --- connections ------------------------------------------------------------------------------

def test_keep_alive(sc):
    sc.proxy()
    client = sc.client()
    for i in range(50):
        response = client.ask("GET", f"/{i}")
        assert response.status == 200 and response.body == f"GET /{i}\n".encode()
        assert not response.closes
    assert len(sc.app.conns) == 1, "the upstream connection is reused"


def test_connection_close_is_heeded(sc):
    sc.proxy()
    client = sc.client()
    response = client.ask(headers=[("Connection", "close")])
    assert response.closes
    client.expect_fin()
    # It ends the client's connection, not the upstream's.
    assert not sc.app.requests[0].has("connection") or not sc.app.requests[0].closes
    assert sc.ask().status == 200
    assert len(sc.app.conns) == 1


def test_max_requests(sc):
    sc.proxy(http={"maxRequests": 3})
    client = sc.client()
    for i in range(3):
        response = client.ask()
        assert response.closes == (i == 2)
    client.expect_fin()


def test_keep_alive_timeout(sc):
    sc.proxy(http={"keepAliveTimeout": "1s"})
    client = sc.client()
    assert client.ask().status == 200
    client.expect_fin()


def test_pipelining(sc):
    sc.proxy()
    client = sc.client()
    client.send("".join(f"GET /{i} HTTP/1.1\r\n{HOST}\r\n" for i in range(100)))
    for i in range(100):
        assert client.response().body == f"GET /{i}\n".encode()
    assert [r.target for r in sc.app.requests] == [f"/{i}" for i in range(100)]


def test_pipelining_with_bodies(sc):
    sc.proxy(script=echo)
    client = sc.client()
    client.send("".join(f"POST /{i} HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\n{i:03}" +
                        f"POST /c{i} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"
                        f"1\r\nx\r\n0\r\n\r\n" for i in range(30)))
    for i in range(30):
        assert client.response().body == f"{i:03}".encode()
        assert client.response().body == b"x"


def test_heads_and_bodies_in_single_bytes(sc):
    sc.proxy(script=echo)
    client = sc.client()
    raw = (f"POST /a HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
           f"POST /b HTTP/1.1\r\n{HOST}Content-Length: 3\r\n\r\ndef")
    for byte in raw:
        client.send(byte)
    assert client.response().body == b"abc"
    assert client.response().body == b"def"


def test_one_empty_line_before_a_request(sc):
    sc.proxy()
    client = sc.client()
    client.send(f"\r\nGET / HTTP/1.1\r\n{HOST}\r\n")
    assert client.response().status == 200


def echo(conn):
    while (request := conn.request()) is not None:
        conn.answer(request.body)


# --- framing ----------------------------------------------------------------------------------

def test_content_length_both_ways(sc):
    sc.proxy(script=echo)
    body = os.urandom(100_000)
    response = sc.ask("POST", body=body)
    assert response.body == body and response.get("content-length") == str(len(body))
    assert sc.app.requests[0].get("content-length") == str(len(body))


def test_empty_bodies_both_ways(sc):
    """Content-Length: 0 is a whole message: the connections carry on, and no body is waited for."""
    sc.proxy(script=echo, http={"bodyIdleTimeout": "200ms"})
    client = sc.client()
    for _ in range(5):
        response = client.ask("POST", body=b"")
        assert response.status == 200 and response.get("content-length") == "0"
        assert not response.closes
    assert sc.app.requests[0].get("content-length") == "0"
    assert len(sc.app.conns) == 1


def test_an_empty_post_may_wait_for_its_answer(sc):
    def script(conn):
        conn.request()
        time.sleep(0.5)  # the application's own slowness
        conn.answer(b"late")
        conn.read_to_end()

    sc.proxy(script=script, http={"bodyIdleTimeout": "100ms"})
    assert sc.ask("POST", body=b"").body == b"late"


def test_empty_chunked_body(sc):
    sc.proxy(script=echo)
    client = sc.client()
    for _ in range(2):
        client.send(f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.response().body == b""


def test_upstream_connection_close_is_heeded(sc):
    def script(conn):
        conn.request()
        conn.answer(b"ok", headers=[("Connection", "close")])
        conn.expect_end()  # sluice ends it, it does not wait for us

    sc.proxy(script=script)
    client = sc.client()
    for _ in range(3):
        response = client.ask()
        assert response.body == b"ok" and not response.closes
    assert len(sc.app.conns) == 3


def test_a_body_behind_a_204_is_not_passed_on(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil")
        conn.read_to_end()

    sc.proxy(script=[script, ok_app])
    client = sc.client()
    response = client.ask()
    assert response.status in (204, 502)
    assert client.ask().body == b"GET /\n" if not response.closes else True
    assert b"evil" not in client.received


def test_get_without_a_body_has_no_framing(sc):
    sc.proxy()
    sc.ask()
    request = sc.app.requests[0]
    assert not request.has("content-length") and not request.has("transfer-encoding")


def test_chunked_both_ways_with_trailers(sc):
    def script(conn):
        request = conn.request()
        assert request.tokens("transfer-encoding") == ["chunked"]
        assert request.body == b"hello, world"
        assert request.trailers == [("X-Sum", "1")]
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Back\r\n\r\n"
                  "4\r\nback\r\n5;ext=1\r\nwards\r\n0\r\nX-Back: 2\r\n\r\n")
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\n{HOST}TE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\n"
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\nX-Sum: 1\r\n\r\n")
    response = client.response()
    assert response.body == b"backwards"
    assert response.trailers == [("X-Back", "2")]


def test_chunked_name_in_any_case(sc):
    sc.proxy(script=echo)
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\n{HOST}transfer-encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n")
    assert client.response().body == b"0123456789"


def test_response_until_close(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\n\r\nuntil the end")

    sc.proxy(script=script)
    client = sc.client()
    response = client.ask()
    assert response.body == b"until the end"
    # A client of 1.1 can be told the end by chunks, and then stays.
    if response.tokens("transfer-encoding") == ["chunked"]:
        assert not response.closes
    else:
        assert response.closes


def test_truncated_response(sc):
    """Content-Length promises more than comes: the client must see that, and that it is over."""
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    sc.proxy(script=script)
    client = sc.client().request()
    with pytest.raises((EOFError, ConnectionResetError)):
        client.response()
    record = sc.s.wait_access_log(1)[0]
    assert record["reason"] in ("upstream_truncated", "upstream_reset"), record


def test_truncated_chunked_response_is_not_ended(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")

    sc.proxy(script=script)
    client = sc.client().request()
    with pytest.raises((EOFError, ConnectionResetError)):
        client.response()
    assert b"0\r\n\r\n" not in client.received


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_a_body(sc, status):
    def script(conn):
        while conn.request() is not None:
            conn.send(f"HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n")

    sc.proxy(script=script)
    client = sc.client()
    for _ in range(3):
        response = client.ask()
        assert response.status == int(status[:3]) and not response.has("transfer-encoding")
        assert not response.closes
    assert len(sc.app.conns) == 1


def test_304_may_declare_a_length(sc):
    def script(conn):
        while conn.request() is not None:
            conn.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n")

    sc.proxy(script=script)
    client = sc.client()
    assert client.ask().get("content-length") == "1234"
    assert client.ask().status == 304


def test_head(sc):
    sc.proxy()
    client = sc.client()
    for _ in range(3):
        response = client.ask("HEAD", "/x")
        assert response.status == 200 and response.get("content-length") == "8"
    assert client.ask("GET", "/x").body == b"GET /x\n"


def test_head_with_a_chunked_answer(sc):
    def script(conn):
        while conn.request() is not None:
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    sc.proxy(script=script)
    client = sc.client()
    assert client.ask("HEAD").status == 200
    assert client.ask("HEAD").status == 200


@pytest.mark.parametrize("target", ["*", "/x"])
def test_options(sc, target):
    sc.proxy()
    assert sc.ask("OPTIONS", target).status == 200
    assert sc.app.requests[0].target == target


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH"])
def test_other_methods(sc, method):
    sc.proxy(script=echo)
    assert sc.ask(method, body=b"x").body == b"x"
    assert sc.app.requests[0].method == method


# --- interim responses and expectations -------------------------------------------------------

def test_expect_100_continue(sc):
    def script(conn):
        request = conn.head()
        assert request.get("expect", "").lower() == "100-continue"
        asked.set()
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")
        conn.body(request)
        conn.answer(request.body)
        conn.read_to_end()

    asked = threading.Event()
    sc.proxy(script=script)
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
    assert asked.is_set(), "the application itself said continue"
    assert client.send("body").response().body == b"body"


def test_expect_100_continue_refused_by_the_application(sc):
    def script(conn):
        conn.head()
        conn.answer(b"no", "413 Content Too Large")
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Content-Length: 400000\r\nExpect: 100-continue\r\n\r\n")
    response = client.response()
    assert response.status == 413 and response.interim == []
    assert response.closes, "the body was not read, so nothing can follow it"
    client.expect_end()


def test_interim_responses_go_through(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
                  "HTTP/1.1 102 Processing\r\n\r\n")
        conn.answer(b"done")
        conn.read_to_end()

    sc.proxy(script=script)
    response = sc.ask()
    assert [m.status for m in response.interim] == [103, 102]
    assert response.interim[0].get("link") == "</style.css>; rel=preload"
    assert response.body == b"done"


def test_expectation_answered_by_a_final_response_at_once(sc):
    """No 100 comes, the client sends nothing, and the connection can be told apart."""
    def script(conn):
        conn.head()
        conn.answer(b"later", "503 Service Unavailable")
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    client.send(f"PUT / HTTP/1.1\r\n{HOST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    response = client.response()
    assert response.status == 503 and response.interim == []
    client.expect_end()


def test_a_client_that_does_not_wait_for_continue(sc):
    sc.proxy(script=echo)
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
    assert client.response().body == b"body"
    assert client.ask("POST", body=b"x").body == b"x"


def test_interim_response_and_then_the_end(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 103 Early Hints\r\n\r\n")

    sc.proxy(script=script)
    response = sc.ask()
    assert response.status == 502 and [m.status for m in response.interim] == [103]


def test_no_interim_responses_to_http_1_0(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        conn.answer(b"done")
        conn.read_to_end()

    sc.proxy(script=script)
    response = sc.ask(version="1.0")
    assert response.interim == [] and response.body == b"done"


# --- HTTP/1.0 ---------------------------------------------------------------------------------

def test_http_1_0_client(sc):
    sc.proxy()
    client = sc.client()
    response = client.ask(version="1.0")
    assert response.body == b"GET /\n"
    client.expect_fin()
    assert sc.app.requests[0].start == "GET / HTTP/1.1"


def test_http_1_0_client_with_keep_alive(sc):
    sc.proxy()
    client = sc.client()
    for _ in range(3):
        response = client.ask(version="1.0", headers=[("Connection", "keep-alive")])
        assert "keep-alive" in response.tokens("connection")
    assert len(sc.app.conns) == 1


def test_http_1_0_client_gets_no_chunks(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    response = client.ask(version="1.0", headers=[("Connection", "keep-alive")])
    assert not response.has("transfer-encoding") and response.body == b"body"
    client.expect_fin()


def test_http_1_0_upstream(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    sc.proxy(script=script)
    client = sc.client()
    for _ in range(3):
        response = client.ask()
        assert response.start.startswith("HTTP/1.1 200") and response.body == b"ok"
        assert not response.closes
    assert len(sc.app.conns) == 3


# --- fields -----------------------------------------------------------------------------------

def test_hop_by_hop_fields_of_a_request(sc):
    sc.proxy()
    sc.ask(headers=[("Connection", "X-Hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"),
                    ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic eDp5"),
                    ("TE", "gzip"), ("X-End", "2"), ("Authorization", "Basic eDp5")])
    request = sc.app.requests[0]
    for name in ("connection", "x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "te"):
        assert not request.has(name), name
    assert request.get("x-end") == "2"
    assert request.get("authorization") == "Basic eDp5"


def test_hop_by_hop_fields_of_a_response(sc):
    def script(conn):
        while conn.request() is not None:
            conn.answer(b"ok", headers=[("Connection", "X-Hop"), ("X-Hop", "1"), ("X-End", "2"),
                                        ("Keep-Alive", "timeout=5"), ("Set-Cookie", "a=1"),
                                        ("Set-Cookie", "b=2")])

    sc.proxy(script=script)
    response = sc.ask()
    for name in ("x-hop", "keep-alive"):
        assert not response.has(name), name
    assert "x-hop" not in response.tokens("connection")
    assert response.get("x-end") == "2"
    assert response.all("set-cookie") == ["a=1", "b=2"]


def test_via(sc):
    sc.proxy(script=lambda conn: (conn.request(), conn.answer(b"ok", headers=[("Via", "1.1 app")])))
    response = sc.ask(headers=[("Via", "1.0 front")])
    assert sc.app.requests[0].tokens("via") == ["1.0 front", "1.1 sluice"]
    assert response.tokens("via") == ["1.1 app", "1.1 sluice"]


def test_via_can_be_named_and_turned_off(sc):
    sc.proxy(http={"via": "edge-7"})
    assert sc.ask().get("via") == "1.1 edge-7"
    first = sc.app
    sc.proxy(http={"via": "off"})
    assert not sc.ask().has("via")
    assert first.requests[0].get("via") == "1.1 edge-7" and not sc.app.requests[0].has("via")


def test_traceparent_is_passed_on(sc):
    sc.proxy()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sc.ask(headers=[("traceparent", trace), ("tracestate", "a=b")])
    request = sc.app.requests[0]
    assert request.get("traceparent").split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert request.get("tracestate") == "a=b"


@pytest.mark.parametrize("trace", [
    None, "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "rubbish",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"])
def test_traceparent_is_made(sc, trace):
    sc.proxy()
    sc.ask(headers=[("traceparent", trace)] if trace else [])
    made = sc.app.requests[0].get("traceparent")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", made) and made != trace


def test_request_id_is_made_and_different(sc):
    sc.proxy()
    for _ in range(3):
        sc.ask(headers=[("X-Request-Id", "mine")])
    ids = [r.get("x-request-id") for r in sc.app.requests]
    assert len(set(ids)) == 3 and "mine" not in ids


def test_trusted_hops(sc):
    """With proxies in front what they told is kept, and our peer is added."""
    sc.proxy(http={"trustedHops": 2})
    sc.ask(headers=[("X-Forwarded-For", "198.51.100.2, 192.0.2.3"), ("X-Forwarded-Proto", "https")])
    request = sc.app.requests[0]
    assert request.tokens("x-forwarded-for") == ["198.51.100.2", "192.0.2.3", "127.0.0.1"]
    assert request.get("x-forwarded-proto") == "https"


# --- upgrades ---------------------------------------------------------------------------------


def test_websocket_tunnel(sc):
    def script(conn):
        conn = upgrade(conn)
        conn.send("first")  # the server may speak first
        while data := conn.read_some():
            conn.send(data[::-1])

    sc.proxy(script=script)
    client = tunnel(sc.client())
    assert client.read(5) == b"first"
    for i in range(20):
        data = os.urandom(1000 * i + 1)
        client.send(data)
        assert client.read(len(data)) == data[::-1]
    client.half_close()
    client.expect_fin()


def test_tunnel_with_backpressure_both_ways(sc):
    """Each end sends a lot before it reads: nothing is lost, and little is held."""
    n = 16 << 20

    def script(conn):
        conn = upgrade(conn)
        block = bytes(1 << 16)
        sender = threading.Thread(target=lambda: [conn.send(block) for _ in range(n >> 16)])
        sender.start()
        conn.discard(n)
        sender.join()
        conn.half_close()
        conn.read_to_end()

    sc.proxy(script=script)
    client = tunnel(sc.client())
    base = sc.s.anon_kb()
    block = bytes(1 << 16)
    sender = threading.Thread(target=lambda: [client.send(block) for _ in range(n >> 16)])
    sender.start()
    time.sleep(0.2)  # both directions are full now
    held = sc.s.anon_kb() - base
    client.discard(n)
    sender.join()
    assert client.read_to_end() == b""
    assert held < 1024 or SANITIZE, f"{held} KB"


def test_tunnel_half_close_by_the_server(sc):
    def script(conn):
        conn = upgrade(conn)
        conn.send("bye").half_close()
        got.append(conn.read_to_end())

    got = []
    sc.proxy(script=script)
    client = tunnel(sc.client())
    assert client.read_to_end() == b"bye"
    client.send("and more").half_close()
    wait_for(lambda: got, "the backend reads on")
    assert got == [b"and more"]


def test_tunnel_idle_timeout(sc):
    def script(conn):
        upgrade(conn).expect_end()

    sc.proxy(script=script, route={"idleTimeout": "1s"})
    client = tunnel(sc.client())
    client.expect_end()


def test_an_upgrade_that_the_application_declines(sc):
    sc.proxy()
    client = sc.client()
    client.request("GET", "/no", headers=websocket.request_headers())
    assert client.response().status == 200
    assert client.ask("GET", "/after").status == 200


def test_upgrades_can_be_turned_off(sc):
    sc.proxy(route={"upgrades": []})
    client = sc.client()
    client.request("GET", "/no", headers=websocket.request_headers())
    assert client.response().status == 200
    assert not sc.app.requests[0].has("upgrade")


# --- addresses --------------------------------------------------------------------------------

def test_unix_sockets_both_ways(sc):
    path = os.path.join(sc.directory, "app.sock")
    backend = sc.backend(address=f"unix:{path}")
    front = os.path.join(sc.directory, "front.sock")
    sc.proxy(backend, address=f"unix:{front}", listener={"socketMode": "0600"})
    client = sc.client()
    for _ in range(3):
        assert client.ask().status == 200
    assert os.stat(front).st_mode & 0o777 == 0o600
    assert len(backend.conns) == 1
    client.close()
    sc.s.settle()
    sc.s.stop()
    assert not os.path.exists(front), "the socket's file is left behind"


def test_a_stale_unix_socket_is_taken_over(sc):
    front = os.path.join(sc.directory, "front.sock")
    stale = sc.backend(address=f"unix:{front}", accept=False)
    stale.listener.close()
    assert os.path.exists(front)
    sc.proxy(address=f"unix:{front}")
    assert sc.ask().status == 200


def test_ipv6_both_ways(sc):
    backend = sc.backend(address="[::1]:0")
    sc.proxy(backend, address=f"[::1]:{free_port()}")
    assert sc.ask().status == 200
    assert backend.requests[0].get("x-forwarded-for") == "::1"


def test_two_listeners_and_directions(sc):
    one, two = sc.backend(), sc.backend()
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    sc.s = sc.sluice({
        "listeners": [
            {"name": "in", "direction": "inbound", "address": addresses[0], "routes": [forward("one")]},
            {"name": "out", "direction": "outbound", "address": addresses[1], "routes": [forward("two")]},
        ],
        "upstreams": [{"name": "one", "endpoints": [one.address]},
                      {"name": "two", "endpoints": [two.address]}]})
    for address in addresses:
        client = Client(address)
        assert client.ask().status == 200
        client.close()
    assert len(one.requests) == 1 and len(two.requests) == 1


def test_many_workers(sc):
    sc.proxy(more={"workers": 4})
    clients = [sc.client() for _ in range(40)]
    for round_ in range(5):
        for client in clients:
            client.request("GET", f"/{round_}")
        for client in clients:
            assert client.response().body == f"GET /{round_}\n".encode()
    wait_for(lambda: sc.s.metrics().get("sluice_requests_total") == 200, "all are counted")
