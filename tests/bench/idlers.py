#!/usr/bin/env python3
"""Connections that have each served a request, and are idle: HTTP/2 plain or by TLS, or HTTP/1.1 by
TLS. Says `ready` when they stand, and prints what they had as JSON when it is told to end (SIGTERM).

    idlers.py PORT COUNT h2|tls-h1|tls-h2"""

import json
import signal
import socket
import ssl
import struct
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H1 = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
DATA, HEADERS, SETTINGS, END_STREAM, END_HEADERS = 0, 1, 4, 0x1, 0x4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def ask_h2(s, scheme):
    """GET / by fields of the static table (RFC 7541, A)."""
    fields = b"\x82" + (b"\x87" if scheme == "https" else b"\x86") + b"\x84\x41\x09localhost"
    s.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_STREAM | END_HEADERS, 1, fields))
    buffer = b""
    while True:
        while len(buffer) < 9 or len(buffer) < 9 + int.from_bytes(buffer[:3], "big"):
            data = s.recv(65536)
            if not data:
                raise EOFError
            buffer += data
        kind, flags = buffer[3], buffer[4]
        buffer = buffer[9 + int.from_bytes(buffer[:3], "big"):]
        if kind == SETTINGS and not flags & 1:
            s.sendall(frame(SETTINGS, 1, 0))
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            return


def ask_h1(s):
    s.sendall(H1)
    answer = b""
    while not answer.endswith(b"hello from v1\n"):
        data = s.recv(65536)
        if not data:
            raise EOFError
        answer += data


def connect(port, how, context):
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if how != "h2":
        s = context.wrap_socket(s, server_hostname="localhost")
    if how == "tls-h1":
        ask_h1(s)
    else:
        ask_h2(s, "http" if how == "h2" else "https")
    return s


def main():
    port, count, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1" if how == "tls-h1" else "h2"])
    connections, failed = [], 0
    for _ in range(count):
        try:
            connections.append(connect(port, how, context))
        except (OSError, EOFError):
            failed += 1
    print("ready", file=sys.stderr, flush=True)
    signal.sigwait([signal.SIGTERM])
    print(json.dumps({"answered": len(connections), "failed": failed}))


main()
