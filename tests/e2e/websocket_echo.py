#!/usr/bin/env python3
"""An application that says every message again, with wsproto for the frames: by HTTP/1.1 on one port,
by HTTP/2's extended CONNECT (RFC 8441, package h2) on the other.

    websocket_echo.py PORT_HTTP1 PORT_HTTP2

`ready` on the standard output when both listen; it ends with its standard input."""

import asyncio
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import (AcceptConnection, BytesMessage, CloseConnection, Ping, Request,
                            TextMessage)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

LINGER = 5  # s for the client's end, after ours
WINDOW = 1 << 20


class Echo:
    """What is answered, however it is carried: `take` gives bytes to send, and `over` says that a
    Close is among them and nothing more will be."""

    def __init__(self, frames):
        self.frames = frames
        self.parts = []
        self.over = False

    def take(self, data):
        if self.over:
            return b""
        try:
            self.frames.receive_data(data)
            return b"".join(self.answer(event) for event in self.frames.events())
        except RemoteProtocolError:
            self.over = True  # no handshake
            return b""

    def answer(self, event):
        if self.over:
            return b""
        if isinstance(event, Request):
            return self.frames.send(AcceptConnection(extensions=[PerMessageDeflate()]))
        if isinstance(event, Ping):
            return self.frames.send(event.response())
        if isinstance(event, (TextMessage, BytesMessage)):
            self.parts.append(event.data)
            if not event.message_finished:
                return b""
            whole = event.data[:0].join(self.parts)
            self.parts.clear()
            return self.frames.send(type(event)(data=whole))
        if isinstance(event, CloseConnection):
            self.over = True
            try:
                return self.frames.send(event.response())
            except LocalProtocolError:
                return b""
        return b""


class Http1(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.echo = Echo(WSConnection(ConnectionType.SERVER))

    def data_received(self, data):
        if self.echo.over:
            return  # it is read, so that our end is no reset
        self.transport.write(self.echo.take(data))
        if self.echo.over:
            self.transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER, self.transport.close)

    def eof_received(self):
        return False


class Stream:
    def __init__(self, frames):
        self.echo = Echo(frames)
        self.out = bytearray()
        self.ended = False


class Http2(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.streams = {}
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW)
        transport.write(self.h2.data_to_send())

    def data_received(self, data):
        try:
            for event in self.h2.receive_data(data):
                self.on(event)
            for number in list(self.streams):
                self.flush(number)
        except h2.exceptions.ProtocolError as e:
            print(f"{type(e).__name__}: {e}", file=sys.stderr, flush=True)
            self.transport.write(self.h2.data_to_send())
            self.transport.close()
            return
        self.transport.write(self.h2.data_to_send())

    def on(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.begin(event.stream_id, dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            st = self.streams.get(event.stream_id)
            if st:
                st.out += st.echo.take(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            st = self.streams.get(event.stream_id)
            if st:
                st.echo.over = True
        elif isinstance(event, h2.events.StreamReset):
            self.streams.pop(event.stream_id, None)

    def begin(self, number, head):
        if head.get(":method") != "CONNECT" or head.get(":protocol") != "websocket":
            self.h2.send_headers(number, [(":status", "404")], end_stream=True)
            return
        fields, extensions = [(":status", "200")], []
        offers = head.get("sec-websocket-extensions", "")
        for offer in filter(None, (o.strip() for o in offers.split(","))):
            deflate = PerMessageDeflate()
            accepted = offer.split(";")[0].strip() == deflate.name and deflate.accept(offer)
            if accepted not in (False, None):
                more = f"; {accepted}" if isinstance(accepted, str) and accepted else ""
                fields.append(("sec-websocket-extensions", deflate.name + more))
                extensions.append(deflate)
                break
        self.h2.send_headers(number, fields)
        self.streams[number] = Stream(Connection(ConnectionType.SERVER, extensions))

    def flush(self, number):
        st = self.streams[number]
        while st.out:
            n = min(len(st.out), self.h2.local_flow_control_window(number),
                    self.h2.max_outbound_frame_size)
            if n <= 0:
                return
            self.h2.send_data(number, bytes(st.out[:n]))
            del st.out[:n]
        if st.echo.over and not st.ended:
            st.ended = True
            self.h2.end_stream(number)
            del self.streams[number]


async def main(ports):
    loop = asyncio.get_running_loop()
    for port, kind in zip(ports, (Http1, Http2)):
        await loop.create_server(kind, "127.0.0.1", port)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main([int(p) for p in sys.argv[1:3]]))
