"""Drains that an operator begins, and what is told of them: status, the report."""

import json
import signal
import subprocess
import threading
import time

from drains import gated, lifecycle, report, stuck, wait_phase
from harness import SLUICE, forward
from wire import SPARE


def test_drain_by_the_admin_api_stays_up(sc):
    sc.proxy(more=lifecycle())
    client = sc.client()
    client.ask()
    code, response = sc.s.admin("POST", "/v1/drain")
    assert code in (200, 202), response
    assert sc.s.get_health("/readyz")[0] == 503
    client.expect_fin()
    wait_phase(sc, "drained", "exit")
    assert sc.s.process.poll() is None, "only signals exit"
    assert sc.s.get_health("/livez")[0] == 200
    code, response = sc.s.admin("GET", "/v1/drain")
    found = json.loads(response.body)
    assert found["trigger"] == "admin" and found["forced_total"] == 0
    sc.s.stop()


def test_sluice_drain_wait(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), more=lifecycle(drain="10s"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    command = subprocess.Popen([SLUICE, "drain", "--wait", "--admin", sc.s.socket_path],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_phase(sc, "drain")
    assert command.poll() is None, "it waits"
    gate.set()
    assert client.response().body == b"whole"
    output, _ = command.communicate(timeout=20)
    assert command.returncode == 0, output
    assert output.strip()
    sc.s.stop()


def test_sluice_status_while_draining(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), more=lifecycle(drain="20s"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    run = subprocess.run([SLUICE, "status", "--admin", sc.s.socket_path], capture_output=True)
    assert run.returncode in (0, 1), run
    assert b"drain" in run.stdout, run.stdout
    gate.set()
    assert client.response().status == 200
    sc.s.stop()


def test_the_report(sc):
    """Every class with how it ended, the budget, and a time."""
    sc.proxy(more=lifecycle(notice="200ms", drain="3s"))
    client = sc.client()
    client.ask()
    sc.s.signal(signal.SIGTERM)
    client.expect_fin()
    sc.s.stop()
    found = report(sc)
    assert set(found["classes"]) == {"h1_idle", "h1_active", "h2_idle", "h2_active", "grpc",
                                     "websocket", "tcp"}
    for counts in found["classes"].values():
        assert set(counts) == {"completed", "closed", "peer", "last_call", "failed", "forced"}
    assert found["phase"] == "exit" and found["open"] == 0
    assert 190 <= found["budget"]["notice_ms"] <= 200 + SPARE * 1000
    assert found["elapsed_ms"] <= found["deadline_ms"]
    assert found["started"].endswith("Z")


def test_the_report_of_an_application_with_thousands_of_ports(sc):
    """As many as endpoints on loopback: a few are told, and how many there are."""
    app = sc.backend()
    ports = [app.address] + [f"127.1.{i // 200}.{i % 200 + 1}:8080" for i in range(2999)]
    sc.proxy(backend=app, upstream={"endpoints": ports}, more=lifecycle())
    assert len(sc.s.status()["app"]["ports"]) < 100
    sc.s.stop()
    found = report(sc)
    assert found["app"]["ports"] == ports[:len(found["app"]["ports"])]
    assert found["app"]["ports_total"] == len(ports)
    assert "truncated" not in found and found["phase"] == "exit"


def test_a_report_that_is_longer_than_a_line_of_the_log(sc):
    """Its lists are told in part, and counted whole."""
    def begins(conn):
        conn.head()
        conn.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        conn.read_to_end()
    name = "r" * 60
    places = [f"unix:/tmp/{'x' * 80}.{i}" for i in range(100)]
    app = sc.backend(begins)
    sc.proxy(backend=app, more={**lifecycle(drain="1s"), "upstreams": [
        {"name": "app", "endpoints": [app.address]}, {"name": "many", "endpoints": places}]},
        listener={"routes": [forward("many", match={"path": "/many"}), forward(name=name)]})
    clients = [sc.client().request() for _ in range(100)]
    sc.app.wait_requests(100)
    sc.s.stop()
    found = report(sc)
    assert found["truncated"] is True
    assert found["forced_total"] == 100 and found["app"]["ports_total"] == 101
    assert all(e["route"] == name for e in found["forced"])
    for client in clients:
        client.close()


def test_a_deadline_given_to_the_command(sc):
    """`sluice drain --deadline` shortens what is configured, never lengthens it."""
    sc.proxy(script=stuck, more=lifecycle(drain="20s", last_call="500ms"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    start = time.monotonic()
    run = subprocess.run([SLUICE, "drain", "--wait", "--deadline", "1s", "--admin", sc.s.socket_path],
                         capture_output=True, timeout=30)
    assert run.returncode == 0, run
    assert time.monotonic() - start < 10
    assert client.response().status == 503
    client.close()
    sc.s.stop()
