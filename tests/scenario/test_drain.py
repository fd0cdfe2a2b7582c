"""The end: phases, one deadline, and nobody who was let in goes unanswered."""

import os
import re
import signal
import threading
import time

import pytest

import websocket
from drains import OVERSHOOT, gated, lifecycle, phase, report, stuck, wait_phase
from harness import assert_problem, deep_update, forward, free_port, ok_app
from wire import SPARE, Client, wait_for


# --- phases -----------------------------------------------------------------------------------

def test_nothing_open_ends_at_once(sc):
    sc.proxy(more=lifecycle(drain="20s"))
    start = time.monotonic()
    sc.s.stop()
    assert time.monotonic() - start < 10
    found = report(sc)
    assert found["trigger"] == "signal" and found["forced_total"] == 0


def test_notice(sc):
    sc.proxy(more=lifecycle(notice="2s", drain="6s"))
    old = sc.client()
    assert not old.ask().closes
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "notice")
    assert sc.s.get_health("/readyz")[0] == 503
    assert sc.s.get_health("/livez")[0] == 200
    # What is there is served, and told to go; who comes now is served as well.
    response = old.ask("GET", "/old")
    assert response.status == 200 and response.closes
    old.expect_fin()
    old.close()
    new = sc.client()
    response = new.ask("GET", "/new")
    assert response.status == 200 and response.closes
    new.expect_fin()
    new.close()
    sc.s.stop()
    assert 1.9 < time.monotonic() - start < 2 + SPARE, "the notice lasts its time"


def test_the_phases_come_in_order(sc):
    sc.proxy(script=stuck, more=lifecycle(notice="500ms", drain="1200ms", last_call="400ms"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    seen = []  # whoever asks may miss a short one
    while sc.s.process.poll() is None:
        try:
            now = phase(sc)
        except (OSError, EOFError):
            break
        if not seen or seen[-1] != now:
            seen.append(now)
    order = ["notice", "drain", "last_call", "force", "egress_only", "cleanup", "exit"]
    seen = [p for p in seen if p != "serving"]
    assert seen and seen == sorted(seen, key=order.index), seen
    assert client.response().status == 503
    sc.s.stop()
    told = re.findall(r"drain: (\w+), \d+ connections open", sc.s.log())
    assert told[:3] == order[:3] and told == sorted(told, key=order.index), told


def test_in_flight_requests_are_answered(sc):
    gate = threading.Event()

    def script(conn):
        while conn.request() is not None:
            gate.wait(20)
            conn.answer(b"late, but whole")

    sc.proxy(script=script, more=lifecycle(drain="10s"))
    clients = [sc.client().request() for _ in range(20)]
    sc.app.wait_requests(20)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    gate.set()
    for client in clients:
        response = client.response()
        assert response.status == 200 and response.body == b"late, but whole"
        assert response.closes
        client.expect_fin()
    sc.s.stop()
    found = report(sc)
    assert found["classes"]["h1_active"]["completed"] == 20, found
    assert found["forced_total"] == 0


def test_a_long_body_goes_on(sc):
    gate = threading.Event()

    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        gate.wait(20)
        conn.send("half")
        conn.read_to_end()

    sc.proxy(script=script, more=lifecycle(drain="10s"))
    client = sc.client().request()
    assert client.response_head().status == 200
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    gate.set()
    assert client.read(8) == b"halfhalf"
    sc.s.stop()


def test_an_upload_goes_on(sc):
    def script(conn):
        request = conn.request()
        conn.answer(b"%d" % len(request.body))
        conn.read_to_end()

    sc.proxy(script=script, more=lifecycle(drain="10s"))
    client = sc.client()
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    client.send("world")
    response = client.response()
    assert response.body == b"10" and response.closes
    sc.s.stop()


def test_a_head_half_sent_is_served(sc):
    """Its first byte was read, so it was accepted."""
    sc.proxy(more=lifecycle(drain="10s"))
    client = sc.begin(sc.client(), "/half")
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    time.sleep(0.7)  # past the first closing of idle connections
    response = client.finish()
    assert response.body == b"GET /half\n" and response.closes
    sc.s.stop()


# --- idle connections -------------------------------------------------------------------------

@pytest.mark.alone
def test_idle_connections_are_closed_spread_and_not_too_soon(sc):
    sc.proxy(more=lifecycle(drain="5s"))
    clients = [sc.client() for _ in range(30)]
    for client in clients:
        assert client.ask().status == 200
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    closed, looks, look = {}, {}, 0
    while len(closed) < len(clients) and time.monotonic() - start < 6:
        look += 1
        for i, client in enumerate(clients):
            if i not in closed and client.is_closed():
                closed[i] = time.monotonic() - start
                looks[i] = look
        time.sleep(0.002)
    times = [closed[i] for i in range(len(clients))]
    assert min(times) >= 0.49, f"the first after {min(times):.3f} s"
    assert max(times) - min(times) > 0.5, "they are spread"
    assert max(times) < 4.6, "before the last call"
    # What is closed behind one's back is seen with the next look.
    late = sum(looks[i + 1] < looks[i] - 1 for i in range(len(clients) - 1))
    assert late == 0, f"longest idle first: {times}"
    for client in clients:
        assert client.buffer == b""
    sc.s.stop()
    assert report(sc)["classes"]["h1_idle"]["closed"] == 30


def test_a_busy_client_sees_no_failure(sc):
    """Keep-alive clients that heed Connection: close, through a whole drain."""
    sc.proxy(more=lifecycle(notice="400ms", drain="5s"))
    counts = {"ok": 0, "failed": []}
    lock = threading.Lock()

    def run():
        while True:
            try:
                client = Client(sc.address)
            except ConnectionRefusedError:
                return
            except OSError as e:
                with lock:
                    counts["failed"].append(repr(e))
                return
            rest, sent = time.monotonic(), None
            try:
                while True:
                    client.request()
                    sent = time.monotonic()
                    response = client.response()
                    rest, sent = time.monotonic(), None
                    with lock:
                        if response.status == 200:
                            counts["ok"] += 1
                        else:
                            counts["failed"].append(repr(response))
                    if response.closes:
                        break
            except (OSError, EOFError) as e:
                # One that the machine let rest may be closed as an idle one, half a second later.
                if (sent or time.monotonic()) - rest < 0.4:
                    with lock:
                        counts["failed"].append(repr(e))
            finally:
                client.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: counts["ok"] > 200, "load")
    sc.s.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(20)
    assert counts["failed"] == []
    sc.s.stop()


def test_connections_in_the_backlog_are_answered(sc):
    sc.proxy(more=lifecycle(drain="5s"))
    os.kill(sc.s.pid, signal.SIGSTOP)  # nobody accepts now
    clients = []
    for i in range(60):
        clients.append(sc.client().request("GET", f"/{i}"))
    sc.s.signal(signal.SIGTERM)
    os.kill(sc.s.pid, signal.SIGCONT)
    for i, client in enumerate(clients):
        response = client.response()
        assert response.status == 200 and response.body == f"GET /{i}\n".encode()
        if not response.closes:
            client.expect_fin()  # a worker was sooner than the signal: closed when it idles
        client.close()
    sc.s.stop()


def test_the_listener_refuses_after_the_notice(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), more=lifecycle(drain="20s"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")

    def refused():
        try:
            sc.client().close()
            return False
        except ConnectionRefusedError:
            return True
    wait_for(refused, "connections are refused")
    gate.set()
    assert client.response().status == 200
    sc.s.stop()


def test_listeners_can_stay_open_until_exit(sc):
    gate = threading.Event()
    sc.proxy(script=lambda conn: ok_app(conn) if conn.number else gated(gate)(conn),
             more=lifecycle(drain="20s", closeListeners="atExit"))
    first = sc.client().request()
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    client = sc.client()
    response = client.ask("GET", "/late")
    assert response.status == 200 and response.closes
    gate.set()
    assert first.response().status == 200
    sc.s.stop()


def test_a_connection_that_has_just_come_is_not_closed_as_idle(sc):
    """Its first request is on its way: it is served, while others that are idle are closed."""
    gate = threading.Event()
    sc.proxy(script=lambda conn: ok_app(conn) if conn.number else gated(gate)(conn),
             more=lifecycle(drain="20s", closeListeners="atExit"))
    first = sc.client().request()
    sc.app.wait_requests(1)
    idle = sc.client()
    assert idle.ask("GET", "/").status == 200
    sc.s.signal(signal.SIGTERM)
    idle.expect_end()
    late = sc.client()
    time.sleep(0.1)  # it thinks, for some of the drain's ticks
    response = late.ask("GET", "/late")
    assert response.status == 200 and response.closes
    gate.set()
    assert first.response().status == 200
    sc.s.stop()


# --- the last call and force ------------------------------------------------------------------

@pytest.mark.alone
def test_last_call(sc):
    sc.proxy(script=stuck, more=lifecycle(drain="2500ms", last_call="1s"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    response = client.response()
    took = time.monotonic() - start
    problem = assert_problem(response, "last_call")
    assert problem["status"] == 503
    assert int(response.get("retry-after")) >= 1
    assert response.closes
    client.expect_end()
    # A second before the deadline, which is a twentieth before drainTimeout.
    assert 1.3 < took < 1.4 + SPARE, f"after {took:.2f} s"
    sc.s.stop()
    assert report(sc)["classes"]["h1_active"]["last_call"] == 1


def endless(conn):
    conn.request()
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        conn.send("4\r\ndata\r\n")
        time.sleep(0.01)


def test_a_chunked_body_is_cut_and_never_falsely_ended(sc):
    sc.proxy(script=endless, more=lifecycle(drain="1s", last_call="300ms"))
    client = sc.client().request()
    assert client.response_head().status == 200
    sc.s.signal(signal.SIGTERM)
    with pytest.raises((EOFError, ConnectionResetError)):
        while True:
            size = client.read_until(b"\r\n")
            if size is None:
                raise EOFError
            assert size == b"4", size
            client.read(6)
    sc.s.stop()


def test_a_body_by_length_is_cut(sc):
    def script(conn):
        conn.request()
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        conn.read_to_end()

    sc.proxy(script=script, more=lifecycle(drain="800ms", last_call="200ms"))
    client = sc.client().request()
    client.response_head()
    sc.s.signal(signal.SIGTERM)
    with pytest.raises((EOFError, ConnectionResetError)):
        client.read(100)
    sc.s.stop()


@pytest.mark.alone
def test_the_deadline_holds_with_many_stuck(sc):
    """However much is open, the process is gone at its deadline."""
    # A busy machine may make it late now and then, and not each time.
    for tries_left in (4, 3, 2, 1, 0):
        late = deadline_with_many_stuck(sc)
        assert late <= SPARE, f"{late * 1000:.0f} ms over"
        if late <= OVERSHOOT:
            break
        assert tries_left, f"{late * 1000:.0f} ms over, and not for the first time"


def deadline_with_many_stuck(sc):
    """How much later than its deadline the process ends."""
    def script(conn):
        if conn.number % 2:
            stuck(conn)
        else:
            endless(conn)

    sc.proxy(script=script, more=lifecycle(drain="1500ms", last_call="300ms"))
    idle = [sc.client() for _ in range(300)]
    busy = [sc.client().request() for _ in range(60)]
    sc.app.wait_requests(60)
    deadline = 1.5 - 1.5 / 20
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    sc.s.wait_exit()
    took = time.monotonic() - start
    sc.s.stop()
    found = report(sc)
    assert found["forced_total"] + found["classes"]["h1_active"]["last_call"] >= 60, found
    assert len(found["forced"]) <= 32
    for entry in found["forced"]:
        assert entry["reason"] and entry["age_ms"] >= 1000, entry
    assert found["longest"]["age_ms"] >= 1000
    for client in idle + busy:
        client.close()
    return took - deadline


def test_sigterm_again_changes_nothing(sc):
    gate = threading.Event()
    sc.proxy(script=gated(gate), more=lifecycle(drain="8s"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    for _ in range(3):
        sc.s.signal(signal.SIGTERM)
        wait_phase(sc, "drain")
    time.sleep(0.2)
    assert sc.s.process.poll() is None
    gate.set()
    assert client.response().body == b"whole"
    sc.s.stop()


def test_a_second_sigint_forces(sc):
    sc.proxy(script=stuck, more=lifecycle(drain="20s"))
    client = sc.client().request()
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGINT)
    wait_phase(sc, "drain")
    time.sleep(0.15)  # two within 100 ms are one key press
    start = time.monotonic()
    sc.s.signal(signal.SIGINT)
    sc.s.wait_exit()
    assert time.monotonic() - start < 10
    sc.s.stop()
    assert report(sc)["forced_total"] == 1 or report(sc)["classes"]["h1_active"]["last_call"] == 1
    client.close()


# --- other protocols and directions -----------------------------------------------------------

def test_tcp_ends_as_the_peers_do(sc):
    def script(conn):
        while data := conn.read_some():
            conn.send(data)
        conn.send("bye")

    sc.proxy(script=script, listener={"protocol": "tcp"}, more=lifecycle(drain="8s"))
    client = sc.client().send("hello")
    assert client.read(5) == b"hello"
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    client.send("again")
    assert client.read(5) == b"again"
    client.half_close()
    assert client.read_to_end() == b"bye"
    sc.s.stop()
    assert report(sc)["classes"]["tcp"]["completed"] == 1


def test_tcp_is_forced_at_the_deadline(sc):
    sc.proxy(script=lambda conn: conn.read_to_end(), listener={"protocol": "tcp"},
             more=lifecycle(drain="800ms", last_call="200ms"))
    client = sc.client().send("x")
    sc.app.wait_conns(1)
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    client.expect_end()
    assert time.monotonic() - start > 0.5
    sc.s.stop()
    assert report(sc)["classes"]["tcp"]["forced"] == 1


def test_no_new_upgrades(sc):
    sc.proxy(more=lifecycle(drain="20s"))
    client = sc.client()
    client.ask()
    sc.begin(client)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    headers = websocket.request_headers()
    client.send("st: test\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n")
    response = client.response()
    assert_problem(response, "draining")
    assert response.closes
    sc.s.stop()


def test_a_tunnel_is_forced_at_the_deadline(sc):
    """Its peers were told, and do not answer."""
    def script(conn):
        websocket.accept(conn)
        conn.read_to_end()

    sc.proxy(script=script, more=lifecycle(drain="800ms", last_call="200ms"))
    ws = websocket.connect(sc)
    sc.s.signal(signal.SIGTERM)
    assert ws.message()[1].code == 1001
    ws.peer.expect_end()
    sc.s.stop()
    counts = report(sc)["classes"]["websocket"]
    assert counts["forced"] == 1, counts


def test_pipelined_requests_in_a_drain(sc):
    """The first answer says close: what is behind it is not served, and the client can tell."""
    gate = threading.Event()
    sc.proxy(script=gated(gate, b"one"), more=lifecycle(drain="8s"))
    client = sc.client()
    client.send("GET /1 HTTP/1.1\r\nHost: test\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n")
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    gate.set()
    response = client.response()
    assert response.body == b"one" and response.closes
    client.expect_end()
    client.close()
    sc.s.stop()
    assert len(sc.app.requests) == 1


def test_outbound_goes_on_while_inbound_drains(sc):
    """The application still needs its way out."""
    gate = threading.Event()
    inside, outside = sc.backend(gated(gate, b"in")), sc.backend()
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    config = {
        "listeners": [
            {"name": "in", "direction": "inbound", "address": addresses[0], "routes": [forward("in")]},
            {"name": "out", "direction": "outbound", "address": addresses[1], "routes": [forward("out")]}],
        "upstreams": [{"name": "in", "endpoints": [inside.address]},
                      {"name": "out", "endpoints": [outside.address]}]}
    sc.s = sc.sluice(deep_update(config, lifecycle(drain="10s")))
    waiting = sc.client(addresses[0]).request()
    inside.wait_requests(1)
    kept = sc.client(addresses[1])
    kept.ask()
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    for client in (kept, sc.client(addresses[1])):
        response = client.ask("GET", "/out")
        assert response.status == 200 and not response.closes
    gate.set()
    assert waiting.response().body == b"in"
    for client in sc.clients:
        client.close()
    sc.s.stop()


def test_a_drain_under_connections_per_request(sc):
    """New connections all the time: each is answered or refused, none is reset."""
    sc.proxy(more=lifecycle(notice="300ms", drain="4s"))
    results = []

    def run():
        while True:
            try:
                client = Client(sc.address)
            except ConnectionRefusedError:
                return
            except OSError as e:
                results.append(repr(e))
                return
            rest, sent = time.monotonic(), None
            try:
                client.request(headers=[("Connection", "close")])
                sent = time.monotonic()
                results.append(client.response().status)
            except (OSError, EOFError) as e:
                # One that the machine let rest may be closed as an idle one, half a second later.
                if (sent or time.monotonic()) - rest < 0.4:
                    results.append(repr(e))
            finally:
                client.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(results) > 200, "load")
    sc.s.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(20)
    assert set(results) == {200}, {r for r in results if r != 200}
    sc.s.stop()


def test_drain_with_four_workers(sc):
    sc.proxy(more={**lifecycle(drain="3s"), "workers": 4})
    clients = [sc.client() for _ in range(60)]
    for client in clients:
        client.ask()
    sc.s.signal(signal.SIGTERM)
    for client in clients:
        client.expect_fin()
    sc.s.stop()
    assert report(sc)["classes"]["h1_idle"]["closed"] == 60


def test_unused_connections_are_closed_too(sc):
    """A connection that never sent a byte holds nothing up."""
    sc.proxy(more=lifecycle(drain="10s"))
    clients = [sc.client() for _ in range(5)]
    wait_for(lambda: sc.s.status()["connections"] == 5, "five connections")
    start = time.monotonic()
    sc.s.signal(signal.SIGTERM)
    for client in clients:
        client.expect_fin()
    sc.s.stop()
    assert time.monotonic() - start < 9
