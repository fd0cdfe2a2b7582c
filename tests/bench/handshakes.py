#!/usr/bin/env python3
"""A TLS client that connects, asks once by HTTP/1.1, and leaves, again and again; prints what it did
as JSON.

    handshakes.py PORT CA SECONDS [--resume]

With --resume each connection offers the session of the one before."""

import json
import socket
import ssl
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main():
    port, ca, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    resume = "--resume" in sys.argv[4:]
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["http/1.1"])
    session, times, failed, resumed = None, [], 0, 0
    end = time.monotonic() + seconds
    began = time.monotonic()
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            plain = socket.create_connection(("127.0.0.1", port), 10)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as s:
                s.sendall(REQUEST)
                answer = b""
                while data := s.recv(4096):
                    answer += data
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise OSError(answer[:80])
                if s.version() != "TLSv1.3":
                    raise OSError(f"it speaks {s.version()}")
                resumed += s.session_reused
                if resume:
                    session = s.session
        except OSError:
            failed += 1
            session = None
            continue
        times.append((time.monotonic() - start) * 1e6)
    # The first of a run that resumes cannot.
    wrong = len(times) - resumed - 1 if resume else resumed
    times.sort()
    print(json.dumps({
        "sent": len(times) + failed, "answered": len(times), "failed": failed + max(wrong, 0),
        "app_error": 0, "refused": 0, "failed_by_kind": {"failed": failed, "not as asked": wrong},
        "status": {"2xx": len(times)}, "rps": len(times) / (time.monotonic() - began),
        "latency_us": {"p50": times[len(times) // 2] if times else None,
                       "p99": times[len(times) * 99 // 100] if times else None}}))


main()
