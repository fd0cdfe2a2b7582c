"""protocol: tls passes connections through by the name in their ClientHello; protocol: auto takes
HTTP/2, HTTP/1 and anything else on one port."""

import ssl
import threading
import time

import pytest

from harness import forward, free_port, ok_app
from tls import CA, TlsClient, client_context, secured, server_context, s_client
from wire import Client, SLOW, wait_for

ALERT_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
ALERT_DECODE_ERROR = b"\x15\x03\x03\x00\x02\x02\x32"


def hello(name):
    """A ClientHello of OpenSSL."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(raw, size):
    body = raw[5:]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
                    for part in (body[i:i + size] for i in range(0, len(body), size)))


def named(sc, name):
    """A backend with a certificate for that name, which answers with it."""
    def app(conn):
        while conn.request() is not None:
            conn.answer(name.encode())
    return sc.backend(secured(app, server_context(CA.issue(name))))


def through(sc, default=True, more=None):
    one, two = named(sc, "one.test"), named(sc, "x.two.test")
    address = f"127.0.0.1:{free_port()}"
    routes = [{"match": {"sni": ["one.test"]}, "upstream": "one"},
              {"match": {"sni": ["*.two.test"]}, "upstream": "two"}]
    if default:
        routes.append({"name": "rest", "upstream": "one"})
    sc.address = address
    sc.s = sc.sluice({
        "listeners": [{"name": "main", "address": address, "protocol": "tls", "routes": routes}],
        "upstreams": [{"name": "one", "endpoints": [one.address]},
                      {"name": "two", "endpoints": [two.address]}],
        **(more or {})})
    return one, two


def failures(sc, reason):
    return sc.s.metrics().get("sluice_tls_failures_total", listener="main", reason=reason) or 0


@pytest.mark.parametrize("name,backend", [("one.test", b"one.test"), ("ONE.test", b"one.test"),
                                          ("x.two.test", b"x.two.test")])
def test_by_name(sc, name, backend):
    through(sc, default=False)
    client = TlsClient(sc.address, client_context(), name=name)
    assert client.ask().body == backend
    assert client.ask().body == backend
    client.close()
    record = sc.s.wait_access_log(1)[0]
    assert record["host"] == name.lower() and record["reason"] == "none", record


@pytest.mark.parametrize("name", [None, "other.test", "two.test"])
def test_the_rest_goes_to_the_route_without_match(sc, name):
    one, _ = through(sc)
    client = sc.client().send(hello(name))
    assert client.read(1) == b"\x16"
    one.wait_conns(1)


@pytest.mark.parametrize("name", [None, "other.test"])
def test_nobody_has_that_name(sc, name):
    one, two = through(sc, default=False)
    client = sc.client().send(hello(name))
    assert client.read_to_end() == ALERT_UNRECOGNIZED_NAME
    assert sc.s.metrics().get("sluice_errors_total", reason="no_route") == 1
    assert not one.conns and not two.conns


def test_openssl_is_told(sc):
    through(sc, default=False)
    assert "unrecognized name" in s_client(sc.address, "-servername", "other.test")


@pytest.mark.parametrize("size", [1, 3, 100])
def test_hello_in_single_bytes_and_records(sc, size):
    """It arrives as it was sent, however it was cut."""
    got = []
    one = sc.backend(lambda conn: got.append(conn.read(len(raw))))
    raw = in_records(hello("one.test"), size)
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "listeners": [{"name": "main", "address": sc.address, "protocol": "tls",
                       "routes": [{"match": {"sni": ["one.test"]}, "upstream": "one"}]}],
        "upstreams": [{"name": "one", "endpoints": [one.address]}]})
    client = sc.client()
    for i in range(0, len(raw), 1 if size == 1 else 7):
        client.send(raw[i:i + (1 if size == 1 else 7)])
    wait_for(lambda: got, "all of it at the backend")
    assert got == [raw]


@pytest.mark.parametrize("first,reason,answer", [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "not_tls", b""),
    (b"\x00" * 100, "not_tls", b""),
    (b"\x16\x03\x01\x00\x00", "protocol_error", ALERT_DECODE_ERROR),
    (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "protocol_error", ALERT_DECODE_ERROR),
    (b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + b"\x03\x03" + b"\0" * 32 + b"\0\x3f\x00" + b"\0" * 16400,
     "protocol_error", ALERT_DECODE_ERROR),
])
def test_no_hello(sc, first, reason, answer):
    one, _ = through(sc)
    client = sc.client().send(first)
    assert client.read_to_end() == answer
    assert failures(sc, reason) == 1
    assert not one.conns


def test_half_a_hello(sc):
    through(sc)
    client = sc.client().send(hello("one.test")[:50]).half_close()
    client.expect_fin()
    assert failures(sc, "peer_closed") == 1


def test_silent_client(sc):
    """It is not waited for longer than a request's head is: 10 s, a listener of TLS has no other."""
    through(sc)
    client = sc.client(timeout=20 * SLOW).send(hello("one.test")[:50])
    began = time.monotonic()
    client.expect_fin()
    assert time.monotonic() - began > 9
    assert failures(sc, "timeout") == 1


def test_large_both_ways(sc):
    def app(conn):
        request = conn.request()
        conn.answer(request.body)
    one = sc.backend(secured(app, server_context(CA.issue("one.test"))))
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "listeners": [{"name": "main", "address": sc.address, "protocol": "tls",
                       "routes": [{"match": {"sni": ["one.test"]}, "upstream": "one"}]}],
        "upstreams": [{"name": "one", "endpoints": [one.address]}]})
    client = TlsClient(sc.address, client_context(), name="one.test")
    body = bytes(range(256)) * 8000
    assert client.ask("POST", "/", body=body).body == body
    client.close()


def test_it_ends_with_the_drain(sc):
    through(sc)
    client = TlsClient(sc.address, client_context(), name="one.test")
    client.ask()
    waiting = sc.client().send(hello("one.test")[:20])
    sc.s.stop()
    for c in (client, waiting):
        with pytest.raises((OSError, EOFError)):
            while c.read_some():
                pass
            raise EOFError
    client.close()


# --- auto -------------------------------------------------------------------------------------

def auto(sc, script=None, timeout="300ms", listener=None):
    """HTTP goes to `app`, bytes to `raw`."""
    sc.app = sc.backend(ok_app)
    sc.raw = sc.backend(script or echo)
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "listeners": [{"name": "main", "address": sc.address, "protocol": "auto",
                       "autoTimeout": timeout, "routes": [forward()],
                       "backends": [{"upstream": "raw"}], **(listener or {})}],
        "upstreams": [{"name": "app", "endpoints": [sc.app.address]},
                      {"name": "raw", "endpoints": [sc.raw.address]}]})


def echo(conn):
    while data := conn.read_some():
        conn.send(data)


def test_auto_http1(sc):
    auto(sc)
    for method in ("GET", "DELETE", "M-SEARCH"):
        client = sc.client()
        assert client.ask(method, "/a").body == f"{method} /a\n".encode()
        assert client.ask("GET", "/b").body == b"GET /b\n"
    client = sc.client()
    for c in "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n":
        client.send(c)
    assert client.response().status == 200
    assert not sc.raw.conns


def test_auto_http2(sc):
    auto(sc)
    client = sc.client().send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    assert client.read(9)[3] == 4  # SETTINGS
    slow = sc.client()
    for c in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0":
        slow.send(bytes([c]))
    assert slow.read(9)[3] == 4
    assert not sc.raw.conns


@pytest.mark.parametrize("first", [b"\x00\x01\x02", b"SET a 1\r\n", b"EHLO example.test\r\n",
                                   b"get / HTTP/1.1\r\n", b"\r\n", b"A" * 40, b"\x16\x03\x01"])
def test_auto_bytes(sc, first):
    auto(sc, timeout="10s")
    client = sc.client().send(first)
    assert client.read(len(first)) == first
    client.send(b"more")
    assert client.read(4) == b"more"
    client.half_close()
    client.expect_fin()
    assert not sc.app.conns


def test_auto_server_speaks_first(sc):
    def greet(conn):
        conn.send("220 hello\r\n")
        echo(conn)
    auto(sc, greet)
    client = sc.client()
    assert client.read(11) == b"220 hello\r\n"
    client.send("GET / HTTP/1.1\r\n")  # it is decided by now
    assert client.read(16) == b"GET / HTTP/1.1\r\n"
    assert not sc.app.conns


def test_auto_a_beginning_that_stays_one(sc):
    auto(sc)
    client = sc.client().send("PRI * HT")
    assert client.read(8) == b"PRI * HT"


def test_auto_half_close(sc):
    auto(sc, timeout="10s")
    client = sc.client().send("GE").half_close()
    assert client.read_to_end() == b"GE"
    empty = sc.client().half_close()
    empty.expect_fin()


def test_auto_drain(sc):
    auto(sc, timeout="10s")
    silent = sc.client()
    wait_for(lambda: sc.s.status()["connections"] == 1, "it is accepted")
    sc.s.stop()
    silent.expect_end()


def test_auto_behind_tls(sc):
    """What a handshake has not agreed on is looked for in the bytes behind it."""
    pair = CA.issue("a.test")
    auto(sc, timeout="10s", listener={"tls": {"certificates": [
        {"certFile": pair.cert, "keyFile": pair.key}]}})
    h1 = TlsClient(sc.address, client_context(alpn=("http/1.1",)))
    assert h1.ask().body == b"GET /\n"
    quiet = TlsClient(sc.address, client_context(alpn=()))
    assert quiet.ask().body == b"GET /\n"
    raw = TlsClient(sc.address, client_context(alpn=()))
    raw.send(b"\0hello")
    assert raw.read(6) == b"\0hello"
    for client in (h1, quiet, raw):
        client.close()


def test_auto_many_at_once(sc):
    auto(sc)
    errors = []

    def one(i):
        try:
            client = Client(sc.address)
            if i % 3 == 0:
                assert client.ask("GET", f"/{i}").body == f"GET /{i}\n".encode()
            else:
                data = bytes([i]) * 5000
                client.send(data)
                assert client.read(5000) == data
            client.close()
        except Exception as e:  # noqa: BLE001 - told by the test
            errors.append((i, repr(e)))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors
