"""HTTP/2 connections to upstreams that come and go: idle, worn, reloaded, drained."""

import signal
import threading
import time

import h2wire
from h2wire import NO_ERROR, PING
from harness import assert_problem, forward
from upstream_h2_rig import Crowd, h2_proxy, hold, upstream
from wire import SLOW, free_port, wait_for


# --- connections that come and go ---

def test_idle_close_says_goodbye(sc):
    def script(conn):
        h2wire.ok_app(conn)
        ends.append((conn.eof, [g[:2] for g in conn.goaways]))

    ends = []
    app = h2_proxy(sc, script, pool={"idleTimeout": "200ms"})
    assert sc.ask().status == 200
    app.wait_done()
    assert ends == [(True, [(0, NO_ERROR)])]
    assert upstream(sc)["connections"] == 0


def test_a_server_that_closes_an_idle_connection(sc):
    def script(conn):
        conn.answer(conn.request(), b"ok")
        if conn.number % 2:
            conn.goaway(NO_ERROR, 1)

    app = h2_proxy(sc, script)
    for i in range(6):
        assert sc.ask("POST", "/", body=b"x").status == 200
        wait_for(lambda: upstream(sc)["connections"] == 0, "its end is seen")
    assert len(app.conns) == 6
    assert sc.s.metrics().get("sluice_upstream_closed_idle_total", upstream="app") >= 3


def test_max_requests_and_lifetime(sc):
    app = h2_proxy(sc, pool={"maxRequestsPerConnection": 5})
    for _ in range(3):
        assert Crowd(sc, 5).statuses() == [200] * 5
    client = sc.client()
    for _ in range(10):
        assert client.ask().status == 200
    app.wait_conns(5)
    assert max(max(c.streams, default=0) for c in app.conns) <= 9
    wait_for(lambda: all(c.eof for c in app.conns), "all are closed")
    assert all(c.goaways and c.goaways[0][1] == NO_ERROR for c in app.conns)


def test_max_lifetime_under_load(sc):
    """Requests never end with the connection: it takes no more, and closes behind its last."""
    app = h2_proxy(sc, pool={"maxLifetime": "100ms"})
    end = time.monotonic() + 1
    clients = [sc.client() for _ in range(4)]
    while time.monotonic() < end:
        for c in clients:
            c.request()
        for c in clients:
            assert c.response().status == 200
    assert 5 <= len(app.conns) <= 60


def test_pings(sc):
    """Only while requests are open, and a server that does not answer is given up."""
    def script(conn):
        st = conn.request()
        if conn.number == 0:
            conn.until(lambda: len(conn.kinds(PING)) >= 3, "three PINGs")
            conn.answer(st, b"alive")
            st = conn.request()
            conn.answer(st, b"still")
            seen.append(len(conn.kinds(PING)))
            time.sleep(0.5)
            conn.read_ready()
            seen.append(len(conn.kinds(PING)))
            st = conn.request()
            conn.auto = False
            conn.expect_end()

    seen = []
    app = h2_proxy(sc, script, http2={"pingInterval": "100ms"})
    assert sc.ask().body == b"alive"
    assert sc.ask().body == b"still"
    wait_for(lambda: len(seen) == 2, "it rests")
    assert seen[0] == seen[1]
    start = time.monotonic()
    assert_problem(sc.ask("POST", body=b""), "upstream_reset")
    assert 0.15 < time.monotonic() - start < 1 + SLOW
    assert len(app.conns) == 1


def test_no_pings_by_default(sc):
    def script(conn):
        st = conn.request()
        time.sleep(0.5)
        conn.read_ready()
        conn.answer(st, str(len(conn.kinds(PING))).encode())
        h2wire.ok_app(conn)

    h2_proxy(sc, script)
    assert sc.ask().body == b"0"


# --- reload, drain, the other workers ---

def reload(sc, change):
    import json
    change(sc.s.config)
    with open(sc.s.config_path, "w") as f:
        f.write(json.dumps(sc.s.config))
    code, answer = sc.s.admin("POST", "/v1/reload")
    assert code == 200, answer


def test_reload_while_streams_run(sc):
    """The endpoint goes: its streams end where they are, new ones go to the other, and its
    connection is closed behind the last."""
    release = threading.Event()
    other = h2wire.Backend()
    sc.backends.append(other)
    app = h2_proxy(sc, hold(10, release))
    crowd = Crowd(sc, 10, target="/{i}")
    app.wait_requests(10)
    reload(sc, lambda c: c["upstreams"][0].update(endpoints=[other.address]))
    assert sc.ask().status == 200
    assert len(other.requests) == 1 and len(app.requests) == 10
    release.set()
    assert sorted(r.body for r in crowd.responses()) == [b"/%d" % i for i in range(10)]
    app.conns[0].eof or wait_for(lambda: app.conns[0].eof, "the old connection is closed")
    assert app.conns[0].goaways[0][1] == NO_ERROR


def test_reload_to_another_protocol(sc):
    """And back: what was leased ends where it is, and nothing of it is leased again."""
    release = threading.Event()
    app = h2_proxy(sc, lambda c: h2wire.ok_app(c) if c.number else hold(3, release)(c))
    old = sc.backend()
    crowd = Crowd(sc, 3, target="/{i}")
    app.wait_requests(3)
    reload(sc, lambda c: c["upstreams"][0].update(protocol="http1", endpoints=[old.address],
                                                  http2={}) or c["upstreams"][0].pop("http2"))
    assert sc.ask().status == 200
    assert len(old.requests) == 1
    reload(sc, lambda c: c["upstreams"][0].update(protocol="http2", endpoints=[app.address]))
    release.set()
    assert [r.status for r in crowd.responses()] == [200] * 3
    assert sc.ask().status == 200


def test_reload_that_removes_the_upstream(sc):
    release = threading.Event()
    other = h2wire.Backend()
    sc.backends.append(other)
    app = h2_proxy(sc, hold(4, release))
    crowd = Crowd(sc, 4, target="/{i}")
    app.wait_requests(4)

    def change(conf):
        conf["upstreams"] = [{"name": "new", "endpoints": [other.address], "protocol": "http2"}]
        conf["listeners"][0]["routes"] = [forward("new")]

    reload(sc, change)
    assert sc.ask().status == 200
    release.set()
    assert [r.status for r in crowd.responses()] == [200] * 4
    wait_for(lambda: app.conns[0].eof, "the old connection is closed")


def test_drain_while_streams_run(sc):
    """Requests end, and then the connection, with a word of goodbye."""
    release = threading.Event()
    app = h2_proxy(sc, hold(20, release))
    crowd = Crowd(sc, 20, target="/{i}")
    app.wait_requests(20)
    sc.s.signal(signal.SIGTERM)
    wait_for(lambda: sc.s.get_health("/readyz")[0] == 503, "the drain has begun")
    release.set()
    assert [r.status for r in crowd.responses()] == [200] * 20
    sc.s.check_end(sc.s.wait_exit())
    assert app.conns[0].goaways and app.conns[0].goaways[-1][1] == NO_ERROR


def test_drain_whose_time_is_up(sc):
    """LAST_CALL answers what has no response, and cancels it at the server."""
    app = h2_proxy(sc, lambda conn: conn.request() and conn.expect_end())
    client = sc.client().request()
    app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    assert_problem(client.response(), "last_call")
    sc.s.check_end(sc.s.wait_exit())
    assert app.requests[0].end == "CANCEL"


def test_workers_share_the_limit(sc):
    """Two workers, one connection: neither keeps it for ever."""
    app = h2_proxy(sc, breaker={"maxConnections": 1, "queueTimeout": "2s"},
                   proxy={"more": {"workers": 2}})
    stop = time.monotonic() + 1.5
    failed = []

    def load():
        client = sc.client()
        while time.monotonic() < stop:
            if client.ask().status != 200:
                failed.append(1)

    threads = [threading.Thread(target=load) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert len(app.conns) >= 1


def test_a_tcp_listener_before_the_same_upstream(sc):
    """It passes bytes on a connection of its own, whatever the upstream speaks."""
    address, raw = (f"127.0.0.1:{free_port()}" for _ in range(2))
    h2_proxy(sc, proxy={"address": address, "more": {"listeners": [
        {"name": "main", "address": address, "routes": [forward()]},
        {"name": "raw", "address": raw, "protocol": "tcp", "backends": [{"upstream": "app"}]}]}})
    assert sc.ask().status == 200
    client = h2wire.Client(raw)
    assert bytes(client.ask().body) == b"GET /\n"
    client.close()
    assert sc.ask().status == 200
