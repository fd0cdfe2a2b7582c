"""Learned sessions whose answer is held back: until it is let go the client goes, or the server does,
the configuration changes, or sluice itself ends."""

import copy
import json
import os
import threading

import pytest

import h2wire
from device import rule
from drains import wait_phase
from harness import assert_problem
from learns import finish, leases, learn_proxy, login, wait_held
from test_learn import counted, wait_counted
from wire import TIMEOUT, Client, free_port, wait_for

SESSION = b'{"data": {"items": [{"id": "%s"}]}, "pad": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'
BODY = SESSION % b"s-1"
HALF = len(BODY) - 10


class Server:
    """A device whose answer to a login comes in two parts, the second when it is let go."""

    def __init__(self, sc, protocol, end=None):
        self.protocol, self.end = protocol, end  # end: what comes in place of the second part
        self.go = threading.Event()
        self.first = threading.Event()  # the first part has been sent (HTTP/2: read)
        self.logouts = []
        if protocol == "h1":
            self.backend = sc.backend(self.h1)
        else:
            self.backend = h2wire.Backend(self.h2)
            sc.backends.append(self.backend)
        self.upstream = {"protocol": "http2"} if protocol == "h2" else {}

    def is_logout(self, target, session):
        """`session`: that of a header."""
        found = target.startswith("/logout")
        if found:
            self.logouts.append(session or target.partition("session=")[2])
        return found

    def h1(self, conn):
        while (request := conn.request()) is not None:
            if self.is_logout(request.target, request.get("x-session")):
                conn.send("HTTP/1.1 204 No Content\r\n\r\n")
            elif request.target != "/login":
                conn.answer(SESSION % b"s-0", headers=[("X-Session", "s-0")])
            else:
                conn.send(f"HTTP/1.1 200 OK\r\nX-Session: s-1\r\nContent-Length: {len(BODY)}\r\n\r\n")
                conn.send(BODY[:HALF])
                self.first.set()
                assert self.go.wait(TIMEOUT)
                if self.end:
                    raise EOFError
                conn.send(BODY[HALF:])

    def h2(self, conn):
        while (st := conn.request()) is not None:
            if self.is_logout(st.get(":path"), st.get("x-session")):
                conn.answer(st, b"", status=204)
            elif st.get(":path") != "/login":
                conn.answer(st, SESSION % b"s-0", headers=[("x-session", "s-0")])
            else:
                conn.headers(st.id, [(":status", "200"), ("x-session", "s-1")])
                conn.data(st.id, BODY[:HALF])
                conn.expect_ping()
                self.first.set()
                assert self.go.wait(TIMEOUT)
                if self.end:
                    conn.rst(st.id, h2wire.INTERNAL_ERROR)
                else:
                    conn.data(st.id, BODY[HALF:], end=True)

    def wait_first(self, sc):
        """sluice has read the first part."""
        assert self.first.wait(TIMEOUT)
        if self.protocol == "h1":  # its one worker has turned since
            assert sc.ask("GET", "/").status == 200


class Waiting:
    """A login that has been sent."""

    def __init__(self, sc, protocol):
        self.protocol = protocol
        if protocol == "h1":
            self.client = sc.client()
            self.client.request("POST", "/login")
        else:
            self.client = h2wire.Client(sc.address)
            self.stream = self.client.request("POST", "/login")

    def go(self, sc):
        if self.protocol == "h1":
            self.client.reset()
        else:
            self.client.rst(self.stream.id)
            self.client.close()
        wait_for(lambda: sc.s.status()["connections"] == 0, "the client has gone")

    def response(self):
        response = self.client.response("POST" if self.protocol == "h1" else self.stream)
        if self.protocol == "h2":
            self.client.close()
        return response


def start(sc, protocol, take="json", end=None, **how):
    server = Server(sc, protocol, end)
    learn_proxy(sc, backend=server.backend, upstream=server.upstream, rules=[rule(take, **how)])
    return server


def journal_held(sc):
    """The journal answers nobody until what this returns is called. It is there when it has had
    something to do: one session, s-0, is held already."""
    assert sc.ask("POST", "/login?other").status == 200
    wait_counted(sc, "acquired", 1)
    return sc.s.stop_thread("journal")


def wait_pending(sc, n):
    """That many wait for the journal."""
    def pending():
        return [lease["state"] for lease in leases(sc)].count("pending")
    wait_for(lambda: pending() == n, lambda: f"{n} wait: {leases(sc)}")


BOTH = pytest.mark.parametrize("client, server", [("h1", "h1"), ("h1", "h2"), ("h2", "h1"),
                                                  ("h2", "h2")])


@BOTH
def test_client_goes_while_it_is_read(sc, client, server):
    """It is read to its end: what it gave is held, and is given back."""
    device = start(sc, server)
    waiting = Waiting(sc, client)
    device.wait_first(sc)
    waiting.go(sc)
    device.go.set()
    wait_held(sc, 1)
    wait_counted(sc, "acquired", 1)
    finish(sc)
    assert device.logouts == ["s-1"]


@BOTH
def test_client_goes_while_the_journal_is_slow(sc, client, server):
    """Whether it has the answer is not certain: it is held."""
    device = start(sc, server)
    device.go.set()
    release = journal_held(sc)
    waiting = Waiting(sc, client)
    wait_pending(sc, 1)
    waiting.go(sc)
    assert counted(sc, "acquired") == 2
    release()
    finish(sc)
    assert sorted(device.logouts) == ["s-0", "s-1"]


@BOTH
def test_client_goes_and_the_server_does(sc, client, server):
    device = start(sc, server, end="dies")
    waiting = Waiting(sc, client)
    device.wait_first(sc)
    waiting.go(sc)
    device.go.set()
    wait_counted(sc, "unread", 1)
    assert sc.s.metrics().get("sluice_learn_pending") == 0
    assert leases(sc) == []


@BOTH
def test_server_goes_while_it_is_read(sc, client, server):
    device = start(sc, server, end="dies")
    waiting = Waiting(sc, client)
    device.wait_first(sc)
    device.go.set()
    assert_problem(waiting.response(),
                   "upstream_truncated" if server == "h1" else "upstream_reset")
    assert counted(sc, "unread") == 1
    assert device.logouts == []


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_server_resets_while_the_journal_is_slow(sc, client):
    """An error in place of the answer: what that gave in its head goes back."""
    device = start(sc, "h2", take="header", end="dies")
    release = journal_held(sc)
    waiting = Waiting(sc, client)
    wait_pending(sc, 1)
    device.go.set()
    assert_problem(waiting.response(), "upstream_reset")
    assert counted(sc, "refused") == 1
    release()
    wait_for(lambda: device.logouts == ["s-1"], "it is given back")
    wait_held(sc, 1)


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_server_ends_while_the_journal_is_slow(sc, client):
    """Its body is not read then: the answer is cut, but its head had the session, which is held."""
    device = start(sc, "h1", take="header", end="dies")
    release = journal_held(sc)
    waiting = Waiting(sc, client)
    wait_pending(sc, 1)
    device.go.set()
    device.backend.wait_done()
    release()
    with pytest.raises((EOFError, AssertionError)):
        waiting.response()
    waiting.client.close()
    assert counted(sc, "acquired") == 2
    finish(sc)
    assert sorted(device.logouts) == ["s-0", "s-1"]


@pytest.mark.parametrize("allow", [False, True])
def test_the_journal_takes_too_long(sc, allow):
    device = Server(sc, "h1")
    device.go.set()
    learn_proxy(sc, backend=device.backend, rules=[rule(journalTimeout="1s")],
                leases={"journal": {"onFailure": "allow" if allow else "refuse"}})
    release = journal_held(sc)
    response = login(sc)
    if allow:
        assert (response.status, response.body) == (200, BODY)
        assert counted(sc, "late") == 1
    else:
        assert_problem(response, "learn_timeout")
        assert counted(sc, "refused") == 1
    release()
    if not allow:
        wait_for(lambda: device.logouts == ["s-1"], "it is given back")
    finish(sc)
    assert sorted(device.logouts) == ["s-0", "s-1"]


# --- changes of the configuration ---

def reload(sc, change):
    config = copy.deepcopy(sc.s.config)
    change(config)
    new = sc.s.config_path + "~"
    with open(new, "w") as f:
        f.write(json.dumps(config, indent=1) + "\n")
    os.rename(new, sc.s.config_path)
    code, response = sc.s.admin("POST", "/v1/reload", timeout=TIMEOUT)
    assert (code, json.loads(response.body)["result"]) == (200, "applied"), response.body


def without_rule(config):
    del config["listeners"][0]["routes"][0]["learn"]


def without_listener(config):
    config["listeners"] = [{"name": "other", "direction": "inbound", "routes":
                            [{"directResponse": {"status": 204}}],
                            "address": f"127.0.0.1:{free_port()}"}]
    config["upstreams"] = []


@pytest.mark.parametrize("change", [without_rule, without_listener])
@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("slow", ["reading", "journal"])
def test_reload_while_it_waits(sc, slow, gone, change):
    """It ends by the rules that it began by, whoever is there."""
    device = start(sc, "h1")
    if slow == "journal":
        device.go.set()
        release = journal_held(sc)
    waiting = Waiting(sc, "h1")
    if slow == "journal":
        wait_pending(sc, 1)
    else:
        device.wait_first(sc)
    if gone:
        waiting.go(sc)
    reload(sc, change)
    if slow == "journal":
        release()
    else:
        device.go.set()
    if not gone:
        assert waiting.response().body == BODY
    wait_counted(sc, "acquired", 2 if slow == "journal" else 1)
    finish(sc)
    assert sorted(device.logouts) == (["s-0", "s-1"] if slow == "journal" else ["s-1"])


# --- the end ---

def test_client_goes_in_the_drain(sc):
    """The application's own way out is open until it has ended, and it may end with a login on its
    way: what that gives is given back with the rest."""
    device = start(sc, "h1")
    other = Client(sc.address)  # it is there still: nothing is cleaned up
    assert other.ask().status == 200
    waiting = Waiting(sc, "h1")
    device.wait_first(sc)
    sc.s.signal(15)
    wait_phase(sc, "egress_only")
    waiting.client.reset()
    wait_for(lambda: sc.s.status()["connections"] == 1, "the client has gone")
    device.go.set()
    wait_held(sc, 1)
    other.close()
    sc.s.check_end(sc.s.wait_exit())
    assert device.logouts == ["s-1"]


@pytest.mark.parametrize("client", ["h1", "h2"])
def test_stopped_while_the_journal_is_slow(sc, client):
    """Whether the client has got the answer or not: it is given back, once."""
    device = start(sc, "h1")
    device.go.set()
    release = journal_held(sc)
    waiting = Waiting(sc, client)
    wait_pending(sc, 1)
    sc.s.signal(15)
    wait_phase(sc, "egress_only", "cleanup")
    release()
    try:
        waiting.response()
    except (OSError, EOFError, AssertionError):
        pass
    waiting.client.close()
    sc.s.check_end(sc.s.wait_exit())
    assert sorted(device.logouts) == ["s-0", "s-1"]
