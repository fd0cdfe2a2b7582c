"""When the machine is short of something: memory, descriptors, disk."""

import fcntl
import json
import os
import re
import subprocess
import time

from harness import SANITIZE, assert_problem
from wire import SLOW, wait_for

CRASH = re.compile(r"check failed|Sanitizer|runtime error|signal (6|11|4|7|8)\b|Segmentation|Aborted")


def start_with_failure(sc, n):
    """sluice whose nth allocation fails: running, or None when it did not come up."""
    sc.proxy(env={"SLUICE_FAIL_ALLOC": str(n)}, wait=False)
    s = sc.s
    s.expect_faults = True

    def decided():
        if s.process.poll() is not None:
            return "ended"
        try:
            return s.get_health("/readyz")[0] == 200 and "ready"
        except (OSError, EOFError):
            # Refused for want of memory: it is started again, and would fail again.
            return "failed" if re.search(r"(memory|ENOMEM|start)", s.log()) and \
                time.monotonic() - began > 1.0 * SLOW else None
    began = time.monotonic()
    result = wait_for(decided, lambda: f"up or down with allocation {n} failing:\n{s.log()}", 15 * SLOW)
    assert not CRASH.search(s.log()), s.log()
    if result == "ready":
        return s
    s.ended = True
    s.kill()
    return None


def first_that_starts(sc):
    """The number of allocations that starting makes, and one."""
    low, high = 1, 1 << 14
    while low < high:
        middle = (low + high) // 2
        s = start_with_failure(sc, middle)
        if s:
            s.ended = True
            s.kill()
            high = middle
        else:
            low = middle + 1
    # Some of the start's allocations it can do without, so the search may have ended among them.
    good = 0
    while good < 12:
        s = start_with_failure(sc, low + good)
        if s:
            s.ended = True
            s.kill()
            good += 1
        else:
            low, good = low + good + 1, 0
    return low


def traffic(sc):
    """A few requests of each kind; each is served, refused with 503, or its connection ends."""
    refused = 0
    for i in range(6):
        try:
            client = sc.client()
            try:
                if i % 3 == 0:
                    response = client.ask("GET", "/a")
                elif i % 3 == 1:
                    # A head that outgrows what a message holds inline.
                    response = client.ask("POST", "/b", body=b"x" * 70_000,
                                          headers=[(f"X-{k}", "v" * 90) for k in range(40)])
                else:
                    client.send("POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
                    response = client.response()
                assert response.status in (200, 503), response
                refused += response.status == 503
                assert response.status == 200 or 'details="out_of_memory"' in \
                    response.get("proxy-status"), response
            finally:
                client.close()
        except (EOFError, ConnectionError):
            refused += 1
    return refused


def test_each_allocation_fails_in_turn(sc):
    """From the first one that does not keep it from starting: never a crash, and at most that one
    request is lost."""
    first = first_that_starts(sc)
    steps = range(first, first + (60 if not SANITIZE else 15))
    for n in steps:
        s = start_with_failure(sc, n)
        if not s:
            continue
        pid = s.pid
        refused = traffic(sc)
        assert s.pid == pid, f"allocation {n}: it died:\n{s.log()}"
        assert not CRASH.search(s.log()), s.log()
        assert refused <= 1, f"allocation {n} cost {refused} requests"
        # With memory back all is well.
        assert sc.ask().status == 200
        s.settle()
        s.stop()
        sc.app.stop()


def test_allocations_fail_at_start(sc):
    """Each early one: a clear end or a start, never a crash."""
    for n in list(range(1, 12)) + [20, 50]:
        s = start_with_failure(sc, n)
        if s:
            assert sc.ask().status == 200
            s.settle()
            s.stop()
        sc.app.stop()


def test_every_seventh_allocation_fails(sc):
    """For good: it sheds, and lives."""
    sc.proxy()
    sc.s.stop()
    # While it starts it is asked whether it is ready, more often on a slow machine: that allocates too.
    first = first_that_starts(sc)
    assert any(start_with_failure(sc, f"{first + 7 + 10 * i}+") for i in range(20))
    pid = sc.s.pid
    for _ in range(10):
        traffic(sc)
    assert sc.s.pid == pid, sc.s.log()
    assert not CRASH.search(sc.s.log()), sc.s.log()
    # Admin has no memory either, so there is nobody to ask whether all is at rest.
    sc.s.stop()


def few_descriptors(sc, limit):
    sc.proxy(wrap=["prlimit", f"--nofile={limit}:{limit}"])
    return sc.s


def rests(sc, seconds=1.0):
    """For that time it answers admin and health, and burns nothing."""
    cpu = sc.s.cpu_seconds()
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        assert sc.s.get_health("/livez")[0] == 200
        assert sc.s.admin("GET", "/v1/status")[0] == 200
        time.sleep(0.1)
    assert sc.s.cpu_seconds() - cpu < 0.3 * seconds * SLOW, "it spins"


def test_few_descriptors(sc):
    """More clients than descriptors: some are served, the rest wait, and descriptors are kept for
    admin and upstreams."""
    few_descriptors(sc, 100)
    clients = [sc.client().request() for _ in range(150)]
    wait_for(lambda: sc.s.status()["connections"] >= 10, "some are let in")
    assert sc.s.status()["connections"] <= 100 - 20
    rests(sc)
    assert sc.s.metrics().get("sluice_accept_paused_total") >= 1
    # Everyone has a turn when those in front leave.
    served = 0
    while clients:
        ready = [c for c in clients if c.is_closed() or c.buffer]
        for client in ready:
            assert client.response().status == 200
            client.close()
            clients.remove(client)
            served += 1
        time.sleep(0.002)
    assert served == 150


# What is left where nothing is shed before the kernel does: test_overload.py has the rest.
SHEDS_NOTHING = {"overload": {"fds": {"noKeepAlive": 0, "refuseLow": 0, "noConnections": 0}}}


def test_no_descriptors_left(sc):
    """The limit falls below what is open: accept fails, and neither spins nor takes admin down."""
    sc.proxy(more=SHEDS_NOTHING)
    held = [sc.client() for _ in range(20)]
    for client in held:
        assert client.ask().status == 200
    # Just enough for an admin connection.
    limit = sc.s.rest_fds() + 2
    subprocess.run(["prlimit", f"--pid={sc.s.pid}", f"--nofile={limit}:1024"], check=True)
    waiting = [sc.client().request() for _ in range(30)]
    rests(sc)
    subprocess.run(["prlimit", f"--pid={sc.s.pid}", "--nofile=1024:1024"], check=True)
    for client in waiting:  # let in with the last descriptor, it had none for the upstream
        assert client.response().status in (200, 503)
    assert sc.ask().status == 200


def test_no_descriptor_for_an_upstream(sc):
    """The request is refused, the connection stays, and it goes on when there is room. That speaks
    against no endpoint: the breaker stays closed, and nobody is ejected."""
    other = sc.backend()
    app = sc.backend()
    sc.proxy(backend=app, upstream={
        "endpoints": [app.address, other.address], "pool": {"idleTimeout": "100ms"},
        "circuitBreaker": {"consecutiveErrors": 1}, "outlierDetection": {"consecutiveLocalErrors": 1}},
        more=SHEDS_NOTHING)
    client = sc.client()
    assert client.ask().status == 200
    wait_for(lambda: sc.s.status()["upstreams"][0]["idle"] == 0, "no idle connection")
    subprocess.run(["prlimit", f"--pid={sc.s.pid}", "--nofile=3:1024"], check=True)
    for _ in range(3):
        assert_problem(client.ask(), "no_socket")
    subprocess.run(["prlimit", f"--pid={sc.s.pid}", "--nofile=1024:1024"], check=True)
    assert client.ask().status == 200
    upstream = sc.s.status()["upstreams"][0]
    assert [e["errors"] for e in upstream["endpoints"]] == [0, 0]
    assert upstream["circuit_breaker"]["state"] == "closed"
    assert sc.s.metrics().get("sluice_outlier_ejections_total", upstream="app") == 0


def test_a_full_disk_costs_no_request(sc):
    sc.proxy(more={"accessLog": {"path": "/dev/full"}})
    client = sc.client()
    for _ in range(200):
        assert client.ask().status == 200
    wait_for(lambda: sc.s.metrics().get("sluice_access_log_dropped_total") > 0, "losses are counted")
    assert sc.s.get_health("/readyz")[0] == 200


def test_who_reads_the_log_slowly_gets_whole_lines(sc):
    """A pipe that is full takes a part of what is written. What is lost is lost by the line."""
    path = os.path.join(sc.directory, "access.fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    sc.proxy(more={"accessLog": {"path": path}})
    client, asked, got = sc.client(), 0, b""

    def ask(path):
        nonlocal asked
        asked += 1
        assert client.ask("GET", path).status == 200

    def dropped():
        return sc.s.metrics().get("sluice_access_log_dropped_total")

    def all_is_told():
        nonlocal got
        try:
            while piece := os.read(reader, 65536):
                got += piece
        except BlockingIOError:
            return got.count(b"\n") + dropped() == asked
    while not dropped():
        for _ in range(20):
            ask("/" + "x" * 900)
    wait_for(all_is_told, lambda: f"{asked} asked, {dropped()} dropped: {got[-2000:]}")
    ask("/last")
    wait_for(all_is_told, "the last one")
    records = [json.loads(line) for line in got.splitlines()]
    assert len(records) > 1 and records[-1]["path"] == "/last"
    os.close(reader)


def test_a_log_that_cannot_be_opened(sc):
    """The operator's mistake is told; it is no reason to refuse traffic, or it is one to refuse to
    start. It is never a crash."""
    sc.proxy(more={"accessLog": {"path": "/nowhere/access.log"}}, wait=False)
    try:
        sc.s.wait_ready()
    except AssertionError:
        code = sc.s.wait_exit()
        assert code == 1 and "/nowhere/access.log" in sc.s.log()
        sc.s.check_end(code, code)
        return
    assert sc.ask().status == 200
    assert "/nowhere/access.log" in sc.s.log()
    sc.s.base_fds = sc.s.rest_fds()


def test_the_application_dies_with_many_in_flight(sc):
    def script(conn):
        conn.request()
        conn.read_to_end()

    sc.proxy(script=script)
    clients = [sc.client().request() for _ in range(300)]
    sc.app.wait_requests(300)
    start = time.monotonic()
    sc.app.stop()
    for client in clients:
        response = client.response()
        assert response.status in (502, 503), response
    assert time.monotonic() - start < 10


def test_access_log_to_stdout(sc):
    sc.proxy(more={"accessLog": {"path": "-"}})
    assert sc.ask("GET", "/to-stdout").status == 200
    wait_for(lambda: "/to-stdout" in sc.s.log(), "the record")
