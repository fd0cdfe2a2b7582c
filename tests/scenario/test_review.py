"""What a reading of the proxy's core put in doubt: each a moment at which something could be
missed, lost, cut, or waited for in vain."""

import json
import os
import random
import re
import signal
import socket
import threading
import time

import pytest

from drains import lifecycle, stuck, wait_phase
from harness import assert_problem, forward, free_port, ok_app
from tunnels import tunnel, upgrade
from wire import SLOW, TIMEOUT, Client, wait_for

# --- a client that takes its time ---------------------------------------------------------------

# A Unix socket's buffer is small and does not grow, so that of these sizes some end with bytes
# that the kernel has not taken yet.
SIZES = range(160 << 10, 420 << 10, 20 << 10)


def sized_app(conn):
    """Answers /N with N bytes."""
    while (request := conn.request()) is not None:
        conn.answer(b"x" * int(request.target[1:].partition("?")[0]))
        if request.closes:
            return


def unix_front(sc, **how):
    return sc.proxy(script=sized_app, address=f"unix:{sc.directory}/front", **how)


def read_all(clients):
    for n, client in clients.items():
        response = client.response()
        assert response.status == 200 and len(response.body) == n, (n, len(response.body))


def test_the_last_bytes_wait_for_a_slow_client(sc):
    """What is left of a response behind Connection: close is not cut off after the linger time."""
    unix_front(sc)
    clients = {n: sc.client().request("GET", f"/{n}", headers=[("Connection", "close")])
               for n in SIZES}
    time.sleep(2.8)
    read_all(clients)
    for client in clients.values():
        client.expect_fin()


def test_the_idle_time_begins_when_the_response_is_taken(sc):
    unix_front(sc, http={"keepAliveTimeout": "1s"})
    clients = {n: sc.client().request("GET", f"/{n}") for n in SIZES}
    time.sleep(2.8)
    read_all(clients)
    for client in clients.values():
        client.expect_fin()


def test_a_lingering_client_that_takes_nothing_is_cut(sc):
    unix_front(sc, http={"writeTimeout": "300ms"})
    for n in SIZES:
        sc.client().request("GET", f"/{n}", headers=[("Connection", "close")])
    wait_for(lambda: sc.s.status()["connections"] == 0, "they are closed")


def test_pipelined_behind_a_response_that_is_taken_late(sc):
    """So much is pipelined that reading stops; it is served when the response before it, which the
    kernel had not taken whole when it ended, is gone."""
    unix_front(sc)
    more = 400
    clients = {}
    for n in SIZES:
        clients[n] = sc.client()
        clients[n].send(f"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n" +
                        f"GET /7?{'q' * 40} HTTP/1.1\r\nHost: a\r\n\r\n" * more)
    time.sleep(0.3)
    for n, client in clients.items():
        assert len(client.response().body) == n
        for _ in range(more):
            assert len(client.response().body) == 7


def test_a_slow_client_is_not_a_stuck_one(sc):
    """It takes bytes all the time, only fewer in writeTimeout than the kernel's buffer holds."""
    total = 24 << 20

    def script(conn):
        conn.request()
        conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n")
        for _ in range(total >> 16):
            conn.send(bytes(65536))

    sc.proxy(script=script, http={"writeTimeout": "1500ms"})
    client = sc.client().request()
    assert client.response_head().status == 200
    taken = len(client.buffer)
    client.buffer = b""
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        taken += len(client.sock.recv(16384))
        time.sleep(0.05)
    client.discard(total - taken)


def test_write_timeout_is_not_for_tunnels(sc):
    """A client of a tunnel may rest as long as idleTimeout says."""
    total = 16 << 20

    def script(conn):
        conn = upgrade(conn)
        conn.send(bytes(total)).half_close()
        conn.read_to_end()

    sc.proxy(script=script, http={"writeTimeout": "300ms"})
    client = tunnel(sc.client())
    time.sleep(1.5)
    client.discard(total)
    client.half_close()
    client.expect_fin()


# --- deadlines ----------------------------------------------------------------------------------

@pytest.mark.parametrize("when", ["with the head", "later"])
def test_first_byte_timeout_of_an_upload(sc, when):
    """It counts from the request's last byte, on a connection that was there before."""
    def script(conn):
        conn.request()
        conn.answer(b"")
        conn.request()
        conn.read_to_end()

    sc.proxy(script=script, route={"firstByteTimeout": "1s", "timeout": "30s"})
    client = sc.client()
    assert client.ask().status == 200
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    if when == "later":
        sc.app.wait_requests(2)
    client.send("abc")
    start = time.monotonic()
    assert_problem(client.response(), "first_byte_timeout")
    assert time.monotonic() - start < 9


def full_backlog():
    """An address that answers no SYN, and what keeps it so."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    kept = [full]
    for _ in range(8):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(full.getsockname())
        kept.append(s)
    return "127.0.0.1:%d" % full.getsockname()[1], kept


def test_queue_timeout_behind_a_connect_that_hangs(sc):
    """Who waits for a place is told in time, though who came before still waits for its connect."""
    address, kept = full_backlog()
    try:
        sc.proxy(upstream={"endpoints": [address], "connectTimeout": "40s",
                           "circuitBreaker": {"maxConnections": 1, "queueTimeout": "200ms"}},
                 route={"timeout": "60s"})
        sc.client().request()
        wait_for(lambda: sc.s.status()["streams"] == 1, "it is under way")
        # Their time passes while the first is still there.
        for _ in range(2):
            start = time.monotonic()
            assert_problem(sc.ask(), "queue_timeout")
            assert time.monotonic() - start < TIMEOUT / 2
        for client in sc.clients:
            client.close()
    finally:
        for s in kept:
            s.close()


def test_keep_alive_of_no_time_does_not_spin(sc):
    """An application that says timeout=0, and minIdle that would keep its connection."""
    def script(conn):
        while conn.request() is not None:
            conn.answer(b"", headers=[("Keep-Alive", "timeout=0")])

    sc.proxy(script=script, upstream={"pool": {"minIdle": 1}})
    assert sc.ask().status == 200
    before = sc.s.cpu_seconds()
    time.sleep(1)
    assert sc.s.cpu_seconds() - before < 0.3


# --- framing ------------------------------------------------------------------------------------

def test_early_response_to_http_1_0_has_no_chunks(sc):
    """HTTP/1.0 knows no chunks, and that does not depend on how much of its request has come."""
    def script(conn):
        conn.head()
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    client.send("POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\n12345")
    response = client.response()
    assert not response.has("transfer-encoding") and response.body == b"abc"


def test_a_reset_is_no_end_of_a_body(sc):
    """The upstream's reset is seen by a write, while its body, which only the connection's end
    ends, waits for the client: the body must not look whole."""
    go = threading.Event()

    def script(conn):
        conn.head()
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        conn.sock.settimeout(0.3)
        try:
            while True:
                conn.send(bytes(1 << 16))
        except TimeoutError:
            pass
        go.set()
        conn.reset()

    sc.proxy(script=script)
    client = sc.client()
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    assert client.response_head().status == 200
    assert go.wait(10)
    time.sleep(0.1)
    client.send("1\r\nb\r\n")
    time.sleep(0.1)
    data = b""
    try:
        while piece := client.read_some():
            data = data[-16:] + piece
    except ConnectionResetError:
        pass
    assert not data.endswith(b"\r\n0\r\n\r\n"), "a cut body was ended as if it were whole"


def test_half_closed_with_requests_pipelined(sc):
    """printf 'GET /1 .. GET /2 ..' | nc: both are answered."""
    def script(conn):
        while (request := conn.request()) is not None:
            time.sleep(0.1)
            conn.answer(request.target.encode())

    sc.proxy(script=script)
    client = sc.client()
    client.send("".join(f"GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n" for i in range(3))).half_close()
    for i in range(3):
        response = client.response()
        assert response.body == b"/%d" % i
        assert response.closes == (i == 2)
    client.expect_fin()


def test_a_traceparent_that_is_none_is_not_quoted(sc):
    """A problem's traceId is one that was found to be valid, not what a client put there."""
    sc.proxy()
    response = sc.client().ask("GET", "/%00", headers=[
        ("traceparent", '00-","code":"none","x":"' + "y" * 60)])
    assert_problem(response, "bad_request")


# --- the pool -----------------------------------------------------------------------------------

def test_round_robin_goes_round(sc):
    """With one request at a time too."""
    backends = [sc.backend() for _ in range(2)]
    sc.proxy(backends[0], upstream={"endpoints": [b.address for b in backends],
                                    "balance": "roundRobin"})
    client = sc.client()
    for _ in range(20):
        assert client.ask().status == 200
    assert [len(b.requests) for b in backends] == [10, 10]
    assert [len(b.conns) for b in backends] == [1, 1]


def test_a_connection_made_in_advance_that_closes_is_stale(sc):
    """It was idle like a used one: a request that crosses its close is sent once more."""
    first = threading.Event()

    def script(conn):
        if not first.is_set():
            first.set()
            conn.head()
            return
        ok_app(conn)

    sc.proxy(script=script, upstream={"pool": {"minIdle": 1}})
    sc.app.wait_conns(1)
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 1, "one is ready")
    assert sc.ask().status == 200


@pytest.mark.alone
def test_a_full_listener_does_not_stop_the_others(sc):
    """maxConnections of one listener is not the other's affair."""
    sc.app = sc.backend()
    one, two = (f"127.0.0.1:{free_port()}" for _ in range(2))
    sc.s = sc.sluice({
        "listeners": [{"name": "one", "address": one, "maxConnections": 1, "routes": [forward()]},
                      {"name": "two", "address": two, "direction": "outbound",
                       "routes": [forward()]}],
        "upstreams": [{"name": "app", "endpoints": [sc.app.address]}]})

    def median():
        """Of the times that a connection with its request takes at the other listener."""
        took = []
        for _ in range(40):
            start = time.monotonic()
            client = sc.client(two)
            assert client.ask().status == 200
            client.close()
            took.append(time.monotonic() - start)
        return sorted(took)[len(took) // 2]
    before = median()
    assert sc.client(one).ask().status == 200
    sc.client(one)
    sc.client(one)
    wait_for(lambda: sc.s.metrics().get("sluice_accept_paused_total") >= 1, "the one is full")
    # It is tried again every 50 ms; whoever waited for that would wait for half of it.
    beside = [median() for _ in range(3)]
    assert min(beside) < before + 0.015, (before, beside)
    metrics = sc.s.metrics()
    assert metrics.get("sluice_connections", listener="one", direction="inbound") == 1


def test_max_connections_of_a_listener_is_for_all_workers(sc):
    sc.proxy(listener={"maxConnections": 5}, more={"workers": 4})
    clients = [sc.client().request() for _ in range(20)]
    wait_for(lambda: sc.s.status()["connections"] >= 5, "five are let in")
    time.sleep(0.3)
    # Each of the others may have let in one more at the same moment.
    assert 5 <= sc.s.status()["connections"] <= 8
    for client in clients:
        client.close()


# --- everything at once -------------------------------------------------------------------------

def moody_app(conn):
    """Answers as the target says: /kind/bytes."""
    while (request := conn.head()) is not None:
        _, kind, n = request.target.split("/")
        n = int(n)
        if kind == "early":
            conn.answer(b"e" * n, "413 Content Too Large")
            return
        if kind == "deaf":
            conn.reset()
            return
        conn.body(request)
        if kind == "whole":
            conn.answer(b"w" * n)
        elif kind == "chunked":
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                conn.send(b"%x\r\n%s\r\n" % (n + 1, b"c" * (n + 1)))
            conn.send("0\r\nX-T: 1\r\n\r\n")
        elif kind == "interim":
            conn.send("HTTP/1.1 103 Early Hints\r\n\r\n")
            conn.answer(b"i" * n)
        elif kind == "slow":
            time.sleep(0.02)
            conn.answer(b"s" * n)
        elif kind == "more":
            conn.answer(b"m" * n)
            conn.send("HTTP/1.1 200 OK\r\n")
            return
        elif kind == "cut":
            conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {n + 10}\r\n\r\n".encode() + b"t" * n)
            return
        elif kind == "until-close":
            conn.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"u" * n)
            return
        elif kind == "half-head":
            conn.send("HTTP/1.1 200")
            conn.reset()
            return
        elif kind == "close":
            return
        elif kind == "idle-close":
            conn.answer(b"d" * n)
            return


KINDS = ("early deaf whole chunked interim slow more cut until-close half-head close "
         "idle-close").split()


def moody_client(sc, rng, deadline):
    """Begins requests, and leaves at any moment in any way."""
    while time.monotonic() < deadline:
        client = Client(sc.address)
        try:
            for _ in range(rng.randrange(1, 4)):
                target = f"/{rng.choice(KINDS)}/{rng.choice((0, 5, 3000, 200_000))}"
                body = bytes(rng.choice((0, 10, 100_000)))
                version = rng.choice(("1.0", "1.1", "1.1", "1.1"))
                method = rng.choice(("GET", "HEAD", "POST", "PUT"))
                if rng.random() < 0.5:
                    raw = f"{method} {target} HTTP/{version}\r\nHost: a\r\n".encode()
                    raw += b"Content-Length: %d\r\n\r\n" % len(body) + body
                else:
                    raw = f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode()
                    raw += b"Transfer-Encoding: chunked\r\n\r\n"
                    if body:
                        raw += b"%x\r\n%s\r\n" % (len(body), body)
                    raw += b"0\r\n\r\n"
                raw *= rng.choice((1, 1, 1, 3))
                if rng.random() < 0.3:
                    raw = raw[:rng.randrange(len(raw) + 1)]
                client.send(raw)
                for _ in range(rng.randrange(3)):
                    client.sock.settimeout(0.03)
                    client.read_some()
        except (OSError, EOFError):
            pass
        end = rng.randrange(4)
        try:
            if end == 0:
                client.reset()
            elif end == 1:
                client.half_close().read_to_end()
        except OSError:
            pass
        client.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_every_count_comes_back(sc, workers):
    """After a storm of all that can go wrong on both sides, every limit has all of its places."""
    sc.proxy(script=moody_app, http={"headerTimeout": "1s", "keepAliveTimeout": "500ms"},
             route={"timeout": "2s", "idleTimeout": "1s"}, more={"workers": workers},
             upstream={"pool": {"minIdle": 1},
                       "circuitBreaker": {"maxConnections": 8, "maxRequests": 16,
                                          "maxPendingRequests": 8, "queueTimeout": "50ms"}})
    end = time.monotonic() + 4
    threads = [threading.Thread(target=moody_client, args=(sc, random.Random(i), end))
               for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sc.s.base_fds = None  # minIdle holds a changing number
    wait_for(lambda: not sc.s.alive(), lambda: f"rest: {sc.s.alive()}")
    # As many as may be in flight, half of them waiting for a connection, now for as long as it takes.
    sc.s.config["upstreams"][0]["circuitBreaker"]["queueTimeout"] = "30s"
    sc.s.config["listeners"][0]["routes"][0]["timeout"] = "30s"
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200

    def good():
        clients = [sc.client().request("GET", "/slow/0") for _ in range(16)]
        statuses = [c.response().status for c in clients]
        for client in clients:
            client.close()
        return statuses.count(200)
    # The first may find connections idle at another worker, and wait in the others' places.
    assert any(good() == 16 for _ in range(20))


# --- the drain ----------------------------------------------------------------------------------

def test_outbound_after_a_drain_by_admin(sc):
    """Drained, and still running: who connects outbound is refused or served, and does not hang."""
    sc.app = sc.backend()
    inbound, outbound = (f"127.0.0.1:{free_port()}" for _ in range(2))
    sc.s = sc.sluice({
        "listeners": [{"name": "in", "address": inbound, "routes": [forward()]},
                      {"name": "out", "address": outbound, "direction": "outbound",
                       "routes": [forward()]}],
        "upstreams": [{"name": "app", "endpoints": [sc.app.address]}],
        **lifecycle()})
    assert sc.client(outbound).ask().status == 200
    sc.clients[0].close()
    assert sc.s.admin("POST", "/v1/drain")[0] == 200
    wait_phase(sc, "exit")
    time.sleep(0.2)
    try:
        client = sc.client(outbound)
        assert client.ask().status == 200
    except ConnectionError:
        pass


def kill_serving(sluice):
    pid = sluice.pid
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: sluice.children() not in ([pid], []) or sluice.process.poll() is not None,
             "another serving process, or the end")


def is_pending(pid, number):
    with open(f"/proc/{pid}/status") as f:
        pending = re.findall(r"^(?:Sig|Shd)Pnd:\s+(\w+)$", f.read(), re.M)
    return any(int(p, 16) >> (number - 1) & 1 for p in pending)


@pytest.mark.parametrize("order", ["signal then admin", "admin then signal"])
def test_a_drain_that_was_to_exit_exits_after_a_crash(sc, order):
    sc.proxy(script=stuck, more=lifecycle(drain="2s", last_call="300ms"))
    sc.s.expect_faults = True  # it is killed
    client = sc.client().request()
    sc.app.wait_requests(1)
    if order == "signal then admin":
        os.kill(sc.s.pid, signal.SIGTERM)
        wait_phase(sc, "drain")
        assert sc.s.admin("POST", "/v1/drain")[0] == 200
    else:
        assert sc.s.admin("POST", "/v1/drain")[0] == 200
        wait_phase(sc, "drain")
        os.kill(sc.s.pid, signal.SIGTERM)
        wait_for(lambda: not is_pending(sc.s.pid, signal.SIGTERM), "it takes the signal")
        for _ in range(2):
            sc.s.status()  # two turns of its loop
    kill_serving(sc.s)
    code = sc.s.wait_exit()
    sc.s.check_end(code)
    client.close()


def test_a_second_trigger_while_idle_ones_are_closed(sc):
    """The control thread shortens the drain while workers look at its times."""
    sc.proxy(more={"workers": 4, **lifecycle(drain="20s", last_call="500ms")})
    clients = [sc.client() for _ in range(60)]
    for client in clients:
        assert client.ask().status == 200
    busy = sc.client().send("GET / HTTP/1.1\r\n")
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    for ms in range(3000, 2000, -50):
        body = json.dumps({"deadline_ms": ms}).encode()
        assert sc.s.admin("POST", "/v1/drain", body=body)[0] == 200
        time.sleep(0.02)
    sc.s.stop(timeout=max(10, 4 * SLOW))
    busy.close()
