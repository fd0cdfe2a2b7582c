"""Active health checks over TLS, HTTP/2 and gRPC; of names; of thousands; and over an upgrade."""

import signal
import socket
import threading
import time

import pytest

import certs
import h2wire
import tls
from dns_server import DnsServer
from harness import Backend, ok_app
from ports import free_port
from test_health import App, check, health, last, state
from tls import secured, server_context
from wire import SLOW, wait_for

import grpc  # behind h2wire, which finds it


# --- TLS ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind,what", [("http", {"path": "/healthz"}), ("tcp", {})])
def test_tls(sc, kind, what):
    sc.proxy(script=secured(App()), upstream={**tls.upstream(), "healthCheck": check(kind, what)})
    last(sc.s, "L7OK/200" if kind == "http" else "L6OK")


def test_tls_refused(sc):
    """The check believes whom requests believe, and nobody else."""
    stranger = server_context(certs.authority("Stranger").issue("a.test"))
    sc.proxy(script=secured(App(), stranger), upstream={**tls.upstream(), "healthCheck": check()})
    last(sc.s, "L6RSP")
    state(sc.s, False)
    assert "is DOWN: L6RSP (" in sc.s.log()


def test_tls_plain_server(sc):
    sc.proxy(script=ok_app, upstream={**tls.upstream(), "healthCheck": check()})
    sc.app.script = lambda conn: conn.send("HTTP/1.1 400 Bad Request\r\n\r\n")
    last(sc.s, "L6RSP")


def test_tls_silent(sc):
    sc.proxy(script=lambda conn: conn.read_to_end(), upstream={
        **tls.upstream(), "healthCheck": check(interval="500ms", unhealthyInterval="500ms")})
    last(sc.s, "L6TOUT")


# --- HTTP/2 and gRPC ------------------------------------------------------------------------------

def answer_h2(status, body=b""):
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, body, status=str(status))
    return script


@pytest.mark.parametrize("script,what,word", [
    (h2wire.ok_app, {}, "L7OK/200"),
    (h2wire.ok_app, {"body": "GET /healthz"}, "L7OK/200"),
    (h2wire.ok_app, {"body": "POST"}, "L7RSP/200"),
])
def test_http2(sc, script, what, word):
    backend = h2wire.Backend(script)
    sc.backends.append(backend)
    sc.proxy(backend=backend, upstream={"protocol": "http2", "healthCheck": check(
        what={"path": "/healthz", **what})})
    last(sc.s, word)


def test_http2_is_not_spoken(sc):
    sc.proxy(script=lambda conn: (conn.send("HTTP/1.1 400 Bad Request\r\n\r\n"), conn.read_to_end()),
             upstream={"protocol": "http2", "healthCheck": check()})
    last(sc.s, "L7RSP")


class Health(grpc.GenericRpcHandler):
    """grpc.health.v1, over raw bytes."""

    def __init__(self):
        import concurrent.futures
        self.answer, self.abort, self.asked = b"\x08\x01", None, []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), [self],
                                  options=[("grpc.so_reuseport", 0)])
        self.port = self.server.add_insecure_port(f"127.0.0.1:{free_port()}")
        self.address = f"127.0.0.1:{self.port}"
        self.errors = []
        self.server.start()

    def service(self, details):
        def run(request, context):
            self.asked.append((details.method, request))
            if self.abort:
                context.abort(self.abort, "no")
            return self.answer
        return grpc.unary_unary_rpc_method_handler(run)

    def stop(self):
        self.server.stop(0).wait(10)


def test_grpc(sc):
    app = Health()
    sc.backends.append(app)
    name = "a.Service" + "x" * 200
    sc.proxy(backend=app, upstream={"protocol": "http2",
                                    "healthCheck": check("grpc", {"service": name})})
    last(sc.s, "L7OK")
    method, request = app.asked[0]
    assert method == "/grpc.health.v1.Health/Check"
    assert request == b"\x0a" + bytes([0x80 | len(name) & 0x7f, len(name) >> 7]) + name.encode()
    for answer, word in [(b"\x08\x02", "L7STS"), (b"", "L7STS"), (b"\x08\x03", "L7STS"),
                         (b"\x12\x02hi\x08\x01", "L7OK"), (b"\x08", "L7RSP"),
                         (b"\x12\x09hi", "L7RSP"), (b"\x08\x01\x0b", "L7RSP"),
                         (b"\x08\x02\x08\x01", "L7OK")]:
        app.answer = answer
        last(sc.s, word)
    app.abort = grpc.StatusCode.UNIMPLEMENTED
    last(sc.s, "L7STS/12")
    state(sc.s, False)
    app.abort, app.answer = None, b"\x08\x01"
    state(sc.s, True)
    assert "UNIMPLEMENTED" in sc.s.log() or "NOT_SERVING" in sc.s.log()


def test_grpc_of_the_whole_server(sc):
    app = Health()
    sc.backends.append(app)
    sc.proxy(backend=app, upstream={"protocol": "http2", "healthCheck": check("grpc", {})})
    last(sc.s, "L7OK")
    assert app.asked[0][1] == b""


# --- who is looked at -----------------------------------------------------------------------------

def test_names(sc):
    """An address that DNS adds is looked at at once; one that it takes away no more."""
    dns = DnsServer()
    sc.backends.append(dns)
    port = free_port()
    apps = {i: App(status=200 if i == 2 else 500) for i in (2, 3)}
    for i, app in apps.items():
        sc.backend(app, address=f"127.0.0.{i}:{port}")
    dns.set("app.test", "A", ["127.0.0.2"], ttl=1)
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "dns": {"servers": [dns.address], "timeout": "8s", "tries": 1},
        "listeners": [{"name": "in", "address": sc.address, "routes": [{"upstream": "app"}]}],
        "upstreams": [{"name": "app", "endpoints": [f"app.test.:{port}"], "healthCheck": check(),
                       "dns": {"minTtl": "1s", "maxTtl": "1s"}}]})
    last(sc.s, "L7OK/200")
    dns.set("app.test", "A", ["127.0.0.2", "127.0.0.3"], ttl=1)
    wait_for(lambda: len(sc.s.status()["upstreams"][0]["endpoints"]) == 2, "the new address")
    wait_for(lambda: [e["health"]["healthy"] for e in sorted(
        sc.s.status()["upstreams"][0]["endpoints"], key=lambda e: e["address"])] == [True, False],
        "the new one is down")
    for _ in range(10):
        assert sc.ask().status == 200
    dns.set("app.test", "A", ["127.0.0.2"], ttl=1)
    wait_for(lambda: len(sc.s.status()["upstreams"][0]["endpoints"]) == 1, "it is gone")
    n = len(apps[3].looks)
    time.sleep(0.5)  # five intervals
    assert len(apps[3].looks) <= n + 1
    assert health(sc.s)["healthy"] is True


def test_who_waits_gets_the_place_of_one_that_goes(sc):
    """DNS takes away the address that is being looked at; the other one has waited for its place."""
    dns = DnsServer()
    sc.backends.append(dns)
    port = free_port()
    hangs = sc.backend(lambda conn: conn.read_to_end(), address=f"127.0.0.2:{port}")
    app = App()
    sc.backend(app, address=f"127.0.0.3:{port}")
    dns.set("app.test", "A", ["127.0.0.2"], ttl=1)
    sc.address = f"127.0.0.1:{free_port()}"
    sc.s = sc.sluice({
        "dns": {"servers": [dns.address], "timeout": "8s", "tries": 1},
        "health": {"maxProbes": 1},
        "listeners": [{"name": "in", "address": sc.address, "routes": [{"upstream": "app"}]}],
        "upstreams": [{"name": "app", "endpoints": [f"app.test.:{port}"],
                       "healthCheck": check(timeout="60s"), "dns": {"minTtl": "1s", "maxTtl": "1s"}}]})
    wait_for(lambda: len(hangs.conns) == 1, "the first is looked at")
    dns.set("app.test", "A", ["127.0.0.2", "127.0.0.3"], ttl=1)
    wait_for(lambda: sc.s.metrics().get("sluice_health_checks_waiting") == 1, "the second waits")
    dns.set("app.test", "A", ["127.0.0.3"], ttl=1)
    last(sc.s, "L7OK/200")
    assert app.looks


class Crowd:
    """One socket that is thousands of endpoints: each address of 127.0.0.0/8 leads to it."""

    def __init__(self):
        self.errors, self.taken = [], 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = free_port()
        self.listener.bind(("0.0.0.0", self.port))
        self.listener.listen(4096)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                self.listener.accept()[0].close()
                self.taken += 1
            except OSError:
                return

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


def test_thousands(sc):
    """Half of them refuse. All get their turn, and no more run at once than may."""
    crowd, refusing = Crowd(), free_port()
    sc.backends.append(crowd)
    names, n, every = [f"u{k}" for k in range(4)], 1000 // SLOW, f"{10 * SLOW}s"
    upstreams = [{
        "name": name, "endpoints": [
            f"127.{k}.{1 + i // 256}.{i % 256}:{refusing if i % 2 else crowd.port}" for i in range(n)],
        "healthCheck": {"tcp": {}, "interval": every, "unhealthyInterval": every, "timeout": "9s", "fall": 1}}
        for k, name in enumerate(names, 1)]
    routes = [{"match": {"pathPrefix": f"/{name}"}, "upstream": name} for name in names]
    sc.proxy(sc.backend(), listener={"routes": routes},
             more={"health": {"maxProbes": 32}, "upstreams": upstreams})

    def counts():
        return [sum(sc.s.metrics().get(f"sluice_upstream_endpoints_{w}", upstream=name)
                    for name in names) for w in ("healthy", "unhealthy")]
    half = len(names) * n // 2
    wait_for(lambda: counts() == [half, half] and crowd.taken >= half,
             lambda: f"all are looked at: {counts()}, {crowd.taken}", timeout=60 * SLOW, interval=0.5)
    assert sc.s.metrics().get("sluice_health_checks_running") <= 32
    assert "is DOWN: L4CON" in sc.s.log()
    if SLOW == 1:  # where many change in a second
        assert "more endpoints have changed" in sc.s.log()
        assert sc.s.log().count("is DOWN") < half


def test_upgrade(sc):
    """The successor looks by itself, and the one that retires no more."""
    app = App(status=500)
    sc.proxy(script=app, upstream={"healthCheck": check()})
    state(sc.s, False)
    old = sc.s.pid
    sc.s.signal(signal.SIGUSR2)
    wait_for(lambda: sc.s.pid != old and len(sc.s.children()) == 1, "the new process is alone", 20)
    state(sc.s, False)
    app.status = 200
    state(sc.s, True)
    sc.s.base_fds = None  # of another process
