"""Admin, health, metrics, logs."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from drains import gated
from harness import SLUICE, forward, free_port
from wire import Client, wait_for


def with_tcp_admin(sc, **more):
    sc.admin_address = f"127.0.0.1:{free_port()}"
    return sc.proxy(more={"admin": {"address": sc.admin_address, **more}})


def ask(sc, address, method, path, host="localhost", headers=(), body=None):
    client = sc.client(address)
    try:
        return client.ask(method, path, host=host, headers=[("Connection", "close"), *headers], body=body)
    finally:
        client.close()


# --- health -----------------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz", "/metrics"])
def test_health_endpoints(sc, path):
    sc.proxy()
    code, response = sc.s.get_health(path)
    assert code == 200
    code, response = sc.s.http(sc.s.health, "HEAD", path)
    assert code == 200 and response.body == b""


def test_health_knows_nothing_else(sc):
    sc.proxy()
    for path in ("/", "/v1/status", "/v1/drain", "/metrics/x"):
        assert sc.s.get_health(path)[0] == 404, path
    code, response = sc.s.http(sc.s.health, "POST", "/livez")
    assert code == 405 and "GET" in response.get("allow")
    assert sc.s.http(sc.s.health, "POST", "/v1/drain")[0] in (404, 405)
    assert sc.s.get_health("/readyz")[0] == 200


def test_health_answers_any_host(sc):
    """Probes come with an address or a name of the platform's choice."""
    sc.proxy()
    assert ask(sc, sc.s.health, "GET", "/livez", host="10.1.2.3:15901").status == 200
    assert ask(sc, sc.s.health, "GET", "/livez", host="pod.example").status == 200


# --- admin ------------------------------------------------------------------------------------

def test_status(sc):
    sc.proxy()
    client = sc.client()
    client.ask()
    status = wait_for(lambda: (s := sc.s.status())["streams"] == 0 and s, "its end is counted")
    assert status["connections"] == 1
    assert status["upstreams"][0]["name"] == "app"
    assert status["upstreams"][0]["idle"] == 1
    assert status["listeners"][0]["name"] == "main"


def test_connections(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate, b"ok"))
    idle, busy = sc.client(), sc.client().request("GET", "/busy")
    sc.app.wait_requests(1)
    wait_for(lambda: sc.s.status()["connections"] == 2, "two connections")
    code, response = sc.s.admin("GET", "/v1/connections")
    assert code == 200
    assert len(json.loads(response.body)["connections"]) == 2
    gate.set()
    assert busy.response().status == 200
    idle.close()


def test_admin_paths(sc):
    with_tcp_admin(sc)
    for address in (sc.admin_address, "unix:" + sc.s.socket_path):
        assert ask(sc, address, "GET", "/v1/status").status == 200
        assert ask(sc, address, "HEAD", "/v1/status").status == 200
        response = ask(sc, address, "GET", "/v1/nothing")
        assert response.status == 404
        assert response.get("content-type") == "application/problem+json"
        response = ask(sc, address, "DELETE", "/v1/status")
        assert response.status == 405 and "GET" in response.get("allow")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80"])
def test_host_guard(sc, host):
    """DNS rebinding: a page of that name must not read what is here."""
    with_tcp_admin(sc)
    response = ask(sc, sc.admin_address, "GET", "/v1/status", host=host)
    assert response.status in (403, 421), response
    assert b"upstreams" not in response.body


@pytest.mark.parametrize("host", ["localhost", "localhost:15900", "127.0.0.1:15900", "[::1]:15900"])
def test_hosts_that_are_let_in(sc, host):
    with_tcp_admin(sc)
    assert ask(sc, sc.admin_address, "GET", "/v1/status", host=host).status == 200


def test_allowed_hosts(sc):
    with_tcp_admin(sc, allowedHosts=["admin.example"])
    assert ask(sc, sc.admin_address, "GET", "/v1/status", host="admin.example").status == 200
    assert ask(sc, sc.admin_address, "GET", "/v1/status", host="other.example").status in (403, 421)


def test_mutations_over_tcp_need_the_token(sc):
    token = os.path.join(sc.directory, "token")
    with open(token, "w") as f:
        f.write("s3cret-token\n")
    with_tcp_admin(sc, tokenFile=token)
    for headers in ([], [("Authorization", "Bearer wrong")], [("Authorization", "s3cret-token")],
                    [("Authorization", "Bearer s3cret-token2")], [("Authorization", "Bearer ")]):
        assert ask(sc, sc.admin_address, "POST", "/v1/drain", headers=headers).status in (401, 403), headers
        assert sc.s.get_health("/readyz")[0] == 200
    response = ask(sc, sc.admin_address, "POST", "/v1/drain", headers=[("Authorization", "Bearer s3cret-token")])
    assert response.status in (200, 202), response
    assert sc.s.get_health("/readyz")[0] == 503


def test_no_mutations_over_tcp_without_a_token_file(sc):
    with_tcp_admin(sc)
    for headers in ([], [("Authorization", "Bearer ")], [("Authorization", "Bearer x")]):
        assert ask(sc, sc.admin_address, "POST", "/v1/drain", headers=headers).status in (401, 403)
    assert sc.s.get_health("/readyz")[0] == 200


def test_admin_refuses_hostile_requests(sc):
    sc.proxy()
    address = "unix:" + sc.s.socket_path
    for raw in (b"GET /v1/status HTTP/1.1\r\n\r\n",
                b"GET /v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00", b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
                b"POST /v1/drain HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"):
        client = sc.client(address)
        try:
            client.send(raw)
            client.half_close()
            got = client.read_to_end()
            assert got[:9] == b"HTTP/1.1 " and got[9:10] in b"45", got[:100]
        except ConnectionError:
            pass
        client.close()
    assert sc.s.get_health("/readyz")[0] == 200


def test_many_admin_connections_do_not_block_it(sc):
    sc.proxy()
    held = [Client("unix:" + sc.s.socket_path) for _ in range(10)]
    assert sc.s.status()["connections"] == 0
    for client in held:
        client.close()


def test_the_admin_socket_is_private(sc):
    sc.proxy()
    assert os.stat(sc.s.socket_path).st_mode & 0o007 == 0


# --- the command line -------------------------------------------------------------------------

def test_sluice_status(sc):
    sc.proxy()
    sc.ask()
    run = subprocess.run([SLUICE, "status", "--admin", sc.s.socket_path], capture_output=True, timeout=30)
    assert run.returncode == 0, run
    assert b"app" in run.stdout
    run = subprocess.run([SLUICE, "status", "--admin", sc.s.socket_path, "-o", "json"],
                         capture_output=True, timeout=30)
    assert run.returncode == 0 and json.loads(run.stdout)["upstreams"], run


def status_rows(sc):
    """Lines of `sluice status`, by their first words."""
    run = subprocess.run([SLUICE, "status", "--admin", sc.s.socket_path], capture_output=True,
                         text=True, timeout=30)
    assert run.returncode == 0, run
    return {line.split("  ")[0] or line.split()[0]: line.split()
            for line in run.stdout.splitlines() if line}


def test_sluice_status_tells_what_keeps_requests_away(sc):
    sc.proxy(upstream={"circuitBreaker": {"consecutiveErrors": 5}},
             route={"name": "few", "rateLimits": [
                 {"name": "all", "requests": 2, "per": "1h"},
                 {"name": "each", "requests": 1, "per": "1h", "key": {"header": "X-K"}, "dryRun": True}]})
    address = sc.app.address
    rows = status_rows(sc)
    assert rows["app"][-1] == "-" and rows[address][-1] == "well" and "overload" not in rows
    client = sc.client()
    assert [client.ask().status for _ in range(3)] == [200, 200, 429]
    rows = status_rows(sc)
    assert rows["all"][1:] == ["few", "2", "1", "-"]
    assert rows["each (dryRun)"][2:] == ["few", "1", "1", "1"]
    assert sc.s.admin("POST", "/v1/breakers/app/open")[0] == 200
    body = json.dumps({"upstream": "app", "address": address, "action": "drain"}).encode()
    assert sc.s.admin("POST", "/v1/endpoints", body=body)[0] == 200
    rows = status_rows(sc)
    assert rows["app"][-2:] == ["breaker", "forced_open"] and rows[address][-1] == "drained"


def test_the_command_line_without_a_sluice():
    run = subprocess.run([SLUICE, "status", "--admin", "/nowhere/admin.sock"], capture_output=True, timeout=30)
    assert run.returncode == 1 and b"/nowhere/admin.sock" in run.stderr, run


# --- metrics ----------------------------------------------------------------------------------

def test_metrics(sc):
    sc.proxy()
    client = sc.client()
    for _ in range(7):
        client.ask()
    sc.app.stop_listening()
    # The parser is strict.
    metrics = wait_for(lambda: (m := sc.s.metrics()).get("sluice_requests_total") == 7 and m,
                       "the last one is counted")
    for name, kind in metrics.types.items():
        assert name.startswith("sluice_"), name
    for (name, labels), _ in metrics.samples.items():
        for label, value in labels:
            assert label in ("direction", "listener", "route", "upstream", "endpoint", "code", "reason",
                             "le", "worker", "phase", "version", "state", "generation", "quantile", "result",
                             "name", "file", "from", "class", "proof", "kind", "condition", "why", "message",
                             "cause", "dry_run", "limit", "signal", "stage", "action", "resource",
                             "priority", "zone"), (name, label)
            assert "/x" not in value


def test_metrics_count_reasons(sc):
    sc.proxy(listener={"routes": [{"match": {"path": "/only"}, "upstream": "app"}]})
    for _ in range(3):
        assert sc.ask("GET", "/else").status == 404
    client = sc.client().send("bad\r\n\r\n")
    assert client.response().status == 400
    for reason, n in (("no_route", 3), ("bad_request", 1)):
        wait_for(lambda: sc.s.metrics().get("sluice_errors_total", reason=reason) == n,
                 f"{n} of {reason}")


def test_metrics_are_no_larger_for_many_paths(sc):
    sc.proxy()
    client = sc.client()
    client.ask("GET", "/0")
    before = len(sc.s.metrics().samples)
    for i in range(100):
        client.ask("GET", f"/{i}", host=f"h{i}.example", headers=[("User-Agent", f"a{i}")])
    assert len(sc.s.metrics().samples) <= before + 60  # histogram buckets at most


def test_status_tells_of_policies(sc):
    sc.proxy(upstream={"circuitBreaker": {"maxRequests": 7, "maxPendingRequests": 8, "maxRetries": 9,
                                          "maxConnections": 10, "maxRequestsPerEndpoint": 5,
                                          "queueTimeout": "250ms"},
                       "pool": {"idleTimeout": "60s"}},
             listener={"routes": [
                 {"name": "guarded", "match": {"path": "/guarded"}, "upstream": "app",
                  "authz": {"rules": [{"action": "allow", "methods": ["GET"]}]}},
                 {"name": "tried", "match": {"path": "/tried"}, "upstream": "app",
                  "authz": {"rules": [{"action": "deny"}], "dryRun": True},
                  "fault": {"abort": {"percent": 100}, "dryRun": True},
                  "requestHeaderModifier": {"set": [{"name": "X-A", "value": "b"}]},
                  "responseHeaderModifier": {"set": [{"name": "X-A", "value": "b"}], "dryRun": True}},
                 forward()]})
    client = sc.client()
    assert client.ask("GET", "/guarded").status == 200
    assert client.ask("HEAD", "/guarded").status == 403
    assert client.ask("GET", "/tried").status == 200
    assert client.ask("GET", "/?token=secret").status == 200
    sc.s.wait_access_log(4)
    status = sc.s.status()
    routes = {r["name"]: r for r in status["routes"]}
    assert routes["guarded"]["authz"] == {"jwt": [], "optional": False, "rules": 1, "dry_run": False,
                                          "allowed": 1, "refused": 1, "refused_dry_run": 0}
    assert routes["tried"]["authz"]["refused_dry_run"] == 1 and routes["tried"]["authz"]["dry_run"]
    assert routes["tried"]["fault"]["aborted_dry_run"] == 1 and routes["tried"]["fault"]["aborted"] == 0
    assert not {"authz", "fault"} & set(routes["main/2"])
    assert status["header_rules"] == {
        "request": {"changed": 1, "dry_run": 0, "left_out": 0, "refused": 0},
        "response": {"changed": 0, "dry_run": 1, "left_out": 0, "refused": 0}}
    assert status["access_log"] == {"dropped": 0, "redacted": 1}
    assert status["upstreams"][0]["limits"] == {
        "connections": 1, "max_connections": 10, "requests": 0, "max_requests": 7,
        "max_pending_requests": 8, "retries": 0, "max_retries": 9, "max_connections_per_endpoint": 0,
        "max_requests_per_endpoint": 5, "queue_timeout_ms": 250,
        "dry_run": False}
    assert routes["guarded"]["timeouts"] == {
        "timeout_ms": 15000, "first_byte_timeout_ms": 0, "idle_timeout_ms": 300000, "dry_run": False}


def test_status_tells_of_limits_in_use(sc):
    """Requests in flight count against maxRequests, whatever worker has them."""
    free = threading.Event()

    def held(conn):
        conn.request()
        free.wait(30)
        conn.answer(b"x")
    sc.proxy(script=held, more={"workers": 2})
    clients = [sc.client() for _ in range(3)]
    for client in clients:
        client.request()
    sc.app.wait_requests(3)

    def in_use():
        return sc.s.status()["upstreams"][0]["limits"]["requests"]
    assert in_use() == 3
    free.set()
    for client in clients:
        assert client.response().status == 200
    wait_for(lambda: in_use() == 0, "their places are free again")


# --- the access log ---------------------------------------------------------------------------

def test_access_log(sc):
    sc.proxy()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    sc.ask("POST", "/path?secret=1", body=b"12345", headers=[("traceparent", trace), ("User-Agent", "test/1")])
    record = sc.s.wait_access_log(1)[0]
    assert record["method"] == "POST" and record["path"].startswith("/path")
    assert record["status"] == 200 and record["reason"] == "none"
    assert record["upstream"] == "app"
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in json.dumps(record)
    assert "127.0.0.1" in json.dumps(record)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record["time"]), record


def test_access_log_tells_the_client_behind_trusted_hops(sc):
    sc.proxy(http={"trustedProxies": ["127.0.0.0/8"]})
    sc.ask("GET", "/", headers=[("X-Forwarded-For", "192.0.2.7, 198.51.100.9")])
    record = sc.s.wait_access_log(1)[0]
    assert (record["peer"], record["client"]) == ("127.0.0.1", "198.51.100.9")


def test_access_log_does_not_believe_others(sc):
    sc.proxy()
    sc.ask("GET", "/", headers=[("X-Forwarded-For", "192.0.2.7")])
    record = sc.s.wait_access_log(1)[0]
    assert (record["peer"], record["client"]) == ("127.0.0.1", "127.0.0.1")


def test_access_log_has_one_line_for_each_request(sc):
    sc.proxy(more={"workers": 2})
    clients = [sc.client() for _ in range(10)]
    for i in range(50):
        for client in clients:
            client.request("GET", f"/{i}")
        for client in clients:
            client.response()
    records = sc.s.wait_access_log(500)
    assert len(records) == 500
    assert sc.s.metrics().get("sluice_access_log_dropped_total") == 0


def test_access_log_is_reopened_on_sigusr1(sc):
    sc.proxy()
    sc.ask("GET", "/1")
    sc.s.wait_access_log(1)
    os.rename(sc.s.access_path, sc.s.access_path + ".1")
    sc.s.signal(signal.SIGUSR1)
    wait_for(lambda: os.path.exists(sc.s.access_path), "the file is there again")
    sc.ask("GET", "/2")
    assert sc.s.wait_access_log(1)[0]["path"] == "/2"


def test_access_log_escapes_hostile_bytes(sc):
    sc.proxy()
    evil = '"},{"status":1} \\ \x7f'.replace("\x7f", "")
    sc.ask("GET", "/%22%7D%0A%1B", headers=[("User-Agent", evil + "\xe9\xff\t")])
    client = sc.client().send(b'GET /"\x1b]0;x\x07\xff HTTP/1.1\r\nHost: test\r\n\r\n')
    assert client.response().status == 400
    client = sc.client().send(b"\x00\xff\"\\\n\r\n\r\n")
    client.read_some()
    records = sc.s.wait_access_log(3)
    assert len(records) == 3
    with open(sc.s.access_path, "rb") as f:
        text = f.read()
    assert all(b >= 0x20 and b < 0x7f or b == 0x0a for b in text) or text.decode("utf-8")


def test_the_log_says_nothing_secret(sc):
    sc.proxy(more={"log": {"level": "debug"}})
    sc.ask("GET", "/", headers=[("Authorization", "Bearer hush-hush"), ("Cookie", "sid=hush-hush")])
    sc.s.wait_access_log(1)
    with open(sc.s.access_path) as f:
        assert "hush" not in f.read()
    assert "hush" not in sc.s.log()


def test_metrics_while_busy(sc):
    """Scraping is always consistent, whatever goes on."""
    sc.proxy()
    stop = threading.Event()

    def load():
        client = Client(sc.address)
        while not stop.is_set():
            client.ask()
        client.close()

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    last = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        now = sc.s.metrics().get("sluice_requests_total")
        assert now >= last
        last = now
    stop.set()
    for thread in threads:
        thread.join(10)
    assert last > 0
