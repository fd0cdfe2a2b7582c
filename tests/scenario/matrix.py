"""The same exchanges in each protocol, told in the same words: what an application and a client do,
by HTTP/1.1 and by HTTP/2, so that what came through a proxy can be compared with what came without.

An application is a script over `AppH1` or `AppH2`; a client is `ClientH1` or `ClientH2`. Each case
is one function over them, named in CASES, and gives an Outcome."""

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time

import h2wire
import wire
from harness import Backend

KB, MB = 1 << 10, 1 << 20
# Another client's limits would do as well: each is what a case was thought up with.
SLOW_PIECES, SLOW_PIECE, PAUSE = 25, 20000, 0.005

ENDED = (EOFError, ConnectionError, AssertionError, OSError)


def pattern(n):
    """n bytes that are not the same anywhere nearby."""
    block = bytes(range(251)) * 17
    return (block * (n // len(block) + 1))[:n]


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


class Outcome:
    """What a client saw of an exchange, or an application of its part in it."""

    def __init__(self, status=0, body=b"", trailers=(), end="end", told=None):
        self.status, self.end = status, end
        self.size, self.sum = len(body), digest(body)
        self.trailers = sorted((n.lower(), v) for n, v in trailers)
        self.told = told  # the application's own side, where the case looks at it

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        return str(vars(self))


# --- the application ---------------------------------------------------------------------------


class AppH1:
    """One request by HTTP/1.1."""

    def __init__(self, conn, message):
        self.conn, self.message = conn, message
        self.path = message.target.split("?")[0]

    def body(self):
        """All of it, with the trailers; raises where it does not come whole."""
        self.conn.body(self.message)
        return self.message.body, self.message.trailers

    def interim(self):
        self.conn.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")

    def answer(self, body=b"", status=200, close=False):
        self.conn.send(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n" +
                       ("Connection: close\r\n" if close else "") + "\r\n")
        if self.message.method != "HEAD":
            self.conn.send(body)

    def begin(self):
        self.conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def piece(self, data):
        self.conn.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end(self, trailers=()):
        self.conn.send("0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers) + "\r\n")

    def early(self, body, status):
        """Answers, and takes no more of the request."""
        self.answer(body, status, close=True)
        self.conn.half_close()
        self.conn.read_to_end()

    def abort(self):
        self.conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.sock.close()
        raise EOFError


class AppH2:
    """The same by HTTP/2."""

    def __init__(self, conn, st):
        self.conn, self.st = conn, st
        self.path = st.get(":path").split("?")[0]

    def body(self):
        self.conn.until(lambda: self.st.over, "the request's end")
        if not self.st.ended:
            raise EOFError
        return bytes(self.st.body), self.st.trailers or []

    def interim(self):
        self.conn.headers(self.st.id, [(":status", "103"), ("link", "</style.css>")])

    def answer(self, body=b"", status=200):
        fields = [(":status", str(status)), ("content-length", str(len(body)))]
        if self.st.get(":method") == "HEAD" or not body:
            self.conn.headers(self.st.id, fields, end=True)
            return
        self.conn.headers(self.st.id, fields)
        self._send(body, True)

    def begin(self):
        self.conn.headers(self.st.id, [(":status", "200")])

    def _send(self, data, end):
        if self.conn.send_body(self.st, data, end) < len(data):
            raise EOFError("the client reset it")

    def piece(self, data):
        self._send(data, False)

    def end(self, trailers=()):
        if trailers:
            self.conn.headers(self.st.id, list(trailers), end=True)
        else:
            self.conn.data(self.st.id, end=True)

    def early(self, body, status):
        self.answer(body, status)
        self.conn.rst(self.st.id, h2wire.NO_ERROR)

    def abort(self):
        self.conn.rst(self.st.id, h2wire.INTERNAL_ERROR)
        raise EOFError


class Application:
    """Answers by path; `told` gathers how its side of a request ended, where that is asked for."""

    def __init__(self, protocol, pair=None):
        self.told = []
        self.lock = threading.Lock()
        self.go = threading.Event()
        if protocol == "h1":
            self.backend = Backend(self._h1)
        else:
            self.backend = h2wire.Backend(
                self._h2, tls=h2wire.server_tls(pair) if protocol == "h2s" else None,
                timeout=3 * wire.TIMEOUT)

    def _h1(self, conn):
        while (message := conn.head()) is not None:
            self._serve(AppH1(conn, message))
            if message.closes:
                return

    def _h2(self, conn):
        # One at a time: the matrix asks one by one.
        while (st := conn.accept()) is not None:
            with contextlib.suppress(EOFError):
                self._serve(AppH2(conn, st))

    def _tell(self, what):
        with self.lock:
            self.told.append(what)

    def _serve(self, app):
        getattr(self, "_" + app.path.strip("/").replace("-", "_"))(app)

    @staticmethod
    def _get(app):
        app.body()
        app.answer(pattern(100 * KB))

    @staticmethod
    def _empty(app):
        app.body()
        app.answer(status=204 if app.path == "/none" else 200)

    @staticmethod
    def _interim(app):
        app.body()
        app.interim()
        app.answer(b"after 103")

    @staticmethod
    def _upload(app):
        body, trailers = app.body()
        app.answer(json.dumps([len(body), digest(body), sorted(
            (n.lower(), v) for n, v in trailers if n.lower().startswith("x-"))]).encode())

    @staticmethod
    def _chunked(app):
        app.body()
        app.begin()
        for i in range(30):
            app.piece(pattern(1 + i * 997))
        app.end()

    @staticmethod
    def _trailers(app):
        body, trailers = app.body()
        app.begin()
        app.piece(body)
        app.end([("x-count", str(len(body))), ("x-got", dict(trailers).get("x-sum", "none"))])

    @staticmethod
    def _large(app):
        app.body()
        app.answer(pattern(8 * MB))

    @staticmethod
    def _early(app):
        app.early(b"enough of it", 413)

    def _abort(self, app):
        """Once the client has something of it: before, a proxy may still answer otherwise."""
        app.body()
        app.begin()
        app.piece(pattern(5000))
        self.go.wait(wire.TIMEOUT)
        app.abort()

    def _abandoned(self, app):
        """A request that its client does not end."""
        try:
            app.body()
            self._tell("whole")
        except ENDED:
            self._tell("cut")
            raise EOFError from None

    def _endless(self, app):
        """An answer that its client goes away from."""
        app.body()
        app.begin()
        try:
            for _ in range(2000):
                app.piece(pattern(64 * KB))
            self._tell("whole")
        except ENDED:
            self._tell("cut")
            raise EOFError from None


# --- clients -----------------------------------------------------------------------------------


class ClientH1:
    def __init__(self, address, _tls):
        self.peer = wire.Client(address, timeout=3 * wire.TIMEOUT)
        self.head = None

    def begin(self, method, path, length=None, headers=(), end=True):
        """A request's head. `length` None: no body, or (end=False) one of unknown length."""
        self.method, self.chunked = method, length is None and not end
        lines = [f"{method} {path} HTTP/1.1", "Host: test", "TE: trailers", "Connection: TE"]
        lines += [f"{n}: {v}" for n, v in headers]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None:
            lines.append(f"Content-Length: {length}")
        self.peer.send("\r\n".join(lines) + "\r\n\r\n")

    def piece(self, data):
        if self.chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n" if data else b""
        with contextlib.suppress(ConnectionError):  # of an early answer
            self.peer.send(data)

    def end(self, trailers=()):
        if self.chunked:
            self.peer.send("0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers) + "\r\n")

    def outcome(self):
        message = None
        try:
            message = self.head or self.peer.response_head()
            if self.method != "HEAD" and message.status not in (204, 304) and \
                    not self.peer._body(message):
                message.body = self.peer.read_to_end()
            return Outcome(message.status, message.body, message.trailers)
        except (*ENDED, ValueError):  # what read_a_little() has left is no chunk's beginning
            # How much came before a cut is the network's affair.
            return Outcome(message.status if message else 0, end="cut")

    def interim(self):
        message = self.peer.response_head()
        self.peer._body(message)
        return [(m.status, m.get("link")) for m in message.interim], message.body

    def read_slowly(self, n):
        """The answer, a piece at a time."""
        head = self.peer.response_head()
        body = bytearray()
        while len(body) < n:
            body += self.peer.read(min(64 * KB, n - len(body)))
            time.sleep(PAUSE)  # the slowness itself
        return Outcome(head.status, bytes(body))

    def read_a_little(self):
        self.head = self.peer.response_head()
        self.peer.read(1000)

    def abort(self):
        self.peer.close()

    close = abort


class ClientH2:
    def __init__(self, address, tls):
        self.peer = h2wire.Client(address, tls=tls, timeout=3 * wire.TIMEOUT).ready()
        self.scheme = "https" if tls else "http"

    def begin(self, method, path, length=None, headers=(), end=True):
        fields = h2wire.request_fields(method, path, scheme=self.scheme, headers=[
            ("te", "trailers"), *headers])
        if length is not None:
            fields.append(("content-length", str(length)))
        self.ended = end and not length
        self.st = self.peer.open(fields, end=self.ended)

    def piece(self, data):
        if data:
            self.peer.send_body(self.st, data, end=False)

    def end(self, trailers=()):
        if self.ended or self.st.reset is not None:
            return
        if trailers:
            self.peer.headers(self.st.id, list(trailers), end=True)
        else:
            self.peer.data(self.st.id, end=True)

    def outcome(self):
        with contextlib.suppress(*ENDED):
            self.peer.until(lambda: self.st.over, "its end")
        st = self.st
        if st.ended:
            return Outcome(st.status, bytes(st.body), st.trailers or ())
        return Outcome(st.status if st.head else 0, end="cut")

    def interim(self):
        self.peer.response(self.st)
        return [(int(dict(i)[":status"]), dict(i).get("link")) for i in self.st.interim], \
            bytes(self.st.body)

    def read_slowly(self, n):
        """The windows are opened a piece at a time."""
        self.peer.credit = False
        given = 0
        while not self.st.over:
            self.peer.until(lambda: self.st.over or self.st.received >= given + 32 * KB, "a piece")
            more = self.st.received - given
            if more and not self.st.over:
                self.peer.window_update(0, more)
                self.peer.window_update(self.st.id, more)
                given += more
            time.sleep(PAUSE)  # the slowness itself
        assert self.st.received == n
        return self.outcome()

    def read_a_little(self):
        self.peer.until(lambda: self.st.received >= 1000, "a little")

    def abort(self):
        self.peer.rst(self.st.id)

    def close(self):
        self.peer.close()


# --- the cases ---------------------------------------------------------------------------------


def post(client, body, declared=True, pieces=1, trailers=()):
    client.begin("POST", "/upload", len(body) if declared else None, end=False)
    step = max(1, -(-len(body) // pieces))
    for at in range(0, len(body), step):
        client.piece(body[at:at + step])
    client.end(trailers)
    return client.outcome()


def get(client, app):
    client.begin("GET", "/get")
    return client.outcome()


def head(client, app):
    client.begin("HEAD", "/get")
    return client.outcome()


def interim(client, app):
    client.begin("GET", "/interim")
    heads, body = client.interim()
    return Outcome(200, body, told=heads)


def chunked_both_ways(client, app):
    outcome = post(client, pattern(300 * KB), declared=False, pieces=37)
    client.begin("GET", "/chunked")
    outcome.told = [vars(client.outcome())]
    return outcome


def trailers_both_ways(client, app):
    client.begin("POST", "/trailers", end=False, headers=[("Trailer", "x-sum")]
                 if isinstance(client, ClientH1) else [("trailer", "x-sum")])
    client.piece(b"some bytes")
    client.end([("x-sum", "abc")])
    return client.outcome()


def early(client, app):
    client.begin("POST", "/early", 4 * MB, end=False)
    client.piece(pattern(64 * KB))
    return client.outcome()


def client_abort_of_a_request(client, app):
    client.begin("POST", "/abandoned", MB, end=False)
    client.piece(pattern(60 * KB))
    wire.wait_for(lambda: app.backend.requests, "the application has the request")
    client.abort()
    wire.wait_for(lambda: app.told, "the application sees it")
    return Outcome(told=app.told[:])


def client_abort_of_an_answer(client, app):
    client.begin("GET", "/endless")
    client.read_a_little()
    client.abort()
    wire.wait_for(lambda: app.told, "the application sees it", 3 * wire.TIMEOUT)
    return Outcome(told=app.told[:])


def upstream_abort(client, app):
    client.begin("GET", "/abort")
    client.read_a_little()
    app.go.set()
    return client.outcome()


def slow_reader(client, app):
    client.begin("GET", "/large")
    return client.read_slowly(8 * MB)


def slow_sender(client, app):
    client.begin("POST", "/upload", SLOW_PIECES * SLOW_PIECE, end=False)
    for i in range(SLOW_PIECES):
        client.piece(pattern(SLOW_PIECE))
        time.sleep(PAUSE)  # the slowness itself
    client.end()
    return client.outcome()


CASES = {
    "get": get,
    "head": head,
    "interim": interim,
    "post_0": lambda client, app: post(client, b""),
    "post_1": lambda client, app: post(client, b"x"),
    "post_64k": lambda client, app: post(client, pattern(64 * KB)),
    "post_8m": lambda client, app: post(client, pattern(8 * MB)),
    "chunked": chunked_both_ways,
    "trailers": trailers_both_ways,
    "early": early,
    "client_abort_of_a_request": client_abort_of_a_request,
    "client_abort_of_an_answer": client_abort_of_an_answer,
    "upstream_abort": upstream_abort,
    "slow_reader": slow_reader,
    "slow_sender": slow_sender,
}


def run(case, client_protocol, address, app, tls=None):
    """One case, by a client of that protocol."""
    client = ClientH1(address, None) if client_protocol == "h1" else ClientH2(address, tls)
    try:
        return CASES[case](client, app)
    finally:
        client.close()
