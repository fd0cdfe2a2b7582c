"""The end of connections that speak HTTP/2: GOAWAY, and who is served before and after it."""

import signal
import threading
import time

import h2wire
from drains import wait_phase
from h2_rig import gated, h2
from h2wire import INITIAL_WINDOW_SIZE, LAST_STREAM, NO_ERROR, REFUSED_STREAM
from harness import forward, ok_app
from wire import wait_for

DRAIN = {"lifecycle": {"noticePeriod": "0s", "drainTimeout": "10s", "lastCall": "500ms"}}


def test_drain_of_an_idle_connection(sc):
    """GOAWAY(2^31-1) and PING, and at its ACK the last stream's number; then the end."""
    sc.proxy(more=DRAIN)
    client = h2(sc, auto=True)
    client.ask()
    sc.s.signal(signal.SIGTERM)
    client.expect_end()
    assert [g[:2] for g in client.goaways] == [(LAST_STREAM, NO_ERROR), (1, NO_ERROR)]
    kinds = [f.kind for f in client.frames if f.kind in (h2wire.PING, h2wire.GOAWAY)]
    assert kinds == [h2wire.GOAWAY, h2wire.PING, h2wire.GOAWAY], kinds
    sc.s.stop()


def test_drain_serves_what_crosses_the_first_goaway(sc):
    """Until the PING's ACK, a stream is as good as any; after the last GOAWAY it is REFUSED."""
    go = threading.Event()
    sc.proxy(script=gated(go), more=DRAIN)
    client = h2(sc, auto=False)
    client.frame(h2wire.SETTINGS, h2wire.ACK)
    slow = client.request("GET", "/slow")
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    client.until(lambda: client.goaways and client.kinds(h2wire.PING), "the first GOAWAY and PING")
    assert client.goaways[0][:2] == (LAST_STREAM, NO_ERROR)
    crossed = client.request("GET", "/crossed")
    assert client.response(crossed).body == b"late"
    ping = client.kinds(h2wire.PING)[-1]
    client.frame(h2wire.PING, h2wire.ACK, 0, ping.payload)
    client.until(lambda: len(client.goaways) == 2, "the last GOAWAY")
    assert client.goaways[1][:2] == (crossed.id, NO_ERROR)
    refused = client.request("GET", "/refused")
    client.expect_reset(refused, REFUSED_STREAM)
    go.set()
    assert client.response(slow).body == b"late"
    client.expect_end()
    sc.s.stop()
    assert "/refused" not in [r.target for r in sc.app.requests]


def test_drain_serves_what_comes_with_the_ping_ack(sc):
    """The last GOAWAY counts it among those that were taken; and it is served once."""
    sc.proxy(script=ok_app, more=DRAIN)
    client = h2(sc, auto=False)
    client.frame(h2wire.SETTINGS, h2wire.ACK)
    client.ask()
    sc.s.signal(signal.SIGTERM)
    client.until(lambda: client.goaways and client.kinds(h2wire.PING), "the first GOAWAY and PING")
    ping = client.kinds(h2wire.PING)[-1]
    crossed = [client.stream(3), client.stream(5)]
    client.send(h2wire.frame(h2wire.PING, h2wire.ACK, 0, ping.payload) + b"".join(
        h2wire.frame(h2wire.HEADERS, h2wire.END_HEADERS, st.id,
                     h2wire.block(h2wire.request_fields("POST", f"/{st.id}"))) +
        h2wire.frame(h2wire.DATA, h2wire.END_STREAM, st.id, b"once only") for st in crossed))
    for st in crossed:
        assert client.response(st).status == 200
    client.expect_end()
    assert [g[:2] for g in client.goaways] == [(LAST_STREAM, NO_ERROR), (5, NO_ERROR)]
    sc.s.stop()
    assert sorted(r.target for r in sc.app.requests) == ["/", "/3", "/5"]


def test_drain_refuses_what_comes_before_the_last_goaway_is_out(sc):
    """It waits behind what the client does not read. Whoever sends a refused request again must find
    that nobody had it."""
    def script(conn):
        while (request := conn.request()) is not None:
            conn.answer(bytes(32 << 20) if request.target == "/big" else b"")

    sc.proxy(script=script, more=DRAIN)
    client = h2(sc, settings={INITIAL_WINDOW_SIZE: 1 << 30}, keep=False)
    client.window_update(0, 1 << 30)
    big = client.request("GET", "/big")
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    late = []
    for _ in range(20):  # the last GOAWAY comes after a second
        late.append(client.request("POST", f"/{client.next_id}", body=None))
        time.sleep(0.1)
    assert client.response(big).received == 32 << 20
    for st in late:
        client.until(lambda st=st: st.over, "its end")
    client.expect_end()
    last, code, _ = client.goaways[-1]
    assert len(client.goaways) == 2 and code == NO_ERROR
    taken = [st.id for st in late if st.id <= last]
    assert all(st.ended and st.status == 200 for st in late if st.id <= last), late
    assert all(st.reset == REFUSED_STREAM for st in late if st.id > last), late
    assert len(taken) < len(late)
    sc.s.stop()
    assert sorted(r.target for r in sc.app.requests) == sorted(["/big", *(f"/{i}" for i in taken)])


def test_drain_without_a_ping_ack(sc):
    """The last GOAWAY comes after a second all the same."""
    go = threading.Event()
    sc.proxy(script=gated(go), more=DRAIN)
    client = h2(sc, auto=False)
    slow = client.request("GET", "/slow")
    sc.app.wait_requests(1)
    sc.s.signal(signal.SIGTERM)
    client.until(lambda: len(client.goaways) == 2, "both")
    go.set()
    assert client.response(slow).body == b"late"
    client.expect_end()
    sc.s.stop()


def test_drain_under_load_fails_nothing(sc):
    """Clients that heed GOAWAY as RFC 9113 §6.8 says lose no request."""
    sc.proxy(script=ok_app, more=DRAIN)
    answered, lost = [], []

    def one():
        client = h2(sc)
        try:
            while not client.goaways:
                sts = [client.request("POST", "/x", body=b"hello") for _ in range(20)]
                for st in sts:
                    client.until(lambda st=st: st.over, "its end")
                    if st.ended:
                        answered.append(st.status)
                    elif st.reset != REFUSED_STREAM:
                        lost.append(st)
        except Exception as e:  # noqa: BLE001 - a request without an answer, whatever the reason
            if not client.goaways:
                lost.append(e)
            else:
                lost.extend(st for st in client.streams.values()
                            if not st.over and st.id <= client.goaways[-1][0])
    threads = [threading.Thread(target=one, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    wait_for(lambda: len(answered) > 300, "load")
    sc.s.signal(signal.SIGTERM)
    for t in threads:
        t.join(20)
    assert not lost and set(answered) == {200}
    sc.s.stop()


def test_drain_last_call(sc):
    """What is not answered by then gets 503; what is half sent is cut, never falsely ended."""
    def script(conn):
        request = conn.request()
        if request.target == "/half":
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        conn.read_to_end()
    sc.proxy(script=script, more={"lifecycle": {"drainTimeout": "1500ms", "lastCall": "700ms"}})
    client = h2(sc)
    none, half = client.request("GET", "/none"), client.request("GET", "/half")
    client.until(lambda: half.received == 2, "half")
    sc.s.signal(signal.SIGTERM)
    client.until(lambda: none.over, "503")
    assert none.status == 503 and none.ended
    try:
        client.until(lambda: half.over, "the cut")
    except AssertionError:
        assert client.eof
    assert not half.ended
    sc.s.stop()


def test_reload_leaves_streams_and_connections(sc):
    go = threading.Event()
    sc.proxy(script=gated(go))
    client = h2(sc)
    slow = client.request("GET", "/slow")
    sc.app.wait_requests(1)
    code, _ = sc.s.admin("POST", "/v1/reload")
    assert code == 200
    assert client.ask("GET", "/after").status == 200
    go.set()
    assert client.response(slow).body == b"late"
    assert not client.goaways


def test_two_listeners_one_upstream(sc):
    """Routes by :authority and path, as by HTTP/1."""
    other = sc.backend(lambda conn: conn.request() and conn.answer(b"other") and conn.request())
    sc.proxy(listener={"routes": [
        {"match": {"host": "other.test"}, "upstream": "other"}, forward()]},
        more={"upstreams": [{"name": "app", "endpoints": ["127.0.0.1:1"]},
                            {"name": "other", "endpoints": [other.address]}]})
    client = h2(sc)
    assert client.ask("GET", "/", authority="other.test").body == b"other"
    assert client.ask("GET", "/", authority="test").status == 502
