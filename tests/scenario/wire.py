"""Raw sockets that speak just enough HTTP/1 to say exactly what came: both the client's end and
the backend's. Strict: what a message must not have fails the test that reads it."""

import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from ports import free_port  # noqa: E402, F401

SLOW = 4 if os.environ.get("SANITIZE") else 1  # sanitized builds take longer for everything
TIMEOUT = 10.0 * SLOW

# What a busy machine may add to a time that a test measures. A test whose program is wrong takes
# longer than its bound with this.
SPARE = 2.0 * SLOW


def wait_for(condition, what, timeout=TIMEOUT, interval=0.005):
    """Polls until condition() is true, and returns its value; fails with `what` after timeout."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:.1f} s: {what() if callable(what) else what}")
        time.sleep(interval)


def within(seconds, attempt, tries=5):
    """attempt() takes less than that, once in some tries: a busy machine is slow now and then, a
    program that waits for something does so each time."""
    took = []
    for _ in range(tries):
        start = time.monotonic()
        attempt()
        took.append(time.monotonic() - start)
        if took[-1] < seconds:
            return
    raise AssertionError(f"it takes {took} s, and should take less than {seconds} s")


def parse_address(text):
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[5:]
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


class Message:
    """A head, and the body that was read with it."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.raw = head
        self.start = lines[0]
        self.fields = []
        self.body = b""
        self.trailers = []
        self.interim = []  # of a response: the 1xx before it
        for line in lines[1:]:
            assert "\n" not in line and "\r" not in line, f"bare CR or LF in {line!r}"
            name, colon, value = line.partition(":")
            assert colon and name and name.strip() == name, f"field line {line!r}"
            self.fields.append((name, value.strip(" \t")))

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else default

    def has(self, name):
        return bool(self.all(name))

    def tokens(self, name):
        """The elements of a comma-separated field, in lower case."""
        return [t.strip().lower() for v in self.all(name) for t in v.split(",") if t.strip()]

    @property
    def status(self):
        version, status = self.start.split(" ", 2)[:2]
        assert version == "HTTP/1.1", self.start
        return int(status)

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        method, target, version = self.start.split(" ")
        return target

    @property
    def closes(self):
        return "close" in self.tokens("connection")

    def __repr__(self):
        return f"<{self.start!r} {self.fields!r} {self.body[:200]!r}>"


class Peer:
    """One end of a connection, with what was read and not yet used."""

    def __init__(self, sock, timeout=TIMEOUT):
        self.sock = sock
        self.sock.settimeout(timeout)
        self.buffer = b""
        self.received = b""  # everything, for tests of what went over the wire (first 4 MB)
        self.eof = False

    # --- bytes ---

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.sock.sendall(data)
        return self

    def _fill(self):
        data = self.sock.recv(65536)
        if len(self.received) < 4 << 20:
            self.received += data
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def read(self, n):
        """Exactly n bytes."""
        while len(self.buffer) < n:
            if not self._fill():
                raise EOFError(f"end after {len(self.buffer)} of {n} bytes: {self.buffer[:300]!r}")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_until(self, mark):
        """Up to the mark, which is taken and not returned; None at an orderly end before any byte."""
        while mark not in self.buffer:
            if not self._fill():
                if not self.buffer:
                    return None
                raise EOFError(f"end within {self.buffer[:300]!r}")
        data, _, self.buffer = self.buffer.partition(mark)
        return data

    def read_some(self):
        """What is there, at least one byte; b'' at the end."""
        if not self.buffer and not self._fill():
            return b""
        data, self.buffer = self.buffer, b""
        return data

    def read_to_end(self):
        """Everything until the orderly end. A reset raises."""
        while self._fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def discard(self, n):
        """Reads n bytes without keeping them."""
        left = n - len(self.buffer)
        if left < 0:
            self.buffer = self.buffer[n:]
            return
        self.buffer = b""
        scratch = bytearray(1 << 18)
        while left > 0:
            got = self.sock.recv_into(scratch, min(left, len(scratch)))
            if not got:
                raise EOFError(f"end with {left} of {n} bytes to come")
            left -= got

    # --- how it ends ---

    def expect_end(self):
        """The other side closes, orderly or not, and sends no byte more."""
        try:
            rest = self.read_to_end()
        except ConnectionResetError:
            rest = self.buffer
        assert rest == b"", f"bytes before the end: {rest[:300]!r}"

    def expect_fin(self):
        """The other side closes in an orderly way, and sends no byte more."""
        rest = self.read_to_end()
        assert rest == b"", f"bytes before the end: {rest[:300]!r}"

    def is_closed(self):
        """Whether an end or a reset has come, without waiting. Bytes that came are kept."""
        if self.eof:
            return True
        timeout = self.sock.gettimeout()
        self.sock.setblocking(False)
        try:
            while self._fill():
                pass
            return True
        except BlockingIOError:
            return False
        except OSError:
            self.eof = True
            return True
        finally:
            self.sock.settimeout(timeout)

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # --- messages ---

    def _head(self):
        head = self.read_until(b"\r\n\r\n")
        return None if head is None else Message(head)

    def _chunked(self, message):
        while True:
            line = self.read_until(b"\r\n")
            if line is None:
                raise EOFError(f"end within a chunked body, after {len(message.body)} bytes")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            message.body += self.read(size)
            assert self.read(2) == b"\r\n"
        while True:
            line = self.read_until(b"\r\n")
            if line is None:
                raise EOFError("end within trailers")
            if line == b"":
                return
            name, _, value = line.decode("latin-1").partition(":")
            message.trailers.append((name, value.strip(" \t")))

    def _body(self, message):
        codings = message.tokens("transfer-encoding")
        length = message.get("content-length")
        assert not (codings and length is not None), f"two framings: {message!r}"
        if codings:
            assert codings == ["chunked"], codings
            self._chunked(message)
        elif length is not None:
            assert length.isdigit(), length
            message.body = self.read(int(length))
        else:
            return False
        return True


class Client(Peer):
    """The client's end."""

    def __init__(self, address, timeout=TIMEOUT, before_connect=None, connect_timeout=None):
        family, where = parse_address(address)
        sock = socket.socket(family, socket.SOCK_STREAM)
        if before_connect:
            before_connect(sock)
        sock.settimeout(connect_timeout or timeout)
        try:
            sock.connect(where)
        except BaseException:
            sock.close()
            raise
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock, timeout)

    def request(self, method="GET", target="/", headers=(), body=None, host="test", version="1.1"):
        """Sends a request; `body` is sent with Content-Length. host=None leaves Host out."""
        lines = [f"{method} {target} HTTP/{version}"]
        if host is not None:
            lines.append(f"Host: {host}")
        lines += [f"{n}: {v}" for n, v in (headers.items() if isinstance(headers, dict) else headers)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return self

    def response_head(self):
        """The head of the final response, the interim ones in .interim."""
        interim = []
        while True:
            message = self._head()
            if message is None:
                raise EOFError("the connection ended without a response")
            if message.status >= 200 or message.status == 101:
                message.interim = interim
                return message
            interim.append(message)

    def response(self, method="GET"):
        """A whole response to a request of that method."""
        message = self.response_head()
        if method == "HEAD" or message.status in (101, 204, 304):
            return message
        if not self._body(message):
            message.body = self.read_to_end()
        return message

    def ask(self, method="GET", target="/", **how):
        return self.request(method, target, **how).response(method)

    def finish(self):
        """The response to the request that Scenario.begin() began."""
        return self.send("st: test\r\n\r\n").response()


class BackendConn(Peer):
    """The backend's end of one connection."""

    def __init__(self, sock, backend, number):
        super().__init__(sock, 6 * TIMEOUT)  # kept idle, it waits for the next request's client
        self.backend = backend
        self.number = number

    def head(self):
        """The next request's head, recorded; None at the orderly end."""
        message = self._head()
        if message is not None:
            message.conn = self.number
            with self.backend.lock:
                self.backend.requests.append(message)
        return message

    def body(self, message):
        self._body(message)
        return message

    def request(self):
        """The next whole request; None at the orderly end."""
        message = self.head()
        return message and self.body(message)

    def answer(self, body=b"", status="200 OK", headers=(), length=True):
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{n}: {v}" for n, v in headers]
        if length:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
