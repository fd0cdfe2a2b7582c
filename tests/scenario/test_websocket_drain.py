"""The drain of WebSockets: both ends are told, between two messages, and nobody sees 1006."""

import signal
import threading
import time

import pytest

import websocket
from harness import assert_problem, forward, free_port
from drains import lifecycle, report, wait_phase
from test_review_reload import OFF, copy, reload
from websocket import CLOSE, CONTINUATION, TEXT, frame
from wire import SLOW, wait_for


class Server:
    """What each of its WebSockets was told; it answers Close, unless told otherwise."""

    def __init__(self, answers=True):
        self.answers = answers
        self.lock = threading.Lock()
        self.all, self.codes, self.messages = [], [], []

    def __call__(self, conn):
        ws = websocket.accept(conn)
        with self.lock:
            self.all.append(ws)
        try:
            while True:
                opcode, got = ws.message()
                if opcode == CLOSE:
                    break
                self.messages.append(got)
        except (EOFError, ConnectionError):
            with self.lock:
                self.codes.append(1006)
            return
        with self.lock:
            self.codes.append(got.code)
        if self.answers:
            ws.close(got.code)
        try:
            conn.read_to_end()
        except ConnectionError:
            pass


def drained(sc):
    sc.s.stop()
    return report(sc)["classes"]["websocket"]


@pytest.mark.parametrize("workers", [1, 2])
def test_both_ends_see_1001(sc, workers):
    """Spread over the window, each once, and none is cut."""
    n = 60
    server = Server()
    sc.proxy(script=server, more={**lifecycle(drain="6s"), "workers": workers})
    clients = [websocket.connect(sc) for _ in range(n)]
    sc.s.signal(signal.SIGTERM)
    start = time.monotonic()
    times, codes = [], []

    def end(ws):
        opcode, got = ws.message()
        times.append(time.monotonic() - start)
        codes.append(got.code)
        ws.close(got.code)
        ws.peer.expect_fin()

    threads = [threading.Thread(target=end, args=(ws,)) for ws in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    counts = drained(sc)
    assert codes == [1001] * n
    wait_for(lambda: len(server.codes) == n, "each server is told")
    assert server.codes == [1001] * n
    times.sort()
    assert times[0] >= 0.4, times[0]  # as idle connections: the first half a second later
    assert times[-1] - times[0] > 0.5, (times[0], times[-1])
    # Evenly: no tenth of the window has more than a third of them.
    window = (times[-1] - times[0]) / 10
    assert all(sum(a <= t < a + window for t in times) < n / 3 for a in times), times
    assert counts["closed"] == n and counts["forced"] == 0 and counts["failed"] == 0, counts


def test_a_fragmented_message_may_end(sc):
    """Towards the server a message is open: it gets its Close when that has ended."""
    server = Server()
    sc.proxy(script=server, more=lifecycle(drain="6s", last_call="1s"))
    ws = websocket.connect(sc)
    ws.text(b"one, ", fin=False)
    sc.s.signal(signal.SIGTERM)
    opcode, got = ws.message()  # towards the client nothing is open
    assert got.code == 1001
    ws.send(CONTINUATION, b"two, ", fin=False)
    time.sleep(0.3)
    assert server.codes == []
    ws.send(CONTINUATION, b"three")
    ws.text(b"this one is too late")
    wait_for(lambda: server.codes, "the server is told")
    assert server.codes == [1001] and server.messages == [b"one, two, three"]
    ws.close(1001)
    ws.peer.expect_fin()
    assert drained(sc)["closed"] == 1


def test_a_fragmented_message_that_does_not_end(sc):
    """At the last call it is closed between two frames."""
    server = Server()
    sc.proxy(script=server, more=lifecycle(drain="2s", last_call="1s"))
    ws = websocket.connect(sc)
    ws.text(b"one, ", fin=False)
    sc.s.signal(signal.SIGTERM)
    start = time.monotonic()
    assert ws.message()[1].code == 1001
    wait_for(lambda: server.codes, "the server is told")
    assert 0.9 < time.monotonic() - start < 1.2 + 0.5 * SLOW
    assert server.codes == [1001] and server.messages == []
    ws.close(1001)
    ws.peer.expect_fin()
    counts = drained(sc)
    assert counts["closed"] == 1 and counts["forced"] == 0, counts


def test_a_frame_that_does_not_end(sc):
    """Nothing can be said within a frame: it is cut."""
    server = Server()
    sc.proxy(script=server, more=lifecycle(drain="1s", last_call="300ms"))
    ws = websocket.connect(sc)
    ws.send_raw(frame(TEXT, bytes(1000), mask=b"abcd")[:500])
    sc.s.signal(signal.SIGTERM)
    assert ws.message()[1].code == 1001
    wait_for(lambda: server.codes, "the server sees the end")
    assert server.codes == [1006]
    ws.peer.expect_end()
    assert drained(sc)["forced"] == 1


def test_a_client_that_never_answers(sc):
    """It is told, and not waited for beyond the deadline."""
    server = Server()
    sc.proxy(script=server, more=lifecycle(drain="1500ms", last_call="300ms"))
    ws = websocket.connect(sc)
    sc.s.signal(signal.SIGTERM)
    start = time.monotonic()
    assert ws.message()[1].code == 1001
    ws.peer.expect_end()
    assert time.monotonic() - start < 1.6 + SLOW
    wait_for(lambda: server.codes, "the server is told")
    assert server.codes == [1001]
    counts = drained(sc)
    assert counts["forced"] == 1, counts


def test_a_client_that_goes_on_talking(sc):
    """What it says after our Close is dropped; its Close is still seen."""
    server = Server()
    sc.proxy(script=server, more=lifecycle(drain="4s"))
    ws = websocket.connect(sc)
    ws.text(b"before")
    sc.s.signal(signal.SIGTERM)
    assert ws.message()[1].code == 1001
    for _ in range(100):
        ws.text(b"x" * 10000)
    ws.close(1001)
    ws.peer.expect_fin()
    wait_for(lambda: server.codes, "the server is told")
    assert server.codes == [1001] and server.messages == [b"before"]
    assert drained(sc)["closed"] == 1


def test_a_server_that_does_not_read(sc):
    """A direction that is full holds up neither the Close in it nor the echo from the other end."""
    full = threading.Event()

    def script(conn):
        ws = websocket.accept(conn)
        full.wait(30)
        try:
            while ws.message()[0] != CLOSE:
                pass
        except EOFError:
            codes.append(1006)
            return
        codes.append(1001)
        ws.close(1001)
        conn.read_to_end()

    codes = []
    sc.proxy(script=script, more=lifecycle(drain="8s"))
    ws = websocket.connect(sc)
    stop = threading.Event()

    def talk():
        while not stop.is_set():
            ws.text(b"x" * 50000)

    sender = threading.Thread(target=talk)
    sender.start()
    time.sleep(0.5)
    sc.s.signal(signal.SIGTERM)
    assert ws.message()[1].code == 1001
    stop.set()
    full.set()
    sender.join(20)
    ws.close(1001)
    ws.peer.expect_fin()
    wait_for(lambda: codes, "the server is told")
    assert codes == [1001]
    assert drained(sc)["closed"] == 1


def test_closes_that_cross(sc):
    """The client closes by itself while it is told to: one Close each way, and no more."""
    def script(conn):
        ws = websocket.accept(conn)
        got = ws.message()[1]
        codes.append(got.code)
        time.sleep(0.3)
        ws.close(got.code)
        conn.half_close()
        rest.append(conn.read_to_end())

    codes, rest = [], []
    sc.proxy(script=script, more=lifecycle(drain="4s"))
    ws = websocket.connect(sc)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    ws.close(1000)
    opcode, got = ws.message()
    assert got.code in (1000, 1001)
    ws.peer.expect_fin()
    wait_for(lambda: rest, "the server's end")
    assert rest == [b""] and codes[0] in (1000, 1001)
    sc.s.stop()


def test_no_new_ones(sc):
    sc.proxy(script=Server(), more=lifecycle(drain="5s"))
    client = sc.client()
    first = websocket.connect(sc)
    sc.s.signal(signal.SIGTERM)
    wait_phase(sc, "drain")
    client.request(headers=websocket.request_headers())
    response = client.response()
    assert_problem(response, "draining")
    assert response.closes and response.has("retry-after")
    first.expect_close(1001)
    sc.s.stop()


def test_a_removed_listener(sc):
    """A reload that takes the listener away says Close too."""
    server = Server()
    sc.proxy(script=server, more={**lifecycle(drain="2s"), "reload": OFF})
    address = f"127.0.0.1:{free_port()}"
    config = copy(sc.s.config)
    config["listeners"].append({"name": "second", "address": address, "routes": [forward()]})
    reload(sc.s, config)
    ws = websocket.connect(sc, client=sc.client(address))
    config["listeners"].pop()
    reload(sc.s, config)
    ws.expect_close(1001)
    wait_for(lambda: server.codes, "the server is told")
    assert server.codes == [1001]
    assert sc.s.wait_access_log(1)[0]["reason"] == "route_removed"

