"""WebSocket frames over the raw sockets of wire.py (RFC 6455): both ends, and whatever is no frame."""

import base64
import hashlib
import os
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def accept_key(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def frame(opcode, payload=b"", fin=True, rsv=0, mask=None, form=0, length=None):
    """A frame's bytes. `form` 2 or 8 takes that form of length where a shorter one would do, and
    `length` says another than that of the payload."""
    if isinstance(payload, str):
        payload = payload.encode()
    n = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if form == 8 or (form == 0 and n > 65535):
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    elif form == 2 or n > 125:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | n])
    if not mask:
        return head + payload
    return head + mask + masked(payload, mask)


def masked(payload, mask):
    n = len(payload)
    key = (mask * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")


class Frame:
    def __init__(self, opcode, payload, fin, rsv):
        self.opcode, self.payload, self.fin, self.rsv = opcode, payload, fin, rsv

    @property
    def code(self):
        assert self.opcode == CLOSE, self
        return struct.unpack(">H", self.payload[:2])[0] if self.payload else 1005

    def __repr__(self):
        return f"<opcode {self.opcode} fin {self.fin} rsv {self.rsv} {len(self.payload)} {self.payload[:40]!r}>"


class WebSocket:
    """One end of a WebSocket on a wire.Peer, after the handshake."""

    def __init__(self, peer, client):
        self.peer = peer
        self.client = client  # whether this end masks
        self.pings = []       # that came, while message() waited
        self.answer_pings = True

    def send_raw(self, data):
        self.peer.send(data)
        return self

    def send(self, opcode, payload=b"", **how):
        if self.client:
            how.setdefault("mask", os.urandom(4))
        return self.send_raw(frame(opcode, payload, **how))

    def text(self, payload, **how):
        return self.send(TEXT, payload, **how)

    def close(self, code=1000, reason=b""):
        return self.send(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)

    def recv(self):
        """The next frame. EOFError at the end."""
        b0, b1 = self.peer.read(2)
        n = b1 & 0x7f
        if n == 126:
            n, = struct.unpack(">H", self.peer.read(2))
            assert n > 125
        elif n == 127:
            n, = struct.unpack(">Q", self.peer.read(8))
            assert n > 65535
        assert bool(b1 & 0x80) != self.client, "masked as only a client's frame is"
        mask = self.peer.read(4) if b1 & 0x80 else None
        payload = self.peer.read(n)
        return Frame(b0 & 15, masked(payload, mask) if mask else payload, bool(b0 & 0x80), b0 >> 4 & 7)

    def message(self):
        """The next message, or Close: (opcode, payload). Pings are answered on the way."""
        opcode, payload = None, b""
        while True:
            got = self.recv()
            if got.opcode == PING:
                self.pings.append(got.payload)
                if self.answer_pings:
                    self.send(PONG, got.payload)
            elif got.opcode == CLOSE:
                return CLOSE, got
            elif got.opcode != PONG:
                assert (got.opcode == CONTINUATION) == (opcode is not None), got
                opcode = got.opcode if opcode is None else opcode
                payload += got.payload
                if got.fin:
                    return opcode, payload

    def expect_close(self, code, echo=True):
        """The next is a Close of that code; it is answered, and the end follows."""
        opcode, got = self.message()
        assert opcode == CLOSE, (opcode, got[:100])
        assert got.code == code, got
        if echo:
            self.close(code)
            self.peer.expect_fin()
        return got


def request_headers(key=KEY, extensions=None, protocol=None):
    headers = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"),
               ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
    if extensions:
        headers.append(("Sec-WebSocket-Extensions", extensions))
    if protocol:
        headers.append(("Sec-WebSocket-Protocol", protocol))
    return headers


def connect(sc, target="/", client=None, **how):
    """A client's end through the proxy."""
    client = client or sc.client()
    key = base64.b64encode(os.urandom(16)).decode()
    client.request(target=target, headers=request_headers(key, **how))
    response = client.response()
    assert response.status == 101, response
    assert response.get("sec-websocket-accept") == accept_key(key)
    assert "upgrade" in response.tokens("connection") and response.get("upgrade") == "websocket"
    ws = WebSocket(client, True)
    ws.response = response
    return ws


def accept(conn, headers=(), behind=b""):
    """A server's end; `behind` goes out with the answer's head, in one piece."""
    request = conn.head()
    answer(conn, request, headers, behind)
    ws = WebSocket(conn, False)
    ws.request = request
    return ws


def answer(conn, request, headers=(), behind=b""):
    assert request.get("upgrade").lower() == "websocket", request
    assert "upgrade" in request.tokens("connection")
    lines = "".join(f"{n}: {v}\r\n" for n, v in headers)
    conn.send(("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               f"Sec-WebSocket-Accept: {accept_key(request.get('sec-websocket-key'))}\r\n{lines}\r\n"
               ).encode() + behind)


def echo(conn):
    """A server that says everything again, message by message."""
    ws = accept(conn)
    try:
        while True:
            opcode, got = ws.message()
            if opcode == CLOSE:
                ws.close(None if got.code == 1005 else got.code)
                conn.half_close()
                conn.read_to_end()
                return
            ws.send(opcode, got)
    except (EOFError, ConnectionError):
        return


class Bytes:
    """One end of a WebSocket as a stream of bytes, for tests of what any tunnel does: what is sent
    is a frame, what is read is the payload of those that came."""

    def __init__(self, peer, client):
        self.ws = WebSocket(peer, client)
        self.peer = peer
        self.buffer = b""

    def send(self, data):
        self.ws.send(BINARY, data)
        return self

    def _fill(self):
        try:
            frame = self.ws.recv()
        except EOFError:
            return False
        if frame.opcode == CLOSE:
            self.ws.close(None if frame.code == 1005 else frame.code)
            return False
        if frame.opcode == PING:
            self.ws.send(PONG, frame.payload)
        elif frame.opcode != PONG:
            self.buffer += frame.payload
        return True

    def read(self, n):
        while len(self.buffer) < n:
            if not self._fill():
                raise EOFError(f"end after {len(self.buffer)} of {n} bytes")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_some(self):
        while not self.buffer:
            if not self._fill():
                return b""
        data, self.buffer = self.buffer, b""
        return data

    def discard(self, n):
        while n > 0:
            n -= len(self.read_some())
        assert n == 0

    def read_to_end(self):
        """Until a Close or the end."""
        while self._fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def expect_end(self):
        try:
            assert self.read_to_end() == b""
        except ConnectionResetError:
            pass

    def expect_fin(self):
        assert self.read_to_end() == b""
        self.peer.expect_fin()

    def half_close(self):
        self.peer.half_close()
        return self

    def close(self):
        self.peer.close()


# --- by HTTP/2 (RFC 8441) -----------------------------------------------------------------------

CONNECT_PROTOCOL = 8  # the setting


class StreamPeer:
    """A stream of h2wire.Peer with the face of wire.Peer."""

    def __init__(self, conn, stream):
        self.conn, self.stream = conn, stream
        self.at = 0

    def send(self, data):
        self.conn.send_body(self.stream, data, end=False)
        return self

    def read(self, n):
        st = self.stream
        self.conn.until(lambda: len(st.body) - self.at >= n or st.over, f"{n} bytes")
        if len(st.body) - self.at < n:
            raise EOFError(f"end after {len(st.body) - self.at} of {n} bytes: {st!r}")
        data = bytes(st.body[self.at:self.at + n])
        self.at += n
        return data

    def expect_end(self):
        self.conn.until(lambda: self.stream.over, "the end of the stream")
        assert len(self.stream.body) == self.at, bytes(self.stream.body[self.at:][:300])

    def expect_fin(self):
        self.expect_end()
        assert self.stream.reset in (None, 0), self.stream

    def is_closed(self):
        self.conn.read_ready()
        return self.stream.over or self.conn.eof

    def half_close(self):
        self.conn.data(self.stream.id, b"", end=True)
        return self

    def close(self):
        self.conn.close()

    def reset(self):
        self.conn.rst(self.stream.id)


def no_h1_fields(head):
    names = [name for name, _ in head]
    for name in ("connection", "upgrade", "sec-websocket-key", "sec-websocket-accept", "host",
                 "transfer-encoding", "content-length"):
        assert name not in names, head


def connect_h2(conn, path="/", extensions=None):
    """A client's end on an h2wire.Client that is ready()."""
    assert conn.settings.get(CONNECT_PROTOCOL) == 1, conn.settings
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
              (":path", path), (":authority", "test"), ("sec-websocket-version", "13")]
    if extensions:
        fields.append(("sec-websocket-extensions", extensions))
    st = conn.open(fields, end=False)
    conn.response_head(st)
    assert st.status == 200, st
    no_h1_fields(st.head)
    ws = WebSocket(StreamPeer(conn, st), True)
    ws.response = st
    return ws


def accept_h2(conn, headers=(), behind=b""):
    """A server's end on an h2wire.BackendConn whose settings have CONNECT_PROTOCOL."""
    st = conn.accept()
    assert st.get(":method") == "CONNECT" and st.get(":protocol") == "websocket", st
    assert st.get(":scheme") and st.get(":path") and not st.ended, st
    no_h1_fields(st.head)
    conn.headers(st.id, [(":status", "200"), *((n.lower(), v) for n, v in headers)])
    ws = WebSocket(StreamPeer(conn, st), False)
    ws.request = st
    if behind:
        ws.send_raw(behind)
    return ws
