"""protocol: tcp relays bytes, and each side's end as it comes."""

import os
import threading
import time

import pytest

from harness import deep_update, forward, free_port
from wire import wait_for


def tcp(sc, script, more=None, **how):
    listener = {"protocol": "tcp"}
    deep_update(listener, more or {})
    return sc.proxy(script=script, listener=listener, **how)


def echo_bytes(conn):
    while data := conn.read_some():
        conn.send(data)


def test_bytes_both_ways(sc):
    tcp(sc, echo_bytes)
    client = sc.client()
    for n in (1, 10, 1000, 100_000, 1_000_000):
        data = os.urandom(n)
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        assert client.read(n) == data
        sender.join()
    client.half_close()
    client.expect_fin()


def test_server_first(sc):
    """The server greets before the client has said a word (SMTP, SSH, MySQL)."""
    tcp(sc, lambda conn: (conn.send("220 hello\r\n"), conn.read_to_end()))
    client = sc.client()
    assert client.read(11) == b"220 hello\r\n"


def test_client_half_close(sc):
    """The client ends its direction, and the answer still comes."""
    def script(conn):
        data = conn.read_to_end()
        conn.send(b"got %d" % len(data))

    tcp(sc, script)
    client = sc.client()
    client.send(b"x" * 300_000).half_close()
    assert client.read_to_end() == b"got 300000"


def test_server_half_close(sc):
    """The server ends its direction, and still reads."""
    def script(conn):
        conn.send("that is all").half_close()
        got.append(conn.read_to_end())

    got = []
    tcp(sc, script)
    client = sc.client()
    assert client.read_to_end() == b"that is all"
    client.send("and one more")
    client.half_close()
    wait_for(lambda: got, "the backend reads on")
    assert got == [b"and one more"]


def test_half_close_behind_bytes_that_wait(sc):
    """The end comes after all that was sent before it, however slowly it is taken."""
    n = 8 << 20

    def script(conn):
        go.wait(10)
        got.append(len(conn.read_to_end()))
        conn.send("done")

    go, got = threading.Event(), []
    tcp(sc, script)
    client = sc.client()
    sender = threading.Thread(target=lambda: (client.send(bytes(n)), client.half_close()))
    sender.start()
    sc.app.wait_conns(1)
    go.set()
    sender.join(20)
    assert client.read_to_end() == b"done"
    assert got == [n]


def test_the_application_closes_with_bytes_on_their_way(sc):
    """What it sent before its end arrives whole."""
    n = 4 << 20
    tcp(sc, lambda conn: (conn.send(bytes(n)), conn.half_close(), conn.read_to_end()))
    client = sc.client()
    time.sleep(0.1)  # it all waits in buffers
    assert len(client.read_to_end()) == n


def test_client_reset(sc):
    ended = []

    def script(conn):
        try:
            conn.read_to_end()
        except ConnectionResetError:
            pass
        ended.append(True)

    tcp(sc, script)
    client = sc.client().send("x")
    sc.app.wait_conns(1)
    client.reset()
    wait_for(lambda: ended, "the backend's connection ends")


def test_server_reset(sc):
    def script(conn):
        conn.read(1)
        conn.reset()

    tcp(sc, script)
    client = sc.client().send("x")
    client.expect_end()


def test_refused_upstream(sc):
    backend = sc.backend()
    backend.stop_listening()
    sc.proxy(backend, listener={"protocol": "tcp"})
    client = sc.client()
    client.expect_end()
    wait_for(lambda: sc.s.metrics().get("sluice_errors_total", reason="connect_refused") == 1,
             "it is counted")


def test_idle_timeout(sc):
    tcp(sc, echo_bytes, {"idleTimeout": "1s"})
    client = sc.client().send("x")
    assert client.read(1) == b"x"
    client.expect_end()


def test_weights(sc):
    one = sc.backend(lambda conn: (conn.send("1"), conn.read_to_end()))
    two = sc.backend(lambda conn: (conn.send("2"), conn.read_to_end()))
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "listeners": [{"name": "t", "protocol": "tcp", "address": sc.address,
                       "backends": [{"upstream": "one", "weight": 3}, {"upstream": "two", "weight": 1}]}],
        "upstreams": [{"name": "one", "endpoints": [one.address]},
                      {"name": "two", "endpoints": [two.address]}]})
    seen = []
    for _ in range(40):
        client = sc.client()
        seen.append(client.read(1))
        client.half_close()
        client.expect_fin()
        client.close()
    assert abs(seen.count(b"2") - 10) <= 1, seen


def test_large_both_ways_with_backpressure(sc):
    n = 32 << 20

    def script(conn):
        conn.discard(n)
        block = bytes(1 << 16)
        for _ in range(n >> 16):
            conn.send(block)
        conn.half_close()
        conn.read_to_end()

    tcp(sc, script)
    client = sc.client()
    base = sc.s.anon_kb()
    block = bytes(1 << 16)
    for _ in range(n >> 16):
        client.send(block)
    client.discard(n)
    assert sc.s.anon_kb() - base < 8192
    client.half_close()
    client.expect_fin()


def test_many_connections(sc):
    tcp(sc, echo_bytes)
    clients = [sc.client() for _ in range(200)]
    for i, client in enumerate(clients):
        client.send(b"%03d" % i)
    for i, client in enumerate(clients):
        assert client.read(3) == b"%03d" % i
    wait_for(lambda: sc.s.status()["connections"] == 200, "all are counted")


@pytest.mark.parametrize("kind", ["unix", "ipv6"])
def test_addresses(sc, kind):
    backend = sc.backend(echo_bytes, address="[::1]:0" if kind == "ipv6" else
                         f"unix:{sc.directory}/b.sock")
    front = f"[::1]:{free_port()}" if kind == "ipv6" else f"unix:{sc.directory}/f.sock"
    sc.proxy(backend, listener={"protocol": "tcp"}, address=front)
    client = sc.client().send("ping")
    assert client.read(4) == b"ping"
    client.half_close()
    client.expect_fin()


def test_tcp_beside_http(sc):
    backend = sc.backend()
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    sc.s = sc.sluice({
        "listeners": [{"name": "h", "address": addresses[0], "routes": [forward()]},
                      {"name": "t", "protocol": "tcp", "address": addresses[1],
                       "backends": [{"upstream": "app"}]}],
        "upstreams": [{"name": "app", "endpoints": [backend.address]}]})
    for address in addresses:
        client = sc.client(address)
        assert client.ask("GET", "/x", headers=[("Connection", "close")]).body == b"GET /x\n"
        client.close()
    assert backend.requests[0].has("via") and not backend.requests[1].has("via")
