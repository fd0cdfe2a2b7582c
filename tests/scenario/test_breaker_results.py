"""What counts for a breaker and for outlier detection when the upstream speaks HTTP/2, gRPC above all:
each answer by each way that it can come."""

import pytest

import h2wire
from h2wire import INTERNAL_ERROR
from wire import wait_for

GRPC = ("content-type", "application/grpc")
ROW, RATE, NEITHER = "row", "rate", "neither"


def plain(status):
    def answer(conn, st):
        conn.answer(st, b"x", status=status)
    return answer


def head_only(code, status=200):
    def answer(conn, st):
        conn.answer(st, status=status, headers=[GRPC, ("grpc-status", str(code))])
    return answer


def in_trailers(code):
    def answer(conn, st):
        conn.answer(st, b"\0\0\0\0\1r", headers=[GRPC], trailers=[("grpc-status", str(code))])
    return answer


def without_status(conn, st):
    conn.answer(st, b"\0\0\0\0\1r", headers=[GRPC], trailers=[("x", "y")])


def resets(conn, st):
    conn.rst(st.id, INTERNAL_ERROR)


class Rig:
    """One upstream that gives each request the same answer, and is asked by HTTP/2."""

    def __init__(self, sc, answer):
        def script(conn):
            while (st := conn.request()) is not None:
                if st.reset is None:
                    answer(conn, st)
        self.sc = sc
        self.app, self.other = h2wire.Backend(script), h2wire.Backend(script)
        sc.backends += [self.app, self.other]
        sc.proxy(backend=self.app, upstream={
            "protocol": "http2", "endpoints": [self.app.address, self.other.address],
            "circuitBreaker": {"consecutiveErrors": 100, "minRequests": 1000},
            "outlierDetection": {"consecutive5xx": 100, "consecutiveGatewayErrors": 100,
                                 "consecutiveLocalErrors": 100}})
        self.client = h2wire.Client(sc.address)

    def call(self, grpc=True):
        headers = [GRPC, ("te", "trailers")] if grpc else []
        st = self.client.request("POST", "/s/m", headers=headers, body=b"\0\0\0\0\1q")
        return self.client.whole(st)

    def counted(self):
        b = self.sc.s.status()["upstreams"][0]["circuit_breaker"]
        return b["consecutive_errors"], b["window_errors"], b["window_requests"]


@pytest.mark.parametrize("answer,grpc,counts", [
    (plain(404), False, NEITHER), (plain(429), False, RATE), (plain(500), False, ROW),
    (plain(503), False, ROW), (resets, False, ROW),
    # gRPC by its status, wherever it stands
    (head_only(0), True, NEITHER), (in_trailers(0), True, NEITHER),
    (head_only(1), True, NEITHER), (in_trailers(3), True, NEITHER), (head_only(5), True, NEITHER),
    (head_only(7), True, NEITHER), (in_trailers(16), True, NEITHER),
    (head_only(8), True, RATE), (in_trailers(8), True, RATE),
    (head_only(2), True, ROW), (in_trailers(4), True, ROW), (in_trailers(13), True, ROW),
    (head_only(14), True, ROW), (in_trailers(15), True, ROW), (without_status, True, ROW),
    (resets, True, ROW),
    # of a proxy or a server that knows no gRPC: by the status that there is
    (plain(400), True, NEITHER), (plain(403), True, NEITHER), (plain(409), True, NEITHER),
    (plain(429), True, RATE), (head_only(8, 429), True, RATE), (plain(502), True, ROW),
    (plain(500), True, ROW),
])
def test_what_counts(sc, answer, grpc, counts):
    rig = Rig(sc, answer)
    for _ in range(3):
        rig.call(grpc)
    row, bad, calls = rig.counted()
    assert calls == 3
    assert row == (3 if counts == ROW else 0)
    assert bad == (0 if counts == NEITHER else 3)
    rig.client.close()


@pytest.mark.parametrize("grpc", [False, True])
def test_a_client_that_cancels(sc, grpc):
    """By RST_STREAM, before a head and behind it, and by its connection's end."""
    def begins(conn, st):
        if len(rig.app.requests) + len(rig.other.requests) > 4:
            conn.headers(st.id, [(":status", "200"), GRPC])
    rig = Rig(sc, begins)
    headers = [GRPC, ("te", "trailers")] if grpc else []

    def sent():
        return len(rig.app.requests) + len(rig.other.requests)
    for n in range(8):
        st = rig.client.request("POST", "/s/m", headers=headers, body=b"\0\0\0\0\1q")
        wait_for(lambda n=n: sent() == n + 1, "it is sent")
        if n >= 4:
            rig.client.response_head(st)
        rig.client.rst(st.id)
        wait_for(lambda: sc.s.status()["streams"] == 0, "it has gone")
    for _ in range(3):
        rig.client.request("POST", "/s/m", headers=headers, body=b"\0\0\0\0\1q")
    wait_for(lambda: sent() == 11, "they are sent")
    rig.client.close()
    wait_for(lambda: sc.s.status()["streams"] == 0, "they have gone")
    assert rig.counted() == (0, 0, 0)
    endpoints = sc.s.status()["upstreams"][0]["endpoints"]
    assert [e["errors"] for e in endpoints] == [0, 0]
