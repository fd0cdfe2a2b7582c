"""Learned sessions: what an application acquires through sluice is held until the application gives
it back, or has gone."""

import json
import threading
import time

import pytest

import h2wire
from device import Device, gzipped, rule
from harness import assert_problem
from learns import finish, learn_proxy, leases, login, wait_held
from wire import TIMEOUT, wait_for


def counted(sc, result):
    return sc.s.metrics().get("sluice_learned_total", result=result)


def wait_counted(sc, result, n):
    wait_for(lambda: counted(sc, result) == n, lambda: f"{n} {result}: {counted(sc, result)}")


# --- what is learned, and from where ---

@pytest.mark.parametrize("how", ["json", "header", "cookie", "url"])
def test_acquired_and_released_at_the_end(sc, how):
    device = learn_proxy(sc, Device(how))
    if how == "url":
        assert sc.client().ask("PUT", "/locks/front%20door").status == 200
        session = "front door"
    else:
        assert login(sc).status == 200
        session = "s-1"
    wait_held(sc, 1)
    assert session not in json.dumps(leases(sc)), "it is a secret"
    assert counted(sc, "acquired") == 1
    finish(sc)
    assert device.order == [("login", session), ("logout", session)]


@pytest.mark.parametrize("how", ["json", "header", "cookie", "url"])
def test_given_back_by_the_application(sc, how):
    device = learn_proxy(sc, Device(how))
    c = sc.client()
    if how == "url":
        assert c.ask("PUT", "/locks/a%2Fb").status == 200
        wait_held(sc, 1)
        assert c.ask("DELETE", "/locks/a%2Fb").status == 204
    else:
        assert c.ask("POST", "/login").status == 200
        wait_held(sc, 1)
        session = "s-1"
        target, headers = {"json": (f"/logout?session={session}", []),
                           "header": ("/logout", [("x-session", session)]),
                           "cookie": ("/logout", [("cookie", f"a=b; SID={session}")])}[how]
        assert c.ask("POST", target, headers=headers).status == 204
    wait_held(sc, 0)
    assert counted(sc, "given_back") == 1
    finish(sc)
    assert len(device.logouts()) == 1


@pytest.mark.parametrize("status, gone", [("204 No Content", True), ("404 Not Found", True),
                                          ("410 Gone", True), ("401 Unauthorized", False),
                                          ("500 Internal Server Error", False)])
def test_a_release_counts_by_its_answer(sc, status, gone):
    device = learn_proxy(sc)
    c = sc.client()
    assert c.ask("POST", "/login").status == 200
    wait_held(sc, 1)
    device.logout_status = status
    assert c.ask("POST", "/logout?session=s-1").status == int(status[:3])
    assert counted(sc, "given_back") == (1 if gone else 0)
    wait_held(sc, 0 if gone else 1)
    device.logout_status = "204 No Content"
    c.close()


def test_others_are_not_learned(sc):
    """Other methods, paths and statuses: they pass, and nothing is held."""
    device = learn_proxy(sc, rules=[rule("json", acquire={"path": "/login", "status": "201"})])
    c = sc.client()
    assert c.ask("POST", "/login").status == 200
    assert c.ask("GET", "/login").status == 200
    assert c.ask("POST", "/login/").status == 200
    assert leases(sc) == []
    assert counted(sc, "unread") == counted(sc, "not_found") == 0
    assert sc.s.metrics().get("sluice_learn_pending") == 0
    assert device.count == 2


def test_values_of_the_request(sc):
    """Of its query, its body and a header of it; the release is JSON with all of them."""
    seen = []

    def script(conn):
        while (request := conn.request()) is not None:
            seen.append(request)
            conn.answer(b"{}")
    backend = sc.backend(script)
    rules = [{"name": "pool", "acquire": {"path": "/take?node={node}",
                                          "headers": [{"name": "X-User", "value": "u-{user}"}]},
              "take": [{"name": "what", "requestJson": "$.what[1]"}],
              "hold": {"method": "POST", "path": "/give/{node}",
                       "headers": [{"name": "X-User", "value": "u-{user}"}],
                       "body": '{"what":"{what}"}'},
              "release": {"path": "/give/{node}", "headers": [{"name": "X-User",
                                                               "value": "u-{user}"}],
                          "take": [{"name": "what", "requestJson": "$.what"}]}}]
    learn_proxy(sc, rules=rules, backend=backend)
    c = sc.client()
    body = json.dumps({"what": ["no", 'a "q" \u20ac\n']}).encode()
    for cut in (3, len(body) - 3):
        c.send(f"POST /take?node=n%201 HTTP/1.1\r\nHost: test\r\nX-User: u-ann\r\n"
               f"Content-Length: {len(body)}\r\n\r\n")
        c.send(body[:cut])
        c.send(body[cut:])
        assert c.response("POST").status == 200
    wait_held(sc, 1)  # the second stands for both
    give = json.dumps({"what": 'a "q" \u20ac\n'}).encode()
    assert c.ask("POST", "/give/n%201", headers=[("x-user", "u-bob")], body=give).status == 200
    wait_counted(sc, "given_back", 1)  # of somebody else
    assert len(leases(sc)) == 1
    seen.clear()
    finish(sc)
    last = seen[-1]
    assert (last.method, last.target) == ("POST", "/give/n%201")
    assert json.loads(last.body) == {"what": 'a "q" \u20ac\n'}
    assert last.get("x-user") == "u-ann"
    assert last.get("content-type") == "application/json"
    assert last.get("host") == "test"


# --- how the response comes ---

def answers(parts):
    """A login's answer in those pieces, each sent by itself."""
    def answer(conn, session, request):
        for part in parts:
            conn.send(part)
            time.sleep(0.0005)
    return answer


BODY = json.dumps({"data": {"items": [{"id": "s-1"}]}, "pad": "\u20ac\U0001f600"},
                  ensure_ascii=False).encode()
PLAIN = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n" + b"".join(
    b"%x\r\n%s\r\n" % (len(BODY[i:i + 7]), BODY[i:i + 7]) for i in range(0, len(BODY), 7)) + \
    b"0\r\nX-T: v\r\n\r\n"


@pytest.mark.parametrize("whole", [PLAIN, CHUNKED], ids=["length", "chunked"])
def test_cut_at_every_byte(sc, whole):
    device = learn_proxy(sc)
    c = sc.client()
    for i in range(1, len(whole)):
        device.answer = answers([whole[:i], whole[i:]])
        response = c.ask("POST", "/login?as=s-1")
        assert response.body == BODY, i
        assert c.ask("POST", "/logout?session=s-1").status == 204
    assert counted(sc, "acquired") == counted(sc, "given_back") == len(whole) - 1
    wait_held(sc, 0)
    assert len(sc.app.conns) == 1


def test_until_the_connection_ends(sc):
    device = learn_proxy(sc)

    def answer(conn, session, request):
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + device.body(session))
        conn.half_close()
    device.answer = answer
    response = login(sc)
    assert response.body == device.body("s-1")
    wait_held(sc, 1)


def test_trailers_pass(sc):
    device = learn_proxy(sc)
    device.answer = answers([CHUNKED])
    c = sc.client()
    c.request("POST", "/login", headers=[("te", "trailers")])
    response = c.response("POST")
    assert response.body == BODY
    assert response.trailers == [("X-T", "v")] or dict(response.trailers) == {"X-T": "v"}


@pytest.mark.parametrize("size", [60_000, 100_000, 1_500_000])
def test_big_bodies(sc, size):
    """Up to maxBody it is held back and looked at; what is longer passes, and is counted."""
    device = learn_proxy(sc)
    body = json.dumps({"pad": "x" * size, "data": {"items": [{"id": "s-1"}]}}).encode()

    def answer(conn, session, request):
        chunked = "as" in request.target
        if chunked:
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(body), 10_000):
                piece = body[i:i + 10_000]
                conn.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            conn.send(b"0\r\n\r\n")
        else:
            conn.answer(body)
    device.answer = answer
    c = sc.client()
    for target in ("/login", "/login?as=s-1"):
        assert c.ask("POST", target).body == body
    fits = size < 65536
    assert counted(sc, "acquired") == (2 if fits else 0)
    assert counted(sc, "too_long") == (0 if fits else 2)
    wait_held(sc, 1 if fits else 0)


def test_max_body(sc):
    device = learn_proxy(sc, rules=[rule(maxBody="1MiB")])
    body = json.dumps({"pad": "x" * 900_000, "data": {"items": [{"id": "s-1"}]}}).encode()
    device.answer = lambda conn, session, request: conn.answer(body)
    assert login(sc).body == body
    wait_held(sc, 1)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'{"data":{"items":[]}}', b"null",
                                  b'{"data":{"items":[{"id":""}]}}',
                                  b'{"data":{"items":[{"id":"%s"}]}}' % (b"x" * 1025),
                                  b'{"data":{"items":[{"id":"s"}]}} x', b"\xff\xfe"])
def test_not_found(sc, body):
    device = learn_proxy(sc)
    device.answer = lambda conn, session, request: conn.answer(body)
    response = login(sc)
    assert (response.status, response.body) == (200, body)
    assert counted(sc, "not_found") == 1
    assert leases(sc) == []


def test_a_head_has_no_body(sc):
    device = learn_proxy(sc, rules=[rule(acquire={"method": "HEAD", "path": "/login"})])
    device.answer = answers([PLAIN.partition(BODY)[0]])
    c = sc.client()
    c.request("HEAD", "/login")
    assert c.response("HEAD").status == 200
    assert counted(sc, "not_found") == 1


def test_encoded(sc):
    """It is asked for without; where it comes encoded all the same it passes, and is counted."""
    device = learn_proxy(sc)
    device.answer = lambda conn, session, request: gzipped(conn, session, device)
    response = login(sc, headers=[("accept-encoding", "gzip, br")])
    assert response.get("content-encoding") == "gzip"
    assert counted(sc, "encoded") == 1
    assert device.requests[0].get("accept-encoding") == "identity"
    assert sc.ask("GET", "/", headers=[("accept-encoding", "br")]).status == 200
    assert device.requests[-1].get("accept-encoding") == "br"


def test_pipelined(sc):
    """What stands behind the login waits for it."""
    learn_proxy(sc)
    c = sc.client()
    one = b"POST /login HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
    c.send(one * 3 + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    assert [json.loads(c.response().body)["data"]["items"][0]["id"] for _ in range(3)] == \
        ["s-1", "s-2", "s-3"]
    assert c.response().body == b"ok\n"
    wait_held(sc, 3)


# --- duplicates ---

@pytest.mark.parametrize("how, held, logouts", [("replace", 1, 1), ("add", 3, 3), ("count", 1, 1)])
def test_acquired_again(sc, how, held, logouts):
    device = learn_proxy(sc, rules=[rule(onDuplicate=how)])
    for _ in range(3):
        assert login(sc, "/login?as=same").status == 200
    wait_held(sc, held)
    finish(sc)
    assert device.logouts() == ["same"] * logouts


def test_counted_ones_are_given_back_with_the_last(sc):
    device = learn_proxy(sc, rules=[rule(onDuplicate="count")])
    c = sc.client()
    for _ in range(3):
        assert c.ask("POST", "/login?as=same").status == 200
    for left in (1, 1, 0):
        assert c.ask("POST", "/logout?session=same").status in (204, 404)
        wait_held(sc, left)
    finish(sc)
    assert len(device.logouts()) == 3


# --- the journal fails, is slow, or is not waited for ---

def no_journal(sc):
    """A directory stands where the journal should be: it cannot be opened."""
    return {"journal": {"path": "/proc/sluice-has-no-such-place/journal"}}


def test_journal_failure_refuses(sc):
    """A 503 with its reason, and what the device has given goes back at once."""
    device = learn_proxy(sc, leases=no_journal(sc))
    assert_problem(login(sc), "learn_refused")
    wait_for(lambda: device.logouts() == ["s-1"], "it is given back")
    wait_held(sc, 0)
    assert counted(sc, "refused") == 1
    assert counted(sc, "acquired") == 0


def test_journal_failure_allows(sc):
    leases_conf = no_journal(sc)
    leases_conf["journal"]["onFailure"] = "allow"
    device = learn_proxy(sc, leases=leases_conf)
    assert login(sc).status == 200
    wait_held(sc, 1)
    finish(sc)
    assert device.logouts() == ["s-1"]


def test_limit(sc):
    """As many as limits.maxAcquisitions may be under way; more get a 503, and the device hears of
    none of them."""
    gate = threading.Event()
    device = learn_proxy(sc, limits={"maxAcquisitions": 2})

    def answer(conn, session, request):
        assert gate.wait(TIMEOUT)
        device.usual(conn, session, request)
    device.answer = answer
    waiting = [sc.client() for _ in range(2)]
    for c in waiting:
        c.request("POST", "/login")
    wait_for(lambda: sc.s.metrics().get("sluice_learn_pending") == 2, "two are under way")
    assert_problem(login(sc), "learn_limit")
    assert sc.ask("GET", "/").status == 200
    gate.set()
    assert [c.response("POST").status for c in waiting] == [200, 200]
    assert login(sc).status == 200
    assert counted(sc, "limit") == 1
    assert device.count == 3
    wait_held(sc, 3)


# --- clients and servers that go away ---

def wait_login(device, n=1):
    wait_for(lambda: device.count >= n, "the device has the login")


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_client_goes_while_the_answer_comes(sc, protocol):
    """The answer is read all the same: what the device gave is held, and is given back."""
    gate = threading.Event()
    device = learn_proxy(sc)

    def answer(conn, session, request):
        assert gate.wait(TIMEOUT)
        device.usual(conn, session, request)
    device.answer = answer
    if protocol == "h1":
        c = sc.client()
        c.request("POST", "/login")
        wait_login(device)
        c.reset()
    else:
        c = h2wire.Client(sc.address)
        st = c.request("POST", "/login")
        wait_login(device)
        c.rst(st.id)
        c.close()
    wait_for(lambda: sc.s.status()["connections"] == 0, "the client has gone")
    gate.set()
    wait_held(sc, 1)
    wait_counted(sc, "acquired", 1)
    finish(sc)
    assert device.logouts() == ["s-1"]


def test_client_goes_and_no_answer_comes(sc):
    """It is not waited for longer than the route's timeout."""
    device = learn_proxy(sc, route={"timeout": "300ms"})
    gate = threading.Event()
    device.answer = lambda conn, session, request: gate.wait(TIMEOUT)
    c = sc.client()
    c.request("POST", "/login")
    wait_login(device)
    c.reset()
    wait_counted(sc, "unread", 1)
    assert sc.s.metrics().get("sluice_learn_pending") == 0
    gate.set()


def test_unread(sc):
    """The server dies with the answer, or in the middle of it: an error, and it is counted."""
    device = learn_proxy(sc)

    def die(conn, session, request):
        raise EOFError
    device.answer = die
    assert_problem(login(sc), "upstream_closed")
    assert counted(sc, "unread") == 1

    def half(conn, session, request):
        conn.send(PLAIN[:-10])
        raise EOFError
    device.answer = half
    assert_problem(login(sc), "upstream_truncated")
    assert counted(sc, "unread") == 2
    assert leases(sc) == []


def test_deadline_while_it_is_read(sc):
    device = learn_proxy(sc, route={"timeout": "300ms"})
    gate = threading.Event()

    def slow(conn, session, request):
        conn.send(PLAIN[:-10])
        gate.wait(TIMEOUT)
    device.answer = slow
    assert_problem(login(sc), "deadline")
    assert counted(sc, "unread") == 1
    gate.set()


def test_stopped_while_clients_wait(sc):
    """SIGTERM with logins in every state: each client gets an answer or an end, nothing is left."""
    gate = threading.Event()
    device = learn_proxy(sc)

    def answer(conn, session, request):
        if int(session[2:]) % 2:
            conn.send(PLAIN[:-10])
        gate.wait(TIMEOUT)
    device.answer = answer
    clients = [sc.client() for _ in range(6)]
    for c in clients[:5]:
        c.request("POST", "/login")
    wait_login(device, 5)
    clients[0].reset()
    sc.s.stop()
    gate.set()


# --- HTTP/2 ---

def test_http2_on_both_sides(sc):
    seen = []

    def script(conn):
        while (st := conn.request()) is not None:
            seen.append(st.get(":path"))
            body = b"{}"
            if st.get(":path") == "/login":
                body = Device().body(f"h2-{len(seen)}")
            conn.answer(st, body)
    backend = h2wire.Backend(script)
    sc.backends.append(backend)
    learn_proxy(sc, backend=backend, upstream={"protocol": "http2"})
    c = h2wire.Client(sc.address)
    streams = [c.request("POST", "/login") for _ in range(10)]
    assert [c.response(st).status for st in streams] == [200] * 10
    wait_held(sc, 10)
    for i in range(10):
        st = c.ask("POST", f"/logout?session=h2-{i + 1}")
        assert st.status == 200
    wait_held(sc, 0)
    c.close()


# --- disconnects ---

def test_disconnect_grace(sc):
    """The connection that carried the session ends: it is given back behind the grace."""
    device = learn_proxy(sc, rules=[rule(disconnectGrace="100ms")])
    c = sc.client()
    assert login(sc, client=c).status == 200
    wait_held(sc, 1)
    c.close()
    wait_for(lambda: device.logouts() == ["s-1"], "given back")
    wait_held(sc, 0)


def test_reconnect(sc):
    """A request of the session on another connection, and it goes on."""
    device = learn_proxy(sc, rules=[rule(disconnectGrace="1s")])
    c = sc.client()
    assert login(sc, client=c).status == 200
    wait_held(sc, 1)
    c.close()
    other = sc.client()
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert other.ask("GET", "/state?session=s-1").status == 200
        time.sleep(0.05)
    assert device.logouts() == []
    wait_held(sc, 1)
    other.close()
    wait_for(lambda: device.logouts() == ["s-1"], "given back")


def test_two_connections_of_a_session(sc):
    """It is used on both; the end of one is not the end of it, as long as the other is used."""
    device = learn_proxy(sc, rules=[rule(disconnectGrace="1s")])
    one, two = sc.client(), sc.client()
    assert login(sc, client=one).status == 200
    for c in (two, one, two):
        assert c.ask("GET", "/state?session=s-1").status == 200
    two.close()
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert one.ask("GET", "/state?session=s-1").status == 200
        time.sleep(0.05)
    assert device.logouts() == []
    one.close()
    wait_for(lambda: device.logouts() == ["s-1"], "given back")


# --- many ---

def test_many_at_once(sc):
    """1,000 logins at once are all held, with far fewer fsyncs; 1,000 logouts forget them."""
    device = learn_proxy(sc, limits={"maxAcquisitions": 2000})
    clients = [sc.client() for _ in range(200)]
    for _ in range(5):
        for c in clients:
            c.request("POST", "/login")
        for c in clients:
            assert c.response("POST").status == 200
    def held():
        return sc.s.metrics().get("sluice_leases_held", kind="learned")
    assert held() == 1000
    assert counted(sc, "acquired") == 1000
    assert sc.s.metrics().get("sluice_lease_journal_syncs_total") < 500
    for i, c in enumerate(clients * 5):
        assert c.ask("POST", f"/logout?session=s-{i + 1}").status == 204
    wait_for(lambda: held() == 0, "all are forgotten")
    assert len(device.logouts()) == 1000
    for c in clients:
        c.close()
