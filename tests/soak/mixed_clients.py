#!/usr/bin/env python3
"""The mixed load's clients but for HTTP/1.1 requests: HTTP/2 connections with many streams and idle
ones, gRPC, WebSockets by upgrade and by extended CONNECT.

    mixed_clients.py JSON     {"address", "seed", and how many of each: see Clients}

A line of JSON when all is open, one for `tell`, and one at the standard input's end, when all
connections have ended or have had the time. Times are the monotonic clock's."""

import base64
import collections
import json
import os
import random
import socket
import sys
import time

from mixed_wire import (FIRST_PART, IN_PARTS, SECOND_PART, WAIT, Fed, Loop, OnStream, frames,
                        grpc_message, h2wire, take_frames, tell, websocket)

PATIENCE = 5       # s from the standard input's end to ours
OPENING = 30       # s until all is open
CROSSING = 5       # streams that a client sends behind its ACK of the PING
GRPC = ("content-type", "application/grpc"), ("te", "trailers")
UNAVAILABLE = "14"
PATHS = ("/1", "/2")  # to the application by HTTP/1.1, by HTTP/2
KINDS = ("quiet", "quiet", "quiet", "quiet", "quiet", "quiet", "talks", "talks", "in parts",
         "is told in parts")


class WebSocket:
    """The client's end, however it is carried. It answers Close between two messages."""

    def __init__(self, clients, peer, kind, hang_up):
        self.clients, self.kind, self.hang_up = clients, kind, hang_up
        self.ws = websocket.WebSocket(peer, True)
        self.code = None
        self.partial = False  # a message of ours is open
        clients.loop.after(random.random(), self.talk)

    def talk(self):
        if self.code is not None or self.kind == "quiet":
            return
        try:
            if self.kind == "talks":
                self.ws.text(os.urandom(8).hex())
            elif self.kind == "is told in parts":
                self.ws.text(IN_PARTS)
            elif self.partial:
                self.last_part()
            else:
                self.ws.text(FIRST_PART, fin=False)
                self.partial = True
        except OSError:
            return  # its end is seen where it is read
        self.clients.loop.after(0.2 + 0.3 * random.random(), self.talk)

    def last_part(self):
        self.ws.send(websocket.CONTINUATION, SECOND_PART)
        self.partial = False

    def turn(self):
        for frame in frames(self.ws):
            assert self.code is None, f"{frame} after Close"
            if frame.opcode == websocket.CLOSE:
                self.code = frame.code
                if self.partial:
                    self.last_part()
                self.ws.close(self.code)
                self.hang_up()
            elif frame.opcode == websocket.PING:
                self.ws.send(websocket.PONG, frame.payload)
            else:
                self.clients.counts["websocket frames"] += 1

    def ended(self, how):
        code = self.code or 1006
        self.clients.websockets[f"{code}" if how == "end" else f"{code}, {how}"] += 1


class Upgraded:
    """A WebSocket over a connection of its own."""

    def __init__(self, clients, path, kind):
        self.clients, self.kind, self.it = clients, kind, None
        self.sock = socket.socket()
        host, _, port = clients.address.rpartition(":")
        self.sock.connect((host, int(port)))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = Fed(self.sock)
        self.key = base64.b64encode(os.urandom(16)).decode()
        lines = "".join(f"{n}: {v}\r\n" for n, v in websocket.request_headers(self.key))
        self.peer.send(f"GET {path}/websocket HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
        clients.loop.read(self.sock, self.ready)
        clients.opening.add(self)
        clients.open.add(self)

    def ready(self):
        how = "end"
        try:
            more = self.peer.take()
        except ConnectionError:
            more, how = False, "reset"
        try:
            self.turn()
        except ConnectionError:
            pass  # the end comes to be read
        if not more:
            if self.it:
                self.it.ended(how)
            else:
                self.clients.websockets["no upgrade"] += 1
            self.clients.opening.discard(self)
            self.clients.open.discard(self)
            self.clients.loop.close(self.sock)

    def turn(self):
        if not self.it and b"\r\n\r\n" in self.peer.buffer:
            answer = self.peer._head()
            assert answer.status == 101, answer
            assert answer.get("sec-websocket-accept") == websocket.accept_key(self.key)
            self.it = WebSocket(self.clients, self.peer, self.kind, lambda: None)
            self.clients.opening.discard(self)
        if self.it:
            self.it.turn()


class Http2:
    """An HTTP/2 connection: `want` calls of one kind at a time, a new one where one has ended, until
    the first GOAWAY. What it was told is in `facts`."""

    def __init__(self, clients, name, call=None, want=0, most=None):
        self.clients, self.call, self.want, self.most = clients, call, want, most
        self.peer = h2wire.Client(clients.address, timeout=10)
        self.peer.was_reset = False
        self.calls = {}
        self.facts = {"name": name, "first": None, "final": None, "acked": None, "rounds": 0,
                      "last": None, "wrong": [], "end": None}
        clients.facts.append(self.facts)
        clients.loop.read(self.peer.sock, self.ready)
        clients.open.add(self)
        clients.opening.add(self)

    def fill(self):
        while (len(self.calls) < self.want and self.facts["first"] is None and
               (self.most is None or self.most > 0)):
            self.begin()

    def begin(self):
        call = self.call(self.clients)
        st = self.peer.open(call.fields(), end=False)
        call.begin(self.peer, st)
        self.calls[st.id] = (st, call)
        if self.most is not None:
            self.most -= 1

    def ready(self):
        more = take_frames(self.peer)
        try:
            self.turn()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the end comes to be read
        if not more:
            self.ended()

    def turn(self):
        seen = list(self.peer.frames)
        self.peer.frames.clear()
        for frame in seen:
            if frame.kind == h2wire.GOAWAY:
                self.on_goaway(frame)
            elif frame.kind == h2wire.PING:
                self.on_ping(frame)
            elif frame.kind == h2wire.RST_STREAM and frame.stream not in self.calls:
                if any(frame.payload):
                    self.facts["wrong"].append(f"{frame!r} on a stream that has ended")
        for number in {f.stream for f in seen if f.stream in self.calls}:
            st, call = self.calls[number]
            call.turn(self.peer, st)
            if st.over:
                del self.calls[number]
                self.peer.streams.pop(number, None)
                call.over(st, self.facts["last"])
        if self in self.clients.opening and self.peer.settings_seen and self.peer.settings_acks:
            self.clients.opening.discard(self)
            self.clients.settled(self)
        self.fill()

    def on_goaway(self, frame):
        now, facts = time.monotonic(), self.facts
        last, code = (int.from_bytes(frame.payload[i:i + 4], "big") for i in (0, 4))
        if code != h2wire.NO_ERROR or frame.payload[8:]:
            facts["wrong"].append(f"GOAWAY {h2wire.code_name(code)} {frame.payload[8:]!r}")
        if facts["first"] is None:
            facts["first"] = now
            if last != h2wire.LAST_STREAM:
                facts["wrong"].append(f"the first GOAWAY says {last}")
            self.clients.go_elsewhere(self)
        elif facts["final"] is None:
            facts["final"], facts["last"] = now, last
            if last >= self.peer.next_id:
                facts["wrong"].append(f"the second GOAWAY says {last}")
        else:
            facts["wrong"].append("a third GOAWAY")

    def cross(self):
        if self.facts["name"] == "crossing":
            for _ in range(CROSSING):
                self.begin()

    def on_ping(self, frame):
        facts = self.facts
        if not frame.flags & h2wire.ACK:
            if facts["first"] is None:
                facts["wrong"].append("a PING before the first GOAWAY")
            if not self.peer.auto:
                return  # deaf to it
            facts["acked"] = time.monotonic()
            self.peer.ping(b"round  1")  # behind the ACK: when it is back, a round trip is over
            self.cross()
        elif facts["final"] is None:
            facts["rounds"] += 1
            if facts["rounds"] < 10:
                self.peer.ping(b"round  n")

    def ended(self):
        last = self.facts["last"]
        self.facts["end"] = "reset" if self.peer.was_reset else "end"
        for st, call in self.calls.values():
            call.lost(st, last)
        self.clients.opening.discard(self)
        self.clients.open.discard(self)
        self.clients.loop.close(self.peer.sock)


class Unary:
    """A POST by HTTP/2."""
    name = "HTTP/2 POST"

    def __init__(self, clients):
        self.counts = clients.calls[self.name]
        self.failures = clients.failures
        self.body = os.urandom(300)
        self.ms = random.randrange(100, 800)
        self.counts["sent"] += 1

    def fields(self):
        return h2wire.request_fields("POST", random.choice(PATHS) + "/post",
                                     headers=[(WAIT, str(self.ms)), ("content-length", "300")])

    def begin(self, peer, st):
        peer.data(st.id, self.body, end=True)

    def turn(self, peer, st):
        pass

    def answered(self, st):
        return st.status == 200 and st.body == self.body

    def over(self, st, last):
        if st.ended and st.reset in (None, h2wire.NO_ERROR) and st.head and self.answered(st):
            self.counts["answered"] += 1
        elif st.reset == h2wire.REFUSED_STREAM and last is not None and st.id > last:
            self.counts["refused_stream"] += 1
        else:
            self.failed(f"{st!r}, last {last}")

    def lost(self, st, last):
        """The connection has ended."""
        if last is not None and st.id > last:
            self.counts["above_last"] += 1
        else:
            self.failed(f"lost: {st!r}, last {last}")

    def failed(self, text):
        self.counts["failed"] += 1
        if len(self.failures) < 10:
            self.failures.append(f"{self.name}: {text}"[:400])


class GrpcUnary(Unary):
    name = "gRPC unary"

    def fields(self):
        return h2wire.request_fields("POST", "/2/soak.Echo/Unary",
                                     headers=[*GRPC, (WAIT, str(self.ms))])

    def begin(self, peer, st):
        self.body = grpc_message(self.body)
        peer.data(st.id, self.body, end=True)

    def answered(self, st):
        return super().answered(st) and st.trailer("grpc-status") == "0"


class GrpcBidi(Unary):
    """A stream that goes on until it is ended: messages each 0.1 s, and back."""
    name = "gRPC bidi"

    def __init__(self, clients):
        super().__init__(clients)
        self.clients, self.live = clients, True
        clients.opening.add(self)

    def fields(self):
        return h2wire.request_fields("POST", "/2/soak.Echo/Bidi", headers=GRPC)

    def begin(self, peer, st):
        self.say(peer, st)

    def say(self, peer, st):
        if self.live and not st.over:
            try:
                peer.data(st.id, grpc_message(os.urandom(40)))
            except OSError:
                return
            self.clients.loop.after(0.1, self.say, peer, st)

    def turn(self, peer, st):
        if st.body:
            self.clients.opening.discard(self)
            st.body.clear()

    def over(self, st, last):
        self.live = False
        self.clients.opening.discard(self)
        if st.reset in (None, h2wire.NO_ERROR) and st.ended and st.head and st.received:
            self.counts["grpc-status " + str(st.trailer("grpc-status"))] += 1
            self.clients.told_at.append(time.monotonic())
        else:
            self.failed(repr(st))

    def lost(self, st, last):
        self.live = False
        self.failed(f"lost: {st!r}")


class Tunnel(Unary):
    """A WebSocket by extended CONNECT."""
    name = "extended CONNECT"

    def __init__(self, clients):
        super().__init__(clients)
        self.clients, self.it = clients, None
        clients.opening.add(self)

    def fields(self):
        return [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                (":path", random.choice(PATHS) + "/websocket"), (":authority", "test"),
                ("sec-websocket-version", "13")]

    def begin(self, peer, st):
        self.kind = random.choice(KINDS)

    def turn(self, peer, st):
        if not self.it and st.head and st.status == 200:
            self.it = WebSocket(self.clients, OnStream(peer, st), self.kind,
                                lambda: peer.data(st.id, end=True))
            self.clients.opening.discard(self)
        if self.it:
            self.it.ws.peer.take()
            self.it.turn()

    def over(self, st, last):
        if self.it:
            self.it.ended("end" if st.reset in (None, h2wire.NO_ERROR) else st.end)
        else:
            self.clients.websockets["no upgrade"] += 1
            self.failed(repr(st))

    def lost(self, st, last):
        if self.it:
            self.it.ended("lost")
        else:
            self.failed(f"lost: {st!r}")


class Clients:
    """`many`, `unary`, `bidi`, `idle`: connections of that kind; `streams` calls at once on each of
    `many`. With idle ones, one that does not acknowledge the PING, and one whose streams cross the
    GOAWAYs. `websockets` by upgrade, `tunnels` by extended CONNECT."""

    def __init__(self, address, seed=0, many=0, streams=0, unary=0, bidi=0, bidi_streams=0, idle=0,
                 websockets=0, tunnels=0):
        random.seed(seed)
        self.address = address
        self.loop = Loop()
        self.counts = collections.Counter()
        self.calls = collections.defaultdict(collections.Counter)
        self.websockets = collections.Counter()
        self.failures, self.facts, self.told_at = [], [], []
        self.open, self.opening = set(), set()
        self.elsewhere = collections.Counter()
        self.ready = self.ending = False
        self.began = time.monotonic()
        for _ in range(bidi):
            Http2(self, "bidi", GrpcBidi, bidi_streams, bidi_streams)
        for at in range(0, tunnels, 100):
            Http2(self, "tunnels", Tunnel, min(100, tunnels - at), min(100, tunnels - at))
        for i in range(idle):
            Http2(self, *(("used", Unary, 1, 1) if i % 2 else ("idle",)))
        if idle:
            Http2(self, "deaf")
            Http2(self, "crossing", Unary, 2)
        for i in range(websockets):
            Upgraded(self, PATHS[tunnels > 0 and i % 5 == 4], KINDS[i % len(KINDS)])
        self.load = [("many", Unary, streams)] * many + [("unary", GrpcUnary, 20)] * unary
        self.loop.after(0, self.look)
        self.loop.commands(lambda line: self.tell(), self.end)

    def look(self):
        """All others are open: the load begins, and that is told."""
        if not self.opening and not self.ready:
            self.ready = True
            for how in self.load:
                Http2(self, *how)
            tell({"ready": True, "errors": self.loop.errors})
        elif not self.ready and time.monotonic() < self.began + OPENING:
            self.loop.after(0.01, self.look)
        elif not self.ready:
            kinds = collections.Counter(type(it).__name__ for it in self.opening)
            tell({"opening": kinds, "errors": self.loop.errors, "failures": self.failures,
                  "calls": self.calls, "websockets": self.websockets})

    def settled(self, connection):
        if connection.facts["name"] == "deaf":
            connection.peer.auto = False

    def go_elsewhere(self, connection):
        """As a client does that was told to go: to the next instance, which here is none."""
        if connection.facts["name"] not in ("many", "unary"):
            return
        try:
            Http2(self, "late", connection.call, 1, 1)
            self.elsewhere["taken"] += 1
        except ConnectionRefusedError:
            self.elsewhere["refused"] += 1
        except OSError as e:
            self.elsewhere[type(e).__name__] += 1

    def tell(self):
        tell({"errors": self.loop.errors, "counts": self.counts, "calls": self.calls,
              "websockets": self.websockets, "failures": self.failures, "facts": self.facts,
              "told_at": self.told_at, "elsewhere": self.elsewhere, "left_open": len(self.open)})

    def end(self):
        if not self.ending:
            self.ending = time.monotonic()
        if self.open and time.monotonic() < self.ending + PATIENCE:
            self.loop.after(0.02, self.end)
            return
        self.tell()
        self.loop.stop()


if __name__ == "__main__":
    Clients(**json.loads(sys.argv[1])).loop.run()
