"""TLS on both sides: who is let in and who is believed, what is resumed, and how connections end."""

import json
import os
import socket
import ssl
import threading

import pytest

import certs
import tls
from harness import SANITIZE, assert_problem, ok_app
from tls import CA, TlsClient, client_context, connect, secured, server_context
from wire import Client, free_port, wait_for

H2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def echo(conn):
    while (request := conn.request()) is not None:
        conn.answer(request.body)


# --- clients ----------------------------------------------------------------------------------

def test_keep_alive(sc):
    sc.proxy(listener=tls.listener())
    client = connect(sc)
    assert client.tls.version() == "TLSv1.3"
    assert client.tls.selected_alpn_protocol() == "http/1.1"
    for i in range(30):
        response = client.ask("GET", f"/{i}")
        assert response.status == 200 and response.body == f"GET /{i}\n".encode()
    assert all(r.get("x-forwarded-proto") == "https" for r in sc.app.requests)
    assert len(sc.app.conns) == 1


def test_tls_1_2(sc):
    sc.proxy(listener=tls.listener())
    client = connect(sc, client_context(version=ssl.TLSVersion.TLSv1_2))
    assert client.tls.version() == "TLSv1.2"
    assert client.ask().status == 200


def test_min_version(sc):
    sc.proxy(listener=tls.listener(minVersion="1.3"))
    with pytest.raises(ssl.SSLError):
        connect(sc, client_context(version=ssl.TLSVersion.TLSv1_2))
    assert connect(sc).ask().status == 200


def test_alpn(sc):
    sc.proxy(listener=tls.listener())
    h2 = connect(sc, client_context(alpn=("http/1.1", "h2")))
    assert h2.tls.selected_alpn_protocol() == "h2"
    h2.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + H2_SETTINGS)
    assert h2.read(4)[3] == 4, "a SETTINGS frame comes"
    h2.close()
    none = connect(sc, client_context(alpn=()))
    assert none.tls.selected_alpn_protocol() is None
    assert none.ask().status == 200
    with pytest.raises(ssl.SSLError):
        connect(sc, client_context(alpn=("spdy/3",)))


def test_certificate_by_name(sc):
    a, b = tls.server_pair(), CA.issue("b", sans=["DNS:*.b.test"])
    both = {"tls": {"certificates": [{"certFile": p.cert, "keyFile": p.key} for p in (a, b)]}}
    sc.proxy(listener=both)
    for name, cn in (("a.test", "a.test"), ("x.b.test", "b")):
        client = connect(sc, name=name)
        subject = dict(x[0] for x in client.tls.getpeercert()["subject"])
        assert subject["commonName"] == cn
        assert client.ask().status == 200


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_large_bodies(sc, alpn):
    sc.proxy(script=echo, listener=tls.listener())
    body = os.urandom(3 << 20)
    if alpn == "h2":
        source = os.path.join(sc.directory, "body")
        with open(source, "wb") as f:
            f.write(body)
        import subprocess
        got = subprocess.run(["curl", "-s", "--http2", "--cacert", CA.cert, "--data-binary",
                              "@" + source, f"https://{sc.address}/", "-w", "%{stderr}%{http_version}"],
                             capture_output=True, check=True)
        assert got.stdout == body and got.stderr == b"2"
        return
    client = connect(sc)
    sender = threading.Thread(target=client.request, args=("POST",), kwargs={"body": body})
    # Both directions of one SSLSocket at once are not Python's: the request first.
    sender.start()
    sender.join()
    assert client.response("POST").body == body


def test_handshake_in_single_bytes(sc):
    sc.proxy(listener=tls.listener())
    raw = sc.client()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client_context().wrap_bio(incoming, outgoing, server_hostname="a.test")

    def flush():
        for byte in outgoing.read():
            raw.send(bytes([byte]))

    def until(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                flush()
                incoming.write(raw.read_some())
    until(session.do_handshake)
    session.write(b"GET /x HTTP/1.1\r\nHost: test\r\n\r\n")
    flush()
    got = b""
    while b"GET /x\n" not in got:
        got += until(lambda: session.read(4096))


def test_plain_http_is_refused(sc):
    sc.proxy(listener=tls.listener())
    client = sc.client()
    client.request()
    assert client.read_to_end()[:1] in (b"", b"\x15"), "an alert, if anything"
    assert not sc.app.requests


def test_silent_client(sc):
    sc.proxy(listener=tls.listener(), http={"headerTimeout": "300ms"})
    silent, half = sc.client(), sc.client()
    half.send(b"\x16\x03\x01\x02\x00\x01\x00")
    silent.expect_end()
    half.expect_end()


def test_first_request_has_time_of_its_own(sc):
    sc.proxy(listener=tls.listener(), http={"headerTimeout": "500ms"})
    client = connect(sc)
    client.expect_close_notify()


@pytest.mark.parametrize("mode", ["none", "optional", "require"])
def test_client_certificates(sc, mode):
    more = {"clientAuth": mode}
    if mode != "none":
        more["caFile"] = CA.cert
    sc.proxy(listener=tls.listener(**more))
    with_pair, stranger = client_context(pair=tls.client_pair()), certs.authority("Stranger")
    assert connect(sc, with_pair).ask().status == 200
    if mode == "require":
        # In TLS 1.3 the client learns it with its first read.
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            connect(sc).ask()
    else:
        assert connect(sc).ask().status == 200
    if mode != "none":
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            connect(sc, client_context(pair=stranger.issue("x"))).ask()
    assert len(sc.app.requests) == (1 if mode == "require" else 2)


def test_alert_arrives(sc):
    """The reset of a connection that is closed with unread bytes would overtake it."""
    sc.proxy(listener=tls.listener(clientAuth="require", caFile=CA.cert))
    for _ in range(20):
        client = connect(sc)
        client.request()
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED|certificate required"):
            client.read_to_end()


def test_spiffe_ids(sc):
    sc.proxy(listener=tls.listener(clientAuth="require", caFile=CA.cert,
                                   spiffeIds=["spiffe://td/ns/client", "spiffe://td/jobs/*"]))
    for name, allowed in (("ns/client", True), ("jobs/a", True), ("ns/other", False)):
        pair = CA.issue(name, sans=[f"URI:spiffe://td/{name}"])
        if allowed:
            assert connect(sc, client_context(pair=pair)).ask().status == 200
        else:
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                connect(sc, client_context(pair=pair)).ask()


def test_resumption(sc):
    sc.proxy(listener=tls.listener())
    context = client_context()
    first = connect(sc, context)
    assert first.ask().status == 200
    second = connect(sc, context, session=first.tls.session)
    assert second.tls.session_reused
    assert second.ask().status == 200


def test_renegotiation_closes(sc):
    sc.proxy(listener=tls.listener())
    said = tls.s_client(sc.address, "-tls1_2", "-servername", "a.test", text="R\nGET / HTTP/1.1\n")
    assert "RENEGOTIATING" in said
    assert "HTTP/1.1 200" not in said
    assert not sc.app.requests


@pytest.mark.parametrize("how", ["h1", "h1 in a request", "h2"])
def test_key_updates(sc, how):
    """32 at once are a client that renews its key; more are a flood."""
    sc.proxy(listener=tls.listener())
    client = tls.Renewer(sc.address, "-alpn", how[:2].replace("h1", "http/1.1"))
    errors = lambda: sc.s.metrics().get("sluice_errors_total", reason="tls_flood")  # noqa: E731
    if how == "h1 in a request":
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        wait_for(lambda: sc.app.conns, "it is passed on")
    for _ in range(30):
        assert client.renew()
    if how == "h1":
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.until(b"HTTP/1.1 200")
    assert errors() == 0
    wait_for(lambda: not client.renew(), "the connection closes")
    wait_for(lambda: errors() == 1, "it is counted")
    client.close()


# --- ends -------------------------------------------------------------------------------------

def test_connection_close_is_orderly(sc):
    sc.proxy(listener=tls.listener())
    client = connect(sc)
    assert client.ask(headers=[("Connection", "close")]).closes
    client.expect_close_notify()


def test_client_leaves_in_an_orderly_way(sc):
    sc.proxy(listener=tls.listener())
    client = connect(sc)
    assert client.ask().status == 200
    client.sock = client.tls.unwrap()  # waits for theirs
    client.expect_fin()


def test_client_vanishes(sc):
    sc.proxy(listener=tls.listener())
    for _ in range(5):
        client = connect(sc)
        assert client.ask().status == 200
        client.close()  # no close_notify
    half = sc.client()
    half.send(b"\x16\x03\x01")
    half.close()


def test_bytes_behind_close_notify(sc):
    sc.proxy(listener=tls.listener())
    client = connect(sc)
    assert client.ask().status == 200
    raw = socket.socket(fileno=os.dup(client.tls.fileno()))
    client.sock = client.tls.unwrap()
    try:
        raw.sendall(b"GET /late HTTP/1.1\r\nHost: test\r\n\r\n")
    except OSError:
        pass
    client.expect_end()
    raw.close()
    assert [r.target for r in sc.app.requests] == ["/"]


def test_cut_response_is_no_end(sc):
    def cut(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        conn.close()
    sc.proxy(script=cut, listener=tls.listener())
    client = connect(sc)
    client.request()
    assert client.response_head().status == 200
    client.expect_cut()


def test_drain_is_orderly(sc):
    held = threading.Event()

    def slow(conn):
        while conn.request() is not None:
            held.wait(10)
            conn.answer(b"late")
    sc.proxy(script=slow, listener=tls.listener())
    idle, busy = connect(sc), connect(sc)
    held.set()
    assert idle.ask().status == 200
    held.clear()
    busy.request()
    sc.app.wait_requests(2)
    sc.s.signal(15)
    idle.expect_close_notify()
    held.set()
    response = busy.response()
    assert response.body == b"late" and response.closes
    busy.expect_close_notify()
    sc.s.check_end(sc.s.wait_exit())


# --- upstreams --------------------------------------------------------------------------------

def test_upstream(sc):
    sc.proxy(script=secured(echo), upstream=tls.upstream())
    body = os.urandom(1 << 20)
    client = sc.client()
    for _ in range(3):
        assert client.ask("POST", body=body).body == body
    assert len(sc.app.conns) == 1


@pytest.mark.parametrize("settings", [
    {"serverName": "a.test"},
    {"sans": ["x.test", "127.0.0.1"]},
    {"serverName": "x.test", "sans": ["a.test"]},
    {"spiffeIds": ["spiffe://td/ns/*"]},
    {},  # the endpoint's own address
])
def test_upstream_is_believed(sc, settings):
    sc.proxy(script=secured(ok_app), upstream={"tls": {"caFile": CA.cert, **settings}})
    assert sc.ask().status == 200


@pytest.mark.parametrize("settings", [
    {"serverName": "b.test"},
    {"sans": ["b.test"]},
    {"spiffeIds": ["spiffe://td/ns/other"]},
    {"caFile": certs.authority("Stranger").cert},
])
def test_upstream_is_refused(sc, settings):
    sc.proxy(script=secured(ok_app), upstream={"tls": {"caFile": CA.cert, **settings}})
    assert_problem(sc.ask(), "upstream_certificate")
    assert not sc.app.requests
    assert "TLS with" in sc.s.log()


def test_upstream_expired(sc):
    old = CA.issue("a.test", valid_from=-7200, valid_until=-3600)
    sc.proxy(script=secured(ok_app, server_context(old)), upstream=tls.upstream())
    assert_problem(sc.ask(), "upstream_certificate")
    assert "expired" in sc.s.log()


def test_upstream_insecure(sc):
    stranger = certs.authority("Stranger").issue("z.test")
    sc.proxy(script=secured(ok_app, server_context(stranger)),
             upstream={"tls": {"insecureSkipVerify": True}})
    assert sc.ask().status == 200


def test_upstream_is_plain(sc):
    def plain(conn):
        conn.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        conn.read_some()
    sc.proxy(script=plain, upstream=tls.upstream())
    assert_problem(sc.ask(), "upstream_tls")


def test_upstream_closes_in_handshake(sc):
    sc.proxy(script=lambda conn: conn.read_some(), upstream=tls.upstream())
    assert_problem(sc.ask(), "upstream_tls")


def test_upstream_is_silent(sc):
    stop = threading.Event()
    sc.proxy(script=lambda conn: stop.wait(20),
             upstream={**tls.upstream(), "connectTimeout": "300ms"})
    assert_problem(sc.ask(), "connect_timeout")
    stop.set()


def test_another_endpoint_is_tried(sc):
    bad = sc.backend(secured(ok_app, server_context(certs.authority("Stranger").issue("a.test"))))
    sc.proxy(script=secured(ok_app), upstream={**tls.upstream(), "balance": "roundRobin"})
    config = json.loads(json.dumps(sc.s.config))
    config["upstreams"][0]["endpoints"] = [bad.address, sc.app.address]
    for key in ("admin", "health", "accessLog"):
        config.pop(key)
    config["listeners"][0]["address"] = address = f"127.0.0.1:{free_port()}"
    sc.sluice(config)
    for _ in range(4):
        client = sc.client(address)
        assert client.ask().status == 200


def test_upstream_wants_a_certificate(sc):
    pair = tls.client_pair()
    context = server_context(clients=CA)
    seen = []

    def who(conn):
        seen.append(conn.sock.getpeercert())
        ok_app(conn)
    sc.proxy(script=secured(who, context),
             upstream=tls.upstream(certFile=pair.cert, keyFile=pair.key))
    assert sc.ask().status == 200
    assert ("URI", "spiffe://td/ns/client") in seen[0]["subjectAltName"]


def test_upstream_wants_a_certificate_that_we_have_not(sc):
    context = server_context(clients=CA, version=ssl.TLSVersion.TLSv1_2)
    sc.proxy(script=secured(ok_app, context), upstream=tls.upstream())
    assert_problem(sc.ask(), "upstream_tls")


def test_upstream_sessions_are_resumed(sc):
    context, reused = server_context(), []

    def once(conn):
        reused.append(conn.sock.session_reused)
        conn.request()
        conn.answer(b"x", headers=[("Connection", "close")])
        conn.sock.unwrap()
    sc.proxy(script=secured(once, context), upstream=tls.upstream())
    for i in range(3):
        assert sc.ask().status == 200
        wait_for(lambda: sc.s.status()["upstreams"][0]["connections"] == 0, "it is closed")
    assert reused == [False, True, True]


@pytest.mark.parametrize("orderly", [True, False])
def test_body_until_the_end(sc, orderly):
    def until_close(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\n\r\nhello")
        if orderly:
            try:
                conn.sock = conn.sock.unwrap()
            except OSError:
                pass
        else:
            conn.sock.shutdown(socket.SHUT_RDWR)
    sc.proxy(script=secured(until_close), upstream=tls.upstream())
    client = sc.client()
    client.request()
    if orderly:
        assert client.response().body == b"hello"
    else:
        head = client.response_head()
        with pytest.raises((EOFError, ConnectionError)):
            client._body(head)  # noqa: SLF001
    record = sc.s.wait_access_log(1)[0]
    assert record.get("reason", "none") == ("none" if orderly else "upstream_truncated"), record


def test_idle_connections_end_in_an_orderly_way(sc):
    ends = []

    def watch(conn):
        conn.request()
        conn.answer(b"x")
        ends.append(conn.sock.recv(1))
    sc.proxy(script=secured(watch), upstream={**tls.upstream(), "pool": {"idleTimeout": "100ms"}})
    assert sc.ask().status == 200
    wait_for(lambda: ends == [b""], lambda: f"close_notify: {ends}, {sc.app.conns[0].__dict__}")


def test_tcp(sc):
    def upper(conn):
        while data := conn.sock.recv(4096):
            conn.sock.sendall(data.upper())
        conn.sock.unwrap()
    sc.proxy(script=secured(upper, server_context(alpn=())), upstream=tls.upstream(),
             listener={**tls.listener(), "protocol": "tcp"})
    client = connect(sc, client_context(alpn=()))
    client.send(b"hello")
    assert client.read(5) == b"HELLO"
    client.sock = client.tls.unwrap()
    client.close()


def test_both_sides(sc):
    """Two in a row: what one terminates, the other has originated; by HTTP/2 between them."""
    sc.proxy(listener=tls.listener())
    inner, address = sc.address, f"127.0.0.1:{free_port()}"
    outer = sc.sluice({
        "listeners": [{"name": "out", "direction": "outbound", "address": address,
                       "routes": [{"match": {"pathPrefix": "/"}, "upstream": "in"}]}],
        "upstreams": [{"name": "in", "endpoints": [inner], "protocol": "auto", **tls.upstream()}]})
    client = sc.client(address)
    for i in range(10):
        assert client.ask("GET", f"/{i}").status == 200
    assert sc.app.requests[-1].tokens("via")[-1].startswith("2"), sc.app.requests[-1]
    assert outer.status()["upstreams"][0]["connections"] == 1


# --- what it costs ----------------------------------------------------------------------------

@pytest.mark.skipif(bool(SANITIZE), reason="sanitizers have memory of their own")
def test_memory_of_idle_connections(sc):
    sc.proxy(listener=tls.listener(), http={"keepAliveTimeout": "120s"},
             more={"accessLog": {"path": os.devnull}})
    context, n = client_context(), 400

    def fill(opened):
        for _ in range(n):
            client = opened()
            assert client.ask().status == 200
    warm = [connect(sc, context) for _ in range(50)]
    for client in warm:
        assert client.ask().status == 200
    before = sc.s.anon_kb()
    fill(lambda: connect(sc, context))
    each = (sc.s.anon_kb() - before) / n
    print(f"RssAnon of an idle HTTP/1 connection over TLS: {each:.1f} KB")
    assert each <= 18, each
