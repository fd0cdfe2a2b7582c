"""Bodies of any length, both ways, at the pace of the slower side, within a few buffers."""

import hashlib
import os
import threading
import time

import pytest

from harness import SANITIZE
from wire import wait_for

# A long upload; the full length where time does not matter.
LONG = (1 << 30) if os.environ.get("LONG") else 200 << 20
if SANITIZE:
    LONG = 32 << 20
PIECE = os.urandom(1 << 16)


def send_body(peer, n, chunked=False):
    """n bytes made of PIECE; returns their SHA-256."""
    digest = hashlib.sha256()
    left = n
    while left > 0:
        piece = PIECE[:min(left, len(PIECE))]
        digest.update(piece)
        peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        left -= len(piece)
    if chunked:
        peer.send(b"0\r\n\r\n")
    return digest.hexdigest()


def read_hash(peer, n):
    digest = hashlib.sha256()
    while n > 0:
        data = peer.buffer or peer.sock.recv(min(n, 1 << 20))
        peer.buffer = b""
        assert data, f"end with {n} bytes to come"
        assert len(data) <= n
        digest.update(data)
        n -= len(data)
    return digest.hexdigest()


def read_chunked_hash(peer):
    digest, total = hashlib.sha256(), 0
    while size := int(peer.read_until(b"\r\n").split(b";")[0], 16):
        data = peer.read(size)
        digest.update(data)
        total += size
        assert peer.read(2) == b"\r\n"
    assert peer.read(2) == b"\r\n"
    return digest.hexdigest(), total


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_upload(sc, chunked):
    n = 24 << 20

    def script(conn):
        head = conn.head()
        if chunked:
            assert head.tokens("transfer-encoding") == ["chunked"]
            got.extend(read_chunked_hash(conn))
        else:
            got.extend((read_hash(conn, int(head.get("content-length"))), n))
        conn.answer(got[0].encode())
        conn.read_to_end()

    got = []
    sc.proxy(script=script)
    client = sc.client()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {n}"
    client.send(f"POST / HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n")
    want = send_body(client, n, chunked)
    assert client.response().body.decode() == want
    assert got == [want, n]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_download(sc, chunked):
    n = 24 << 20

    def script(conn):
        conn.request()
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {n}"
        conn.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")
        want.append(send_body(conn, n, chunked))
        conn.read_to_end()

    want = []
    sc.proxy(script=script)
    client = sc.client().request()
    client.response_head()
    got = read_chunked_hash(client) if chunked else (read_hash(client, n), n)
    wait_for(lambda: want, "all is sent")
    assert got == (want[0], n)
    # The connection carries on.
    if not chunked:
        assert client.buffer == b""


def test_both_ways_at_once(sc):
    """An echo that answers while it still reads."""
    n = 8 << 20

    def script(conn):
        conn.head()
        conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n")
        left = n
        while left > 0:
            data = conn.read_some()
            conn.send(data)
            left -= len(data)
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client()
    client.send(f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {n}\r\n\r\n")
    want = []
    sender = threading.Thread(target=lambda: want.append(send_body(client, n)))
    sender.start()
    client.response_head()
    got = read_hash(client, n)
    sender.join(10)
    assert got == want[0]


def small_buffers(sock):
    import socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def grown(s, base, peak):
    peak[0] = max(peak[0], s.anon_kb() - base)
    return peak[0]


def test_slow_upstream_reader_holds_few_bytes(sc):
    """A long upload through an upstream that reads in fits and starts."""
    def script(conn):
        conn.head()
        left = LONG
        stalled.wait(30)
        while left > 0:
            step = min(left, 4 << 20)
            conn.discard(step)
            left -= step
            time.sleep(0.001)  # the slowness itself
        conn.answer(b"done")
        conn.read_to_end()

    stalled = threading.Event()
    sc.proxy(script=script)
    client = sc.client()
    base = sc.s.anon_kb()
    peak = [0]
    client.send(f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LONG}\r\n\r\n")
    sender = threading.Thread(target=send_body, args=(client, LONG), daemon=True)
    sender.start()
    sc.app.wait_requests(1)
    # While nothing is read, sluice must stop reading too: its memory and its work stand still.
    previous = -1

    def at_rest():
        nonlocal previous
        now = sc.s.metrics().get("sluice_request_body_bytes_total")
        rest, previous = now == previous, now
        return rest
    wait_for(at_rest, "reading is paused", interval=0.1)
    grown(sc.s, base, peak)
    stalled.set()
    while sender.is_alive():
        grown(sc.s, base, peak)
        sender.join(0.05)
    assert client.response().body == b"done"
    assert grown(sc.s, base, peak) < 1024 * (8 if SANITIZE else 1), f"RssAnon grew by {peak[0]} KB"


def test_slow_client_holds_few_bytes(sc):
    n = LONG // 2

    def script(conn):
        conn.request()
        conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n")
        send_body(conn, n)
        conn.read_to_end()

    sc.proxy(script=script)
    client = sc.client(before_connect=small_buffers)
    base = sc.s.anon_kb()
    peak = [0]
    client.request()
    client.response_head()
    left = n
    while left > 0:
        step = min(left, 4 << 20)
        client.discard(step)
        left -= step
        grown(sc.s, base, peak)
    assert peak[0] < 1024 * (8 if SANITIZE else 1), f"RssAnon grew by {peak[0]} KB"


def test_many_stalled_uploads(sc):
    """What a stalled stream holds is bounded, and is given back."""
    def script(conn):
        conn.head()
        go.wait(30)
        conn.discard(4 << 20)
        conn.answer(b"done")
        conn.read_to_end()

    go = threading.Event()
    sc.proxy(script=script)
    clients = [sc.client() for _ in range(20)]
    base = sc.s.anon_kb()
    senders = []
    for client in clients:
        client.send(f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {4 << 20}\r\n\r\n")
        senders.append(threading.Thread(target=send_body, args=(client, 4 << 20), daemon=True))
        senders[-1].start()
    sc.app.wait_requests(20)
    per_stream = (sc.s.anon_kb() - base) / 20
    go.set()
    for sender in senders:
        sender.join(20)
    for client in clients:
        assert client.response().body == b"done"
    if not SANITIZE:
        assert per_stream < 256, f"{per_stream:.0f} KB for a stalled stream"
