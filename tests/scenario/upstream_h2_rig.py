"""A sluice before an HTTP/2 server, and what the server is told to do."""

import random

import h2wire
from wire import TIMEOUT

BIG = random.Random(5).randbytes(8 << 20)
OK = [(":status", "200")]


def h2_proxy(sc, script=h2wire.ok_app, settings=(), upstream=None, backend=None, pool=None,
             breaker=None, http2=None, proxy=None, **how):
    """A listener of HTTP/1.1 before an HTTP/2 server."""
    backend = backend or h2wire.Backend(script, settings=settings, **how)
    sc.backends.append(backend)
    conf = {"protocol": "http2", "pool": {"idleTimeout": "60s", **(pool or {})},
            "circuitBreaker": breaker or {}, "http2": http2 or {}, **(upstream or {})}
    sc.proxy(backend=backend, upstream=conf, **(proxy or {}))
    return backend


def upstream(sc):
    return sc.s.status()["upstreams"][0]


class Crowd:
    """Requests at once, each on a client connection of its own."""

    def __init__(self, sc, n, method="GET", target="/", **how):
        self.method = method
        self.clients = [sc.client() for _ in range(n)]
        for i, c in enumerate(self.clients):
            c.request(method, target.replace("{i}", str(i)), **how)

    def responses(self):
        return [c.response(self.method) for c in self.clients]

    def statuses(self):
        return sorted(r.status for r in self.responses())


def hold(n, release=None):
    """A script that answers when n requests have come, and the event is set."""
    def script(conn):
        got = []
        while len(got) < n:
            st = conn.request()
            if st is None:
                return
            got.append(st)
        assert release is None or release.wait(TIMEOUT)
        for st in got:
            conn.answer(st, st.get(":path").encode())
        h2wire.ok_app(conn)
    return script
