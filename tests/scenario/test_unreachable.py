"""Endpoints that packets do not get to: in a network namespace of the test's own, nftables drops what
goes to an address and what comes from it."""

import json
import threading
import time

import pytest

from wire import wait_for

BAD, GOOD = "127.0.0.2", "127.0.0.3"


def holds(conn):
    """Answers but for /wait, which it keeps, and /body, of which it sends the beginning."""
    while (m := conn.request()) is not None:
        path = m.start.split()[1]
        if path == "/body":
            conn.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin")
        elif path != "/wait":
            conn.answer(b"ok")


def answers(conn):
    while conn.request() is not None:
        conn.answer(b"ok")


def start(sc, **upstream):
    """(bad, good): they take turns."""
    bad, good = sc.backend(holds, address=f"{BAD}:0"), sc.backend(answers, address=f"{GOOD}:0")
    sc.proxy(backend=bad, upstream={"endpoints": [bad.address, good.address],
                                    "balance": "roundRobin", **upstream})
    return bad, good


def states(sc):
    code, response = sc.s.admin("GET", "/v1/endpoints?upstream=app")
    assert code == 200
    return [e["state"] for e in json.loads(response.body)["upstreams"][0]["endpoints"]]


def metric(sc, name):
    return sc.s.metrics().get(f"sluice_upstream_{name}_total", upstream="app")


def asks_bad(sc, bad, method, path, **how):
    """A client whose request the bad one has; what goes to the good one is answered."""
    while True:
        client, before = sc.client(), len(bad.requests)
        client.request(method, path, **how)
        wait_for(lambda: len(bad.requests) > before or client.is_closed() or client.buffer, "somebody has it")
        if len(bad.requests) > before:
            return client
        assert client.response(method).status == 200


class Asking:
    """Others are asked all the time, and answer."""

    def __init__(self, sc):
        self.client, self.ending, self.statuses = sc.client(), False, []
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ending:
            self.statuses.append(self.client.ask().status)
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()


def test_requests_go_to_the_others(sc, space):
    bad, good = start(sc)
    client = sc.client()
    assert [client.ask().status for _ in range(6)] == [200] * 6
    assert len(bad.requests) == 3
    space.drop(BAD)
    assert [client.ask().status for _ in range(10)] == [200] * 10
    wait_for(lambda: states(sc) == ["unreachable", "well"], "it is found")
    before = len(good.requests)
    assert [client.ask().status for _ in range(10)] == [200] * 10
    assert len(good.requests) == before + 10
    assert metric(sc, "unreachable") == 1
    assert f"endpoint {bad.address} is unreachable: packets to it go unanswered" in sc.s.log()
    space.pass_again(BAD)
    wait_for(lambda: states(sc) == ["well", "well"], "it is found again")
    before = len(bad.requests)
    assert [client.ask().status for _ in range(4)] == [200] * 4
    assert len(bad.requests) == before + 2
    assert f"endpoint {bad.address} can be reached" in sc.s.log()


def test_dry_run(sc, space):
    """It is told and counted once, and nothing else comes of it."""
    bad, good = start(sc, unreachableAfter="300ms", unreachableDryRun=True)
    client = asks_bad(sc, bad, "GET", "/wait")
    opened = len(bad.conns)
    space.drop(BAD)
    sc.client().request("GET", "/")  # on a connection to the bad one, or on a new one
    sc.client().request("GET", "/")
    wait_for(lambda: metric(sc, "unreachable_dry_run") == 1, "it is counted")
    assert f"endpoint {bad.address} is unreachable (dryRun): packets to it go unanswered" in sc.s.log()
    time.sleep(1)  # two looks more, and the time after which a request would be moved
    assert states(sc) == ["well", "well"]
    assert metric(sc, "unreachable") == metric(sc, "moved") == 0
    assert metric(sc, "unreachable_dry_run") == 1
    assert not client.is_closed() and not client.buffer
    space.pass_again(BAD)
    assert len(bad.conns) <= opened + 1
    bad.stop()  # which is another thing: a lost connection
    assert client.response("GET").status == 200
    assert any("/wait" in r.start for r in good.requests)


def test_a_request_that_waits_is_moved(sc, space):
    """Its packets have been acknowledged: only probes, and a new connection, can tell."""
    bad, good = start(sc)
    client = asks_bad(sc, bad, "GET", "/wait")
    space.drop(BAD)
    with Asking(sc) as others:
        assert client.response("GET").status == 200
    assert set(others.statuses) == {200}
    assert any("/wait" in r.start for r in good.requests)
    assert metric(sc, "moved") >= 1
    space.pass_again(BAD)


def test_what_cannot_be_repeated_fails(sc, space):
    bad, good = start(sc)
    client = asks_bad(sc, bad, "POST", "/wait", body=b"x")
    space.drop(BAD)
    with Asking(sc):
        response = client.response("POST")
    assert response.status == 504
    assert json.loads(response.body)["code"] == "upstream_unreachable"
    assert not any("/wait" in r.start and r.start.startswith("POST") for r in good.requests[-1:])
    space.pass_again(BAD)


def test_a_body_that_has_begun_is_cut(sc, space):
    bad, _ = start(sc)
    client = asks_bad(sc, bad, "GET", "/body")
    space.drop(BAD)
    with Asking(sc), pytest.raises((EOFError, ConnectionResetError)):
        client.response("GET")
    wait_for(lambda: any(r["reason"] == "upstream_unreachable" for r in sc.s.access_log()),
             lambda: sc.s.access_log())
    space.pass_again(BAD)


def test_an_only_endpoint_is_waited_for(sc, space):
    bad = sc.backend(answers, address=f"{BAD}:0")
    sc.proxy(backend=bad, upstream={"unreachableAfter": "200ms"})
    client = sc.client()
    assert client.ask().status == 200
    space.drop(BAD)
    client.request("GET", "/")
    time.sleep(1)
    assert states(sc) == ["well"]
    space.pass_again(BAD)
    assert client.response("GET").status == 200


def test_what_an_only_endpoint_never_acknowledges_ends(sc, space):
    """Where nothing else looks, the kernel does: TCP_USER_TIMEOUT, 10 s."""
    bad = sc.backend(holds, address=f"{BAD}:0")
    sc.proxy(backend=bad, route={"timeout": 0}, upstream={"pool": {"idleTimeout": "1m"}})
    client = sc.client(timeout=60)
    assert client.ask().status == 200
    space.drop(BAD)
    start = time.monotonic()
    client.request("POST", "/wait", body=b"x")
    response = client.response("POST")
    assert json.loads(response.body)["code"] == "upstream_reset", response
    assert time.monotonic() - start > 9
    assert len(bad.conns) == 1 and metric(sc, "unreachable") == 0
    space.pass_again(BAD)
    assert client.ask().status == 200


def test_a_slow_application_is_neither_cut_nor_avoided(sc):
    slow, release = [], threading.Event()

    def thinks(conn):
        while conn.request() is not None:
            release.wait(30)
            conn.answer(b"at last")
    slow = sc.backend(thinks)
    good = sc.backend(answers)
    sc.proxy(backend=slow, upstream={"endpoints": [slow.address, good.address],
                                     "balance": "roundRobin", "unreachableAfter": "100ms"})
    client = asks_bad(sc, slow, "POST", "/", body=b"x")
    with Asking(sc):
        time.sleep(0.5)  # the other client waits for it too, in its turn
        assert states(sc) == ["well", "well"]
        time.sleep(2)
        assert states(sc) == ["well", "well"]
        release.set()
    assert client.response("POST").status == 200
    assert metric(sc, "unreachable") == 0 and metric(sc, "moved") == 0


def test_a_reload_ends_it(sc, space):
    start(sc)
    client = sc.client()
    assert client.ask().status == 200
    space.drop(BAD)
    assert [client.ask().status for _ in range(4)] == [200] * 4
    wait_for(lambda: states(sc) == ["unreachable", "well"], "it is found")
    sc.s.config["upstreams"][0]["unreachableAfter"] = "0s"
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    assert sc.s.admin("POST", "/v1/reload")[0] == 200
    wait_for(lambda: states(sc) == ["well", "well"], "nothing is said of it any more")
    space.pass_again(BAD)
