"""Hostile HTTP/2 input, numbered as the project's list of inputs: the exact answer (a status, a reset
or a GOAWAY, with its code), the word in the metrics, and that nothing of it is forwarded."""

import contextlib
import struct
import threading
import time

import pytest

import h2wire
from h2wire import (CANCEL, COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
                    FRAME_SIZE_ERROR, INITIAL_WINDOW_SIZE, LAST_STREAM, PROTOCOL_ERROR,
                    STREAM_CLOSED, block, code_name, frame, hpack_int, literal, request_fields)
from harness import SANITIZE
from inputs_h2 import (MB, PING, errors, expect_failure, expect_problem, flood, h2, lives,
                       only_honest, refuse)
from wire import SLOW, wait_for

# What all processes of sluice may hold in memory of their own at an attack's peak.
PEAK_KB = 20 * 1024


def counted(sc):
    text = sc.s.get_health("/metrics")[1].body.decode()
    return [line for line in text.splitlines()
            if line.startswith("sluice_errors_total") and not line.endswith(" 0")]


class Peak:
    """The largest RssAnon of sluice while it runs."""

    def __init__(self, sluice):
        self.sluice, self.kb, self.stopping = sluice, sluice.anon_kb(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self.stopping.wait(0.002):
            with contextlib.suppress(OSError, AttributeError, IndexError):
                self.kb = max(self.kb, self.sluice.anon_kb())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def check(self, most=PEAK_KB):
        assert SANITIZE or self.kb <= most, f"RssAnon was {self.kb} KB"


# --- 33, 34: resets ---------------------------------------------------------------------------

def request_and_reset(client):
    client.headers(client.next_id, request_fields(path="/lives"), end=True)
    client.rst(client.next_id)
    client.next_id += 2


def test_33_rapid_reset(sc):
    sc.proxy()
    client = h2(sc)
    for _ in range(400):  # cancellations that a gRPC client may well make
        request_and_reset(client)
    client.expect_ping()
    lives(client)

    def more():
        for _ in range(2000):
            number, client.next_id = client.next_id, client.next_id + 2
            yield (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, number,
                         block(request_fields(path="/lives"))) +
                   frame(h2wire.RST_STREAM, 0, number, struct.pack(">I", CANCEL)))
    with Peak(sc.s) as peak:
        flood(client, more())
        expect_failure(sc, client, ENHANCE_YOUR_CALM, "h2_reset_flood")
    peak.check()
    only_honest(sc)


@pytest.mark.alone
def test_33_cancellations_at_a_grpc_clients_pace(sc):
    """33 a second and a burst of 500 are no attack: 450 at once, and 20 more in a second."""
    sc.proxy()
    client = h2(sc)
    for _ in range(450):
        request_and_reset(client)
    for _ in range(20):
        request_and_reset(client)
        time.sleep(0.05)  # the pace
    client.expect_ping()
    lives(client)
    assert errors(sc, "h2_reset_flood") == 0


MADE = {
    "window_zero": lambda n: frame(h2wire.WINDOW_UPDATE, 0, n, struct.pack(">I", 0)),
    "window_overflow": lambda n: frame(h2wire.WINDOW_UPDATE, 0, n, struct.pack(">I", LAST_STREAM)),
    "priority_of_itself": lambda n: frame(h2wire.PRIORITY, 0, n, struct.pack(">IB", n, 0)),
    "priority_of_4_bytes": lambda n: frame(h2wire.PRIORITY, 0, n, bytes(4)),
    "data_after_the_end": lambda n: frame(h2wire.DATA, 0, n, b"more"),
    "headers_after_the_end": lambda n: frame(h2wire.HEADERS, END_HEADERS, n, block([("a", "b")])),
}


@pytest.mark.parametrize("how", MADE)
def test_34_resets_that_we_are_made_to_send(sc, how):
    """Each stream costs the client three bytes of fault, and us a request: it ends like rapid
    reset, if the first fault does not end the connection already."""
    sc.proxy(script=lambda conn: conn.read_to_end())
    client = h2(sc)

    def pieces():
        for _ in range(3000):
            number, client.next_id = client.next_id, client.next_id + 2
            yield (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, number,
                         block(request_fields(path="/lives"))) + MADE[how](number))
    with Peak(sc.s) as peak:
        flood(client, pieces())
        client.expect_end()
    assert client.goaways, "no GOAWAY"
    code = client.goaways[-1][1]
    resets = len(client.kinds(h2wire.RST_STREAM))
    assert resets <= 520, f"{resets} streams were reset"
    if code == ENHANCE_YOUR_CALM:
        # For the connection, and for each stream that it took with it.
        wait_for(lambda: errors(sc, "h2_reset_flood") >= 1, "h2_reset_flood is counted")
    else:
        assert code in (PROTOCOL_ERROR, FRAME_SIZE_ERROR, STREAM_CLOSED), code_name(code)
        wait_for(lambda: errors(sc, "h2_protocol") >= 1,
                 lambda: f"h2_protocol is counted: {counted(sc)}")
    peak.check()
    client.close()


def test_34_malformed_requests_are_counted_too(sc):
    sc.proxy()
    client = h2(sc)
    begun = time.monotonic()
    # Each waits for its reset: more at once than streams are allowed is another fault.
    for _ in range(3000):
        st = client.open([*request_fields(), ("Upper", "case")])
        client.until(lambda st=st: st.over or client.goaways, "a reset")
        if client.goaways:
            break
    expect_failure(sc, client, ENHANCE_YOUR_CALM, "h2_reset_flood")
    # What is allowed at once, and what has been added to it in the time that this took.
    most = 500 + 34 * (time.monotonic() - begun) + 20
    assert len(client.kinds(h2wire.RST_STREAM)) <= most
    only_honest(sc)


# --- 35: header blocks in pieces --------------------------------------------------------------

def test_35_continuations_by_count(sc):
    sc.proxy()
    client = h2(sc)
    client.headers(1, request_fields(path="/never"), end=True, end_headers=False)
    flood(client, (frame(h2wire.CONTINUATION, 0, 1, literal("a", "b")) for _ in range(5000)))
    expect_failure(sc, client, ENHANCE_YOUR_CALM, "h2_header_flood")
    only_honest(sc)


def test_35_empty_continuations(sc):
    sc.proxy()
    client = h2(sc)
    client.headers(1, request_fields(path="/never"), end=True, end_headers=False)
    flood(client, (frame(h2wire.CONTINUATION, 0, 1) for _ in range(5000)))
    expect_failure(sc, client, ENHANCE_YOUR_CALM, "h2_header_flood")
    only_honest(sc)


def test_35_header_block_by_bytes(sc):
    sc.proxy()
    client = h2(sc)
    client.headers(1, request_fields(path="/never"), end=True, end_headers=False)
    piece = literal("a", "b" * 15000)
    with Peak(sc.s) as peak:
        flood(client, (frame(h2wire.CONTINUATION, 0, 1, piece) for _ in range(8)))
        expect_failure(sc, client, ENHANCE_YOUR_CALM, "h2_header_flood")
    peak.check()
    only_honest(sc)


def test_35_a_few_continuations_are_fine(sc):
    sc.proxy()
    client = h2(sc)
    fields = [*request_fields(path="/lives"), *((f"x-{i}", "y" * 1000) for i in range(8))]
    client.headers(1, fields[:4], end=True, end_headers=False)
    for i in range(4, 11):
        client.frame(h2wire.CONTINUATION, 0, 1, block(fields[i:i + 1]))
    client.frame(h2wire.CONTINUATION, END_HEADERS, 1, block(fields[11:]))
    client.next_id = 3
    assert client.response(client.stream(1)).status == 200
    assert len(sc.app.requests[0].get("x-7")) == 1000


# --- 36, 37: floods of frames that cost us something ------------------------------------------

FLOODS = {
    # name: (the frame, on an open stream 1 or not, the word)
    "ping": (PING, False, "h2_ping_flood"),
    "settings": (frame(h2wire.SETTINGS), False, "h2_ping_flood"),
    "settings_full": (frame(h2wire.SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 65535)),
                      False, "h2_ping_flood"),
    "empty_data": (frame(h2wire.DATA, 0, 1), True, "h2_empty_data_flood"),
    "padded_empty_data": (frame(h2wire.DATA, h2wire.PADDED, 1, b"\x03\0\0\0"), True,
                          "h2_empty_data_flood"),
    "priority": (frame(h2wire.PRIORITY, 0, 9, struct.pack(">IB", 0, 3)), False,
                 "h2_priority_flood"),
    "priority_update": (frame(h2wire.PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1"), True,
                        "h2_priority_flood"),
    "unknown": (frame(0xfa, 0xff, 0, b"grease"), False, "h2_priority_flood"),
    "unknown_on_stream": (frame(0xfb, 0, 1, b""), True, "h2_priority_flood"),
    "window_update": (frame(h2wire.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)), False,
                      "h2_window_update_flood"),
    "window_update_on_stream": (frame(h2wire.WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)), True,
                                "h2_window_update_flood"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_36_37_floods(sc, kind):
    """900 at once are borne; a few hundred more in the same seconds are not."""
    piece, on_stream, reason = FLOODS[kind]
    sc.proxy(script=lambda conn: conn.read_to_end())
    client = h2(sc)
    if on_stream:
        client.open(request_fields("POST", "/upload"), end=False)
    flood(client, [piece * 50] * 18)
    client.expect_ping()
    assert not client.goaways
    with Peak(sc.s) as peak:
        flood(client, [piece * 50] * (100 * SLOW))
        expect_failure(sc, client, ENHANCE_YOUR_CALM, reason)
    peak.check()


@pytest.mark.parametrize("kind", ["ping", "settings"])
def test_36_answers_that_are_not_read_are_not_piled_up(sc, kind):
    """The flood's sender reads nothing: what it is owed stays bounded, and it is ended."""
    sc.proxy()
    client = h2(sc, auto=False, start=False)
    client.start()
    piece = FLOODS[kind][0] * 100
    client.sock.settimeout(5)
    with Peak(sc.s) as peak:
        with contextlib.suppress(OSError):
            for _ in range(2000):
                client.send(piece)
        wait_for(lambda: errors(sc, "h2_ping_flood") == 1, "it is counted")
    peak.check()
    client.close()


def test_37_honest_window_updates(sc):
    """A client that credits each DATA frame on its own is none who floods."""
    def script(conn):
        while conn.request():
            conn.answer(bytes(4 * MB))
    sc.proxy(script=script)
    client = h2(sc, keep=False)
    for _ in range(4):
        assert client.ask("GET", "/lives").received == 4 * MB
    assert len(client.frames) > 1000
    client.expect_ping()


# --- 38: small on the wire, large in memory ---------------------------------------------------

def bomb_block(references, fields=None):
    """A header block that puts a field of 4,000 bytes into the table and names it again and again:
    a byte each."""
    entry = literal("x-bomb", "b" * 3960, indexed=True)
    return block(fields or request_fields(path="/never")) + entry + \
        hpack_int(62, 7, 0x80) * references


def test_38_references_to_a_large_entry(sc):
    """A block of 12 KB that would be 32 MB: nobody goes through it to its end."""
    sc.proxy()
    cpu = sc.s.cpu_seconds()
    with Peak(sc.s) as peak:
        for _ in range(50):
            client = h2(sc)
            client.open(bomb_block(8000))
            client.expect_goaway(ENHANCE_YOUR_CALM)
            client.close()
    peak.check()
    wait_for(lambda: errors(sc, "h2_header_flood") >= 50, "each is counted")
    # 22 ms each, if it did.
    assert SANITIZE or sc.s.cpu_seconds() - cpu < 0.5
    only_honest(sc)


def test_38_a_few_references_too_many(sc):
    """Somewhat above the limit: 431, again and again, and the connection goes on."""
    sc.proxy()
    client = h2(sc)
    with Peak(sc.s) as peak:
        for _ in range(200):
            expect_problem(client, client.open(bomb_block(9)), "headers_too_large")
        lives(client)
    peak.check()
    client.close()
    only_honest(sc)


# In a second request, a byte for 4,000.
LARGE = block(request_fields(path="/lives")) + hpack_int(62, 7, 0x80) * 6


def crowded(sc):
    return sc.s.metrics().get("sluice_http2_crowded_total")


def test_38_large_requests_at_once(sc):
    """Each within the limit, a hundred bytes on the wire and 29 KB here. What has gone on to the
    server is not held for them: none is refused, and they cost what plain ones do."""
    go = threading.Event()

    def script(conn):
        while conn.request() is not None:
            go.wait(20)
            conn.answer(b"late")

    sc.proxy(script=script)
    client = h2(sc)
    with Peak(sc.s) as peak:
        before = peak.kb
        sts = [client.open(bomb_block(6, request_fields(path="/lives")))]
        sts += [client.open(LARGE) for _ in range(60)]
        sc.app.wait_requests(61)
    assert SANITIZE or peak.kb - before < 61 * 15, f"{before} to {peak.kb} KB"
    go.set()
    assert [client.response(st).status for st in sts] == [200] * 61
    assert {len(r.all("x-bomb")) for r in sc.app.requests} == {6, 7}


def test_38_large_requests_that_wait(sc):
    """Their server takes one at a time: the others are not held here either, the client waits. What
    has to be bounded is that, and not an honest client: none is refused."""
    go = threading.Event()

    def script(conn):
        while conn.request() is not None:
            go.wait(20)
            conn.answer(b"late")

    sc.proxy(script=script, upstream={"circuitBreaker": {"maxConnections": 1}})
    client = h2(sc)
    with Peak(sc.s) as peak:
        before = peak.kb
        sts = [client.open(bomb_block(6, request_fields(path="/lives")))]
        sts += [client.open(LARGE) for _ in range(60)]
        wait_for(lambda: crowded(sc) >= 1, "it has to wait")
        # 32 KiB and one more, that is two beside the one that went on.
        assert sc.s.status()["streams"] < 10
    assert SANITIZE or peak.kb - before < 600, f"{before} to {peak.kb} KB"
    other = h2(sc)  # whose own share is untouched
    st = other.open(request_fields(path="/lives"))
    go.set()
    assert [client.response(st).status for st in sts] == [200] * 61
    assert other.response(st).status == 200


def test_38_who_waits_can_go(sc):
    """Its connection ends while some of what it sent has not been read."""
    go = threading.Event()

    def script(conn):
        conn.request()
        go.wait(20)

    sc.proxy(script=script, upstream={"circuitBreaker": {"maxConnections": 1}})
    client = h2(sc)
    client.open(bomb_block(6, request_fields(path="/lives")))
    for _ in range(20):
        client.open(LARGE)
    wait_for(lambda: crowded(sc) >= 1, "it has to wait")
    client.close()
    go.set()
    sc.s.settle()


def test_38_an_honest_table_at_once(sc):
    """A browser whose cookies fill the table: 100 requests at once on a fresh connection, each some 20
    bytes that name 4 KB. All are served, as they were sent."""
    cookies = [("cookie", f"c{i}=" + "v" * 450) for i in range(7)]
    sc.proxy()
    client = h2(sc)
    first = block(request_fields(path="/lives")) + \
        b"".join(literal(*cookie, indexed=True) for cookie in cookies)
    again = block(request_fields(path="/lives")) + \
        b"".join(hpack_int(62 + 6 - i, 7, 0x80) for i in range(7))
    sts = [client.open(first)] + [client.open(again) for _ in range(99)]
    assert [client.response(st).status for st in sts] == [200] * 100
    assert {r.get("cookie") for r in sc.app.requests} == {"; ".join(v for _, v in cookies)}


def test_38_what_has_been_let_go_is_not_sent_again(sc):
    """On a reused connection that closes without an answer a GET is sent once more, but for one that is
    no longer there whole: that is 502, and never a part of it."""
    n, first, second = 6, threading.Barrier(6), threading.Barrier(6)

    def script(conn):
        conn.request()
        if len(sc.app.requests) <= n:
            first.wait(20)
            conn.answer(b"first")
            conn.request()
            second.wait(20)
        else:
            conn.answer(b"again")

    sc.proxy(script=script)
    client = h2(sc)
    sts = [client.open(bomb_block(6, request_fields(path="/lives")))]
    sts += [client.open(LARGE) for _ in range(n - 1)]
    assert [client.response(st).status for st in sts] == [200] * n
    statuses = [client.response(st).status for st in [client.open(LARGE) for _ in range(n)]]
    assert 502 in statuses and set(statuses) <= {200, 502}, statuses
    assert {len(r.all("x-bomb")) for r in sc.app.requests} == {6, 7}


def test_38_crumbs_of_cookies_count_as_fields(sc):
    refuse(sc, [*request_fields(path="/never"), *[("cookie", "")] * 100], "headers_too_large")


def test_38_crumbs_become_one_cookie(sc):
    sc.proxy()
    client = h2(sc)
    client.ask("GET", "/lives", headers=[("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"),
                                         ("cookie", "c=3")])
    assert sc.app.requests[0].get("cookie") == "a=1; b=2; c=3"


def test_38_large_requests_with_a_zero_window(sc):
    """Each request is just within the limits, 30 KB of a few bytes on the wire; no answer can go
    out, and the client waits. 5 connections with all the streams that they may have."""
    sc.proxy(http={"writeTimeout": "1s"})
    crumb = literal("cookie", "c" * 3000, indexed=True)
    clients = []
    with Peak(sc.s) as peak:
        for _ in range(5):
            client = h2(sc, settings={INITIAL_WINDOW_SIZE: 0}, credit=False)
            clients.append(client)
            first = block(request_fields(path="/lives")) + crumb
            rest = block(request_fields(path="/lives")) + hpack_int(62, 7, 0x80) * 9
            client.send(b"".join(
                frame(h2wire.HEADERS, END_HEADERS | END_STREAM, n, first if n == 1 else rest)
                for n in range(1, 201, 2)))
        for client in clients:
            client.next_id = 201
            for n in range(1, 201, 2):
                # Each stream's own write timeout ends it.
                client.until(lambda st=client.stream(n): st.over, f"the end of stream {n}")
                assert client.stream(n).reset is not None, client.stream(n)
    peak.check()
    for client in clients:
        client.close()


def test_38_a_zero_window_for_ever(sc):
    """A large answer that the client never opens its window for."""
    def script(conn):
        conn.request()
        conn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {64 * MB}\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1024):
                conn.send(bytes(65536))
    sc.proxy(script=script, http={"writeTimeout": "500ms"})
    client = h2(sc, credit=False)
    with Peak(sc.s) as peak:
        sts = [client.request("GET", "/lives") for _ in range(20)]
        for st in sts:
            client.until(lambda st=st: st.over, "the stream is ended")
            assert st.reset is not None, st
    peak.check()
    client.expect_ping()  # PINGs alone do not keep a stream
    sc.app.wait_done()


def test_38_a_table_that_changes_its_size_all_the_time(sc):
    """Dynamic table size updates are legal at a block's beginning only (RFC 7541 §4.2)."""
    sc.proxy()
    client = h2(sc)
    client.open(block(request_fields(path="/never")) + hpack_int(0, 5, 0x20))
    expect_failure(sc, client, COMPRESSION_ERROR, "h2_protocol")
    only_honest(sc)
