#!/usr/bin/env python3
"""The application behind the mixed load: on one port HTTP/1.1 and HTTP/2 (by its preface), POSTs and
unary gRPC answered with what they brought, after as many ms as they say; gRPC bidi streams, whose
messages go back as they come; WebSockets by upgrade and by extended CONNECT.

    mixed_app.py PORT

`ready` on the standard output when it listens. For each line of the standard input a line of JSON:
what has happened since the last one."""

import collections
import socket
import sys

from mixed_wire import (FIRST_PART, IN_PARTS, PART_PAUSE, SECOND_PART, WAIT, Fed, Loop, OnStream,
                        Starved, frames, h2wire, take_frames, tell, websocket)

SETTINGS = {h2wire.MAX_CONCURRENT_STREAMS: 128, h2wire.ENABLE_CONNECT_PROTOCOL: 1}


class WebSocket:
    """The server's end; `hang_up` ends what carries it."""

    def __init__(self, app, peer, hang_up):
        self.app, self.hang_up = app, hang_up
        self.ws = websocket.WebSocket(peer, False)
        self.code = None
        self.opcode, self.payload = None, b""
        self.answering = False  # a message of ours is open
        app.open_websockets += 1

    def turn(self):
        for frame in frames(self.ws):
            assert self.code is None, f"{frame} after Close"
            if frame.opcode == websocket.CLOSE:
                self.code = frame.code
                self.app.counts[f"websocket {self.code}"] += 1
                if self.opcode is not None:
                    self.app.counts["websocket closed within a message"] += 1
                self.ws.close(self.code)
                self.hang_up()
            elif frame.opcode == websocket.PING:
                self.ws.send(websocket.PONG, frame.payload)
            else:
                self.part(frame)

    def part(self, frame):
        assert (frame.opcode == websocket.CONTINUATION) == (self.opcode is not None), frame
        self.opcode = self.opcode or frame.opcode
        self.payload += frame.payload
        if not frame.fin:
            return
        if self.payload == IN_PARTS:
            if not self.answering:
                self.answering = True
                self.ws.text(FIRST_PART, fin=False)
                self.app.loop.after(PART_PAUSE, self.rest)
        else:
            self.ws.send(self.opcode, self.payload)
        self.opcode, self.payload = None, b""

    def rest(self):
        self.answering = False
        if self.code is None:
            try:
                self.ws.send(websocket.CONTINUATION, SECOND_PART)
            except OSError:
                pass  # its end is seen where it is read

    def ended(self):
        self.app.open_websockets -= 1
        if self.code is None:
            self.app.counts["websocket 1006"] += 1


class Http1:
    """A connection that began otherwise than HTTP/2 does."""

    def __init__(self, app, sock, data):
        self.app, self.websocket = app, None
        self.peer = Fed(sock)
        self.peer.buffer = data

    def turn(self):
        while not self.websocket:
            kept = self.peer.buffer
            try:
                request = self.peer._head()
                if request is None:
                    return
                if request.has("upgrade"):
                    websocket.answer(self.peer, request)
                    self.websocket = WebSocket(self.app, self.peer, self.peer.half_close)
                    break
                self.peer._body(request)
            except (Starved, EOFError):
                self.peer.buffer = kept
                return
            self.app.counts["HTTP/1.1 requests"] += 1
            self.app.loop.after(int(request.get(WAIT, "0")) / 1000, self.answer, request)
        self.websocket.turn()

    def answer(self, request):
        try:
            self.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" %
                           (len(request.body), request.body))
        except OSError:
            pass  # it has gone

    def take(self):
        return self.peer.take()

    def ended(self):
        if self.websocket:
            self.websocket.ended()


class Http2:
    """A connection of many streams."""

    def __init__(self, app, sock, data):
        self.app = app
        self.peer = h2wire.Peer(sock, False, SETTINGS)
        self.peer.buffer += data[len(h2wire.PREFACE):]
        self.websockets = {}
        self.bidi = {}
        self.taken = set()
        self.peer.start()

    def take(self):
        return take_frames(self.peer)

    def turn(self):
        touched = {f.stream for f in self.peer.frames if f.stream}
        self.peer.frames.clear()
        for number in sorted(touched):
            st = self.peer.streams.get(number)
            if st and st.head:
                self.look(st)

    def look(self, st):
        fields = dict(st.head)
        if st.id in self.websockets:
            self.look_websocket(st)
        elif fields.get(":protocol") == "websocket":
            self.peer.headers(st.id, [(":status", "200")])
            self.websockets[st.id] = WebSocket(
                self.app, OnStream(self.peer, st), lambda: self.peer.data(st.id, end=True))
            self.look_websocket(st)
        elif fields[":path"].endswith("/Bidi"):
            self.look_bidi(st)
        elif st.over and st.id not in self.taken:
            self.taken.add(st.id)
            if st.reset is None:
                self.app.counts["HTTP/2 requests"] += 1
                self.app.loop.after(int(fields.get(WAIT, "0")) / 1000, self.answer, st, fields)

    def look_websocket(self, st):
        it = self.websockets[st.id]
        it.ws.peer.take()
        it.turn()
        if st.over:
            self.websockets.pop(st.id).ended()
            self.peer.streams.pop(st.id)

    def look_bidi(self, st):
        if st.id not in self.bidi:
            self.bidi[st.id] = True
            self.peer.headers(st.id, [(":status", "200"), ("content-type", "application/grpc")])
        if st.body and not st.over:
            self.peer.data(st.id, bytes(st.body))
            st.body.clear()
        if st.over:
            self.app.counts["bidi streams that sluice ended by " + st.end] += 1
            self.peer.streams.pop(st.id)

    def answer(self, st, fields):
        self.peer.streams.pop(st.id, None)
        if self.peer.eof or st.reset is not None:
            return
        grpc = fields.get("content-type", "").startswith("application/grpc")
        head = [(":status", "200")] + ([("content-type", "application/grpc")] if grpc else [])
        try:
            self.peer.headers(st.id, head)
            self.peer.data(st.id, bytes(st.body), end=not grpc)
            if grpc:
                self.peer.headers(st.id, [("grpc-status", "0")], end=True)
        except OSError:
            pass  # it has gone

    def ended(self):
        for it in self.websockets.values():
            it.ended()


class App:
    def __init__(self, port):
        self.loop = Loop()
        self.counts = collections.Counter()
        self.open_websockets = 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(4096)
        self.loop.read(self.listener, self.accept)
        self.loop.commands(lambda line: self.tell(), self.loop.stop)

    def tell(self):
        tell({"counts": self.counts, "open_websockets": self.open_websockets,
              "errors": self.loop.errors})
        self.counts.clear()
        self.loop.errors.clear()

    def accept(self):
        sock, _ = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data, end = b"", None

        def ready():
            nonlocal data, end
            try:
                if end is None:
                    got = sock.recv(65536)
                    more, data = bool(got), data + got
                    if more and len(data) < len(h2wire.PREFACE) and h2wire.PREFACE.startswith(data):
                        return
                    kind = Http2 if data.startswith(h2wire.PREFACE) else Http1
                    end = kind(self, sock, data)
                    if kind is Http2:
                        more = more and end.take()
                else:
                    more = end.take()
            except ConnectionError:
                more = False
            try:
                end.turn()
            except (BrokenPipeError, ConnectionResetError):
                more = False
            if not more:
                end.ended()
                self.loop.close(sock)
        self.loop.read(sock, ready)


if __name__ == "__main__":
    app = App(int(sys.argv[1]))
    print("ready", flush=True)
    app.loop.run()
