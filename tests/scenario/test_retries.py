"""Requests that are sent once more: when, where to, how often, and when not."""

import threading
import time

import pytest

import h2wire
from h2wire import CANCEL, INTERNAL_ERROR, REFUSED_STREAM
from harness import Backend, assert_problem, forward, ok_app
from reload_rig import Live
from wire import free_port, wait_for

FAST = {"backoff": {"base": "1ms", "max": "2ms"}}
LONG = {"backoff": {"base": "60s", "max": "60s"}}


def answers(*statuses, headers=(), body=b"no"):
    """The nth request, over all connections, is answered with the nth status; the last goes on."""
    def script(conn):
        while conn.request() is not None:
            n = len(conn.backend.requests)
            status = statuses[min(n, len(statuses)) - 1]
            conn.answer(b"yes" if status == 200 else body, status=status, headers=headers)
    return script


def closes(conn):
    conn.request()


def hangs(conn):
    conn.request()
    conn.read_to_end()


def retried(sc, **labels):
    return sc.s.metrics().get("sluice_upstream_retries_total", upstream="app", **labels) or 0


def refused(sc, why):
    return sc.s.metrics().get("sluice_upstream_retries_refused_total", upstream="app",
                              why=why) or 0


def proxy(sc, script=ok_app, retry=None, route=None, **how):
    """A route with retries, whose waits are short."""
    sc.proxy(script=script, route={"retry": {**FAST, **(retry or {})}, **(route or {})}, **how)


def test_failure_that_opens_the_breaker(sc):
    """The answer goes through: it says more than the refusal that another try would get."""
    proxy(sc, answers(503), retry={"attempts": 3},
          upstream={"circuitBreaker": {"consecutiveErrors": 2, "openDuration": "60s"}})
    r = sc.ask()
    assert (r.status, r.body) == (503, b"no")
    assert len(sc.app.requests) == 2
    assert refused(sc, "breaker") == 1
    assert_problem(sc.ask(), "breaker_open")


# --- what is retried ---

@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_error(sc, status):
    proxy(sc, answers(status, 200))
    r = sc.ask()
    assert r.status == 200 and r.body == b"yes"
    assert len(sc.app.requests) == 2
    assert retried(sc, condition="gateway-error") == 1
    record = sc.s.wait_access_log(1)[0]
    assert record["tries"] == 2 and record["reason"] == "none"


@pytest.mark.parametrize("status,on,tries", [
    (500, None, 1), (500, ["5xx"], 2), (409, None, 1), (409, ["retriable-4xx"], 2),
    (429, ["5xx", "retriable-4xx"], 1), (503, ["connect-failure"], 1), (404, ["5xx"], 1),
])
def test_conditions(sc, status, on, tries):
    proxy(sc, answers(status, 200), retry={"on": on} if on else None)
    assert sc.ask().status == (200 if tries == 2 else status)
    assert len(sc.app.requests) == tries


@pytest.mark.parametrize("method,methods,tries", [
    ("GET", None, 2), ("PUT", None, 2), ("DELETE", None, 2), ("POST", None, 1), ("PATCH", None, 1),
    ("POST", ["GET", "POST"], 2), ("PUT", ["GET"], 1),
])
def test_methods(sc, method, methods, tries):
    proxy(sc, answers(503, 200), retry={"methods": methods} if methods else None)
    assert sc.ask(method).status == (200 if tries == 2 else 503)
    assert len(sc.app.requests) == tries
    assert refused(sc, "method") == 2 - tries


def test_closed_without_an_answer(sc):
    proxy(sc, [closes, ok_app])
    assert sc.ask().status == 200
    assert retried(sc, condition="reset-before-response") == 1


def test_reset_without_an_answer(sc):
    def resets(conn):
        conn.request()
        conn.reset()
    proxy(sc, [resets, ok_app])
    assert sc.ask().status == 200


def test_half_a_head(sc):
    def cuts(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-")
    proxy(sc, [cuts, ok_app])
    assert sc.ask().status == 200


def test_not_behind_the_head(sc):
    def cuts(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    proxy(sc, cuts, retry={"on": ["5xx", "reset-before-response"]})
    client = sc.client()
    client.request()
    assert b"200" in client.read_to_end()
    assert len(sc.app.requests) == 1
    assert sc.s.wait_access_log(1)[0]["tries"] == 1


def test_not_behind_an_interim_response(sc):
    def hints(conn):
        conn.request()
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        conn.answer(b"no", status=503)
    proxy(sc, hints)
    client = sc.client()
    client.request()
    r = client.response()
    assert r.status == 503 and [m.status for m in r.interim] == [103]
    assert len(sc.app.requests) == 1


def test_connect_failure_beyond_the_transparent_tries(sc):
    """One address, where nobody listens at first."""
    address = f"127.0.0.1:{free_port()}"
    sc.proxy(route={"retry": {"attempts": 5, "backoff": {"base": "200ms", "max": "5s"}}},
             upstream={"endpoints": [address]})
    client = sc.client()
    client.request("POST", body=b"a")  # nothing was sent, so it may be any method
    wait_for(lambda: retried(sc, condition="connect-failure") >= 1, "a retry")
    late = Backend(address=address)
    sc.backends.append(late)
    assert client.response("POST").status == 200
    assert len(late.requests) == 1


def test_answer_of_our_own_behind_the_last_try(sc):
    sc.proxy(route={"retry": {"attempts": 2, **FAST}},
             upstream={"endpoints": [f"127.0.0.1:{free_port()}"]})
    assert_problem(sc.ask(), "connect_refused", 502)
    assert retried(sc, condition="connect-failure") == 2
    assert sc.s.wait_access_log(1)[0]["tries"] == 3


# --- how often, and the last answer ---

def test_attempts_and_the_last_answer_unchanged(sc):
    def script(conn):
        while conn.request() is not None:
            n = len(conn.backend.requests)
            conn.answer(b"answer %d" % n, status=503, headers=[("X-Answer", str(n))])
    proxy(sc, script, retry={"attempts": 3})
    r = sc.ask()
    assert r.status == 503 and r.body == b"answer 4" and r.get("x-answer") == "4"
    assert len(sc.app.requests) == 4
    assert refused(sc, "attempts") == 1
    assert not r.has("proxy-status")


def test_another_endpoint_is_preferred(sc):
    bad, good = sc.backend(answers(503)), sc.backend()
    sc.proxy(backend=good, route={"retry": FAST},
             upstream={"endpoints": [bad.address, good.address], "balance": "roundRobin"})
    for _ in range(20):
        assert sc.ask().status == 200
    assert bad.requests and len(good.requests) == 20


def test_all_endpoints_in_turn(sc):
    backends = [sc.backend(answers(503)) for _ in range(3)]
    sc.proxy(backend=backends[0], route={"retry": {"attempts": 5, **FAST}},
             upstream={"endpoints": [b.address for b in backends]})
    assert sc.ask().status == 503
    assert sum(len(b.requests) for b in backends) == 6
    assert all(b.requests for b in backends)


def test_a_retried_failure_counts_to_its_endpoint(sc):
    proxy(sc, [closes, ok_app])
    assert sc.ask().status == 200
    assert sc.s.status()["upstreams"][0]["endpoints"][0]["errors"] == 1


# --- what the server says ---

def test_retry_after_is_waited_for(sc):
    proxy(sc, answers(503, 200, headers=[("Retry-After", "1")]))
    start = time.monotonic()
    assert sc.ask().status == 200
    assert time.monotonic() - start >= 1


def test_retry_after_beyond_the_deadline(sc):
    proxy(sc, answers(503, 200, headers=[("Retry-After", "3")]), route={"timeout": "2s"})
    r = sc.ask()
    assert r.status == 503 and r.get("retry-after") == "3"
    assert len(sc.app.requests) == 1 and refused(sc, "deadline") == 1


# --- bodies ---

@pytest.mark.parametrize("size,chunked", [(10, False), (10, True), (65536, False), (65536, True)])
def test_body_is_sent_again(sc, size, chunked):
    proxy(sc, answers(503, 200))
    body = bytes(i % 251 for i in range(size))
    client = sc.client()
    if chunked:
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n"
                    "\r\n")
        client.send(b"%x\r\n%b\r\n0\r\nX-End: 1\r\n\r\n" % (size, body))
    else:
        client.request("PUT", body=body)
    assert client.response("PUT").status == 200
    assert [r.body for r in sc.app.requests] == [body, body]


def test_longer_body_is_not_kept(sc):
    proxy(sc, answers(503, 200), retry={"maxBody": "1KiB"})
    assert sc.ask("PUT", body=b"x" * 1024).status == 200
    assert sc.ask("PUT", body=b"x" * 1025).status == 200  # the third answer
    assert len(sc.app.requests) == 3 and refused(sc, "body") == 0


def test_longer_body_is_refused(sc):
    proxy(sc, answers(503), retry={"maxBody": "1KiB"})
    assert sc.ask("PUT", body=b"x" * 1025).status == 503
    assert len(sc.app.requests) == 1 and refused(sc, "body") == 1


def test_answer_before_the_body_is_whole(sc):
    """What came is sent again, and the rest follows it."""
    def early(conn):
        conn.head()
        conn.answer(b"no", status=503)
        conn.read_to_end()
    proxy(sc, [early, ok_app])
    client = sc.client()
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
    wait_for(lambda: len(sc.app.conns) == 2, "the next try")
    client.send("56789")
    assert client.response("PUT").status == 200
    assert sc.app.requests[-1].body == b"0123456789"


# --- budget, limit, dry run ---

NONE = {"percent": 0, "minPerSecond": 0}


def test_no_budget(sc):
    proxy(sc, answers(503), upstream={"retryBudget": NONE})
    r = sc.ask()
    assert r.status == 503 and r.body == b"no"
    assert len(sc.app.requests) == 1 and refused(sc, "budget") == 1
    record = sc.s.wait_access_log(1)[0]
    assert record["reason"] == "retry_budget" and record["status"] == 503
    assert sc.s.metrics().get("sluice_errors_total", reason="retry_budget") == 1


def test_floor_of_the_budget(sc):
    proxy(sc, answers(503), upstream={"retryBudget": {"percent": 0, "minPerSecond": 1,
                                                      "window": "5s"}})
    for _ in range(20):
        assert sc.ask().status == 503
    assert 25 <= len(sc.app.requests) <= 30  # more only where the window has moved on
    got = sc.s.status()["upstreams"][0]["retries"]
    assert got["budget"] == 5 and got["retries"] <= 5 and got["active"] == 0


def test_limit(sc):
    """One is being retried; another one is refused."""
    def script(conn):
        request = conn.request()
        if request.target == "/first" and len(conn.backend.requests) > 1:
            conn.read_to_end()
        conn.answer(b"no", status=503)
    proxy(sc, script, upstream={"circuitBreaker": {"maxRetries": 1}})
    first = sc.client()
    first.request(target="/first")
    sc.app.wait_requests(2)
    assert sc.ask(target="/second").status == 503
    assert refused(sc, "limit") == 1
    assert sc.s.metrics().get("sluice_upstream_retries_active", upstream="app") == 1
    first.reset()
    wait_for(lambda: sc.s.metrics().get("sluice_upstream_retries_active", upstream="app") == 0,
             "its place is free")


def test_dry_run(sc):
    proxy(sc, answers(503, 200), retry={"dryRun": True})
    assert sc.ask().status == 503
    assert len(sc.app.requests) == 1
    assert refused(sc, "dry_run") == 1 and retried(sc) == 0
    assert sc.s.wait_access_log(1)[0]["reason"] == "none"


@pytest.mark.parametrize("status", [200, 503])
def test_dry_run_of_a_try_s_time(sc, status):
    """It ends nothing, and nobody is told of it; what would have been done then is counted once."""
    gate = threading.Event()

    def script(conn):
        conn.request()
        gate.wait(20)
        conn.answer(b"late", status=status)
    start = time.time()
    proxy(sc, script, retry={"dryRun": True, "perTryTimeout": "100ms"},
          route={"timeout": "60s", "passDeadline": True})
    client = sc.client().request()
    wait_for(lambda: refused(sc, "dry_run") == 1, "it is counted")
    gate.set()
    assert client.response().body == b"late"
    assert refused(sc, "dry_run") == 1 and len(sc.app.requests) == 1
    assert float(sc.app.requests[0].get("x-request-deadline")) > start + 59


# --- time ---

def test_per_try_timeout(sc):
    proxy(sc, [hangs, ok_app], retry={"perTryTimeout": "200ms"})
    start = time.monotonic()
    assert sc.ask().status == 200
    assert time.monotonic() - start < 10
    assert sc.s.status()["upstreams"][0]["endpoints"][0]["errors"] == 1


def test_per_try_timeout_of_the_last_try(sc):
    proxy(sc, hangs, retry={"perTryTimeout": "100ms"})
    assert_problem(sc.ask(), "try_timeout", 504)
    assert len(sc.app.requests) == 2
    sc.app.wait_done()


def test_first_byte_timeout_is_retried(sc):
    proxy(sc, [hangs, ok_app], route={"firstByteTimeout": "100ms"})
    assert sc.ask().status == 200


def test_deadline_ends_the_backoff(sc):
    """What is left decides when it is asked; a longer wait is not begun."""
    proxy(sc, answers(503), retry=LONG, route={"timeout": "500ms"})
    for _ in range(5):
        assert sc.ask().status == 503  # unless the jitter is very small
    assert refused(sc, "deadline") >= 4


def wait_for_backoff(sc):
    wait_for(lambda: sc.s.metrics().get("sluice_upstream_retries_active", upstream="app") == 1,
             "it is retried")
    wait_for(lambda: sc.s.status()["upstreams"][0]["active"] == 0, "the try is over")


def in_backoff(sc, client):
    """A request that waits for its next try; full jitter may make a wait very short."""
    client.request(headers=[("X", "1")])
    wait_for_backoff(sc)


def test_client_goes_during_the_backoff(sc):
    proxy(sc, answers(503, headers=[("Retry-After", "50")]), retry=LONG, route={"timeout": "0"})
    client = sc.client()
    in_backoff(sc, client)
    client.reset()
    wait_for(lambda: sc.s.status()["streams"] == 0, "the stream has ended")
    assert sc.s.wait_access_log(1)[0]["reason"] == "client_abort"
    assert len(sc.app.requests) == 1


def test_h2_client_cancels_during_the_backoff(sc):
    proxy(sc, answers(503, headers=[("Retry-After", "50")]), retry=LONG, route={"timeout": "0"})
    client = h2wire.Client(sc.address)
    st = client.request()
    wait_for_backoff(sc)
    client.rst(st.id)
    wait_for(lambda: sc.s.status()["streams"] == 0, "the stream has ended")
    assert len(sc.app.requests) == 1
    client.close()


def test_last_call_during_the_backoff(sc):
    proxy(sc, answers(503, headers=[("Retry-After", "50")]), retry=LONG, route={"timeout": "0"},
          more={"lifecycle": {"noticePeriod": "0s", "drainTimeout": "1s", "lastCall": "500ms"}})
    client = sc.client()
    in_backoff(sc, client)
    sc.s.signal(15)
    assert_problem(client.response(), "last_call", 503)
    sc.s.stop()
    assert len(sc.app.requests) == 1


def test_reload_during_the_backoff(sc):
    """It keeps its snapshot: the endpoint that it knew."""
    live = Live(sc).start(answers(503, 200, headers=[("Retry-After", "2")]),
                          route={"retry": FAST})
    client = sc.client()
    in_backoff(sc, client)
    other = sc.backend()
    live.apply(lambda c: c["upstreams"].append({"name": "new", "endpoints": [other.address]}) or
               c["listeners"][0]["routes"].__setitem__(0, forward("new")))
    assert client.response().status == 200
    assert len(sc.app.requests) == 2 and not other.requests


# --- HTTP/2 ---

def h2_proxy(sc, script, retry=None, upstream=None):
    backend = h2wire.Backend(script)
    sc.backends.append(backend)
    sc.proxy(backend=backend, upstream={"protocol": "http2", **(upstream or {})},
             route={"retry": {**FAST, **(retry or {})}})


def test_h2_upstream_status(sc):
    def script(conn):
        while (st := conn.request()) is not None:
            conn.answer(st, b"a", status=503 if len(conn.backend.requests) == 1 else 200)
    h2_proxy(sc, script)
    assert sc.ask("PUT", body=b"abc").status == 200
    assert [r.body for r in sc.app.requests] == [b"abc", b"abc"]
    assert len(sc.app.conns) == 1


def test_h2_upstream_reset(sc):
    def script(conn):
        conn.rst(conn.request().id, INTERNAL_ERROR)
        h2wire.ok_app(conn)
    h2_proxy(sc, script)
    assert sc.ask().status == 200
    assert retried(sc, condition="reset-before-response") == 1


def test_h2_refused_streams_are_free_at_first(sc):
    """Three tries cost nothing; the fourth is a retry."""
    def script(conn):
        for _ in range(3):
            conn.rst(conn.accept().id, REFUSED_STREAM)
        h2wire.ok_app(conn)
    h2_proxy(sc, script)
    assert sc.ask("POST", body=b"a").status == 200
    assert retried(sc, condition="refused-stream") == 1
    assert sc.s.wait_access_log(1)[0]["tries"] == 4


def test_h2_answer_with_a_body_is_cancelled(sc):
    def script(conn):
        st = conn.request()
        conn.headers(st.id, [(":status", "503")])
        conn.data(st.id, b"part")
        conn.until(lambda: st.reset is not None, "a reset")
        assert st.reset == CANCEL
        h2wire.ok_app(conn)
    h2_proxy(sc, script)
    client = h2wire.Client(sc.address)
    assert client.ask().status == 200
    client.close()


# --- gRPC ---

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def trailers_only(code, **more):
    return [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", str(code)),
            *more.items()]


def grpc_script(*first):
    """Answers the first calls with those heads alone, and others with OK."""
    def script(conn):
        while (st := conn.request()) is not None:
            n = len(conn.backend.requests)
            if n <= len(first):
                conn.headers(st.id, first[n - 1], end=True)
            else:
                conn.answer(st, b"\0\0\0\0\1a", headers=[("content-type", "application/grpc")],
                            trailers=[("grpc-status", "0")])
    return script


def call(sc, headers=()):
    client = h2wire.Client(sc.address)
    st = client.ask("POST", "/s/m", headers=[*GRPC, *headers], body=b"\0\0\0\0\1q")
    client.close()
    return dict(st.trailers or st.head).get("grpc-status")


@pytest.mark.parametrize("code,on,tries", [
    (14, None, 2), (8, None, 1), (8, ["resource-exhausted"], 2), (1, ["cancelled"], 2),
    (4, ["deadline-exceeded"], 2), (13, ["internal"], 2), (5, ["5xx", "unavailable"], 1),
])
def test_grpc_trailers_only(sc, code, on, tries):
    h2_proxy(sc, grpc_script(trailers_only(code)),
             retry={"methods": ["POST"], **({"on": on} if on else {})})
    assert call(sc) == ("0" if tries == 2 else str(code))
    assert [bytes(r.body) for r in sc.app.requests] == [b"\0\0\0\0\1q"] * tries
    assert sc.s.wait_access_log(1)[0]["grpc_status"] == (0 if tries == 2 else code)


def test_grpc_needs_its_method(sc):
    h2_proxy(sc, grpc_script(trailers_only(14)))
    assert call(sc) == "14"
    assert len(sc.app.requests) == 1


@pytest.mark.parametrize("pushback,tries", [("-1", 1), ("soon", 1), ("10", 2), ("60000", 1)])
def test_grpc_pushback(sc, pushback, tries):
    h2_proxy(sc, grpc_script(trailers_only(14, **{"grpc-retry-pushback-ms": pushback})),
             retry={"methods": ["POST"]})
    assert call(sc, [("grpc-timeout", "5S")]) == ("0" if tries == 2 else "14")
    assert len(sc.app.requests) == tries


def test_grpc_status_behind_a_head_is_an_answer(sc):
    def script(conn):
        st = conn.request()
        conn.answer(st, headers=[("content-type", "application/grpc")],
                    trailers=[("grpc-status", "14")])
        h2wire.ok_app(conn)
    h2_proxy(sc, script, retry={"methods": ["POST"]})
    assert call(sc) == "14"
    assert len(sc.app.requests) == 1


def test_grpc_no_budget(sc):
    h2_proxy(sc, grpc_script(trailers_only(14)), retry={"methods": ["POST"]},
             upstream={"retryBudget": NONE})
    assert call(sc) == "14"
    record = sc.s.wait_access_log(1)[0]
    assert (record["reason"], record["grpc_status"]) == ("retry_budget", 14)


# --- many ---

def test_a_storm_multiplies_load_by_a_fifth(sc):
    """All fail: what the backends see is at most 1.2 times what the clients sent, and the floor."""
    clients, each = 8, 60
    proxy(sc, answers(503), upstream={"retryBudget": {"minPerSecond": 1}},
          more={"workers": 3})
    lines = [sc.client() for _ in range(clients)]
    for _ in range(each):
        for c in lines:
            c.request()
        for c in lines:
            assert c.response().status == 503
    sent = clients * each
    assert sent < len(sc.app.requests) <= sent * 1.2 + 11
    assert refused(sc, "budget") > 0
