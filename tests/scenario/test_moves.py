"""Requests that are sent once more without their route's asking for it: their connection was lost
before a byte of an answer, and another endpoint is there."""

import json

import pytest

import h2wire
from h2wire import INTERNAL_ERROR
from harness import assert_problem, ok_app
from wire import wait_for


def closes(conn):
    conn.request()


def resets(conn):
    conn.request()
    conn.reset()


def start(sc, bad=closes, good=ok_app, route=None, **upstream):
    """(bad, good): they take turns, the bad one first."""
    pair = sc.backend(bad), sc.backend(good)
    sc.proxy(backend=pair[0], route=route, upstream={
        "endpoints": [b.address for b in pair], "balance": "roundRobin", **upstream})
    return pair


def moved(sc):
    return sc.s.metrics().get("sluice_upstream_moved_total", upstream="app", why="connection_lost")


def refused(sc, why):
    return sc.s.metrics().get("sluice_upstream_retries_refused_total", upstream="app", why=why)


@pytest.mark.parametrize("script", [closes, resets])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"])
def test_goes_to_another_endpoint(sc, script, method):
    bad, good = start(sc, script)
    assert sc.ask(method).status == 200
    assert len(bad.requests) == 1 and len(good.requests) == 1
    assert moved(sc) == 1
    assert sc.s.wait_access_log(1)[0]["tries"] == 2
    endpoints = sc.s.status()["upstreams"][0]["endpoints"]
    assert [e["errors"] for e in endpoints] == [1, 0], "the bad one hears of it"


@pytest.mark.parametrize("method,how", [
    ("POST", {}), ("PATCH", {"body": b"x"}), ("PUT", {"body": b"x"})])
def test_stays_where_it_may_have_acted(sc, method, how):
    """What is not idempotent; and what has a body, which is not kept."""
    bad, good = start(sc)
    assert_problem(sc.ask(method, **how), "upstream_closed")
    assert len(bad.requests) == 1 and not good.requests and moved(sc) == 0


@pytest.mark.parametrize("begin", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_stays_behind_the_first_byte(sc, begin):
    def script(conn):
        conn.request()
        conn.send(begin)
    bad, good = start(sc, script)
    assert_problem(sc.ask(), "upstream_truncated")
    assert len(bad.requests) == 1 and not good.requests and moved(sc) == 0


def test_once_only(sc):
    bad, good = start(sc, closes, closes, outlierDetection={})
    for _ in range(3):
        assert_problem(sc.ask(), "upstream_closed")
    assert len(bad.requests) == 3 and len(good.requests) == 3 and moved(sc) == 3


def test_from_a_closed_connection_to_one_that_is_lost(sc):
    """A killed one: the connection that was kept is reset, the next one is let into its backlog, and
    lost too."""
    def killed(conn):
        if conn.number > 0:
            return
        conn.request()
        conn.answer(b"first")
        conn.request()
    bad, good = sc.backend(killed), sc.backend()
    sc.proxy(backend=bad, upstream={"endpoints": [bad.address, good.address], "balance": "roundRobin",
                                    "pool": {"idleTimeout": "60s"}})
    for _ in range(4):
        assert sc.ask().status == 200
    assert len(bad.requests) >= 2
    assert len(bad.requests) + len(good.requests) >= 5


def test_not_of_one_endpoint(sc):
    sc.proxy(script=[closes])
    assert_problem(sc.ask(), "upstream_closed")
    assert len(sc.app.requests) == 1 and moved(sc) == 0


def test_a_drained_endpoint_is_no_other(sc):
    bad, good = start(sc)
    sc.s.admin("POST", "/v1/endpoints", body=json.dumps(
        {"upstream": "app", "address": good.address, "action": "drain"}).encode())
    assert_problem(sc.ask(), "upstream_closed")
    assert not good.requests and moved(sc) == 0


def test_a_route_with_rules_decides_by_them(sc):
    bad, good = start(sc, route={"retry": {"on": ["connect-failure"]}})
    assert_problem(sc.ask(), "upstream_closed")
    assert len(bad.requests) == 1 and not good.requests and moved(sc) == 0


def test_rules_that_only_count(sc):
    bad, good = start(sc, route={"retry": {"dryRun": True}})
    assert sc.ask().status == 200
    assert moved(sc) == 1 and refused(sc, "dry_run") == 1


def test_no_budget(sc):
    bad, good = start(sc, retryBudget={"percent": 0, "minPerSecond": 0})
    assert_problem(sc.ask(), "upstream_closed")
    assert moved(sc) == 0 and refused(sc, "budget") == 1


def test_the_budget_bounds_them(sc):
    bad, good = start(sc, retryBudget={"percent": 0, "minPerSecond": 1, "window": "60s"})
    statuses = [sc.ask().status for _ in range(100)]
    assert statuses[:60] == [200] * 60 and statuses.count(502) >= 15
    assert moved(sc) == 60


def test_not_where_it_opens_the_breaker(sc):
    bad, good = start(sc, circuitBreaker={"consecutiveErrors": 1, "openDuration": "60s"})
    assert_problem(sc.ask(), "upstream_closed")
    assert_problem(sc.ask(), "breaker_open")
    assert moved(sc) == 0 and refused(sc, "breaker") == 1


def test_a_websocket_is_not_moved(sc):
    bad, good = start(sc, closes, closes)
    r = sc.ask(headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert_problem(r, "upstream_closed")
    assert len(bad.requests) + len(good.requests) == 1


# --- HTTP/2 upstreams ---

def h2_start(sc, script, good=h2wire.ok_app, **upstream):
    pair = h2wire.Backend(script), h2wire.Backend(good)
    sc.backends += pair
    sc.proxy(backend=pair[0], upstream={"endpoints": [b.address for b in pair], "protocol": "http2",
                                        "balance": "roundRobin", **upstream})
    return pair


def takes(n):
    """Answers nothing; ends the connection when it has so many requests."""
    def script(conn):
        for _ in range(n):
            conn.request()
    return script


def test_all_streams_of_a_lost_connection(sc):
    """Those under way at once; of a connection that has just spoken."""
    def script(conn):
        conn.answer(conn.request(), b"first")
        held = [conn.request() for _ in range(4)]
        conn.answer(held[0], b"last")
    bad, good = h2_start(sc, script)
    clients = [sc.client() for _ in range(12)]
    answers = []
    for c in clients[:2]:
        answers.append(c.ask().status)  # both have a connection
    for c in clients[2:10]:
        c.request()
    bad.wait_requests(5)
    answers += [c.response("GET").status for c in clients[2:10]]
    assert answers == [200] * 10
    assert moved(sc) == 3
    assert len(good.requests) == 1 + 4 + 3


def test_a_post_is_lost_with_its_connection(sc):
    bad, good = h2_start(sc, takes(2))
    clients = [sc.client() for _ in range(3)]
    for i, c in enumerate(clients):
        c.request("POST" if i < 2 else "GET", body=b"x" if i < 2 else None)
        wait_for(lambda i=i: len(bad.requests) + len(good.requests) > i, "one of them has it")
        # Before that the connection would take who waits for another one.
        wait_for(lambda: bad.conns[0].settings_acks, "the bad one's SETTINGS are known")
    answers = [c.response() for c in clients]
    assert [r.status for r in answers] == [502, 200, 200]
    assert_problem(answers[0], "upstream_closed")
    # Nothing may have come since the GET went out: then it is taken for one that was never seen.
    assert moved(sc) + sc.s.metrics().get("sluice_upstream_resent_total") == 1
    assert len(bad.requests) == 2 and len(good.requests) == 2


def test_a_reset_stream_is_an_answer(sc):
    def script(conn):
        conn.rst(conn.request().id, INTERNAL_ERROR)
        conn.request()
    bad, good = h2_start(sc, script)
    assert_problem(sc.ask(), "upstream_reset")
    assert len(bad.requests) == 1 and not good.requests and moved(sc) == 0


def test_what_breaks_the_protocol_is_an_answer(sc):
    def script(conn):
        conn.request()
        conn.send(b"\x00\x00\x01\x05\x04\x00\x00\x00\x01\x00")  # PUSH_PROMISE, which we forbid
        conn.request()
    bad, good = h2_start(sc, script)
    assert_problem(sc.ask(), "upstream_protocol")
    assert len(bad.requests) == 1 and not good.requests and moved(sc) == 0
