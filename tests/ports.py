"""Ports for tests: given out once, and never one that the kernel could give to somebody else.

A port that bind(0) found and close() gave back is the next client's local port, or the next test's
listener, sooner or later. So ports come from below the ephemeral range, in turn, from a counter
that all test runs on this machine share."""

import fcntl
import os
import socket
import tempfile

FIRST = 10000


def _end():
    """The first ephemeral port; ours lie below it."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            low = int(f.read().split()[0])
    except OSError:
        low = 32768
    return low if low > FIRST + 1000 else 65536


def _is_free(port):
    # Both families and every address: a test may go on to listen on any of them.
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind((host, port))
        except OSError as e:
            if family == socket.AF_INET or e.errno == 98:
                return False
    return True


def free_port():
    """A port where nobody listens, and which nobody else is given for a long time."""
    end = _end()
    path = os.path.join(tempfile.gettempdir(), f"sluice-test-ports-{os.getuid()}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        text = os.read(fd, 16)
        port = int(text) if text.isdigit() else FIRST + os.getpid() % 1000
        for _ in range(end - FIRST):
            port = port + 1 if FIRST <= port < end - 1 else FIRST
            if _is_free(port):
                break
        else:
            raise AssertionError("no free port")
        os.lseek(fd, 0, os.SEEK_SET)
        os.ftruncate(fd, 0)
        os.write(fd, str(port).encode())
        return port
    finally:
        os.close(fd)
