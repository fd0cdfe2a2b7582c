#!/usr/bin/env python3
"""A thousand WebSockets, each with one message under way: what comes back is sent again. Says `ready`
when all stand and have echoed once; begins with a line on its input (or waits there for SIGTERM, as
idlers.py does); prints what it did as JSON.

    websockets.py PORT COUNT SECONDS"""

import json
import select
import signal
import socket
import sys
import time

PAYLOAD = b"x" * 64
# Masked with 0, which the protocol allows: the cost of masking is no proxy's.
FRAME = bytes([0x82, 0x80 | len(PAYLOAD)]) + bytes(4) + PAYLOAD
ECHO = 2 + len(PAYLOAD)
HEAD = (b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


def exactly(s, n):
    got = b""
    while len(got) < n:
        data = s.recv(n - len(got))
        if not data:
            raise EOFError
        got += data
    return got


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(HEAD)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(s, 1)
    if not head.startswith(b"HTTP/1.1 101"):
        raise OSError(head[:60])
    s.sendall(FRAME)
    exactly(s, ECHO)
    s.setblocking(False)
    return s


def echoes(connections, seconds):
    """Latencies in microseconds, and how many connections failed."""
    poll = select.epoll()
    sent, missing, took, failed = {}, {}, [], 0
    by_fd = {s.fileno(): s for s in connections}
    began = time.monotonic()
    for fd, s in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        s.send(FRAME)
        sent[fd], missing[fd] = time.monotonic(), ECHO
    while time.monotonic() < began + seconds and by_fd:
        for fd, _ in poll.poll(1.0):
            s = by_fd[fd]
            try:
                data = s.recv(missing[fd])
                if not data:
                    raise EOFError
                missing[fd] -= len(data)
                if missing[fd] == 0:
                    now = time.monotonic()
                    took.append((now - sent[fd]) * 1e6)
                    sent[fd], missing[fd] = now, ECHO
                    s.send(FRAME)
            except BlockingIOError:
                pass
            except (OSError, EOFError):
                failed += 1
                poll.unregister(fd)
                del by_fd[fd]
    return took, failed, time.monotonic() - began


def main():
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    connections, failed = [], 0
    for _ in range(count):
        try:
            connections.append(connect(port))
        except (OSError, EOFError):
            failed += 1
    print("ready", file=sys.stderr, flush=True)
    if seconds == 0:
        signal.sigwait([signal.SIGTERM])
        print(json.dumps({"answered": len(connections), "failed": failed}))
        return
    sys.stdin.readline()
    took, broken, elapsed = echoes(connections, seconds)
    failed += broken
    took.sort()
    print(json.dumps({
        "sent": len(took) + failed, "answered": len(took), "failed": failed, "app_error": 0,
        "refused": 0, "failed_by_kind": {"failed": failed}, "status": {"2xx": len(took)},
        "rps": len(took) / elapsed,
        "latency_us": {"p50": took[len(took) // 2] if took else None,
                       "p99": took[len(took) * 99 // 100] if took else None}}))


main()
