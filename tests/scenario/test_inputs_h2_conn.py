"""Connections by HTTP/2 that are slow (number 44 of the project's list of inputs), broken, or ended."""

import contextlib
import struct
import threading
import time

import pytest

import h2wire
from h2wire import (CANCEL, COMPRESSION_ERROR, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR,
                    FRAME_SIZE_ERROR, INITIAL_WINDOW_SIZE, LAST_STREAM, NO_ERROR, PROTOCOL_ERROR,
                    STREAM_CLOSED, block, code_name, frame, hpack_int, request_fields)
from inputs import cases
from inputs_h2 import MB, PING, expect_failure, flood, h2, lives, only_honest
from wire import SLOW, wait_for


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
