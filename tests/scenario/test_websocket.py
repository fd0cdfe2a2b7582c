"""WebSockets: frames of every shape go through as they are, and what is no frame ends both ends."""

import json
import os
import subprocess
import threading
import time
import zlib

import pytest

import h2wire
import websocket
from harness import SLUICE, assert_problem
from websocket import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, frame
from wire import SLOW, wait_for


class Server:
    """Hands the test the server's end of each WebSocket, to play with by hand."""

    def __init__(self, accept, headers=(), behind=b""):
        self.accept, self.headers, self.behind = accept, headers, behind
        self.opened = threading.Semaphore(0)
        self.all = []
        self.done = threading.Event()

    def __call__(self, conn):
        self.all.append(self.accept(conn, self.headers, self.behind))
        self.opened.release()
        self.done.wait(60)

    def take(self):
        assert self.opened.acquire(timeout=10 * SLOW)
        return self.all[-1]


# Who speaks what: the client to the proxy, and the proxy to the server.
CARRIERS = ["h1-h1", "h1-h2", "h2-h1", "h2-h2"]
each_carrier = pytest.mark.parametrize("pair", CARRIERS, indirect=True)


@pytest.fixture
def pair(sc, request):
    """Both ends of a WebSocket through a proxy: pair(**route) gives (client, server)."""
    down, up = getattr(request, "param", "h1-h1").split("-")
    opened = []

    def open_pair(more=None, extensions=None, headers=(), behind=b"", **route):
        if up == "h1":
            server = Server(websocket.accept, headers, behind)
            sc.proxy(script=server, route=route, more=more)
        else:
            server = Server(websocket.accept_h2, headers, behind)
            app = h2wire.Backend(server, settings={websocket.CONNECT_PROTOCOL: 1})
            sc.backends.append(app)
            sc.proxy(backend=app, route=route, more=more, upstream={"protocol": "http2"})
        opened.append(server)
        if down == "h1":
            return websocket.connect(sc, extensions=extensions), server.take()
        conn = h2wire.Client(sc.address).ready()
        opened.append(conn)
        return websocket.connect_h2(conn, extensions=extensions), server.take()

    yield open_pair
    for it in opened:
        if isinstance(it, Server):
            it.done.set()
        else:
            it.close()


def both(pair):
    return pair, pair[::-1]


# --- what goes through ------------------------------------------------------------------------

def test_echo_of_all_sizes(sc):
    sc.proxy(script=websocket.echo)
    ws = websocket.connect(sc)
    for n in (0, 1, 125, 126, 127, 4096, 65535, 65536, 65537, 1 << 20):
        for opcode in (TEXT, BINARY):
            data = os.urandom(n // 2 + 1).hex().encode()[:n]
            ws.send(opcode, data)
            assert ws.message() == (opcode, data)
    ws.close(1000, b"enough")
    opcode, got = ws.message()
    assert opcode == CLOSE and got.code == 1000
    ws.peer.expect_fin()


def test_frames_cut_everywhere(sc):
    """Byte by byte, and in pieces that end inside of heads."""
    sc.proxy(script=websocket.echo)
    ws = websocket.connect(sc)
    data = (frame(TEXT, b"one", mask=b"abcd") + frame(BINARY, bytes(130), mask=b"efgh") +
            frame(TEXT, b"", mask=b"ijkl") + frame(TEXT, b"x" * 70000, mask=b"mnop"))
    for step in (1, 2, 3, 7):
        small = data[:160]
        for at in range(0, len(small), step):
            ws.send_raw(small[at:at + step])
            if step == 1:
                time.sleep(0.0005)
        ws.send_raw(data[160:])
        assert ws.message() == (TEXT, b"one")
        assert ws.message() == (BINARY, bytes(130))
        assert ws.message() == (TEXT, b"")
        assert ws.message() == (TEXT, b"x" * 70000)


@each_carrier
def test_fragments_with_control_frames_between(pair):
    for a, b in both(pair()):
        a.send(TEXT, b"he", fin=False)
        a.send(PING, b"are you there")
        a.send(CONTINUATION, b"ll", fin=False)
        a.send(PONG, b"unasked")
        a.send(CONTINUATION, b"", fin=False)
        a.send(CONTINUATION, b"o")
        seen = [b.recv() for _ in range(6)]
        assert [(f.opcode, f.payload, f.fin) for f in seen] == [
            (TEXT, b"he", False), (PING, b"are you there", True), (CONTINUATION, b"ll", False),
            (PONG, b"unasked", True), (CONTINUATION, b"", False), (CONTINUATION, b"o", True)]


@each_carrier
def test_many_small_frames_in_one_piece(pair):
    n = 5000
    for a, b in both(pair()):
        mask = b"wxyz" if a.client else None
        a.send_raw(b"".join(frame(TEXT, str(i), mask=mask) for i in range(n)))
        for i in range(n):
            assert b.recv().payload == str(i).encode()


@each_carrier
def test_bytes_behind_the_101(pair):
    """The server speaks at once, in the same piece as its answer."""
    client, server = pair(behind=frame(TEXT, b"hello") + frame(TEXT, b"world")[:4])
    assert client.message() == (TEXT, b"hello")
    server.send_raw(frame(TEXT, b"world")[4:])
    assert client.message() == (TEXT, b"world")


def test_bytes_behind_the_request(sc):
    sc.proxy(script=websocket.echo)
    client = sc.client()
    lines = "".join(f"{n}: {v}\r\n" for n, v in websocket.request_headers())
    client.send(f"GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode() +
                frame(TEXT, b"early", mask=b"abcd"))
    assert client.response().status == 101
    assert websocket.WebSocket(client, True).message() == (TEXT, b"early")


@each_carrier
def test_permessage_deflate_goes_through(pair):
    agreed = ("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover")
    client, server = pair(extensions="permessage-deflate; client_max_window_bits",
                          headers=[agreed])
    assert server.request.get("sec-websocket-extensions") == \
        "permessage-deflate; client_max_window_bits"
    assert client.response.get("sec-websocket-extensions") == agreed[1]
    for a, b in ((client, server), (server, client)):
        packer = zlib.compressobj(wbits=-15)
        text = b"again and " * 1000
        packed = (packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        a.send(TEXT, packed, rsv=4)
        got = b.recv()
        assert got.rsv == 4
        assert zlib.decompressobj(wbits=-15).decompress(got.payload + b"\0\0\xff\xff") == text
        a.send(TEXT, packed[:5], rsv=4, fin=False).send(CONTINUATION, packed[5:])
        assert b.recv().rsv == 4 and b.recv().rsv == 0


@pytest.mark.parametrize("extensions", ["x-own", "permessage-deflate, x-own"])
def test_bits_of_unknown_extensions_go_through(pair, extensions):
    client, server = pair(extensions=extensions,
                          headers=[("Sec-WebSocket-Extensions", extensions)])
    for rsv in (1, 2, 3, 7):
        client.send(TEXT, b"x", rsv=rsv)
        assert server.recv().rsv == rsv


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013,
                                  1014, 3000, 3999, 4000, 4999])
def test_close_codes_go_through(pair, code):
    for a, b in both(pair()):
        reason = b"" if code is None else b"because"
        a.close(code, reason)
        got = b.recv()
        assert got.opcode == CLOSE and got.code == (1005 if code is None else code)
        assert got.payload[2:] == reason
        b.close(code)
        assert a.recv().code == (1005 if code is None else code)
        server = a if not a.client else b
        client = b if not a.client else a
        server.peer.half_close()
        client.peer.expect_fin()
        client.peer.close()
        server.peer.expect_fin()
        break


@each_carrier
def test_peers_close_and_nobody_ends(pair, sc):
    """Both Closes went by, and neither end closes its connection: the proxy does."""
    client, server = pair()
    client.close()
    assert server.recv().code == 1000
    server.close()
    assert client.recv().code == 1000
    client.peer.expect_fin()
    server.peer.expect_fin()
    assert sc.s.wait_access_log(1)[0].get("reason", "none") == "none"


@each_carrier
def test_nothing_goes_behind_a_close(pair):
    for a, b in both(pair()):
        a.send_raw(frame(CLOSE, b"\x03\xe8", mask=b"abcd" if a.client else None) +
                   frame(TEXT, b"more", mask=b"abcd" if a.client else None) + b"\xff" * 100)
        assert b.recv().code == 1000
        b.text(b"still allowed").close()
        assert a.recv().payload == b"still allowed"
        assert a.recv().code == 1000
        b.peer.expect_fin()
        break


# --- what is no frame -------------------------------------------------------------------------

FAULTS = {
    "reserved bit": dict(opcode=TEXT, payload=b"x", rsv=4),
    "reserved bit of a control frame": dict(opcode=PING, rsv=1),
    "opcode 3": dict(opcode=3),
    "opcode 7": dict(opcode=7, payload=b"x"),
    "opcode 11": dict(opcode=11),
    "opcode 15": dict(opcode=15),
    "fragmented ping": dict(opcode=PING, fin=False),
    "fragmented close": dict(opcode=CLOSE, fin=False),
    "long ping": dict(opcode=PING, payload=bytes(126)),
    "long close": dict(opcode=CLOSE, payload=b"\x03\xe8" + bytes(70000)),
    "continuation of nothing": dict(opcode=CONTINUATION, payload=b"x"),
    "16 bits of length not needed": dict(opcode=TEXT, payload=b"x" * 125, form=2),
    "64 bits of length not needed": dict(opcode=TEXT, payload=b"x" * 65535, form=8),
    "length over 2^63": dict(opcode=TEXT, payload=b"", length=1 << 63, form=8),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("by", ["client", "server"])
def test_faults_close_both_ends(pair, sc, name, by):
    client, server = pair()
    bad, good = (client, server) if by == "client" else (server, client)
    bad.text(b"before")
    bad.send(**FAULTS[name])
    bad.text(b"after")
    assert good.message() == (TEXT, b"before")
    good.expect_close(1002)
    bad.expect_close(1002, echo=False)
    wait_for(lambda: bad.peer.is_closed(), "the end of the one at fault")
    record = sc.s.wait_access_log(1)[0]
    assert record["reason"] == "websocket_protocol"
    closes = sc.s.metrics().get("sluice_websocket_closes_total", **{"class": "protocol_error"})
    assert closes == 1


@pytest.mark.parametrize("by", ["client", "server"])
@each_carrier
def test_wrong_masks(pair, by):
    client, server = pair()
    if by == "client":
        client.send_raw(frame(TEXT, b"naked"))
    else:
        server.send_raw(frame(TEXT, b"veiled", mask=b"abcd"))
    client.expect_close(1002, echo=by != "client")
    server.expect_close(1002, echo=by != "server")


@each_carrier
def test_new_message_inside_a_fragmented_one(pair):
    client, server = pair()
    client.send(TEXT, b"one", fin=False).send(TEXT, b"two")
    first = server.recv()
    assert first.payload == b"one" and not first.fin
    server.expect_close(1002)
    client.expect_close(1002, echo=False)


@each_carrier
def test_garbage_instead_of_frames(pair):
    client, server = pair()
    client.send_raw(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 1000)
    server.expect_close(1002)
    client.expect_close(1002, echo=False)


# --- limits -----------------------------------------------------------------------------------

@pytest.mark.parametrize("by", ["client", "server"])
@each_carrier
def test_frame_size(pair, sc, by):
    client, server = pair(websocket={"maxFrameSize": "1KiB"})
    bad, good = (client, server) if by == "client" else (server, client)
    bad.text(b"x" * 1024)
    assert good.message() == (TEXT, b"x" * 1024)
    bad.text(b"x" * 600, fin=False).send(CONTINUATION, b"x" * 600)  # a message may be longer
    assert good.message() == (TEXT, b"x" * 1200)
    bad.text(b"x" * 1025)
    good.expect_close(1009)
    bad.expect_close(1009, echo=False)
    assert sc.s.wait_access_log(1)[0]["reason"] == "websocket_frame_size"


def test_message_rate(pair, sc):
    client, server = pair(websocket={"maxMessageRate": 20})
    for i in range(20):
        client.text(str(i))
    for i in range(20):
        assert server.message() == (TEXT, str(i).encode())
    for i in range(200):  # a server may say as much as it likes
        server.text(str(i))
        assert client.message() == (TEXT, str(i).encode())
    for i in range(30):
        client.text(b"too many")
    while (got := server.message())[0] != CLOSE:
        assert got == (TEXT, b"too many")
    assert got[1].code == 1008
    server.close(1008)
    client.expect_close(1008)
    assert sc.s.wait_access_log(1)[0]["reason"] == "websocket_message_rate"


def test_message_rate_is_enough_for_its_rate(pair):
    client, server = pair(websocket={"maxMessageRate": 50})
    start = time.monotonic()
    for i in range(75):
        client.text(str(i))
        server.message()
        time.sleep(max(0, start + (i + 1) / 45 - time.monotonic()))
    client.close()
    assert server.message()[1].code == 1000


def test_pings_count_to_the_rate(pair):
    client, server = pair(websocket={"maxMessageRate": 10})
    client.send_raw(frame(PING, mask=b"abcd") * 1000)
    client.expect_close(1008, echo=False)


@each_carrier
def test_lifetime(pair, sc):
    client, server = pair(websocket={"maxLifetime": "300ms"})
    start = time.monotonic()
    server.expect_close(1001)
    server.peer.half_close()
    client.expect_close(1001)
    assert time.monotonic() - start > 0.2
    assert sc.s.wait_access_log(1)[0]["reason"] == "websocket_lifetime"


@each_carrier
def test_lifetime_waits_for_the_end_of_a_message(pair):
    client, server = pair(websocket={"maxLifetime": "300ms"})
    client.text(b"one, ", fin=False)
    assert server.recv().payload == b"one, "
    assert client.recv().code == 1001
    client.send(CONTINUATION, b"two")
    assert server.recv().payload == b"two"
    server.expect_close(1001)
    client.close(1001)
    client.peer.expect_fin()


def test_idle_time_of_its_own(pair, sc):
    client, server = pair(idleTimeout="100ms", websocket={"idleTimeout": "600ms"})
    start = time.monotonic()
    client.expect_close(1001)
    server.expect_close(1001)
    assert time.monotonic() - start > 0.5
    assert sc.s.wait_access_log(1)[0]["reason"] == "idle_timeout"


def test_idle_time_of_the_route(pair):
    client, server = pair(idleTimeout="200ms")
    for _ in range(5):
        time.sleep(0.1)
        client.send(PING)
        assert server.recv().opcode == PING
    client.expect_close(1001)
    server.expect_close(1001)


def test_our_pings_are_no_activity(pair, sc):
    client, server = pair(websocket={"idleTimeout": "500ms", "pingInterval": "50ms"})
    threading.Thread(target=server.message, daemon=True).start()
    start = time.monotonic()
    client.expect_close(1001)
    assert time.monotonic() - start < 2 * SLOW
    assert len(client.pings) >= 3


# --- the heartbeat ----------------------------------------------------------------------------

@each_carrier
def test_heartbeat(pair, sc):
    """Both ends are pinged while they are silent; their pongs go nowhere."""
    client, server = pair(websocket={"pingInterval": "100ms"})
    for _ in range(3):
        for ws in (client, server):
            got = ws.recv()
            assert got.opcode == PING and len(got.payload) == 8
            ws.send(PONG, got.payload)
    client.text(b"after")
    while (got := server.recv()).opcode == PING:
        server.send(PONG, got.payload)
    assert got.payload == b"after"
    assert sc.s.metrics().get("sluice_websocket_pings_missed_total") == 0


@each_carrier
def test_pongs_to_others_pass(pair):
    client, server = pair(websocket={"pingInterval": "100ms"})
    for a, b in both((client, server)):
        a.send(PING, b"12345678")
        while (got := b.recv()).payload != b"12345678":
            assert got.opcode == PING
            b.send(PONG, got.payload)
        b.send(PONG, b"12345678")
        while (got := a.recv()).opcode == PING:
            a.send(PONG, got.payload)
        assert (got.opcode, got.payload) == (PONG, b"12345678")


@pytest.mark.parametrize("dead", ["client", "server"])
@each_carrier
def test_dead_peer(pair, sc, dead):
    client, server = pair(websocket={"pingInterval": "200ms"})
    gone, alive = (client, server) if dead == "client" else (server, client)
    start = time.monotonic()
    alive.expect_close(1001)
    took = time.monotonic() - start
    assert 0.5 < took < 0.7 + 1 * SLOW, took
    got = [gone.recv() for _ in range(2)]
    assert [f.opcode for f in got] == [PING, PING]
    assert gone.recv().code == 1001
    wait_for(lambda: gone.peer.is_closed(), "the end of the dead one's connection")
    assert sc.s.wait_access_log(1)[0]["reason"] == "websocket_dead"
    assert sc.s.metrics().get("sluice_websocket_pings_missed_total") == 2


@each_carrier
def test_ping_waits_for_the_end_of_a_frame(pair):
    """The server is silent while half a frame is on its way to it."""
    client, server = pair(websocket={"pingInterval": "100ms"})
    whole = frame(TEXT, b"x" * 1000, mask=b"abcd")
    client.send_raw(whole[:500])
    time.sleep(0.25)
    client.send_raw(whole[500:])
    assert server.recv().payload == b"x" * 1000
    assert server.recv().opcode == PING


def test_one_that_talks_is_not_pinged(pair):
    client, server = pair(websocket={"pingInterval": "300ms"})
    for i in range(10):
        server.text(str(i))
        assert client.message() == (TEXT, str(i).encode())
        client.text(str(i))
        assert server.message() == (TEXT, str(i).encode())
        time.sleep(0.06)
    assert not client.pings and not server.pings


def test_no_heartbeat(pair):
    client, server = pair(websocket={"pingInterval": "0"})
    time.sleep(0.3)
    client.text(b"first")
    assert server.recv().payload == b"first"


# --- what is told -----------------------------------------------------------------------------

def test_metrics(pair, sc):
    client, server = pair()
    for _ in range(3):
        client.text(b"up", fin=False).send(CONTINUATION, b"and up")
        server.message()
    server.text(b"down")
    client.message()
    m = sc.s.metrics()
    assert m.get("sluice_websockets") == 1
    assert m.get("sluice_websocket_messages_total", **{"from": "client"}) == 3
    assert m.get("sluice_websocket_messages_total", **{"from": "server"}) == 1
    client.close(4001)
    assert server.recv().code == 4001
    server.close(4001)
    server.peer.half_close()
    client.recv()
    client.peer.expect_fin()
    client.peer.close()
    wait_for(lambda: sc.s.metrics().get("sluice_websockets") == 0, "it is closed")
    assert sc.s.metrics().get("sluice_websocket_closes_total", **{"class": "application"}) == 1


def test_cut_without_a_close(pair, sc):
    client, server = pair()
    client.peer.reset()
    server.peer.expect_end()
    wait_for(lambda: sc.s.metrics().get("sluice_websocket_closes_total", **{"class": "abnormal"}) == 1,
             "the close is counted")


def test_other_upgrades_are_refused(sc):
    """Tunnels of other protocols: none is asked for upstream."""
    sc.proxy()
    client = sc.client()
    client.request(headers=[("Connection", "Upgrade"), ("Upgrade", "custom/1")])
    assert client.response().status == 200
    assert not sc.app.requests[0].has("upgrade")


def test_a_key_that_is_not_answered(sc):
    def script(conn):
        conn.head()
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: websocket\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    client.request(headers=websocket.request_headers(KEY))
    assert_problem(client.response(), "upgrade_failed")


# --- by HTTP/2 ----------------------------------------------------------------------------------

@each_carrier
def test_large_messages_both_ways(pair):
    """More than every window on the way, and each end reads at last."""
    for a, b in both(pair()):
        data = os.urandom(3 << 20)
        sender = threading.Thread(target=lambda a=a, data=data: a.send(BINARY, data))
        sender.start()
        assert b.message() == (BINARY, data)
        sender.join()


def test_many_on_one_h2_connection(sc):
    """Each its own stream; one that ends leaves the others alone."""
    sc.proxy(script=websocket.echo)
    conn = h2wire.Client(sc.address).ready()
    all_of_them = [websocket.connect_h2(conn) for _ in range(50)]
    for i, ws in enumerate(all_of_them):
        ws.text(str(i))
    for i, ws in enumerate(all_of_them):
        assert ws.message() == (TEXT, str(i).encode())
    for ws in all_of_them[::2]:
        ws.close()
        assert ws.message()[1].code == 1000
    for i, ws in enumerate(all_of_them[1::2]):
        ws.text(str(i))
        assert ws.message() == (TEXT, str(i).encode())
    conn.close()


def test_early_frames_by_h2_wait_for_the_answer(sc):
    gate = threading.Event()

    def script(conn):
        request = conn.head()
        gate.wait(20)
        assert not conn.buffer, "nothing goes before the 101"
        websocket.answer(conn, request)
        ws = websocket.WebSocket(conn, False)
        got.append(ws.message())
        conn.read_to_end()

    got = []
    sc.proxy(script=script)
    conn = h2wire.Client(sc.address).ready()
    st = conn.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                    (":path", "/"), (":authority", "test"), ("sec-websocket-version", "13")],
                   end=False)
    conn.data(st.id, frame(TEXT, b"early", mask=b"abcd"))
    conn.data(st.id, b"", end=True)
    sc.app.wait_requests(1)
    time.sleep(0.1)
    gate.set()
    wait_for(lambda: got, "the message")
    assert got == [(TEXT, b"early")]
    conn.close()


def test_declined_by_h2(sc):
    """An answer that is no 101 must not look like an open WebSocket."""
    def script(conn):
        while request := conn.request():
            if request.target == "/forbidden":
                conn.answer(b"no", status="403 Forbidden")
            else:
                conn.answer(b"a page")

    sc.proxy(script=script)
    conn = h2wire.Client(sc.address).ready()

    def ask(path):
        st = conn.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                        (":path", path), (":authority", "test"), ("sec-websocket-version", "13")],
                       end=False)
        return conn.response(st)

    assert ask("/forbidden").status == 403
    st = ask("/page")
    assert st.status == 502 and b"upgrade_failed" in bytes(st.body)
    conn.close()


def test_not_offered_by_the_route_by_h2(sc):
    sc.proxy(route={"upgrades": []})
    conn = h2wire.Client(sc.address).ready()
    st = conn.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                    (":path", "/"), (":authority", "test"), ("sec-websocket-version", "13")],
                   end=False)
    assert conn.response(st).status == 405
    assert not sc.app.requests
    conn.close()


# --- the registry -------------------------------------------------------------------------------

def registry(sc, query=""):
    code, response = sc.s.admin("GET", "/v1/connections" + query)
    assert code == 200, response
    return json.loads(response.body)["connections"]


@each_carrier
def test_registry(pair, sc):
    client, server = pair(websocket={"pingInterval": "300ms"})
    client.text(b"one").text(b"two")
    for _ in range(2):
        server.message()
    server.text(b"three")
    assert client.message() == (TEXT, b"three")
    for ws in (client, server):
        got = ws.recv()
        assert got.opcode == PING
        ws.send(PONG, got.payload)

    def found():
        entry, = registry(sc, "?class=websocket")
        ends = entry["websocket"]["client"], entry["websocket"]["server"]
        return all("pong_ms_ago" in end for end in ends) and entry

    entry = wait_for(found, "both pongs")
    assert entry["route"] == "main/0" and entry["upstream"] == "app" and entry["endpoint"]
    assert entry["websocket"]["state"] == "open"
    assert entry["websocket"]["client"]["messages"] == 2
    assert entry["websocket"]["server"]["messages"] == 1
    assert entry["bytes_in"] > 10 and entry["bytes_out"] > 5 and entry["peer"] == "127.0.0.1"
    assert entry["idle_ms"] <= entry["age_ms"]
    client.close(1000)
    while server.recv().opcode != CLOSE:
        pass
    entry, = registry(sc, "?class=websocket")
    assert entry["websocket"]["state"] == "closing" and entry["websocket"]["close_code"] == 1000


def test_registry_limit_and_class(sc):
    sc.proxy(script=websocket.echo)
    all_of_them = [websocket.connect(sc) for _ in range(5)]
    idle = sc.client()
    h2 = h2wire.Client(sc.address).ready()
    all_of_them += [websocket.connect_h2(h2) for _ in range(3)]
    assert sorted(e["class"] for e in registry(sc)) == ["http1", "http2"] + ["websocket"] * 8
    assert len(registry(sc, "?limit=4")) == 4
    assert len(registry(sc, "?class=websocket&limit=7")) == 7
    assert [e["class"] for e in registry(sc, "?class=http1")] == ["http1"]
    h2_entry, = registry(sc, "?class=http2")
    assert h2_entry["streams"] == 3
    assert registry(sc, "?class=tcp") == []
    assert sum(e.get("over") == "http2" for e in registry(sc, "?class=websocket")) == 3
    for query in ("?limit=0", "?limit=10001", "?limit=x", "?class=h3", "?class="):
        code, response = sc.s.admin("GET", "/v1/connections" + query)
        assert code == 400, query
    run = subprocess.run([SLUICE, "connections", "--admin", sc.s.socket_path, "--class",
                          "websocket"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].split()[:3] == ["CLASS", "LISTENER", "PEER"] and len(lines) == 9
    run = subprocess.run([SLUICE, "connections", "--admin", sc.s.socket_path, "--class", "h3"],
                         capture_output=True, text=True)
    assert run.returncode == 1 and "class is" in run.stderr
    idle.close()
    h2.close()
