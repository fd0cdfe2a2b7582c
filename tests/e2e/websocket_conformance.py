#!/usr/bin/env python3
"""WebSocket conformance (RFC 6455, 7692, 8441): the families of the Autobahn test suite against an
application built on wsproto, directly and through sluice, client and application by HTTP/1.1 and by
HTTP/2. What a client sees through sluice must be right, and be what it sees without. The last line is
`N passed, N failed`.

    tests/e2e/websocket_conformance.py [--only WAY] [--family N] [CASE...]"""

import argparse
import base64
import collections
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests/scenario")]

import h2wire  # noqa: E402
import harness  # noqa: E402
import websocket  # noqa: E402
from websocket import CLOSE, CONTINUATION, PING, PONG, TEXT  # noqa: E402
from wire import Message, free_port  # noqa: E402

import websocket_cases  # noqa: E402

TIMEOUT = 10  # s without a byte that is due

# name: (the client speaks, the application speaks, through sluice)
WAYS = {
    "direct h1": ("h1", "h1", False),
    "direct h2": ("h2", "h2", False),
    "h1 to h1": ("h1", "h1", True),
    "h2 to h1": ("h2", "h1", True),
    "h1 to h2": ("h1", "h2", True),
    "h2 to h2": ("h2", "h2", True),
}

# What may differ, and why it is right.
EARLY = """A fault that comes in one piece with a message, behind it: the application answers the message
first. Sluice sees the fault when it passes the message on, and fails the connection at once (RFC 6455
§7.1.7 asks for no more): the answer that is on its way is dropped, the code is the same."""


class Late(Exception):
    """Nothing came within TIMEOUT."""


# --- what carries it ----------------------------------------------------------------------------

class ByHttp1:
    """Reads while it writes, so that neither end waits for the other."""

    def __init__(self, port, offer):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.buffer, self.end, self.at = bytearray(), None, 0
        key = base64.b64encode(os.urandom(16)).decode()
        lines = "".join(f"{n}: {v}\r\n" for n, v in websocket.request_headers(key, offer))
        self.send(f"GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())
        while b"\r\n\r\n" not in self.buffer:
            if self.end:
                raise EOFError("no answer to the handshake")
            self.wait(False)
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        answer, self.buffer = Message(head), bytearray(rest)
        assert answer.status == 101, answer
        assert answer.get("sec-websocket-accept") == websocket.accept_key(key)
        self.extensions = answer.get("sec-websocket-extensions")

    def wait(self, to_write):
        reads = [] if self.end else [self.sock]
        got = select.select(reads, [self.sock] if to_write else [], [], TIMEOUT)
        if not got[0] and not got[1]:
            raise Late
        if got[0]:
            try:
                data = self.sock.recv(1 << 18)
                self.buffer += data
                self.end = None if data else "end"
            except BlockingIOError:
                pass
            except ConnectionError:
                self.end = "reset"
        return bool(got[1])

    def send(self, data):
        view = memoryview(data)
        while len(view):
            if self.wait(True):
                view = view[self.sock.send(view[:1 << 18]):]

    def read(self, n):
        while len(self.buffer) - self.at < n:
            if self.end:
                raise EOFError
            self.wait(False)
        data = bytes(memoryview(self.buffer)[self.at:self.at + n])
        self.at += n
        if self.at == len(self.buffer):
            self.buffer, self.at = bytearray(), 0
        return data

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()


class ByHttp2:
    """An extended CONNECT on a connection of its own."""

    def __init__(self, port, offer):
        self.conn = h2wire.Client(f"127.0.0.1:{port}", timeout=TIMEOUT).ready()
        ws = websocket.connect_h2(self.conn, extensions=offer)
        self.st, self.peer = ws.response, ws.peer
        self.extensions = self.st.get("sec-websocket-extensions")

    def send(self, data):
        if not self.st.over:
            self.peer.send(data)

    def read(self, n):
        try:
            return self.peer.read(n)
        except AssertionError as e:
            if "nothing more came" in str(e):
                raise Late from e
            raise

    @property
    def end(self):
        return self.st.end

    def half_close(self):
        self.peer.half_close()

    def close(self):
        self.conn.close()


# --- what a client says -------------------------------------------------------------------------

class Deflate:
    """RFC 7692, with the parameters that were agreed to."""

    def __init__(self, extensions):
        options = {}
        for item in extensions.split(";")[1:]:
            name, _, value = item.strip().partition("=")
            options[name] = int(value) if value else True
        self.out_bits = -options.get("client_max_window_bits", 15)
        self.in_bits = -options.get("server_max_window_bits", 15)
        self.forgets = "client_no_context_takeover" in options
        self.peer_forgets = "server_no_context_takeover" in options
        self.out = self.back = None

    def compress(self, payload):
        if not self.out or self.forgets:
            self.out = zlib.compressobj(wbits=self.out_bits)
        return (self.out.compress(payload) + self.out.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def restore(self, payload):
        if not self.back or self.peer_forgets:
            self.back = zlib.decompressobj(wbits=self.in_bits)
        return self.back.decompress(payload + b"\0\0\xff\xff")


class Driver:
    """A client. Its calls return it; what must come is noted as it speaks."""

    def __init__(self, carrier):
        self.carrier = carrier
        self.ws = websocket.WebSocket(carrier, True)
        self.deflate = None
        if carrier.extensions and "permessage-deflate" in carrier.extensions:
            self.deflate = Deflate(carrier.extensions)
        self.wanted, self.seen = [], []
        self.codes, self.told = None, None  # the Close that must come, and that came
        self.step, self.held, self.loose = 0, None, False
        self.said_close = self.within = self.failing = self.lenient = False
        self.how = None

    # --- out ---

    def raw(self, frame):
        if self.held is not None:
            self.held += frame
        elif not self.step:
            self._send(frame)
        else:
            for at in range(0, len(frame), self.step):
                self._send(frame[at:at + self.step])
        return self

    def _send(self, piece):
        try:
            self.carrier.send(piece)
        except ConnectionError:
            pass  # how it ended is seen where it is read

    def chopped(self, step):
        self.step = step
        return self

    def hold(self):
        """From here on until release() all goes out in one piece."""
        self.held = b""
        return self

    def release(self):
        held, self.held, self.loose = self.held, None, True
        return self.raw(held)

    def send(self, opcode, payload=b"", fin=True, rsv=0, plain=False):
        if self.deflate and not plain and opcode in (TEXT, websocket.BINARY):
            assert fin
            payload, rsv = self.deflate.compress(payload), rsv | 4
        self.said_close |= opcode == CLOSE
        return self.raw(websocket.frame(opcode, payload, fin, rsv, os.urandom(4)))

    def part(self, opcode, payload, n):
        """A frame of which only n bytes of payload go out."""
        frame = websocket.frame(opcode, payload, mask=os.urandom(4))
        self.within = True
        return self.raw(frame[:len(frame) - len(payload) + n])

    def want(self, opcode, payload):
        self.wanted.append((opcode, payload))
        return self

    def echo(self, opcode, payload):
        return self.send(opcode, payload).want(opcode, payload).await_all()

    def ping(self, payload):
        return self.send(PING, payload).want(PONG, payload).await_all()

    def pings(self, payloads):
        for payload in payloads:
            self.send(PING, payload).want(PONG, payload)
        return self.await_all()

    def fragmented(self, opcode, payload, size, between=None):
        self.want(opcode, payload)
        rsv, out = 0, []
        if self.deflate:
            payload, rsv = self.deflate.compress(payload), 4
        for at in range(0, max(len(payload), 1), size):
            last = at + size >= len(payload)
            out.append(websocket.frame(CONTINUATION if at else opcode, payload[at:at + size], last,
                                       0 if at else rsv, os.urandom(4)))
            if between and not last:
                # Its pong comes before the message's end: in front of what is wanted already.
                self.raw(b"".join(out))
                out.clear()
                whole = self.wanted.pop()
                between(self)
                self.wanted.append(whole)
        return self.raw(b"".join(out)).await_all()

    def close(self, code, reason=b""):
        self.codes = (1005 if code is None else code,)
        return self.send(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)

    def closing(self, code, behind):
        """Close, and more in the same piece."""
        self.hold().close(code)
        behind(self)
        held, self.held = self.held, None
        return self.raw(held)

    def fails(self, codes):
        self.codes, self.failing = codes, True
        return self

    def whatever_comes(self):
        """It is the application's fault: through sluice it is the same."""
        self.lenient = True
        return self

    def leave(self):
        self.codes = (1006,)
        self.carrier.half_close()
        return self

    # --- in ---

    def await_all(self):
        while self.held is None and len(self.seen) < len(self.wanted) and self.receive():
            pass
        return self

    def receive(self):
        """The next message, pong or Close; False at the end."""
        opcode, parts, bits = None, [], 0
        try:
            while True:
                frame = self.ws.recv()
                assert self.told is None, f"{frame} behind Close"
                if frame.opcode == CLOSE:
                    self.told = frame
                    return False
                if frame.opcode in (PING, PONG):
                    self.seen.append((frame.opcode, frame.payload))
                    return True
                if opcode is None:
                    opcode, bits = frame.opcode, frame.rsv
                parts.append(frame.payload)
                if frame.fin:
                    break
        except (EOFError, ConnectionError):
            return False
        payload = b"".join(parts)
        if bits == 4 and self.deflate:
            payload, bits = self.deflate.restore(payload), 0
        assert bits == 0, f"reserved bits {bits}"
        self.seen.append((opcode, payload))
        return True

    def finish(self):
        """All is said: Close where there was none, and the end, which is the server's to begin."""
        if self.codes is None:
            self.close(1000)
        while self.receive():
            pass
        if self.told and not self.said_close and not self.within:
            self.send(CLOSE, self.told.payload[:2])
        if self.told:
            self.receive()
        self.how = self.carrier.end


def short(messages):
    return [f"{opcode} {payload[:20]!r} ({len(payload)})" for opcode, payload in messages[-3:]]


class Result:
    """What one case has shown; `why` it is wrong, or None."""

    def __init__(self, fn, port):
        self.why = self.code = self.how = self.extensions = None
        self.seen, self.reason, self.early = [], b"", False
        carrier = None
        try:
            carrier = CARRIERS[port[0]](port[1], getattr(fn, "offer", None))
            self.extensions = carrier.extensions
            d = Driver(carrier)
            try:
                fn(d)
                d.finish()
            except Late:
                d.how = "nothing more came"
            self.judge(d)
        except (AssertionError, OSError, EOFError, struct.error, zlib.error) as e:
            self.why = f"{type(e).__name__}: {e}"[:400]
        finally:
            if carrier:
                carrier.close()

    def judge(self, d):
        self.seen, self.how = d.seen, d.how
        self.code = d.told.code if d.told else 1006
        # Of its own Closes sluice says the code alone, and wsproto says where in a read a fault is.
        if d.told and not d.failing:
            self.reason = d.told.payload[2:]
        if d.lenient:
            return
        self.early = d.loose and d.seen != d.wanted and d.seen == d.wanted[:len(d.seen)]
        if d.seen != d.wanted and not self.early:
            self.why = f"{short(d.seen)} came, not {short(d.wanted)}"
        elif self.code not in d.codes:
            self.why = f"the code is {self.code}, not {d.codes}"
        elif self.how != "end":
            self.why = f"it ended by {self.how!r}"

    def differs(self, base):
        if self.early and not base.early:
            return None  # EARLY
        for what in ("seen", "code", "reason", "how", "extensions"):
            mine, other = getattr(self, what), getattr(base, what)
            if mine != other:
                return f"{what}: {str(mine)[:200]}, directly {str(other)[:200]}"
        return None


CARRIERS = {"h1": ByHttp1, "h2": ByHttp2}


# --- all of it ----------------------------------------------------------------------------------

class Rig:
    """The application, and a sluice with a listener for each of its ports."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="sluice-websocket-")
        app = {"h1": free_port(), "h2": free_port()}
        self.app = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "websocket_echo.py"), str(app["h1"]),
             str(app["h2"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.app.stdout.readline() == "ready\n"
        sluice = {"h1": free_port(), "h2": free_port()}
        route = {"websocket": {"pingInterval": "0s"}}
        self.sluice = harness.Sluice(self.directory, {
            "listeners": [{"name": f"to-{up}", "address": f"127.0.0.1:{port}",
                           "routes": [harness.forward(up, **route)]}
                          for up, port in sluice.items()],
            "upstreams": [{"name": "h1", "endpoints": [f"127.0.0.1:{app['h1']}"]},
                          {"name": "h2", "endpoints": [f"127.0.0.1:{app['h2']}"],
                           "protocol": "http2"}]})
        self.ports = {way: (down, (sluice if proxied else app)[up])
                      for way, (down, up, proxied) in WAYS.items()}

    def end(self):
        """What is left alive afterwards, or None."""
        try:
            self.sluice.settle()
            self.sluice.stop()
            return None
        except AssertionError as e:
            return str(e)[-3000:]

    def close(self):
        self.sluice.kill()
        self.app.stdin.close()
        try:
            self.app.wait(5)
        except subprocess.TimeoutExpired:
            self.app.kill()
            self.app.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--only", choices=WAYS, action="append", help="through sluice; directly always")
    p.add_argument("--family", type=int, action="append")
    p.add_argument("cases", nargs="*", metavar="CASE", help="a part of its name")
    args = p.parse_args()
    cases = [(family, name, fn) for family, name, fn in websocket_cases.ALL
             if (not args.family or family in args.family) and
             (not args.cases or any(c in name for c in args.cases))]
    ways = [w for w, how in WAYS.items() if not how[2] or not args.only or w in args.only]
    good = {way: collections.Counter() for way in ways}
    early = collections.Counter()
    passed = failed = 0
    began = time.monotonic()
    rig = Rig()
    try:
        for family, name, fn in cases:
            base = {}
            for way in ways:
                got = Result(fn, rig.ports[way])
                why = got.why
                if WAYS[way][2]:
                    why = why or got.differs(base[WAYS[way][1]])
                    early[way] += got.early and not base[WAYS[way][1]].early
                else:
                    base[WAYS[way][1]] = got
                good[way][family] += why is None
                passed, failed = passed + (why is None), failed + (why is not None)
                if why:
                    print(f"{way}: FAILED: {family}, {name}: {why}", flush=True)
        why = rig.end()
        if why:
            print(f"the end: FAILED: {why}")
        passed, failed = passed + (why is None), failed + (why is not None)
    finally:
        rig.close()
    print(f"{'':28} {'cases':>6} " + " ".join(f"{way:>10}" for way in ways))
    total = collections.Counter(family for family, _, _ in cases)
    for family, n in sorted(total.items()):
        print(f"{family:2} {websocket_cases.FAMILIES[family]:25} {n:6} " +
              " ".join(f"{good[way][family]:10}" for way in ways))
    print(f"{'':3}{'answers dropped at a fault':32} " + " ".join(f"{early[way]:10}" for way in ways))
    print("   " + EARLY.replace("\n", "\n   "))
    print(f"took {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
