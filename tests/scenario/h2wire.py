"""HTTP/2 by hand, over raw sockets: the client's end and a server's. Frames are written as the test
says, right or wrong; what comes in is read strictly (RFC 9113), and kept for tests to look at.

Header blocks go out as plain literals, so that a test decides each byte; they are read by the
package hpack (tests/requirements.txt)."""

import glob
import os
import socket
import ssl
import struct
import sys
import threading

from wire import TIMEOUT, free_port, parse_address, wait_for

sys.path += glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                   "../../build/venv/lib/python*/site-packages"))

import hpack  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# RFC 9113 §6
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
PRIORITY_UPDATE = 0x10  # RFC 9218 §7.1
NAMES = ("DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE "
         "CONTINUATION").split()
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

# RFC 9113 §6.5.2
(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
 MAX_HEADER_LIST_SIZE) = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 0x8

# RFC 9113 §7
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
 INADEQUATE_SECURITY, HTTP_1_1_REQUIRED) = range(14)
CODES = ("NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED "
         "FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM "
         "INADEQUATE_SECURITY HTTP_1_1_REQUIRED").split()

LAST_STREAM = 2**31 - 1
DEFAULT_WINDOW = 65535


def code_name(code):
    return CODES[code] if code is not None and code < len(CODES) else str(code)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """The bytes of a frame; `length` may lie."""
    n = len(payload) if length is None else length
    return struct.pack(">I", n)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hpack_int(value, bits, first=0):
    """RFC 7541 §5.1"""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def _bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def _string(text):
    text = _bytes(text)
    return hpack_int(len(text), 7) + text


def literal(name, value, indexed=False):
    """A field whose name and value stand there as they are; `indexed` puts it into the table."""
    return (b"\x40" if indexed else b"\0") + _string(name) + _string(value)


def block(fields):
    return b"".join(literal(n, v) for n, v in fields)


def request_fields(method="GET", path="/", authority="test", scheme="http", headers=()):
    """A request's fields; None leaves a pseudo-field out."""
    pseudo = ((":method", method), (":scheme", scheme), (":path", path), (":authority", authority))
    return [f for f in pseudo if f[1] is not None] + list(headers)


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def __repr__(self):
        name = NAMES[self.kind] if self.kind < len(NAMES) else f"frame {self.kind}"
        return f"<{name} {self.flags:#x} on {self.stream}, {self.payload[:24]!r}>"


class Stream:
    """What came on one stream."""

    def __init__(self, number, window):
        self.id = number
        self.interim = []      # of a response: the 1xx heads
        self.head = None       # list of (name, value), pseudo-fields first
        self.trailers = None
        self.body = bytearray()
        self.received = 0      # body bytes, kept or not
        self.ended = False     # END_STREAM came
        self.reset = None      # RST_STREAM's code
        self.window = window   # what may be sent on it
        self.accepted = False

    def all(self, name):
        return [v for n, v in self.head if n == name]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else default

    def has(self, name):
        return bool(self.all(name))

    def trailer(self, name):
        return dict(self.trailers or []).get(name)

    @property
    def status(self):
        return int(self.get(":status"))

    @property
    def over(self):
        return self.ended or self.reset is not None

    @property
    def end(self):
        """How it ended, in a word: "end", the reset's code by name, or "open"."""
        return code_name(self.reset) if self.reset is not None else "end" if self.ended else "open"

    def __repr__(self):
        return (f"<stream {self.id}: {self.head!r} {bytes(self.body[:120])!r} ({self.received} bytes) "
                f"trailers {self.trailers!r} {self.end}>")


class Peer:
    """One end of a connection. `auto`: SETTINGS and PINGs are acknowledged. `credit`: what comes is
    given back to the windows at once. `keep`: bodies are kept, not counted only."""

    def __init__(self, sock, is_client, settings=(), auto=True, credit=True, keep=True,
                 timeout=TIMEOUT):
        self.sock, self.is_client = sock, is_client
        self.auto, self.credit, self.keep = auto, credit, keep
        self.own_settings = dict(settings)
        self.sock.settimeout(timeout)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.eof = False
        self.decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self.streams = {}
        self.frames = []       # all, in order; DATA without the bytes
        self.settings = {}     # the peer's
        self.settings_seen = 0
        self.window = DEFAULT_WINDOW  # what may be sent on the connection
        self.goaways = []      # (last stream, code, debug data)
        self.pings = []        # ACKs of ours
        self.settings_acks = 0
        self.partial = None    # (stream, flags, bytes) of a header block
        self.next_id = 1 if is_client else 2

    # --- out ---

    def send(self, data):
        self.sock.sendall(data)
        return self

    def frame(self, kind, flags=0, stream=0, payload=b"", length=None):
        return self.send(frame(kind, flags, stream, payload, length))

    def start(self):
        """The preface (of a client), and SETTINGS."""
        return self.send((PREFACE if self.is_client else b"") + self.settings_frame())

    def settings_frame(self):
        return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v)
                                              for k, v in self.own_settings.items()))

    def headers(self, stream, fields, end=False, end_headers=True, more_flags=0):
        """`fields`: a list, or a header block's bytes."""
        payload = fields if isinstance(fields, bytes) else block(fields)
        flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0) | more_flags
        return self.frame(HEADERS, flags, stream, payload)

    def data(self, stream, payload=b"", end=False):
        """One DATA frame, whatever the windows say."""
        return self.frame(DATA, END_STREAM if end else 0, stream, payload)

    def rst(self, stream, code=CANCEL):
        return self.frame(RST_STREAM, 0, stream, struct.pack(">I", code))

    def ping(self, payload=b"scenario"):
        return self.frame(PING, 0, 0, payload)

    def goaway(self, code=NO_ERROR, last=0):
        return self.frame(GOAWAY, 0, 0, struct.pack(">II", last, code))

    def window_update(self, stream, n):
        return self.frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))

    def open(self, fields, end=True):
        """Sends HEADERS on a new stream; its Stream."""
        number, self.next_id = self.next_id, self.next_id + 2
        self.headers(number, fields, end)
        return self.stream(number)

    def request(self, method="GET", path="/", headers=(), body=None, end=True, **pseudo):
        """A request; a body goes within the windows. Its Stream."""
        st = self.open(request_fields(method, path, headers=headers, **pseudo),
                       end and body is None)
        if body is not None:
            self.send_body(st, body, end)
        return st

    def ask(self, method="GET", path="/", **how):
        """A request and its whole answer."""
        return self.response(self.request(method, path, **how))

    def send_body(self, st, body, end=True, piece=16384, patience=None):
        """DATA frames as the windows allow, reading in between. Stops when the peer resets the
        stream or (a client's) ends it; returns how much went."""
        sent = 0
        view = memoryview(body)
        while sent < len(body) or not body:
            self.read_ready()
            if st.reset is not None:
                return sent
            room = min(piece, self.window, st.window, len(body) - sent)
            if room <= 0 and body:
                self.pump()
                continue
            last = sent + room == len(body)
            self.data(st.id, bytes(view[sent:sent + room]), end and last)
            sent += room
            self.window -= room
            st.window -= room
            if not body:
                break
        return sent

    # --- in ---

    def stream(self, number):
        if number not in self.streams:
            self.streams[number] = Stream(
                number, self.settings.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW))
        return self.streams[number]

    def _fill(self):
        try:
            data = self.sock.recv(1 << 18)
        except (TimeoutError, socket.timeout) as e:
            raise AssertionError(f"nothing more came: {self!r}") from e
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def _take(self):
        """A whole frame out of the buffer, or None."""
        if len(self.buffer) < 9:
            return None
        n = int.from_bytes(self.buffer[:3], "big")
        most = self.own_settings.get(MAX_FRAME_SIZE, 16384)
        assert n <= most, f"a frame of {n} bytes"
        if len(self.buffer) < 9 + n:
            return None
        kind, flags = self.buffer[3], self.buffer[4]
        stream = int.from_bytes(self.buffer[5:9], "big")
        assert stream >> 31 == 0, "the reserved bit is set"
        payload = bytes(self.buffer[9:9 + n])
        del self.buffer[:9 + n]
        return Frame(kind, flags, stream, payload)

    def pump(self):
        """Reads one frame; False at the end."""
        while (f := self._take()) is None:
            if not self._fill():
                assert not self.buffer, f"the end within a frame: {bytes(self.buffer[:40])!r}"
                return False
        self._frame(f)
        return True

    def read_ready(self):
        """Everything that is there by now."""
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            while not self.eof:
                self.buffer += (data := self.sock.recv(1 << 18))
                self.eof = not data
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        finally:
            self.sock.settimeout(timeout)
        while (f := self._take()) is not None:
            self._frame(f)

    def until(self, condition, what):
        """Reads until condition() holds; its value."""
        while not (value := condition()):
            if not self.pump():
                raise AssertionError(f"the end before {what}: {self!r}")
        return value

    def _frame(self, f):
        assert self.partial is None or f.kind == CONTINUATION, f"{f!r} within a header block"
        self.frames.append(f if f.kind != DATA else Frame(DATA, f.flags, f.stream, b""))
        reader = self._readers.get(f.kind)
        if reader:
            reader(self, f)
        elif f.kind == PUSH_PROMISE:
            raise AssertionError("a server pushed")

    def _on_settings(self, f):
        assert f.stream == 0
        if f.flags & ACK:
            assert not f.payload
            self.settings_acks += 1
            return
        assert len(f.payload) % 6 == 0
        self.settings_seen += 1
        for key, value in struct.iter_unpack(">HI", f.payload):
            if key == INITIAL_WINDOW_SIZE:
                change = value - self.settings.get(key, DEFAULT_WINDOW)
                for st in self.streams.values():
                    st.window += change
            self.settings[key] = value
        if self.auto:
            self._reply(frame(SETTINGS, ACK))

    def _on_ping(self, f):
        assert f.stream == 0 and len(f.payload) == 8
        if f.flags & ACK:
            self.pings.append(f.payload)
        elif self.auto:
            self._reply(frame(PING, ACK, 0, f.payload))

    def _reply(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has gone: what it said before still counts

    def _on_goaway(self, f):
        assert f.stream == 0
        last, code = struct.unpack(">II", f.payload[:8])
        self.goaways.append((last, code, f.payload[8:]))

    def _on_window_update(self, f):
        n, = struct.unpack(">I", f.payload)
        assert 0 < n <= LAST_STREAM
        if f.stream == 0:
            self.window += n
            assert self.window <= LAST_STREAM
        else:
            self.stream(f.stream).window += n

    def _on_rst(self, f):
        st = self.stream(f.stream)
        assert st.reset is None, f"{f!r}: reset twice"
        st.reset, = struct.unpack(">I", f.payload)

    def _on_headers(self, f):
        payload = f.payload
        if f.flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if f.flags & WITH_PRIORITY:
            payload = payload[5:]
        self._block(f.stream, f.flags, payload)

    def _on_continuation(self, f):
        assert self.partial and self.partial[0] == f.stream, f"{f!r} without HEADERS"
        stream, flags, before = self.partial
        self.partial = None
        self._block(stream, flags | f.flags, before + f.payload)

    def _block(self, stream, flags, payload):
        if not flags & END_HEADERS:
            self.partial = (stream, flags, payload)
            return
        fields = [tuple(x.decode("latin-1") if isinstance(x, bytes) else x for x in (n, v))
                  for n, v in self.decoder.decode(payload, raw=True)]
        check_fields(fields)
        st = self.stream(stream)
        assert not st.ended, f"HEADERS after the end: {st!r}"
        if st.head is None and self.is_client and dict(fields)[":status"].startswith("1"):
            assert not flags & END_STREAM
            st.interim.append(fields)
            return
        if st.head is None:
            st.head = fields
        else:
            assert st.trailers is None and flags & END_STREAM, f"{st!r}: more HEADERS: {fields}"
            assert not any(n.startswith(":") for n, _ in fields), fields
            st.trailers = fields
        st.ended = bool(flags & END_STREAM)

    def _on_data(self, f):
        st = self.stream(f.stream)
        payload = f.payload
        if f.flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        assert st.head is not None and not st.ended, f"DATA where none may be: {st!r}"
        if self.keep:
            st.body += payload
        st.received += len(payload)
        st.ended = bool(f.flags & END_STREAM)
        if self.credit and f.payload:
            n = len(f.payload)
            self._reply(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", n)) +
                        (b"" if st.ended else
                         frame(WINDOW_UPDATE, 0, f.stream, struct.pack(">I", n))))

    _readers = {DATA: _on_data, HEADERS: _on_headers, RST_STREAM: _on_rst, SETTINGS: _on_settings,
                PING: _on_ping, GOAWAY: _on_goaway, WINDOW_UPDATE: _on_window_update,
                CONTINUATION: _on_continuation}

    # --- what tests wait for ---

    def response_head(self, st):
        self.until(lambda: st.head is not None or st.over, f"the head of stream {st.id}")
        assert st.head is not None, st
        return st

    def response(self, st):
        """The whole answer on a stream."""
        self.until(lambda: st.over, f"the end of stream {st.id}")
        assert st.ended and st.head is not None, st
        return st

    def whole(self, st):
        """The same for a server: the request's end."""
        self.until(lambda: st.over, f"the end of request {st.id}")
        return st

    def expect_reset(self, st, code):
        """RST_STREAM with that code, and nothing else on the stream."""
        self.until(lambda: st.over, f"a reset of stream {st.id}")
        assert st.reset == code, f"{st!r}, goaways {self.goaways}"
        return st

    def expect_goaway(self, code, closed=True):
        """GOAWAY with that code, and then the connection's end."""
        self.until(lambda: self.goaways, f"GOAWAY {code_name(code)}")
        assert code_name(self.goaways[-1][1]) == code_name(code), self.goaways
        if closed:
            self.expect_end()
        return self.goaways[-1]

    def expect_end(self):
        """The connection ends: in an orderly way, or by a reset where bytes were still on their
        way to it."""
        try:
            while self.pump():
                pass
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            self.eof = True

    def expect_ping(self):
        """What was sent so far has been looked at, and the connection lives."""
        n = len(self.pings)
        self.ping()
        self.until(lambda: len(self.pings) > n, "the PING's ACK")
        return self

    def kinds(self, kind, flags=0):
        return [f for f in self.frames if f.kind == kind and f.flags & flags == flags]

    def close(self):
        self.sock.close()

    def __repr__(self):
        return (f"<{'client' if self.is_client else 'server'}, goaways {self.goaways}, "
                f"streams {list(self.streams.values())[-4:]}, frames {self.frames[-8:]}>")


def check_fields(fields):
    """What no sender may send (RFC 9113 §8.2, §8.3)."""
    regular = False
    for name, value in fields:
        assert name == name.lower() and name.strip() == name and name, f"field name {name!r}"
        assert not set(name[1:]) & set(" :\0\r\n"), f"field name {name!r}"
        assert not set(value) & set("\0\r\n") and value.strip(" \t") == value, f"{name}: {value!r}"
        assert name not in ("connection", "keep-alive", "proxy-connection", "transfer-encoding",
                            "upgrade"), f"{name}: {value}"
        assert not (regular and name.startswith(":")), f"{name} after other fields"
        regular = regular or not name.startswith(":")
    pseudo = [n for n, _ in fields if n.startswith(":")]
    assert len(pseudo) == len(set(pseudo)), pseudo


def client_tls(ca=None, alpn=("h2",), pair=None):
    """A client's TLS context; without a CA, nothing is verified."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(pair.cert, pair.key)
    context.set_alpn_protocols(list(alpn))
    return context


def server_tls(pair, alpn=("h2",)):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    context.set_alpn_protocols(list(alpn))
    return context


def connect(address, tls=None, timeout=TIMEOUT, before=None):
    family, where = parse_address(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if before:
            before(sock)
        sock.settimeout(timeout)
        sock.connect(where)
        return tls.wrap_socket(sock, server_hostname="test") if tls else sock
    except BaseException:
        sock.close()
        raise


class Client(Peer):
    """A client; says its preface at once, unless start=False."""

    def __init__(self, address, settings=(), tls=None, start=True, before=None, **how):
        super().__init__(connect(address, tls, how.get("timeout", TIMEOUT), before), True,
                         settings, **how)
        if tls:
            assert self.sock.selected_alpn_protocol() == "h2", self.sock.selected_alpn_protocol()
        if start:
            self.start()

    def ready(self):
        """The server's SETTINGS are here, and it has acknowledged ours."""
        self.until(lambda: self.settings_acks and self.settings_seen, "the server's SETTINGS")
        return self


class BackendConn(Peer):
    """A server's end of one connection."""

    def __init__(self, sock, backend, number):
        super().__init__(sock, False, backend.settings, **backend.how)
        self.backend, self.number = backend, number

    def begin(self):
        """Reads the preface, sends SETTINGS."""
        while len(self.buffer) < len(PREFACE):
            if not self._fill():
                raise EOFError
        assert self.buffer.startswith(PREFACE), bytes(self.buffer[:40])
        del self.buffer[:len(PREFACE)]
        return self.start()

    def accept(self):
        """The next request's head, recorded; None at the orderly end."""
        def found():
            return next((s for s in self.streams.values() if s.head and not s.accepted), None)
        while (st := found()) is None:
            if not self.pump():
                return None
        st.accepted = True
        with self.backend.lock:
            self.backend.requests.append(st)
        return st

    def request(self):
        """The next whole request (or one that was reset)."""
        st = self.accept()
        return st and self.whole(st)

    def answer(self, st, body=b"", status=200, headers=(), trailers=None):
        fields = [(":status", str(status)), *headers]
        self.headers(st.id, fields, end=not body and trailers is None)
        if body:
            self.send_body(st, body, end=trailers is None)
        if trailers is not None:
            self.headers(st.id, list(trailers), end=True)


def ok_app(conn):
    """Answers each request with 200 and a line that names it."""
    while (st := conn.request()) is not None:
        if st.reset is None:
            body = f"{st.get(':method')} {st.get(':path')}\n".encode("latin-1")
            conn.answer(st, b"" if st.get(":method") == "HEAD" else body,
                        headers=[("content-length", str(len(body)))])


class Backend:
    """An HTTP/2 server: `script(conn)` in a thread for each connection, as harness.Backend has it
    (and to be put into Scenario.backends, which stops it and asserts its errors)."""

    def __init__(self, script=ok_app, address=None, settings=(), tls=None, **how):
        self.script, self.settings, self.tls, self.how = script, settings, tls, how
        self.lock = threading.Lock()
        self.requests, self.conns, self.errors, self.threads = [], [], [], []
        self.stopping = False
        self.address = address or f"127.0.0.1:{free_port()}"
        family, where = parse_address(self.address)
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(where)
        self.listener.listen(1024)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, sock):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self.lock:
                conn = BackendConn(sock, self, len(self.conns))
                self.conns.append(conn)
            conn.begin()
            self.script(conn)
        except (EOFError, ConnectionError, ssl.SSLError):
            pass  # sluice may go at any time; tests look at what it did before
        except OSError as e:
            if not self.stopping and sock.fileno() >= 0:
                self.errors.append(repr(e))
        except Exception as e:  # noqa: BLE001 - whatever it is, the scenario must fail with it
            if not self.stopping:
                self.errors.append(repr(e))
        finally:
            sock.close()

    def wait_requests(self, n, timeout=TIMEOUT):
        wait_for(lambda: len(self.requests) >= n, lambda: f"{n} requests at the backend, "
                 f"{len(self.requests)} came; {self.errors}", timeout)
        return self.requests[n - 1]

    def wait_conns(self, n, timeout=TIMEOUT):
        wait_for(lambda: len(self.conns) >= n, lambda: f"{n} connections at the backend", timeout)
        return self.conns[n - 1]

    def wait_done(self, timeout=TIMEOUT):
        wait_for(lambda: not any(t.is_alive() for t in self.threads), "backend scripts end", timeout)

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.acceptor.join(TIMEOUT)
        with self.lock:
            conns = list(self.conns)
        for conn in conns:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join(TIMEOUT)
