"""What the mixed load's clients and its application share: sockets on one event loop that are read
when something has come, never waited for; WebSocket frames out of what has come so far; what a
gRPC message looks like."""

import asyncio
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "scenario"))

import h2wire  # noqa: E402, F401
import websocket  # noqa: E402
import wire  # noqa: E402

WAIT = "x-ms"  # the request's field that says after how many ms it is to be answered
FIRST_PART, SECOND_PART = b"one part, ", b"and the other"  # of a message in fragments
IN_PARTS = b"in parts"  # asks the application for such a message
PART_PAUSE = 0.3        # s between the two


class Starved(Exception):
    """More bytes are wanted than have come."""


class Fed(wire.Peer):
    """wire.Peer that has what take() brought, and raises Starved for more."""

    def take(self):
        """Once, when the socket can be read; False at the end."""
        return wire.Peer._fill(self)

    def _fill(self):
        raise Starved


class OnStream:
    """The same over an HTTP/2 stream: a WebSocket by extended CONNECT (RFC 8441)."""

    def __init__(self, peer, st):
        self.peer, self.st, self.buffer = peer, st, b""

    def take(self):
        self.buffer += bytes(self.st.body)
        self.st.body.clear()

    def read(self, n):
        if len(self.buffer) < n:
            raise Starved
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def send(self, data):
        self.peer.data(self.st.id, data)
        return self


def frames(ws):
    """The whole ones that have come."""
    while True:
        kept = ws.peer.buffer
        try:
            frame = ws.recv()
        except Starved:
            ws.peer.buffer = kept
            return
        yield frame


def take_frames(peer):
    """Once, when an HTTP/2 connection's socket can be read; False at its end, orderly or not."""
    try:
        peer.read_ready()
    except ConnectionError:
        peer.eof = peer.was_reset = True
        peer.read_ready()  # what came before it
    return not peer.eof


def grpc_message(data):
    return b"\0" + len(data).to_bytes(4, "big") + data


class Loop:
    """asyncio's, with callbacks alone. What one of them raises is kept and told, and the rest goes
    on."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.errors = []

    def read(self, sock, callback):
        self.loop.add_reader(sock, self.guarded, callback)

    def close(self, sock):
        self.loop.remove_reader(sock)
        sock.close()

    def after(self, seconds, callback, *args):
        self.loop.call_later(seconds, self.guarded, callback, *args)

    def guarded(self, callback, *args):
        try:
            callback(*args)
        except Exception as e:  # noqa: BLE001 - whatever it is, the soak must fail with it
            if len(self.errors) < 20:
                place = e.__traceback__
                while place.tb_next:
                    place = place.tb_next
                self.errors.append(f"{type(e).__name__}: {e} "
                                   f"({place.tb_frame.f_code.co_name}:{place.tb_lineno})"[:600])

    def commands(self, on_line, on_end):
        """Lines of the standard input."""
        def ready():
            data = os.read(0, 4096)
            if not data:
                self.loop.remove_reader(0)
                on_end()
            for line in data.decode().split():
                on_line(line)
        self.loop.add_reader(0, self.guarded, ready)

    def run(self):
        self.loop.run_forever()

    def stop(self):
        self.loop.stop()


def tell(what):
    """A line for whoever started us."""
    print(json.dumps(what), flush=True)
