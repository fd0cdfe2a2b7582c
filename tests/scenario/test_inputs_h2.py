"""Hostile HTTP/2 input, numbered as the project's list of inputs: the exact answer (a status, a reset
or a GOAWAY, with its code), the word in the metrics, and that nothing of it is forwarded."""

import contextlib
import struct
import threading
import time

import pytest

import h2wire
from h2wire import (CANCEL, COMPRESSION_ERROR, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
                    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, INITIAL_WINDOW_SIZE, LAST_STREAM,
                    NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, block, code_name, frame, hpack_int,
                    literal, request_fields)
from harness import SANITIZE, reasons
from wire import SLOW, wait_for

MB = 1 << 20
# What all processes of sluice may hold in memory of their own at an attack's peak.
PEAK_KB = 20 * 1024


def cases(**named):
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), id=k) for k, v in named.items()]


def h2(sc, **how):
    client = h2wire.Client(sc.address, **how)
    sc.clients.append(client)
    return client.ready() if how.get("start", True) else client


def errors(sc, reason):
    return sc.s.metrics().get("sluice_errors_total", reason=reason)


def counted(sc):
    text = sc.s.get_health("/metrics")[1].body.decode()
    return [line for line in text.splitlines()
            if line.startswith("sluice_errors_total") and not line.endswith(" 0")]


def expect_failure(sc, client, code, reason):
    """GOAWAY with that code, the end, and the word for it."""
    client.expect_goaway(code)
    client.close()
    wait_for(lambda: errors(sc, reason) >= 1, lambda: f"sluice_errors_total of {reason}: "
             f"{sc.s.metrics().series('sluice_errors_total')}")


def expect_problem(client, st, code, status=None):
    """An answer of sluice's own."""
    client.response(st)
    expected, error = reasons()[code]
    assert st.status == (status or expected), st
    assert st.get("content-type") == "application/problem+json", st
    assert st.get("proxy-status") == f'sluice; error={error}; details="{code}"', st
    return st


def lives(client):
    """The connection still serves."""
    assert client.ask("GET", "/lives").status == 200


def only_honest(sc):
    sc.s.settle()
    targets = [r.target for r in sc.app.requests]
    assert set(targets) <= {"/lives"}, f"it was forwarded: {targets}"


def refuse(sc, fields, code=PROTOCOL_ERROR, end=True, **how):
    """A request that is reset, or (a word) answered by a problem; the connection goes on."""
    sc.proxy(**how)
    client = h2(sc)
    st = client.open(fields, end)
    if isinstance(code, str):
        expect_problem(client, st, code)
    else:
        client.expect_reset(st, code)
        assert st.head is None, st
    lives(client)
    client.close()
    only_honest(sc)
    return st


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


def flood(client, pieces):
    """Sends until the connection ends or GOAWAY comes; how many pieces went."""
    sent = 0
    try:
        for piece in pieces:
            client.send(piece)
            sent += 1
            if sent % 16 == 0:
                client.read_ready()
                if client.goaways or client.eof:
                    break
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


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

PING = frame(h2wire.PING, 0, 0, b"flooding")
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


# --- 39: characters ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases(
    upper="X-Upper", upper_inside="x-uPper", cr="x\r", lf="x\n", crlf="x\r\ny", nul="x\0y",
    colon="x:y", colon_end="x:", space="x y", space_end="x ", space_first=" x", tab="x\ty",
    empty="", high="x\xe9", delete="x\x7f", control="x\x01", comma="x,y", slash="x/y"))
def test_39_field_names(sc, name):
    refuse(sc, [*request_fields(path="/never"), (name, "v")])


@pytest.mark.parametrize("value", cases(
    cr="a\rb", lf="a\nb", crlf="a\r\nContent-Length: 5", nul="a\0b", cr_end="a\r", lf_end="a\n",
    nul_alone="\0", space_first=" a", space_end="a ", tab_first="\ta", tab_end="a\t",
    control="a\x01b", delete="a\x7fb"))
def test_39_field_values(sc, value):
    refuse(sc, [*request_fields(path="/never"), ("x-value", value)])


@pytest.mark.parametrize("bad", cases(
    path_crlf={"path": "/never HTTP/1.1\r\nX: y\r\n"}, path_lf={"path": "/ne\nver"},
    path_nul={"path": "/ne\0ver"}, method_crlf={"method": "GET / HTTP/1.1\r\n\r\nGET"},
    method_space={"method": "GE T"}, method_nul={"method": "GET\0"}, method_empty={"method": ""},
    authority_crlf={"authority": "test\r\nX: y"}, authority_nul={"authority": "te\0st"},
    authority_space={"authority": "te st"}, scheme_crlf={"scheme": "http\r\n"},
    scheme_space={"scheme": "ht tp"}))
def test_39_pseudo_fields(sc, bad):
    fields = {"path": "/never", **bad}
    refuse(sc, request_fields(**fields))


@pytest.mark.parametrize("bad", cases(
    path_space={"path": "/ne ver"}, path_fragment={"path": "/never#part"},
    path_high={"path": "/never\xe9"}, path_tab={"path": "/ne\tver"}, path_nul={"path": "/never%00"},
    path_relative={"path": "never"}, path_absolute={"path": "http://test/never"},
    path_asterisk={"path": "*"}, scheme_other={"scheme": "ftp"},
    authority_userinfo={"authority": "user@test"}, authority_path={"authority": "test/never"},
    authority_empty={"authority": ""}, authority_port={"authority": "test:99999x"}))
def test_39_targets_are_checked_as_by_http_1(sc, bad):
    """400, or a reset where nghttp2 sees it first."""
    sc.proxy()
    client = h2(sc)
    st = client.open(request_fields(**{"path": "/never", **bad}))
    client.until(lambda: st.over, "its end")
    if st.reset is None:
        expect_problem(client, st, "bad_request")
    else:
        assert st.reset == PROTOCOL_ERROR, st
    lives(client)
    client.close()
    only_honest(sc)


def test_39_in_trailers(sc):
    """The head and the body have gone by then: the upstream never sees a whole request."""
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    client.data(st.id, b"hello")
    client.headers(st.id, [("x-trailer", "a\r\nb: c")], end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]), whole


def test_39_pseudo_fields_in_trailers(sc):
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    client.headers(st.id, [(":path", "/other")], end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]), whole


@pytest.mark.parametrize("name", ["Transfer_Encoding", "content_length", "x_forwarded_for"])
def test_39_underscore_doubles(sc, name):
    refuse(sc, [*request_fields(path="/never"), (name.lower(), "1")], "bad_request")


# --- 40: how long the body is ------------------------------------------------------------------


@pytest.mark.parametrize("length", cases(
    plus="+5", minus="-5", hex="0x5", empty="", words="five", list="5, 5", space="5 5",
    two_to_64="18446744073709551616", huge="9" * 40))
def test_40_content_length_that_is_no_number(sc, length):
    refuse(sc, [*request_fields("POST", "/never"), ("content-length", length)], end=False)


def test_40_content_length_twice(sc):
    refuse(sc, [*request_fields("POST", "/never"), ("content-length", "5"),
                ("content-length", "5")], end=False)


def test_40_content_length_without_data(sc):
    refuse(sc, [*request_fields("POST", "/never"), ("content-length", "5")], end=True)


@pytest.mark.parametrize("data", cases(
    less=(b"four",), more=(b"longer",), none=(b"",), much_more=(b"x" * 16000,)))
def test_40_content_length_is_not_the_datas(sc, data):
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open([*request_fields("POST", "/upload"), ("content-length", "5")], end=False)
    client.data(st.id, data, end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]) or (len(data) > 5 and not whole[0].body), whole


def test_40_more_data_in_a_second_frame(sc):
    """The five bytes that were promised have gone on; the sixth is the end of it."""
    sc.proxy(script=lambda conn: conn.head() and conn.read_to_end())
    client = h2(sc)
    st = client.open([*request_fields("POST", "/upload"), ("content-length", "5")], end=False)
    client.data(st.id, b"hello")
    client.data(st.id, b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n", end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    assert [r.target for r in sc.app.requests] in ([], ["/upload"])
    assert all(b"smuggled" not in c.received for c in sc.app.conns)


def test_40_a_trailer_ends_a_body_that_is_too_short(sc):
    whole = []
    sc.proxy(script=lambda conn: whole.append(conn.request()))
    client = h2(sc)
    st = client.open([*request_fields("POST", "/upload"), ("content-length", "5")], end=False)
    client.data(st.id, b"four")
    client.headers(st.id, [("x-trailer", "v")], end=True)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.close()
    sc.s.settle()
    sc.app.wait_done()
    assert whole in ([], [None]), whole


# --- 41, 42: fields that another protocol's framing would heed -----------------------------------


@pytest.mark.parametrize("field", cases(
    connection=(("connection", "close"),), keep_alive=(("keep-alive", "timeout=5"),),
    proxy_connection=(("proxy-connection", "keep-alive"),),
    transfer_encoding=(("transfer-encoding", "chunked"),), upgrade=(("upgrade", "websocket"),),
    te=(("te", "gzip"),), te_list=(("te", "trailers, gzip"),), te_empty=(("te", ""),)))
def test_41_connection_specific_fields(sc, field):
    refuse(sc, [*request_fields("POST", "/never"), field], end=False)


def test_41_te_trailers_is_fine(sc):
    sc.proxy()
    client = h2(sc)
    assert client.ask("GET", "/lives", headers=[("te", "trailers")]).status == 200
    assert "te" not in sc.app.requests[0].get("connection", "") or \
        sc.app.requests[0].get("te") == "trailers"


def test_41_no_100_for_another_expectation(sc):
    refuse(sc, [*request_fields("POST", "/never"), ("expect", "200-ok")], "expectation_failed")


def test_42_authority_and_host_differ(sc):
    refuse(sc, [*request_fields(path="/never"), ("host", "other")], "bad_request")


def test_42_authority_and_host_are_the_same(sc):
    sc.proxy()
    client = h2(sc)
    assert client.ask("GET", "/lives", headers=[("host", "TEST")]).status == 200
    assert client.ask("GET", "/lives", authority=None, headers=[("host", "by-host")]).status == 200
    assert [r.get("host").lower() for r in sc.app.requests] == ["test", "by-host"]


def test_42_no_authority_at_all(sc):
    refuse(sc, request_fields(path="/never", authority=None))


def test_42_host_twice(sc):
    refuse(sc, [*request_fields(path="/never"), ("host", "test"), ("host", "test")])


@pytest.mark.parametrize("fields", cases(
    no_method=(request_fields(None, "/never"),), no_path=(request_fields(path=None),),
    no_scheme=(request_fields(path="/never", scheme=None),),
    empty_path=(request_fields(path=""),), nothing=([],), only_regular=([("x", "y")],),
    method_twice=([*request_fields(path="/never"), (":method", "GET")],),
    path_twice=([*request_fields(path="/never"), (":path", "/never")],),
    scheme_twice=([*request_fields(path="/never"), (":scheme", "http")],),
    authority_twice=([*request_fields(path="/never"), (":authority", "test")],),
    unknown=([*request_fields(path="/never"), (":unknown", "x")],),
    status=([*request_fields(path="/never"), (":status", "200")],),
    protocol_without_connect=([*request_fields(path="/never"), (":protocol", "websocket")],),
    late=([(":method", "GET"), (":scheme", "http"), (":authority", "test"), ("x", "y"),
           (":path", "/never")],),
    colon_alone=([*request_fields(path="/never"), (":", "x")],)))
def test_42_pseudo_fields(sc, fields):
    refuse(sc, fields)


@pytest.mark.parametrize("method", ["TRACE"])
def test_42_methods_that_are_not_served(sc, method):
    refuse(sc, request_fields(method, "/never"), "method_not_allowed")


def test_42_connect(sc):
    """Plain CONNECT has neither scheme nor path (RFC 9113 §8.5), and is not served."""
    refuse(sc, [(":method", "CONNECT"), (":authority", "test:443")], "method_not_allowed", end=False)


def test_42_connect_with_a_path(sc):
    refuse(sc, request_fields("CONNECT", "/never"), end=False)


# --- limits of a head --------------------------------------------------------------------------


def test_more_fields_than_the_limit(sc):
    refuse(sc, [*request_fields(path="/never"), *((f"x-{i}", "") for i in range(100))],
           "headers_too_large")


def test_as_many_fields_as_the_limit(sc):
    """Pseudo-fields count, too."""
    sc.proxy()
    client = h2(sc)
    assert client.ask("GET", "/lives",
                      headers=[(f"x-{i}", "") for i in range(96)]).status == 200


def test_more_bytes_of_fields_than_the_limit(sc):
    """The client is told of the limit before (SETTINGS_MAX_HEADER_LIST_SIZE)."""
    sc.proxy(http={"maxHeaderBytes": "4KiB"})
    client = h2(sc)
    assert client.settings[h2wire.MAX_HEADER_LIST_SIZE] == 4096
    st = client.open([*request_fields(path="/never"), ("x-long", "y" * 4096)])
    expect_problem(client, st, "headers_too_large")
    lives(client)
    client.close()
    only_honest(sc)


def test_too_large_with_a_body(sc):
    """The answer does not wait for the body, and the body does not stall the connection."""
    sc.proxy()
    client = h2(sc)
    st = client.open([*request_fields("POST", "/never"), *((f"x-{i}", "") for i in range(100))],
                     end=False)
    client.send_body(st, bytes(MB), end=True)
    client.until(lambda: st.over, "the answer")
    assert st.status == 431
    lives(client)
    client.close()
    only_honest(sc)


# --- 44: slow ones -----------------------------------------------------------------------------


@pytest.mark.alone
def test_44_a_preface_that_does_not_come_whole(sc):
    sc.proxy(http={"headerTimeout": "300ms"})
    client = h2(sc, start=False)
    client.send(h2wire.PREFACE[:10])
    start = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while client._fill():
            pass
    assert 0.2 < time.monotonic() - start < 2 * SLOW


@pytest.mark.alone
def test_44_a_header_block_that_does_not_come_whole(sc):
    sc.proxy(http={"headerTimeout": "300ms"})
    client = h2(sc)
    client.headers(1, request_fields(path="/never"), end_headers=False)
    start = time.monotonic()
    client.expect_end()
    assert 0.2 < time.monotonic() - start < 2 * SLOW
    client.close()
    only_honest(sc)


@pytest.mark.alone
def test_44_a_frame_that_does_not_come_whole(sc):
    sc.proxy(http={"headerTimeout": "300ms", "keepAliveTimeout": "400ms"})
    client = h2(sc)
    client.send(frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 1,
                      block(request_fields(path="/never")))[:20])
    start = time.monotonic()
    client.expect_end()
    assert 0.2 < time.monotonic() - start < 2 * SLOW
    client.close()
    only_honest(sc)


@pytest.mark.alone
def test_44_pings_do_not_extend_the_time_of_an_idle_connection(sc):
    sc.proxy(http={"keepAliveTimeout": "500ms"})
    client = h2(sc)
    lives(client)
    start = time.monotonic()
    with contextlib.suppress(OSError):
        while not client.goaways and time.monotonic() - start < 5 * SLOW:
            client.ping()
            client.read_ready()
            time.sleep(0.02)  # the pace of the attack
    assert 0.3 < time.monotonic() - start < 3 * SLOW
    client.expect_goaway(NO_ERROR)


@pytest.mark.alone
def test_44_slow_body(sc):
    """408 on the stream, or its reset; other streams of the connection do not feel it."""
    sc.proxy(http={"bodyIdleTimeout": "300ms"})
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    client.data(st.id, b"hel")
    start = time.monotonic()
    client.until(lambda: st.over, "its end")
    assert 0.2 < time.monotonic() - start < 2 * SLOW
    if st.head:
        assert st.status == 408, st
    lives(client)


@pytest.mark.alone
def test_44_empty_data_does_not_extend_the_time_of_a_body(sc):
    sc.proxy(http={"bodyIdleTimeout": "300ms"})
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    start = time.monotonic()
    while not st.over and time.monotonic() - start < 5:
        client.data(st.id)
        client.read_ready()
        time.sleep(0.02)  # the pace of the attack
    assert time.monotonic() - start < 2 * SLOW
    lives(client)


@pytest.mark.alone
def test_44_slow_reading(sc):
    """The window opens by a byte now and then: that is progress, and it is the client's right; a
    window that never opens again is not."""
    sc.proxy(script=lambda conn: conn.request() and conn.answer(bytes(MB)),
             http={"writeTimeout": "400ms"})
    client = h2(sc, credit=False)
    st = client.request("GET", "/lives")
    client.until(lambda: st.received == h2wire.DEFAULT_WINDOW, "as much as the window allows")
    start = time.monotonic()
    client.until(lambda: st.over, "its end")
    assert 0.2 < time.monotonic() - start < 2 * SLOW
    assert st.reset is not None
    record = sc.s.wait_access_log(1)[0]
    assert record["reason"] in ("client_timeout", "client_abort"), record


def test_44_a_client_that_reads_nothing(sc):
    """Not even from the socket: the connection ends."""
    def script(conn):
        conn.request()
        with contextlib.suppress(OSError):
            conn.answer(bytes(64 * MB))
    sc.proxy(script=script, http={"writeTimeout": "400ms"})
    client = h2(sc)
    client.window_update(0, LAST_STREAM - h2wire.DEFAULT_WINDOW)
    st = client.open(request_fields(path="/lives"))
    client.window_update(st.id, LAST_STREAM - h2wire.DEFAULT_WINDOW)
    sc.app.wait_done()
    wait_for(lambda: not sc.s.status()["streams"], "the stream ends")


# --- the connection's own errors -----------------------------------------------------------------


@pytest.mark.parametrize("raw", cases(
    preface_wrong=(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" + frame(h2wire.SETTINGS),),
    other_method=(b"PRI /x HTTP/2.0\r\n\r\nSM\r\n\r\n",), version_3=(b"PRI * HTTP/3.0\r\n\r\n",)))
def test_preface_that_is_none(sc, raw):
    """What is no HTTP/2 preface is read as HTTP/1.1, and refused."""
    sc.proxy()
    client = sc.client()
    client.send(raw)
    client.sock.settimeout(5 * SLOW)
    with contextlib.suppress(ConnectionResetError):
        rest = client.read_to_end()
        assert rest.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 ", b"\0\0")), rest
    client.close()
    sc.s.settle()
    assert sc.app.requests == []


@pytest.mark.parametrize("at", [1, 3, 8, 16, 18, 23])
def test_preface_cut(sc, at):
    sc.proxy()
    client = h2(sc, start=False)
    client.send(h2wire.PREFACE[:at])
    client.close()
    sc.s.settle()
    assert sc.app.requests == []


@pytest.mark.parametrize("at", [1, 3, 4, 16, 18, 23])
def test_preface_in_two_pieces(sc, at):
    sc.proxy()
    client = h2(sc, start=False)
    client.send(h2wire.PREFACE[:at])
    wait_for(lambda: sc.s.status()["connections"] == 1, "it is accepted")
    client.send(h2wire.PREFACE[at:] + client.settings_frame())
    lives(client)


def test_preface_byte_by_byte(sc):
    sc.proxy()
    client = h2(sc, start=False)
    for byte in h2wire.PREFACE + client.settings_frame() + \
            frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 1, block(request_fields(path="/lives"))):
        client.send(bytes([byte]))
    assert client.response(client.stream(1)).status == 200


def test_first_frame_is_not_settings(sc):
    sc.proxy()
    client = h2(sc, start=False)
    client.send(h2wire.PREFACE + PING)
    expect_failure(sc, client, PROTOCOL_ERROR, "h2_protocol")


FAULTS = {
    # name: (bytes, after a request on stream 1 was opened?, the code)
    "data_on_0": (frame(h2wire.DATA, 0, 0, b"x"), False, PROTOCOL_ERROR),
    "headers_on_0": (frame(h2wire.HEADERS, END_HEADERS, 0, block(request_fields())), False,
                     PROTOCOL_ERROR),
    "headers_on_even": (frame(h2wire.HEADERS, END_HEADERS, 2, block(request_fields())), False,
                        PROTOCOL_ERROR),
    "rst_on_0": (frame(h2wire.RST_STREAM, 0, 0, bytes(4)), False, PROTOCOL_ERROR),
    "rst_on_idle": (frame(h2wire.RST_STREAM, 0, 7, bytes(4)), False, PROTOCOL_ERROR),
    "window_update_on_idle": (frame(h2wire.WINDOW_UPDATE, 0, 7, struct.pack(">I", 1)), False,
                              PROTOCOL_ERROR),
    "data_on_idle": (frame(h2wire.DATA, 0, 7, b"x"), False, PROTOCOL_ERROR),
    "settings_on_stream": (frame(h2wire.SETTINGS, 0, 1), True, PROTOCOL_ERROR),
    "ping_on_stream": (frame(h2wire.PING, 0, 1, bytes(8)), True, PROTOCOL_ERROR),
    "goaway_on_stream": (frame(h2wire.GOAWAY, 0, 1, bytes(8)), True, PROTOCOL_ERROR),
    "push_promise": (frame(h2wire.PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2)), True,
                     PROTOCOL_ERROR),
    "continuation_alone": (frame(h2wire.CONTINUATION, END_HEADERS, 1, b""), True, PROTOCOL_ERROR),
    "ping_of_7": (frame(h2wire.PING, 0, 0, bytes(7)), False, FRAME_SIZE_ERROR),
    "rst_of_3": (frame(h2wire.RST_STREAM, 0, 1, bytes(3)), True, FRAME_SIZE_ERROR),
    "settings_of_5": (frame(h2wire.SETTINGS, 0, 0, bytes(5)), False, FRAME_SIZE_ERROR),
    "settings_ack_with_bytes": (frame(h2wire.SETTINGS, 1, 0, bytes(6)), False, FRAME_SIZE_ERROR),
    "window_update_of_3": (frame(h2wire.WINDOW_UPDATE, 0, 0, bytes(3)), False, FRAME_SIZE_ERROR),
    "goaway_of_7": (frame(h2wire.GOAWAY, 0, 0, bytes(7)), False, FRAME_SIZE_ERROR),
    "data_too_long": (frame(h2wire.DATA, 0, 1, bytes(16385)), True, FRAME_SIZE_ERROR),
    "unknown_too_long": (frame(0xee, 0, 0, bytes(16385)), False, FRAME_SIZE_ERROR),
    "window_zero": (frame(h2wire.WINDOW_UPDATE, 0, 0, bytes(4)), False, PROTOCOL_ERROR),
    "window_overflow": (frame(h2wire.WINDOW_UPDATE, 0, 0, struct.pack(">I", LAST_STREAM)), False,
                        FLOW_CONTROL_ERROR),
    "initial_window_too_large": (frame(h2wire.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)), False,
                                 FLOW_CONTROL_ERROR),
    "frame_size_too_small": (frame(h2wire.SETTINGS, 0, 0, struct.pack(">HI", 5, 1024)), False,
                             PROTOCOL_ERROR),
    "push_not_0_or_1": (frame(h2wire.SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), False,
                        PROTOCOL_ERROR),
    "padding_too_long": (frame(h2wire.DATA, h2wire.PADDED, 1, b"\x09x"), True, PROTOCOL_ERROR),
    "index_0": (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 3, b"\x80"), False,
                COMPRESSION_ERROR),
    "index_of_none": (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 3, hpack_int(99, 7, 0x80)),
                      False, COMPRESSION_ERROR),
    "huffman_end": (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 3, b"\x00\x84\xff\xff\xff\xff"),
                    False, COMPRESSION_ERROR),
    "string_past_the_end": (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 3, b"\x00\x7fx"), False,
                            COMPRESSION_ERROR),
    "integer_overflow": (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 3,
                               b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x0f"), False,
                         COMPRESSION_ERROR),
    "table_too_large": (frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 3,
                              hpack_int(1 << 20, 5, 0x20)), False, COMPRESSION_ERROR),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_connection(sc, fault):
    raw, with_request, code = FAULTS[fault]
    sc.proxy(script=lambda conn: conn.read_to_end())
    client = h2(sc)
    if with_request:
        client.open(request_fields("POST", "/upload"), end=False)
    client.send(raw)
    expect_failure(sc, client, code, "h2_protocol")
    assert not [r for r in sc.app.requests if r.target != "/upload"]


def test_more_data_than_the_streams_window(sc):
    """The upstream takes nothing, so nothing is credited."""
    sc.proxy(script=lambda conn: conn.head() and hold.wait(20))
    hold = threading.Event()
    client = h2(sc)
    window = client.settings.get(INITIAL_WINDOW_SIZE, h2wire.DEFAULT_WINDOW)
    st = client.open(request_fields("POST", "/upload"), end=False)
    flood(client, (frame(h2wire.DATA, 0, st.id, bytes(16384)) for _ in range(400)))
    client.until(lambda: client.goaways or st.over, "FLOW_CONTROL_ERROR")
    code = client.goaways[-1][1] if client.goaways else st.reset
    assert code == FLOW_CONTROL_ERROR, (code_name(code), window)
    hold.set()


def test_headers_on_a_closed_stream(sc):
    sc.proxy()
    client = h2(sc)
    lives(client)
    client.headers(1, request_fields(path="/never"), end=True)
    expect_failure(sc, client, STREAM_CLOSED, "h2_protocol")
    only_honest(sc)


def test_a_stream_number_that_is_lower(sc):
    sc.proxy()
    client = h2(sc)
    client.next_id = 5
    lives(client)
    client.headers(3, request_fields(path="/never"), end=True)
    expect_failure(sc, client, PROTOCOL_ERROR, "h2_protocol")
    only_honest(sc)


@pytest.mark.parametrize("together", [False, True])
def test_data_behind_a_reset_of_the_clients_own(sc, together):
    """RFC 9113 §5.1: STREAM_CLOSED, for the connection or not at all."""
    sc.proxy(script=lambda conn: conn.read_to_end())
    client = h2(sc)
    st = client.open(request_fields("POST", "/upload"), end=False)
    reset = frame(h2wire.RST_STREAM, 0, st.id, struct.pack(">I", CANCEL))
    late = frame(h2wire.DATA, 0, st.id, b"late")
    if together:
        client.send(reset + late)
    else:
        client.send(reset)
        client.send(late)
    client.expect_goaway(STREAM_CLOSED)


def test_frames_that_cross_our_reset_are_borne(sc):
    """The client could not know of the reset yet (RFC 9113 §5.1): DATA, WINDOW_UPDATE and RST_STREAM
    on the stream are ignored, and the window of the connection comes back."""
    sc.proxy()
    client = h2(sc)
    st = client.open([*request_fields("POST", "/never"), ("Upper", "case")], end=False)
    for _ in range(64):  # more than the connection's first window in all
        client.data(st.id, bytes(16000))
    client.window_update(st.id, 10)
    client.rst(st.id)
    client.expect_reset(st, PROTOCOL_ERROR)
    client.expect_ping()
    assert client.request("POST", "/lives", body=bytes(MB)) and client.ask("GET", "/lives")
    client.close()
    only_honest(sc)


def test_streams_above_the_limit(sc):
    """REFUSED_STREAM: it may send them again (RFC 9113 §5.1.2)."""
    sc.proxy(script=lambda conn: conn.read_to_end(), listener={"http2": {"maxConcurrentStreams": 10}})
    client = h2(sc)
    assert client.settings[h2wire.MAX_CONCURRENT_STREAMS] == 10
    for _ in range(10):
        client.open(request_fields("POST", "/upload"), end=False)
    st = client.open(request_fields(path="/never"))
    # nghttp2 makes it an error of the connection.
    client.until(lambda: st.over or client.goaways, "it is refused")
    assert st.reset == h2wire.REFUSED_STREAM or client.goaways[-1][1] == PROTOCOL_ERROR
    assert "/never" not in [r.target for r in sc.app.requests]


def test_goaway_of_the_client(sc):
    """What it asked before is served; then the connection ends."""
    go = threading.Event()

    def script(conn):
        conn.request()
        go.wait(10)
        conn.answer(b"late")
    sc.proxy(script=script)
    client = h2(sc)
    st = client.request("GET", "/lives")
    client.goaway()
    sc.app.wait_requests(1)
    go.set()
    assert client.response(st).body == b"late"
    client.expect_end()


def test_goaway_with_an_error(sc):
    sc.proxy()
    client = h2(sc)
    lives(client)
    client.goaway(h2wire.INTERNAL_ERROR)
    client.expect_end()


def test_the_end_within_a_frame(sc):
    sc.proxy()
    for cut in (1, 8, 9, 20):
        client = h2(sc)
        client.send(frame(h2wire.HEADERS, END_HEADERS | END_STREAM, 1,
                          block(request_fields(path="/never")))[:cut])
        client.close()
    sc.s.settle()
    assert sc.app.requests == []


def test_unknown_frames_flags_and_settings_are_ignored(sc):
    sc.proxy()
    client = h2(sc)
    client.frame(0xfe, 0xff, 0, b"?")
    client.frame(h2wire.SETTINGS, 0, 0, struct.pack(">HI", 0xfafa, 7))
    client.frame(h2wire.PING, 0xfe & ~1, 0, b"whatever")
    lives(client)


def test_upgrade_to_h2c_is_not_taken(sc):
    """RFC 9113 §3.1: `Upgrade: h2c` is no more; it is served as HTTP/1.1, and not forwarded."""
    sc.proxy()
    client = sc.client()
    response = client.ask("GET", "/lives", headers=[
        ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__")])
    assert response.status == 200
    assert not sc.app.requests[0].has("upgrade") and not sc.app.requests[0].has("http2-settings")


def test_http2_off(sc):
    sc.proxy(listener={"http2": {"enabled": False}})
    client = sc.client()
    client.send(h2wire.PREFACE)
    assert client.response().status == 505
    assert sc.ask("GET", "/lives").status == 200
