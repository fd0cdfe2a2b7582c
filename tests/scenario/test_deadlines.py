"""How long a request is waited for: what it brings, what goes on, and that nothing is done behind
it."""

import time

import pytest

import h2wire
from harness import assert_problem, ok_app
from h2wire import CANCEL
from test_retries import answers
from wire import wait_for

DEADLINE = "X-Request-Deadline"


def at(seconds):
    return f"{time.time() + seconds:.6f}"


def hangs(conn):
    conn.request()
    conn.read_to_end()


def passed(sc, n=0):
    return sc.app.requests[n].get(DEADLINE)


# --- what a request brings ---

def test_shortens_the_route(sc):
    sc.proxy(script=hangs)
    assert_problem(sc.ask(headers=[(DEADLINE, at(0.3))]), "deadline", 504)
    assert len(sc.app.requests) == 1
    sc.app.wait_done()  # it was cancelled


def test_does_not_lengthen_it(sc):
    sc.proxy(script=hangs, route={"timeout": "200ms"})
    start = time.time()
    assert_problem(sc.ask(headers=[(DEADLINE, at(60))]), "deadline", 504)
    told = float(passed(sc))  # and so it is told
    assert start < told < start + 30


def test_of_a_route_without_timeout(sc):
    sc.proxy(script=hangs, route={"timeout": "0"})
    assert_problem(sc.ask(headers=[(DEADLINE, at(0.3))]), "deadline", 504)


def test_goes_on_as_it_came(sc):
    sc.proxy()
    value = f"{int(time.time()) + 9}.25"
    assert sc.ask(headers=[(DEADLINE, value)]).status == 200
    assert passed(sc) == value


def test_does_not_go_on_unasked(sc):
    sc.proxy()
    assert sc.ask().status == 200
    assert passed(sc) is None


def test_pass_deadline(sc):
    sc.proxy(route={"passDeadline": True, "timeout": "30s"})
    before = time.time()
    assert sc.ask().status == 200
    assert before + 29 < float(passed(sc)) < time.time() + 30.1


def test_expired_on_arrival(sc):
    sc.proxy()
    for value in (at(-1), "0", "1.5"):
        assert_problem(sc.ask(headers=[(DEADLINE, value)]), "deadline", 504)
    assert not sc.app.conns


@pytest.mark.parametrize("value", ["soon", "1e9", "-1", "5s", "2026-01-01T00:00:00Z"])
def test_nonsense(sc, value):
    sc.proxy()
    assert_problem(sc.ask(headers=[(DEADLINE, value)]), "bad_request", 400)
    assert not sc.app.conns


def test_two_of_them(sc):
    sc.proxy()
    assert_problem(sc.ask(headers=[(DEADLINE, at(5)), (DEADLINE, at(6))]), "bad_request", 400)


def test_by_http2(sc):
    sc.proxy(script=hangs)
    client = h2wire.Client(sc.address)
    st = client.ask(headers=[(DEADLINE.lower(), at(0.3))])
    assert st.status == 504
    st = client.ask(headers=[(DEADLINE.lower(), at(-1))])
    assert st.status == 504
    assert len(sc.app.requests) == 1
    client.close()


def test_body_goes_on_behind_it(sc):
    """It is the time until the answer's head."""
    deadline = time.time() + 1.5

    def slow(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        wait_for(lambda: time.time() > deadline + 0.1, "the deadline has passed")
        conn.send("b")
    sc.proxy(script=slow)
    r = sc.ask(headers=[(DEADLINE, at(deadline - time.time()))])
    assert r.status == 200 and r.body == b"ab"


@pytest.mark.parametrize("own", [None, 60], ids=["ours", "of the client's"])
def test_each_try_is_told_its_own(sc, own):
    """A try's time is over by then, and a server that looks at it would refuse every later one."""
    came = []

    def script(conn):
        while conn.request() is not None:
            came.append(time.time())
            if len(came) == 3:
                conn.answer(b"ok")
    sc.proxy(script=script, route={"passDeadline": True, "timeout": "30s", "retry": {
        "attempts": 2, "on": ["reset-before-response"], "perTryTimeout": "200ms",
        "backoff": {"base": "1ms", "max": "1ms"}}})
    assert sc.ask(headers=[(DEADLINE, at(own))] if own else []).status == 200
    told = [float(passed(sc, n)) for n in range(3)]
    assert all(b - a > 0.19 for a, b in zip(told, told[1:])), told
    assert told[2] > came[1] + 0.19, "the last one's is to come when it is sent"


def test_the_client_s_is_never_lengthened_by_a_retry(sc):
    value = at(20)
    sc.proxy(script=answers(503, 503, 200), route={"timeout": "30s", "retry": {
        "attempts": 2, "on": ["5xx"], "backoff": {"base": "1ms", "max": "1ms"}}})
    assert sc.ask(headers=[(DEADLINE, value)]).status == 200
    assert [passed(sc, n) for n in range(3)] == [value] * 3


# --- what waits costs no upstream work ---

def test_in_the_queue_for_admission(sc):
    sc.proxy(script=hangs, upstream={"circuitBreaker": {"maxRequests": 1, "queueTimeout": "30s"}},
             route={"timeout": "0"})
    first = sc.client()
    first.request()
    sc.app.wait_requests(1)
    waiting = [sc.client() for _ in range(5)]
    for c in waiting:
        c.request(headers=[(DEADLINE, at(0.3))])
    for c in waiting:
        assert_problem(c.response(), "deadline", 504)
    first.reset()
    sc.app.wait_done()
    assert len(sc.app.requests) == 1


def test_in_the_queue_for_a_connection(sc):
    sc.proxy(script=hangs, upstream={"circuitBreaker": {"maxConnections": 1,
                                                        "queueTimeout": "30s"}},
             route={"timeout": "0"})
    first = sc.client()
    first.request()
    sc.app.wait_requests(1)
    waiting = [sc.client() for _ in range(5)]
    for c in waiting:
        c.request(headers=[(DEADLINE, at(0.3))])
    for c in waiting:
        assert_problem(c.response(), "deadline", 504)
    first.reset()
    sc.app.wait_done()
    assert len(sc.app.requests) == 1


def test_connecting_draws_from_it(sc):
    """A backlog that is full: connects are not answered."""
    full = sc.backend(backlog=0, accept=False)
    filler = sc.client(full.address)
    sc.proxy(backend=full, upstream={"connectTimeout": "30s"}, route={"timeout": "400ms"})
    start = time.monotonic()
    r = sc.ask()
    assert r.status == 504 and time.monotonic() - start < 10
    assert filler and not full.requests


# --- a client that goes away ---

def test_reset_cancels_h1(sc):
    sc.proxy(script=hangs)
    client = sc.client()
    client.request()
    sc.app.wait_requests(1)
    client.reset()
    sc.app.wait_done()


def test_rst_stream_cancels_h1(sc):
    sc.proxy(script=hangs)
    client = h2wire.Client(sc.address)
    st = client.request()
    sc.app.wait_requests(1)
    client.rst(st.id)
    sc.app.wait_done()
    client.close()


def test_reset_cancels_the_h2_stream_alone(sc):
    ends = []

    def script(conn):
        first = conn.request()
        conn.until(lambda: first.reset is not None, "a reset")
        ends.append(first.reset)
        h2wire.ok_app(conn)
    app = h2wire.Backend(script)
    sc.backends.append(app)
    sc.proxy(backend=app, upstream={"protocol": "http2"})
    client = sc.client()
    client.request()
    app.wait_requests(1)
    client.reset()
    wait_for(lambda: ends == [CANCEL], "RST_STREAM CANCEL")
    assert sc.ask().status == 200
    assert len(app.conns) == 1


def test_half_close_is_no_abort(sc):
    sc.proxy()
    client = sc.client()
    client.request()
    client.half_close()
    assert client.response().status == 200


def test_half_close_is_one_with_abort_on_close(sc):
    sc.proxy(script=hangs, route={"abortOnClose": True})
    client = sc.client()
    client.request()
    sc.app.wait_requests(1)
    client.half_close()
    sc.app.wait_done()
    assert sc.s.wait_access_log(1)[0]["reason"] == "client_abort"


def test_abort_on_close_ends_retries(sc):
    def script(conn):
        conn.request()
        conn.answer(b"", status=503, headers=[("Retry-After", "50")])
    sc.proxy(script=script, route={"abortOnClose": True, "timeout": "0", "retry": {}})
    client = sc.client()
    client.request()
    wait_for(lambda: sc.s.metrics().get("sluice_upstream_retries_active", upstream="app") == 1,
             "it is retried")
    client.half_close()
    wait_for(lambda: sc.s.status()["streams"] == 0, "the stream has ended")
    assert len(sc.app.requests) == 1


def test_abort_on_close_leaves_whole_exchanges_alone(sc):
    sc.proxy(script=ok_app, route={"abortOnClose": True})
    client = sc.client()
    for _ in range(3):
        assert client.ask().status == 200
    client.half_close()
    client.expect_end()
