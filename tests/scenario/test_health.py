"""Active health checks: what is asked, what each answer counts as, and who gets requests then."""

import json
import os
import socket
import threading
import time

import pytest

from harness import Backend, ok_app
from wire import free_port, wait_for

FAST = {"interval": "100ms", "unhealthyInterval": "100ms", "timeout": "300ms", "rise": 2, "fall": 3,
        "jitter": 0}


def check(kind="http", what=None, **more):
    return {kind: what if what is not None else {"path": "/healthz"}, **FAST, **more}


def health(sluice, n=0, upstream=0):
    return sluice.status()["upstreams"][upstream]["endpoints"][n]["health"]


def last(sluice, word, n=0):
    wait_for(lambda: (health(sluice, n) or {}).get("last") == word,
             lambda: f"{word}: {health(sluice, n)}")


def state(sluice, healthy, n=0):
    wait_for(lambda: (health(sluice, n) or {}).get("healthy") is healthy,
             lambda: f"healthy {healthy}: {health(sluice, n)}")
    return health(sluice, n)


class App:
    """Answers /healthz by what `say` is at that moment, all else with 200."""

    def __init__(self, status=200, body=b"fine\n"):
        self.status, self.body = status, body
        self.looks = []

    def __call__(self, conn):
        while (request := conn.request()) is not None:
            if request.target.startswith("/healthz"):
                self.looks.append(request)
                conn.answer(self.body, status=self.status)
            else:
                conn.answer(b"app\n")
            if request.closes:
                return


def sends(*pieces, hold=True):
    def script(conn):
        conn.request()
        for piece in pieces:
            conn.send(piece)
        if hold:
            conn.read_to_end()
    return script


def endless(conn):
    conn.request()
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        conn.send("1000\r\n" + "x" * 4096 + "\r\n")


def slow(conn):
    conn.request()
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        conn.send("x")
        time.sleep(0.05)


def silent(conn):
    conn.read_to_end()


def closes(conn):
    conn.request()


OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n"


@pytest.mark.parametrize("script,what,word", [
    (sends(OK), {}, "L7OK/200"),
    (sends("HTTP/1.1 100 Continue\r\n\r\n", OK), {}, "L7OK/200"),
    (sends("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), {}, "L7STS/404"),
    (sends("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
     {"status": "200-299, 404"}, "L7OK/404"),
    (sends("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), {}, "L7OK/302"),
    (sends("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), {"status": "200"}, "L7STS/302"),
    (sends("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), {}, "L7STS/503"),
    (sends(OK), {"body": "fine"}, "L7OK/200"),
    (sends(OK), {"body": "well"}, "L7RSP/200"),
    (sends(OK), {"bodyRegex": "^f.n"}, "L7OK/200"),
    (sends(OK), {"bodyRegex": "^i"}, "L7RSP/200"),
    (sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n", "3\r\nne\n\r\n0\r\n\r\n"),
     {"body": "fine"}, "L7OK/200"),
    (sends("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfine", hold=False),
     {"body": "fine"}, "L7OK/200"),
    (sends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfine", hold=False),
     {"body": "fine"}, "L7RSP/200"),
    (sends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfi", hold=False), {}, "L7OK/200"),
    (endless, {}, "L7OK/200"),
    (endless, {"body": "y"}, "L7RSP/200"),
    (endless, {"body": "xx"}, "L7OK/200"),
    (endless, {"bodyRegex": "(x+x+)+y"}, "L7RSP/200"),
    (slow, {}, "L7OK/200"),
    (slow, {"body": "y"}, "L7TOUT"),
    (silent, {}, "L7TOUT"),
    (closes, {}, "L7RSP"),
    (sends("HTTP/1.1 200"), {}, "L7TOUT"),
    (sends("HTTP/1.1 200", hold=False), {}, "L7RSP"),
    (sends("SSH-2.0-x\r\n"), {}, "L7RSP"),
    (sends("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), {},
     "L7RSP/101"),
    (sends("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nfine"), {}, "L7RSP"),
    (sends("HTTP/1.1 200 OK\r\nA: " + "a" * 70000 + "\r\n\r\n"), {}, "L7RSP"),
])
def test_http(sc, script, what, word):
    sc.proxy(script=script, upstream={"healthCheck": check(what={"path": "/healthz", **what})})
    last(sc.s, word)
    if "OK" not in word:
        state(sc.s, False)


def test_what_is_sent(sc):
    app = App()
    sc.proxy(script=app, upstream={"healthCheck": check(what={
        "path": "/healthz?deep=1", "method": "POST", "host": "app.test",
        "headers": [{"name": "X-Probe", "value": "a b"}, {"name": "X-Empty", "value": ""}]})})
    last(sc.s, "L7OK/200")
    request = app.looks[0]
    assert (request.method, request.target) == ("POST", "/healthz?deep=1")
    fields = {name.lower(): value for name, value in request.fields}
    assert fields["host"] == "app.test"
    assert fields["x-probe"] == "a b" and fields["x-empty"] == ""
    assert fields["content-length"] == "0" and fields["connection"] == "close"
    assert fields["user-agent"].startswith("sluice-health/")


def test_refused(sc):
    app = Backend(App())
    sc.backends.append(app)
    sc.proxy(app, upstream={"healthCheck": check(fall=2)})
    last(sc.s, "L7OK/200")
    app.stop()
    last(sc.s, "L4CON")
    state(sc.s, False)
    assert "is DOWN: L4CON (connection refused)" in sc.s.log()
    assert "no endpoint is healthy" in sc.s.log()


def test_flapping(sc):
    """A change takes as many in a row as its rule says."""
    app = App()
    sc.proxy(script=app, upstream={"healthCheck": check()})
    last(sc.s, "L7OK/200")
    for _ in range(3):
        app.status = 500
        h = state(sc.s, False)
        assert h["last"] == "L7STS/500"
        app.status = 200
        state(sc.s, True)
    h = health(sc.s)
    assert h["changes"] == 6 and h["failed"] >= 9 and h["passed"] >= 6
    log = sc.s.log()
    assert log.count("is DOWN: L7STS/500") == 3 and log.count("is UP: L7OK/200") == 3
    # One bad one is none.
    n = health(sc.s)["failed"]
    app.status = 500
    wait_for(lambda: health(sc.s)["failed"] > n, "a bad check")
    app.status = 200
    wait_for(lambda: health(sc.s)["last"] == "L7OK/200", "a good one")
    assert health(sc.s)["changes"] in (6, 8)  # 8: this machine was slow


def test_requests_go_elsewhere(sc):
    bad = App(status=503)
    app, other = sc.backend(App()), sc.backend(bad)
    sc.proxy(app, upstream={"endpoints": [app.address, other.address],
                            "balance": "roundRobin", "healthCheck": check()})
    state(sc.s, False, n=1)
    before = len([r for r in other.requests if r.target == "/"])
    for _ in range(20):
        assert sc.ask().status == 200
    assert len([r for r in other.requests if r.target == "/"]) == before
    bad.status = 200
    state(sc.s, True, n=1)
    for _ in range(4):
        assert sc.ask().status == 200
    assert len([r for r in other.requests if r.target == "/"]) > before


def test_none_is_healthy(sc):
    """Then all are taken: a check that is wrong must not end the traffic."""
    sc.proxy(script=App(status=500), upstream={"healthCheck": check()})
    state(sc.s, False)
    assert sc.ask().status == 200


def test_readyz(sc):
    """An inbound route that nobody on this host can serve."""
    app = App()
    sc.proxy(script=app, upstream={"healthCheck": check()})
    assert sc.s.get_health("/readyz")[0] == 200
    app.status = 500
    state(sc.s, False)
    code, response = sc.s.get_health("/readyz")
    assert code == 503 and b'"unhealthy_route":"main/0"' in response.body
    assert sc.s.status()["ready"] is False
    app.status = 200
    state(sc.s, True)
    assert sc.s.get_health("/readyz")[0] == 200


def test_readyz_with_another_version(sc):
    """A route is served as long as one of its upstreams is."""
    good, bad = sc.backend(App()), sc.backend(App(status=500))
    sc.proxy(good, listener={"routes": [{"match": {"pathPrefix": "/"}, "backends": [
        {"upstream": "app", "weight": 95}, {"upstream": "next", "weight": 5}]}]},
             more={"upstreams": [
                 {"name": "app", "endpoints": [good.address], "healthCheck": check()},
                 {"name": "next", "endpoints": [bad.address], "healthCheck": check()}]})
    wait_for(lambda: health(sc.s, upstream=1)["healthy"] is False, "next is down")
    assert sc.s.get_health("/readyz")[0] == 200


def test_initially_unhealthy(sc):
    app = App(status=500)
    sc.proxy(script=app, upstream={"healthCheck": check(initial="unhealthy")}, wait=False)
    wait_for(lambda: "serves" in sc.s.log(), "it serves")
    wait_for(lambda: health(sc.s)["failed"] > 0, "a check")
    assert sc.s.get_health("/readyz")[0] == 503
    app.status = 200
    state(sc.s, True)
    assert sc.s.get_health("/readyz")[0] == 200


@pytest.mark.parametrize("what,script,word", [
    ({}, silent, "L4OK"),
    ({"send": "PING\r\n", "expect": "+PONG"}, lambda c: (c.sock.recv(99), c.send("+PONG\r\n"),
                                                         c.read_to_end()), "L7OK"),
    ({"expect": "220 "}, lambda c: (c.send("2"), time.sleep(0.01), c.send("20 hello\r\n"),
                                    c.read_to_end()), "L7OK"),
    ({"expect": "220 "}, lambda c: c.send("554 no\r\n"), "L7RSP"),
    ({"expect": "220 "}, lambda c: None, "L7RSP"),
    ({"expect": "220 "}, silent, "L7TOUT"),
])
def test_tcp(sc, what, script, word):
    sc.proxy(script=script, upstream={"healthCheck": check("tcp", what)})
    last(sc.s, word)


def test_unix_socket(sc):
    sc.proxy(Backend(App(), address=f"unix:{sc.directory}/app.sock"),
             upstream={"healthCheck": check()})
    sc.backends.append(sc.app)
    last(sc.s, "L7OK/200")
    assert sc.s.get_health("/readyz")[0] == 200


def test_full_backlog(sc):
    """Half-open: the kernel takes nothing more, and nobody accepts."""
    app = Backend(accept=False, backlog=0)
    sc.backends.append(app)
    sc.proxy(app, upstream={"healthCheck": check("tcp", {}, unhealthyInterval="400ms",
                                                 interval="400ms")})
    fill = [socket.socket() for _ in range(4)]
    try:
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", app.port))
        last(sc.s, "L4TOUT")
        state(sc.s, False)
    finally:
        for sock in fill:
            sock.close()


def test_reload_keeps_what_is_known(sc):
    app = App(status=500)
    sc.proxy(script=app, upstream={"healthCheck": check()})
    state(sc.s, False)
    changes = health(sc.s)["changes"]
    # The same check: nothing begins anew.
    sc.s.config["upstreams"][0]["connectTimeout"] = "1s"
    reload_with(sc.s)
    h = health(sc.s)
    assert h["healthy"] is False and h["changes"] == changes
    # Another one: it begins anew, and what the endpoint is stays until that has spoken.
    sc.s.config["upstreams"][0]["healthCheck"]["http"]["path"] = "/other"
    reload_with(sc.s)
    assert health(sc.s)["changes"] >= changes
    state(sc.s, True)
    # None: nothing is known.
    del sc.s.config["upstreams"][0]["healthCheck"]
    reload_with(sc.s)
    assert health(sc.s) is None
    assert sc.s.get_health("/readyz")[0] == 200


def reload_with(sluice):
    before = sluice.status()["config"]["generation"]
    with open(sluice.config_path + "~", "w") as f:
        f.write(json.dumps(sluice.config))
    os.rename(f.name, sluice.config_path)
    assert sluice.admin("POST", "/v1/reload")[0] == 200
    wait_for(lambda: sluice.status()["config"]["generation"] > before, "the reload")


def skipped(sc):
    return sc.s.metrics().get("sluice_health_checks_skipped_total", upstream="app")


def test_traffic_stands_for_checks(sc):
    """Two of three looks are left out while requests succeed."""
    app = App()
    sc.proxy(script=app, upstream={"healthCheck": check()})
    last(sc.s, "L7OK/200")
    stop = threading.Event()

    def load():
        client = sc.client()
        while not stop.is_set():
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.response()
            time.sleep(0.01)
        client.close()
    thread = threading.Thread(target=load)
    thread.start()

    def two_of_three():
        """Where requests stall meanwhile, looks are taken: then another stretch is looked at."""
        passed, left_out = health(sc.s)["passed"], skipped(sc)
        wait_for(lambda: skipped(sc) >= left_out + 6, "looks left out")
        return health(sc.s)["passed"] <= passed + 4
    try:
        wait_for(two_of_three, "two of three are left out")
        app.status = 503  # and yet it is heard when it says that it wants no more
        state(sc.s, False)
    finally:
        stop.set()
        thread.join()


def test_drain_stops_them(sc):
    app = App()
    sc.proxy(script=app, upstream={"healthCheck": check()})
    last(sc.s, "L7OK/200")
    assert sc.s.admin("POST", "/v1/drain")[0] == 200
    wait_for(lambda: sc.s.status()["phase"] == "drained", "drained")
    n = len(app.looks)
    time.sleep(0.5)  # five intervals
    assert len(app.looks) <= n + 1


def test_metrics(sc):
    app = App()
    sc.proxy(script=app, upstream={"healthCheck": check()})
    last(sc.s, "L7OK/200")
    app.status = 500
    state(sc.s, False)
    get = sc.s.metrics().get
    assert get("sluice_health_checks_total", upstream="app", result="L7OK") >= 1
    assert get("sluice_health_checks_total", upstream="app", result="L7STS") >= 3
    assert ("sluice_endpoint_healthy", frozenset(
        {("upstream", "app"), ("endpoint", sc.app.address)})) in sc.s.metrics().samples
    assert get("sluice_endpoint_healthy", upstream="app") == 0
    assert get("sluice_upstream_endpoints_unhealthy", upstream="app") == 1
    assert get("sluice_upstream_endpoints_healthy", upstream="app") == 0


def test_only_what_a_route_uses(sc):
    other = sc.backend(App())
    sc.proxy(script=ok_app, more={"upstreams": [
        {"name": "app", "endpoints": [f"127.0.0.1:{free_port()}"]},
        {"name": "unused", "endpoints": [other.address], "healthCheck": check()}]})
    time.sleep(0.3)
    assert health(sc.s, upstream=1) is None and not other.conns
