"""/app-probe/NAME on the health port: a kubelet's probe of an application on loopback only."""

import json

import pytest

from harness import Backend, ok_app
from wire import free_port, wait_for


def probes(sc, script, **more):
    app = sc.backend(script)
    return sc.proxy(app, more={"health": {"appProbes": [
        {"name": "live", "port": app.port, "path": "/healthz?a=b", **more}]}})


def answer(status, body=b"", headers=()):
    def script(conn):
        conn.request()
        conn.answer(body, status=status, headers=headers)
        conn.read_to_end()
    return script


def test_what_is_asked(sc):
    probes(sc, ok_app, host="app.test")
    code, response = sc.s.http(sc.s.health, "GET", "/app-probe/live?x=y",
                               headers=[("Authorization", "secret"), ("X-Mine", "1")])
    assert code == 200 and response.body == b"GET /healthz?a=b\n"
    fields = {n.lower(): v for n, v in sc.app.requests[0].fields}
    assert fields["host"] == "app.test"
    assert "authorization" not in fields and "x-mine" not in fields


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "302 Found", "404 Not Found",
                                    "500 Internal Server Error", "503 Service Unavailable"])
def test_answers_pass(sc, status):
    body = b"" if status[:3] == "204" else b"why\n"

    def script(conn):
        conn.request()
        conn.answer(body, status=status, headers=[("Content-Type", "text/x-why"), ("X-Its", "own")],
                    length=bool(body))
        conn.read_to_end()
    probes(sc, script)
    code, response = sc.s.get_health("/app-probe/live")
    assert code == int(status[:3]) and response.body == body
    assert response.all("content-type") == ["text/x-why"] and not response.all("x-its")


def test_long_answers_are_cut(sc):
    probes(sc, answer("200 OK", b"x" * 200000))
    code, response = sc.s.get_health("/app-probe/live")
    assert code == 200 and response.body == b"x" * 65536


@pytest.mark.parametrize("script,code,word", [
    (lambda conn: conn.read_to_end(), 504, "L7TOUT"),
    (lambda conn: conn.request(), 503, "L7RSP"),
    (lambda conn: conn.send("no\r\n"), 503, "L7RSP"),
])
def test_no_answer(sc, script, code, word):
    probes(sc, script, timeout="300ms")
    got, response = sc.s.get_health("/app-probe/live")
    told = json.loads(response.body)
    assert (got, told["code"]) == (code, "app_probe_failed") and told["detail"].startswith(word)


def test_refused(sc):
    sc.proxy(more={"health": {"appProbes": [{"name": "live", "port": free_port()}]}})
    code, response = sc.s.get_health("/app-probe/live")
    assert code == 503 and b"L4CON: connection refused" in response.body


def test_listens_on_ipv6_only(sc):
    app = Backend(ok_app, address="[::1]:0")
    sc.backends.append(app)
    sc.proxy(more={"health": {"appProbes": [{"name": "live", "port": app.port}]}})
    assert sc.s.get_health("/app-probe/live")[0] == 200


def test_no_other_can_be_asked(sc):
    probes(sc, ok_app)
    for path in ("/app-probe/", "/app-probe/other", "/app-probe/live/x", "/app-probe/live%2fx"):
        assert sc.s.get_health(path)[0] == 404, path
    assert sc.s.http(sc.s.health, "POST", "/app-probe/live")[0] == 405
    assert not sc.app.requests


def test_kubelet_goes_away(sc):
    probes(sc, lambda conn: conn.read_to_end(), timeout="20s")
    client = sc.client(sc.s.health)
    client.send("GET /app-probe/live HTTP/1.1\r\nHost: a\r\n\r\n")
    conn = sc.app.wait_conns(1)
    client.close()
    wait_for(lambda: conn.sock.fileno() < 0, "its question is taken back")


def test_bounded(sc):
    probes(sc, lambda conn: conn.read_to_end(), timeout="20s")
    clients = [sc.client(sc.s.health) for _ in range(33)]
    for client in clients[:32]:
        client.send("GET /app-probe/live HTTP/1.1\r\nHost: a\r\n\r\n")
    sc.app.wait_conns(32)
    clients[32].send("GET /app-probe/live HTTP/1.1\r\nHost: a\r\n\r\n")
    assert clients[32].response().status == 503
    for client in clients:
        client.close()
