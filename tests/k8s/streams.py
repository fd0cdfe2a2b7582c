#!/usr/bin/env python3
"""Clients that hold on to what they have: WebSockets that exchange messages until they are told to go,
and gRPC streams of some seconds (grpc-go's FullDuplexCall), each over a connection of its own. Who is
told to go comes again at once, to wherever the Service sends it.

    streams.py ADDRESS WEBSOCKETS GRPCS     until the standard input's end; then a line of JSON

Failed is what was begun and was neither answered nor ended by the words of its protocol: Close 1001,
or GOAWAY with REFUSED_STREAM above its last stream. Those are counted under their own names."""

import collections
import os
import random
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))

from mixed_wire import Fed, Loop, frames, grpc_message, h2wire, take_frames, tell, websocket  # noqa: E402

EVERY = 0.1          # s between two messages
MESSAGES = (5, 40)   # of a gRPC stream
PATIENCE = 30        # s without a byte, and what is awaited counts as failed
ENDING = 8           # s at the end for what is open
AGAIN = 0.1          # s after something that went wrong
ONE_ANSWER = grpc_message(b"\x12\x02\x08\x08")  # StreamingOutputCallRequest: one message, 8 bytes
GRPC = ("content-type", "application/grpc"), ("te", "trailers")


class Endless:
    """A client that comes again."""

    def __init__(self, clients, name):
        self.clients, self.loop, self.name = clients, clients.loop, name
        self.counts = clients.counts[name]
        self.loop.after(random.random(), self.connect)
        self.connected = False

    def connect(self):
        if self.clients.ending:
            self.clients.open.discard(self)
            return
        self.counts["connects"] += 1
        sock = socket.socket()
        sock.setblocking(False)
        try:
            sock.connect(self.clients.address)
        except BlockingIOError:
            pass
        self.heard = time.monotonic()
        # Writable, or refused: either is readable from a writer's callback.
        self.loop.loop.add_writer(sock, self.loop.guarded, self.on_connect, sock)

    def on_connect(self, sock):
        self.loop.loop.remove_writer(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.counts["refused"] += 1
            self.clients.note(self.name, os.strerror(error))
            sock.close()
            self.loop.after(AGAIN, self.connect)
            return
        sock.setblocking(True)
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connected = True
        self.sock = sock
        self.greet(sock)
        self.loop.read(sock, self.ready)

    def failed(self, how):
        self.counts["failed"] += 1
        self.clients.note(self.name, how)

    def ready(self):
        how = "FIN"
        self.heard = time.monotonic()
        try:
            more = self.take()
        except ConnectionError:
            more, how = False, "RST"
        try:
            self.turn()
        except ConnectionError:
            pass  # the end comes to be read
        if not more and self.connected:
            self.gone(how)
            self.hang_up()

    def hang_up(self):
        self.connected = False
        self.loop.close(self.sock)
        self.loop.after(0, self.connect)


class WebSocket(Endless):
    def greet(self, sock):
        self.peer, self.ws = Fed(sock), None
        self.state, self.awaited = "opening", 0
        lines = "".join(f"{n}: {v}\r\n" for n, v in websocket.request_headers())
        self.peer.send(f"GET /websocket HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
        self.counts["sent"] += 1

    def take(self):
        return self.peer.take()

    def turn(self):
        if not self.ws and b"\r\n\r\n" in self.peer.buffer:
            answer = self.peer._head()
            if answer.status != 101:
                self.failed(f"upgrade: {answer.status} {answer.get('proxy-status')}")
                self.state = "over"
                self.hang_up()
                return
            self.ws, self.state = websocket.WebSocket(self.peer, True), "open"
            self.loop.after(0, self.talk, self.ws)
        if not self.ws:
            return
        for frame in frames(self.ws):
            if frame.opcode == websocket.CLOSE:
                if self.state == "open":
                    self.ws.close(frame.code)
                self.counts[f"closed_{frame.code}"] += 1
                self.state = "over"
            elif frame.opcode == websocket.PING:
                self.ws.send(websocket.PONG, frame.payload)
            else:
                self.awaited -= 1
                self.counts["messages"] += 1

    def talk(self, ws):
        if self.ws is not ws or self.state != "open":
            return
        if self.clients.ending:
            self.state = "closing"
            ws.close(1000)
            return
        try:
            ws.text("x" * 50)
            self.awaited += 1
        except OSError:
            return
        self.loop.after(EVERY * (0.5 + random.random()), self.talk, ws)

    def gone(self, how):
        if self.state != "over":
            self.failed(f"{how} while {self.state}, {self.awaited} messages unanswered")
        else:
            self.counts["answered"] += 1
            # They had been sent before the Close was read: the other end reads none behind its own.
            self.counts["messages_crossed"] += max(self.awaited, 0)


class Grpc(Endless):
    def greet(self, sock):
        self.peer = h2wire.Peer(sock, True)
        self.st, self.last = None, None
        self.peer.start()
        self.begin()

    def begin(self):
        if not self.connected or self.st:
            return
        self.messages = random.randrange(*MESSAGES)
        self.counts["sent"] += 1
        fields = h2wire.request_fields("POST", "/grpc.testing.TestService/FullDuplexCall",
                                       headers=GRPC)
        self.st = self.peer.open(fields, end=False)
        self.loop.after(0, self.talk, self.st)

    def talk(self, st):
        if st is not self.st or st.over or not self.connected:
            return
        try:
            if self.messages == 0 or self.clients.ending:
                self.peer.data(st.id, end=True)
                return
            self.messages -= 1
            self.peer.data(st.id, ONE_ANSWER)
        except OSError:
            return
        self.loop.after(EVERY * (0.5 + random.random()), self.talk, st)

    def take(self):
        return take_frames(self.peer)

    def turn(self):
        for frame in self.peer.frames:
            if frame.kind == h2wire.GOAWAY:
                self.last = int.from_bytes(frame.payload[:4], "big")
        self.peer.frames.clear()
        st = self.st
        if not st:
            return
        self.counts["messages"] += len(st.body) // 17
        del st.body[:len(st.body) // 17 * 17]
        if not st.over:
            return
        self.st, pause = None, 0
        self.peer.streams.pop(st.id, None)
        status = st.trailer("grpc-status") if st.head and st.received else None
        if st.reset in (None, h2wire.NO_ERROR) and status == "0":
            self.counts["answered"] += 1
        elif st.reset == h2wire.REFUSED_STREAM:
            self.counts["refused_stream"] += 1
        else:
            self.failed(f"{st!r}, grpc-status {status}")
            pause = AGAIN
        if self.last is not None or self.clients.ending:
            self.counts["told_to_go"] += self.last is not None
            self.hang_up()
        else:
            self.loop.after(pause, self.begin)

    def gone(self, how):
        st = self.st
        if st and self.last is not None and st.id > self.last:
            self.counts["refused_stream"] += 1
        elif st:
            self.failed(f"{how}: {st!r}, last {self.last}")


class Clients:
    def __init__(self, address, websockets, grpcs):
        host, _, port = address.rpartition(":")
        self.address = host, int(port)
        self.loop, self.ending = Loop(), None
        self.counts = {"websocket": collections.Counter(), "grpc": collections.Counter()}
        self.notes = collections.Counter()
        self.open = {WebSocket(self, "websocket") for _ in range(websockets)}
        self.open |= {Grpc(self, "grpc") for _ in range(grpcs)}
        self.loop.commands(lambda line: None, self.end)
        self.loop.after(1, self.look)

    def note(self, name, how):
        if len(self.notes) < 30:
            self.notes[f"{name}: {how}"[:300]] += 1

    def look(self):
        """Whoever is silent for too long has failed."""
        for it in self.open:
            if it.connected and time.monotonic() > it.heard + PATIENCE:
                it.failed(f"silent for {PATIENCE} s")
                it.hang_up()
        self.loop.after(1, self.look)

    def end(self):
        self.ending = self.ending or time.monotonic()
        if self.open and time.monotonic() < self.ending + ENDING:
            self.loop.after(0.02, self.end)
            return
        for it in self.open:
            it.failed("open at the end")
        tell({"counts": self.counts, "notes": self.notes, "errors": self.loop.errors})
        self.loop.stop()


if __name__ == "__main__":
    Clients(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).loop.run()
