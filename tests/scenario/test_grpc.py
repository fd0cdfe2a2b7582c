"""gRPC through sluice, with grpcio on both ends."""

import threading
import time

import pytest

import h2wire
from grpc_app import App, Client, Talk, failure, grpc
from wire import SLOW, TIMEOUT, wait_for

UNAVAILABLE, DEADLINE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
BIG = 20 << 20


class Rig:
    """An App behind sluice, and clients of it."""

    def __init__(self, sc, app=None, route=None, upstream=None, **how):
        self.sc = sc
        self.app = app or App()
        self.clients = []
        sc.backends.append(self.app)
        sc.proxy(backend=self.app, route=route,
                 upstream={"protocol": "http2", "pool": {"idleTimeout": "60s"},
                           **(upstream or {})}, **how)
        self.c = self.client()

    def client(self, **how):
        self.clients.append(Client(self.sc.address, **how))
        return self.clients[-1]

    def close(self):
        for c in self.clients:
            c.close()

    def record(self, n=1):
        """The access log's record of the n-th call to end."""
        return self.sc.s.wait_access_log(n)[n - 1]


@pytest.fixture
def rig(sc):
    made = []

    def make(**how):
        made.append(Rig(sc, **how))
        return made[-1]
    yield make
    for r in made:
        r.close()


def test_kinds(rig):
    r = rig()
    assert r.c.unary(b"hello") == b"re:hello"
    assert r.c.unary(b"") == b"re:"
    assert r.c.collect(iter([b"x" * i for i in range(100)])) == b"4950"
    assert [int(m) for m in r.c.count(b"500")] == list(range(500))
    assert list(r.c.count(b"0")) == []
    assert list(r.c.chat(iter([b"a", b"b", b""]))) == [b"re:a", b"re:b", b"re:"]
    talk = Talk(r.c.chat)
    for i in range(20):  # neither end waits for the other's end
        assert talk.ask(b"%d" % i) == b"re:%d" % i
    talk.done()
    assert list(talk.call) == []
    assert talk.call.code() == grpc.StatusCode.OK
    records = r.sc.s.wait_access_log(7)
    assert {(x["status"], x["reason"], x["grpc_status"]) for x in records} == {(200, "none", 0)}
    assert r.sc.s.metrics().get("sluice_grpc_requests_total", route=records[0]["route"],
                                  code="OK") == 7


def test_metadata(rig):
    r = rig()
    response, call = r.c.unary_metadata.with_call(
        b"m", metadata=[("x-key", "v"), ("x-some-bin", b"\0\x01\xfe"), ("x-key", "w")])
    assert response == b"m"
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-initial"] == "first" and initial["x-bits-bin"] == b"\0\xff\x80"
    assert trailing["x-trailing"] == "last" and trailing["x-more-bin"] == b"\x01\x02"
    seen = r.app.calls[0].context.invocation_metadata()
    assert [v for k, v in seen if k == "x-key"] == ["v", "w"]
    assert dict(seen)["x-some-bin"] == b"\0\x01\xfe"
    assert dict(seen)["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c.value[0]],
                         ids=lambda c: c.name.lower())
def test_status(rig, code):
    r = rig()
    error, _ = failure(lambda: r.c.unary_status(b"%d" % code.value[0]))
    assert error.code() == code and error.details() == "grün 100% \n"
    assert dict(error.trailing_metadata())["x-trailing"] == "last"
    record = r.record()
    assert (record["status"], record["reason"], record["grpc_status"]) == (200, "none",
                                                                           code.value[0])
    assert r.sc.s.metrics().get("sluice_grpc_requests_total", code=code.name) == 1


def test_error_behind_messages(rig):
    r = rig()
    call = r.c.count_fail(b"3")
    assert [next(call) for _ in range(3)] == [b"0", b"1", b"2"]
    error, _ = failure(lambda: next(call))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "lost")
    assert r.record()["grpc_status"] == 15


def test_big_messages(rig):
    r = rig()
    assert len(r.c.unary(b"x" * BIG)) == BIG + 3
    assert len(r.c.unary_size(b"%d" % BIG)) == BIG
    for i, m in enumerate(r.c.count_big(b"24")):
        assert m == bytes([i]) * (1 << 20)
    assert r.c.collect(bytes(1 << 20) for _ in range(24)) == b"%d" % (24 << 20)
    talk = Talk(r.c.chat)
    for _ in range(4):
        assert len(talk.ask(bytes(4 << 20))) == (4 << 20) + 3
    talk.done()
    assert list(talk.call) == []


def test_many_at_once(rig):
    r = rig()
    calls = [r.c.unary.future(b"%d" % i) for i in range(400)]
    assert [c.result(TIMEOUT) for c in calls] == [b"re:%d" % i for i in range(400)]


# --- deadlines ---

def test_clients_deadline(rig):
    """The client ends it, and so does sluice if it is first; the server learns of it either way."""
    r = rig()
    error, took = failure(lambda: r.c.unary_hang(b"", timeout=0.3))
    assert error.code() == DEADLINE and 0.25 < took < 2 * SLOW
    call = r.app.wait_calls(1)
    assert 0 < call.remaining <= 0.3
    assert call.cancelled.wait(TIMEOUT)


def grpc_head(path="/test.Service/unary", *more):
    return [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", path),
            ("content-type", "application/grpc"), ("te", "trailers"), *more]


def message(body=b""):
    return b"\0" + len(body).to_bytes(4, "big") + body


def wire_call(sc, *more, body=message(), path="/test.Service/unary"):
    """A call by a client that itself has no deadline."""
    c = h2wire.Client(sc.address)
    sc.clients.append(c)
    st = c.open(grpc_head(path, *more), end=False)
    c.data(st.id, body, end=True)
    return c, st


def test_deadline_of_the_whole_call(sc, rig):
    """Messages have gone out: it ends in trailers, and the server's stream in CANCEL."""
    def script(conn):
        st = conn.request()
        conn.headers(st.id, [(":status", "200"), ("content-type", "application/grpc")])
        conn.send_body(st, message(b"0"), end=False)
        conn.until(lambda: st.reset is not None, "a reset")
    r = rig(app=h2wire.Backend(script))
    began = time.monotonic()
    c, st = wire_call(sc, ("grpc-timeout", "400m"))
    c.response(st)
    assert 0.39 < time.monotonic() - began < TIMEOUT / 2
    assert st.get(":status") == "200" and st.body == message(b"0")
    assert dict(st.trailers) == {"grpc-status": "4", "grpc-message": "deadline"}
    r.app.wait_done()
    assert r.app.requests[0].reset == h2wire.CANCEL
    assert (r.record()["reason"], r.record()["grpc_status"]) == ("deadline", 4)


@pytest.mark.parametrize("value", ["0S", "0n", "999n", "00000000H"])
def test_deadline_passed_on_arrival(sc, rig, value):
    r = rig()
    c, st = wire_call(sc, ("grpc-timeout", value))
    c.response(st)
    assert trailers_only(st) == ("4", "deadline")
    assert not r.app.calls and r.record()["tries"] == 0


@pytest.mark.parametrize("values", [["1"], ["S"], ["-1S"], ["1.5S"], ["100000000S"], ["1s"], [""],
                                    ["1S", "2S"]], ids=str)
def test_bad_timeout(sc, rig, values):
    r = rig()
    c, st = wire_call(sc, *[("grpc-timeout", v) for v in values])
    c.response(st)
    status, text = trailers_only(st)
    assert status == "13" and text.startswith("bad_request: ")
    assert not r.app.calls


def test_longest_timeout(sc, rig):
    r = rig()
    c, st = wire_call(sc, ("grpc-timeout", "99999999H"))
    c.response(st)
    assert dict(st.trailers)["grpc-status"] == "0"


def test_timeout_is_passed_on(sc, rig):
    """Less what was spent; none where none came."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, headers=[("content-type", "application/grpc")],
                        trailers=[("grpc-status", "0")])
    r = rig(app=h2wire.Backend(script))
    for given, least in (("5S", 4_000_000), ("700000u", 1), ("1H", 3_590_000_000), (None, None)):
        c, st = wire_call(sc, *([("grpc-timeout", given)] if given else []))
        c.response(st)
        values = [v for n, v in r.app.requests[-1].head if n == "grpc-timeout"]
        if given is None:
            assert values == []
            continue
        value, = values
        usec = int(value[:-1]) * {"u": 1, "m": 1000, "S": 1_000_000}[value[-1]]
        most = int(given[:-1]) * {"u": 1, "S": 1_000_000, "H": 3_600_000_000}[given[-1]]
        assert least <= usec < most, value


def test_routes_timeout(rig):
    """The shorter of both counts, until the response begins."""
    r = rig(route={"timeout": "300ms"})
    error, took = failure(lambda: r.c.unary_hang(b"", timeout=TIMEOUT))
    assert error.code() == DEADLINE and error.details() == "deadline" and took < TIMEOUT / 2
    assert r.app.calls[0].cancelled.wait(TIMEOUT)
    assert r.record()["reason"] == "deadline"


def test_routes_timeout_leaves_streams(rig):
    """Not what has begun to answer, nor what still sends."""
    r = rig(route={"timeout": "300ms"})
    call = r.c.count_hang(b"1")
    assert next(call) == b"0"
    go_on = threading.Event()

    def slowly():
        yield b"one"
        go_on.wait(TIMEOUT)
        yield b"two"
    upload = r.c.collect.future(slowly())
    time.sleep(0.7)  # that nothing happens takes its time
    assert call.is_active() and upload.running()
    go_on.set()
    assert upload.result(TIMEOUT) == b"6"
    call.cancel()


def test_timeout_alone(rig):
    """No timeout of the route's: the call's own stays."""
    r = rig(route={"timeout": "0s"})
    error, took = failure(lambda: r.c.unary_hang(b"", timeout=0.3))
    assert error.code() == DEADLINE and took < TIMEOUT / 2


def test_quiet_client_stays(rig):
    """A call that only listens sends no body for longer than bodyIdleTimeout."""
    r = rig(http={"bodyIdleTimeout": "200ms"})
    talk = Talk(r.c.chat)
    assert talk.ask(b"a") == b"re:a"
    time.sleep(0.6)  # that nothing happens takes its time
    assert talk.ask(b"b") == b"re:b"
    talk.done()
    assert list(talk.call) == []


# --- ends ---

def test_cancellation(rig):
    r = rig()
    call = r.c.count_hang(b"2")
    assert next(call) == b"0"
    call.cancel()
    assert r.app.calls[0].cancelled.wait(TIMEOUT)
    record = r.record()
    assert (record["reason"], record["grpc_status"]) == ("client_abort", 1)
    assert r.c.unary(b"still") == b"re:still"  # the connections live


def trailers_only(st):
    """grpc-status and grpc-message of an answer in one head."""
    head = dict(st.head)
    assert head[":status"] == "200" and head["content-type"] == "application/grpc"
    assert head["proxy-status"].startswith("sluice; error=")
    assert st.trailers is None and st.body == b"" and "content-length" not in head
    return head["grpc-status"], head["grpc-message"]


def test_upstream_down(rig):
    app = App()
    app.stop()
    r = rig(app=app)
    error, _ = failure(lambda: r.c.unary(b"x"))
    assert error.code() == UNAVAILABLE and error.details() == "connect_refused"
    record = r.record()
    assert (record["status"], record["reason"], record["grpc_status"]) == (200, "connect_refused",
                                                                           14)


def test_upstream_dies(rig):
    """Streams under way are told, each in trailers."""
    r = rig()
    calls = [r.c.count_hang(b"1") for _ in range(5)]
    assert [next(c) for c in calls] == [b"0"] * 5
    r.app.server.stop(0)
    for c in calls:
        error, _ = failure(lambda c=c: next(c))
        assert error.code() in (UNAVAILABLE, grpc.StatusCode.CANCELLED), error


def test_upstream_resets(sc, rig):
    """RST_STREAM in the middle of a response becomes a status, with what came before it."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.headers(st.id, [(":status", "200"), ("content-type", "application/grpc")])
            conn.send_body(st, message(b"one"), end=False)
            conn.rst(st.id, h2wire.INTERNAL_ERROR)
    rig(app=h2wire.Backend(script))
    c, st = wire_call(sc)
    c.response(st)
    if st.trailers is None:  # head and reset came at once: taken back
        assert trailers_only(st)[0] == "14"
    else:
        assert st.body == message(b"one")
        assert dict(st.trailers)["grpc-status"] == "14"
        assert dict(st.trailers)["grpc-message"] == "upstream_truncated: reset: INTERNAL_ERROR"


def test_promised_length_is_cut(sc, rig):
    """A length that is not kept has no end that a client may believe."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.headers(st.id, [(":status", "200"), ("content-type", "application/grpc"),
                                 ("content-length", "100")])
            conn.send_body(st, message(b"one"), end=False)
            cut.wait(TIMEOUT)
            conn.rst(st.id, h2wire.INTERNAL_ERROR)
    cut = threading.Event()
    rig(app=h2wire.Backend(script))
    c, st = wire_call(sc)
    c.until(lambda: st.body, "the first bytes")
    cut.set()
    c.expect_reset(st, h2wire.INTERNAL_ERROR)


def test_own_answers(sc, rig):
    """No route: told in gRPC's way to a call, in HTTP's to others."""
    rig(listener={"routes": [{"match": {"path": "/never"}, "upstream": "app"}]})
    c, st = wire_call(sc)
    c.response(st)
    assert trailers_only(st) == ("12", "no_route")
    plain = c.open([f if f[0] != "content-type" else (f[0], "application/grpc-web")
                    for f in grpc_head()])
    c.response(plain)
    assert plain.get(":status") == "404"


def test_not_grpc_upstream(sc, rig):
    """A plain HTTP error passes as it is; the status is what its client makes of it."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, b"no", status=403)
    r = rig(app=h2wire.Backend(script))
    error, _ = failure(lambda: r.c.unary(b"x"))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    record = r.record()
    assert (record["status"], record["grpc_status"]) == (403, 7)


def test_not_grpc_upstream_to_a_hasty_client(sc, rig):
    """Clients may leave when they have read the head: it was all that they look at."""
    def script(conn):
        while (st := conn.request()) is not None:
            conn.headers(st.id, [(":status", "403"), ("content-type", "text/plain")])
            left.wait(TIMEOUT)
    left = threading.Event()
    r = rig(app=h2wire.Backend(script))
    c, st = wire_call(sc)
    c.until(lambda: st.head is not None, "the head")
    c.rst(st.id)
    record = r.record()
    left.set()
    assert (record["status"], record["grpc_status"]) == (403, 7)
    assert record["reason"] == "client_abort"


# --- the drain ---

LONG = {"lifecycle": {"drainTimeout": "2s", "lastCall": "1s"}}


def test_last_call(sc, rig):
    """A call that is open at LAST_CALL is told UNAVAILABLE, not cut, and the report says so."""
    r = rig(more=LONG)
    talk, watch = Talk(r.c.chat), r.c.count_hang(b"1")
    assert talk.ask(b"a") == b"re:a" and next(watch) == b"0"
    sc.s.signal(15)
    for call in (talk.call, watch):
        error, _ = failure(lambda call=call: next(call))
        assert (error.code(), error.details()) == (UNAVAILABLE, "last_call")
    talk.done()
    assert all(c.cancelled.wait(TIMEOUT) for c in r.app.calls)
    r.close()
    sc.s.check_end(sc.s.wait_exit())


def test_drain_loses_no_call(sc, rig):
    """Calls one after the other through a drain, by clients that repeat only what went on no
    connection: each call that sluice has read is answered."""
    r = rig(more={"lifecycle": {"noticePeriod": "300ms", "drainTimeout": "5s", "lastCall": "1s"}})
    ok, failed = [0] * 4, []
    draining = threading.Event()

    def load(i):
        c = r.client(options=[("grpc.enable_retries", 1)])  # transparent ones: there is no policy
        while True:
            try:
                c.unary(b"x", timeout=TIMEOUT)
                ok[i] += 1
            except grpc.RpcError as e:
                # The listener is closed: the client has nowhere to go.
                if not (draining.is_set() and e.code() == UNAVAILABLE):
                    failed.append(e)
                return
    threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    wait_for(lambda: min(ok) > 20, "calls run")
    draining.set()
    sc.s.signal(15)
    for t in threads:
        t.join(TIMEOUT)
        assert not t.is_alive()
    assert not failed, failed
    r.close()
    sc.s.check_end(sc.s.wait_exit())
    records = sc.s.access_log()
    assert {(x["reason"], x["grpc_status"]) for x in records} == {("none", 0)}
    assert len(records) == sum(ok)


def test_many_early_answers(sc, rig):
    """Errors before the client's last byte are ordinary, not abuse: the connection stays."""
    rig(listener={"routes": [{"match": {"path": "/never"}, "upstream": "app"}]})
    c = h2wire.Client(sc.address)
    sc.clients.append(c)
    for _ in range(12):
        calls = [c.open(grpc_head(), end=False) for _ in range(100)]
        for st in calls:
            c.until(lambda st=st: st.over or c.goaways, "the end of a call")
            assert not c.goaways
            assert trailers_only(st) == ("12", "no_route")
    c.expect_ping()


def test_rate_limited(rig):
    """Trailers-only; the connection, and a stream under way on it, go on."""
    r = rig(route={"rateLimits": [{"name": "all", "requests": 2, "per": "24h"}]})
    talk = Talk(r.c.chat)
    assert talk.ask(b"1") == b"re:1"
    assert r.c.unary(b"2") == b"re:2"
    error, _ = failure(lambda: r.c.unary(b"3"))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert talk.ask(b"4") == b"re:4"
    talk.done()
