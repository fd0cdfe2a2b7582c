"""Faults that routes are told to inject: delays and aborts."""

import json
import threading
import time

import h2wire
import websocket
from grpc_app import App, Client, failure, grpc
from harness import assert_problem
from wire import wait_for


def faults(sc, fault, result="injected"):
    return sc.s.metrics().get("sluice_faults_total", fault=fault, result=result)


def active(sc):
    return sc.s.metrics().get("sluice_faults_active", route="all")


def delay(duration, percent=100, **more):
    return {"name": "all", "fault": {"delay": {"duration": duration, "percent": percent}, **more}}


def abort(percent=100, **more):
    return {"name": "all", "fault": {"abort": {"percent": percent, **more}}}


def test_abort(sc):
    sc.proxy(route=abort(status=418))
    client = sc.client()
    for _ in range(2):
        response = client.ask()
        assert_problem(response, "fault_abort", 418)
        assert json.loads(response.body)["status"] == 418
    assert sc.app.conns == []
    assert faults(sc, "abort") == 2 and faults(sc, "delay") == 0
    record = sc.s.wait_access_log(2)[0]
    assert record["reason"] == "fault_abort" and record["status"] == 418 and "upstream" not in record
    client.close()


def test_a_share(sc):
    sc.proxy(route=abort(percent=25))
    client = sc.client()
    statuses = [client.ask().status for _ in range(2000)]
    failed = statuses.count(503)
    assert failed + statuses.count(200) == 2000
    assert 380 < failed < 620  # six standard deviations
    assert faults(sc, "abort") == failed and len(sc.app.requests) == 2000 - failed
    client.close()


def test_headers(sc):
    sc.proxy(route={"name": "all", "fault": {"abort": {"percent": 100}, "headers": [
        {"name": "X-Chaos", "regex": "^on$"}, {"name": "X-Safe", "present": True, "invert": True}]}})
    assert sc.ask().status == 200
    assert sc.ask(headers=[("X-Chaos", "off")]).status == 200
    assert sc.ask(headers=[("x-chaos", "on"), ("X-Safe", "1")]).status == 200
    assert_problem(sc.ask(headers=[("x-chaos", "on")]), "fault_abort")


def test_dry_run(sc):
    sc.proxy(route={"name": "all", "fault": {"delay": {"duration": "1m", "percent": 100},
                                             "abort": {"percent": 100}, "dryRun": True}, "timeout": 0})
    assert sc.ask().status == 200
    assert faults(sc, "abort", "dry_run") == 1 and faults(sc, "delay", "dry_run") == 1
    assert faults(sc, "abort") == 0 and faults(sc, "delay") == 0


def test_delay(sc):
    """Of a request with a body, and of those of one HTTP/2 connection at once."""
    sc.proxy(route=delay("300ms"))
    client = sc.client()
    began = time.monotonic()
    assert client.ask("POST", body=b"x" * 100000).status == 200
    assert time.monotonic() - began >= 0.3
    assert sc.app.requests[0].body == b"x" * 100000
    h2 = h2wire.Client(sc.address)
    began = time.monotonic()
    streams = [h2.request(path=f"/{i}") for i in range(20)]
    for i, st in enumerate(streams):
        assert h2.response(st).body == f"GET /{i}\n".encode()
    assert time.monotonic() - began >= 0.3
    assert faults(sc, "delay") == 21 and active(sc) == 0
    status = [r for r in sc.s.status()["routes"] if r["name"] == "all"][0]["fault"]
    assert status["delayed"] == 21 and status["active"] == 0 and status["delay_ppm"] == 1000000
    client.close()
    h2.close()


def test_delay_and_abort(sc):
    sc.proxy(route={"name": "all", "fault": {"delay": {"duration": "200ms", "percent": 100},
                                             "abort": {"percent": 100, "status": 500}}})
    began = time.monotonic()
    assert_problem(sc.ask(), "fault_abort", 500)
    assert time.monotonic() - began >= 0.2
    assert active(sc) == 0


def wait_active(sc, n):
    wait_for(lambda: active(sc) == n, f"{n} that wait")


def test_a_client_that_goes_away_gives_its_place_back(sc):
    sc.proxy(route={**delay("1m", maxActive=2), "timeout": 0})
    h1, h2 = sc.client(), h2wire.Client(sc.address)
    h1.request()
    st = h2.request()
    wait_active(sc, 2)
    assert sc.ask().status == 200  # no place: it is not delayed
    assert faults(sc, "delay", "skipped") == 1
    h2.rst(st.id)
    wait_active(sc, 1)
    h1.reset()  # its FIN alone could be that of one who still reads
    wait_active(sc, 0)
    assert len(sc.app.requests) == 1
    assert {r["reason"] for r in sc.s.wait_access_log(3)} == {"none", "client_abort"}
    h2.close()


def test_the_deadline_goes_on(sc):
    sc.proxy(route={**delay("1m"), "timeout": "200ms"})
    assert_problem(sc.ask(), "deadline")
    assert active(sc) == 0 and sc.app.conns == []


def test_last_call(sc):
    """Who waits is answered by the drain's last call; none is held up by what was injected."""
    sc.proxy(route={**delay("1m"), "timeout": 0},
             more={"lifecycle": {"noticePeriod": "0", "drainTimeout": "1s", "lastCall": "500ms"}})
    clients = [sc.client() for _ in range(3)]
    for c in clients:
        c.request()
    wait_active(sc, 3)
    sc.s.signal(15)
    for c in clients:
        assert_problem(c.response(), "last_call")
        c.close()
    sc.s.wait_exit()
    sc.s.stop()


def test_no_last_call(sc):
    """At the deadline itself; nobody is left who holds a place."""
    sc.proxy(route={**delay("1m"), "timeout": 0},
             more={"lifecycle": {"noticePeriod": "0s", "drainTimeout": "500ms", "lastCall": "0s"}})
    h1, h2 = sc.client(), h2wire.Client(sc.address)
    h1.request()
    h2.request()
    wait_active(sc, 2)
    sc.s.signal(15)
    sc.s.wait_exit()
    sc.s.stop()
    h1.close()
    h2.close()
    assert {r["reason"] for r in sc.s.access_log()} == {"last_call"}


def test_a_reload_while_they_wait(sc):
    """They go on as they began, their places are counted on, and new ones go by the new file."""
    sc.proxy(route={**delay("2s", maxActive=5), "timeout": 0})
    client = sc.client()
    client.request()
    wait_active(sc, 1)
    entry = sc.s.config["listeners"][0]["routes"][0]
    entry["fault"] = {"abort": {"percent": 100, "status": 599}}
    with open(sc.s.config_path, "w") as f:
        f.write(json.dumps(sc.s.config))
    code, response = sc.s.admin("POST", "/v1/reload")
    assert code == 200, response
    assert_problem(sc.ask(), "fault_abort", 599)
    assert active(sc) == 1
    assert client.response().status == 200
    assert active(sc) == 0 and faults(sc, "delay") == 1 and faults(sc, "abort") == 1
    client.close()


def test_websocket(sc):
    """Delayed before it opens, and left alone from then on."""
    sc.proxy(script=websocket.echo, route=delay("200ms"))
    ws = websocket.connect(sc)
    for _ in range(3):
        ws.text(b"hello")
        assert ws.message() == (websocket.TEXT, b"hello")
    assert faults(sc, "delay") == 1 and active(sc) == 0
    ws.close()


def grpc_proxy(sc, **fault):
    app = App()
    sc.backends.append(app)
    sc.proxy(backend=app, upstream={"protocol": "http2"}, route={"name": "all", "fault": fault})
    return Client(sc.address)


def test_grpc_status(sc):
    c = grpc_proxy(sc, abort={"percent": 100, "grpcStatus": 8})
    error, _ = failure(lambda: c.unary(b"x"))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error.details() == "fault_abort"
    assert sc.s.wait_access_log(1)[0]["grpc_status"] == 8
    c.close()


def test_grpc_by_http_status(sc):
    c = grpc_proxy(sc, abort={"percent": 100, "status": 401})
    assert failure(lambda: c.unary(b"x"))[0].code() == grpc.StatusCode.UNAUTHENTICATED
    c.close()


def test_many_that_wait(sc):
    """A bound for all workers together."""
    sc.proxy(more={"workers": 2}, route=delay("500ms", maxActive=10))
    statuses = []

    def one():
        statuses.append(sc.ask().status)
    threads = [threading.Thread(target=one) for _ in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert statuses == [200] * 60
    assert faults(sc, "delay") + faults(sc, "delay", "skipped") == 60
    assert faults(sc, "delay") >= 10 and active(sc) == 0
