#!/usr/bin/env python3
"""The order of an end, again and again and under load: real processes, counted.

    order.py [--short] [KIND...]

What comes in is answered first; then the application has its SIGTERM, its way out stays open until it
has exited, then come the cleanups, then sluice has gone: all by the deadline, and nobody's request
fails. Kinds of an end: exec (the application is sluice's child, SIGTERM to sluice), pod (this program
does what a kubelet does: both /prestop calls, SIGTERM to the application when its call is answered,
SIGTERM to sluice when it has exited). Some applications ignore their SIGTERM.

SLUICE_ORDERS=N: how many of each (100; with --short 6)."""

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, part) for part in ("scenario", "soak", "e2e")]

from harness import Sluice, lines_of  # noqa: E402
from lanes import Pace, in_lanes, quantiles  # noqa: E402
from releases import Registry, cleanup  # noqa: E402
from rig import App, Load, Tally, drain_report  # noqa: E402
from wire import Client, free_port, wait_for  # noqa: E402

PATIENCE = 60
LANES = 3
TOKEN = "0123456789abcdef"
NOTICE = {"exec": 0.3, "pod": 2.0}
DRAIN, CLEANUP, STUBBORN = 6.0, 2.0, 1.0  # seconds; the last: appCleanup where SIGTERM is ignored
BOUND = 0.1  # from our SIGTERM, or the application's exit, and the last cleanup
CHILD_APP = os.path.join(TESTS, "scenario", "child_app.py")
# name, path, arguments, connections
CLIENTS = [
    ("keep-alive", "/", ["--method", "mix", "--body", "300", "--think", "20"], 6),
    ("connection each", "/", ["--method", "mix", "--body", "300", "--close", "--think", "20"], 3),
    ("thinks", "/", ["--method", "mix", "--think", "400"], 4),
    ("slow answers", "/slow", [], 3),
]


class Watch(threading.Thread):
    """When a process has ended; it need not be our child."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.fd, self.at = os.pidfd_open(pid), None
        self.start()

    def run(self):
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(PATIENCE * 1000):
            self.at = time.monotonic()
        os.close(self.fd)

    def wait(self, what):
        self.join()
        assert self.at, f"{what} did not end"
        return self.at


class Prestop(threading.Thread):
    """One call of the kubelet's."""

    def __init__(self, address, query=""):
        super().__init__(daemon=True)
        self.address, self.query, self.status, self.at = address, query, None, None
        self.start()

    def run(self):
        client = Client(self.address, PATIENCE)
        client.request("GET", "/prestop" + self.query,
                       headers=[("Connection", "close"), ("X-Sluice-Token", TOKEN)])
        self.status = client.response().status
        self.at = time.monotonic()
        client.close()


class Run:
    """One application, one sluice, and what happens to them."""

    def __init__(self, kind, elsewhere, stubborn):
        self.kind, self.stubborn = kind, stubborn
        self.directory = tempfile.mkdtemp(prefix="sluice-order-")
        self.log_path = os.path.join(self.directory, "app.log")
        app, self.address, out = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.registry = Registry()
        self.loads, self.application, self.sluice = [], None, None
        cleanup_time = STUBBORN if stubborn and kind == "exec" else CLEANUP
        config = {
            "lifecycle": {"noticePeriod": f"{NOTICE[kind]}s", "drainTimeout": f"{DRAIN}s",
                          "lastCall": "500ms", "appCleanup": f"{cleanup_time}s"},
            "cleanups": [cleanup(self.registry, "first"), cleanup(self.registry, "second")],
            "listeners": [
                {"name": "in", "direction": "inbound", "address": self.address,
                 "routes": [{"upstream": "app", "timeout": "20s"}]},
                {"name": "out", "direction": "outbound", "address": out,
                 "routes": [{"upstream": "elsewhere", "timeout": "20s"}]}],
            "upstreams": [{"name": "app", "endpoints": [app]},
                          {"name": "elsewhere", "endpoints": [elsewhere]}]}
        command = [sys.executable, CHILD_APP, app.rpartition(":")[2], self.log_path,
                   f"egress={out}", "always", f"slow={random.random() ** 2:.3f}"]
        if stubborn:
            command.append("ignore")
        if kind == "exec":
            self.sluice = Sluice(self.directory, config, args=["--exec", "--", *command])
        else:
            self.sluice = Sluice(self.directory, config, env={
                "SLUICE_PRESTOP_TOKEN": TOKEN, "KUBERNETES_SERVICE_HOST": "10.96.0.1"})
            self.application = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(lambda: self.lines("up"), "the application is up", PATIENCE)
        self.pid = int(self.lines("up")[0].split()[1])

    def lines(self, word=""):
        return lines_of(self.log_path, word)

    def begin_load(self):
        self.loads = [Load(name, f"http://{self.address}{path}", arguments, connections)
                      for name, path, arguments, connections in CLIENTS]
        wait_for(lambda: len(self.lines("request")) > 20, "load", PATIENCE)
        time.sleep(random.random() * 0.3)

    def end_load(self):
        """What they found, by name."""
        for load in self.loads:
            load.interrupt()
        results, self.loads = {load.name: load.result() for load in self.loads}, []
        return results

    def take_down(self):
        for load in self.loads:
            load.kill()
        if self.application:
            self.application.kill()
            self.application.wait()
        if self.sluice and not self.sluice.ended:
            self.sluice.kill()
        self.registry.__exit__()
        shutil.rmtree(self.directory, ignore_errors=True)


def end_exec(run):
    """When sluice had to be gone, as its end is due BOUND behind it."""
    application, began = Watch(run.pid), time.monotonic()
    run.sluice.signal(signal.SIGTERM)
    results = None
    if random.random() < 0.5:  # those of one half are refused when the listener has closed
        time.sleep(random.random() * 0.6)
        results = run.end_load()
    at = application.wait("the application")
    return began, at, results or run.end_load()


def end_pod(run):
    application, began = Watch(run.pid), time.monotonic()
    both = [Prestop(run.sluice.health, q) for q in random.sample(["", "?self=1"], 2)]
    held = next(p for p in both if not p.query)
    # Clients go on until every node has heard of the deletion, which may be behind NOTICE.
    time.sleep(random.random() * (NOTICE["pod"] + 1))
    results = run.end_load()
    held.join()
    assert [p.status for p in both] == [200, 200]
    os.kill(run.pid, signal.SIGTERM)
    if run.stubborn:
        # The cleanups do not wait for it longer than the budget says.
        run.registry.wait("/first", timeout=PATIENCE)
        os.kill(run.pid, signal.SIGKILL)
    application.wait("the application")
    run.application.wait()
    at = time.monotonic()
    run.sluice.signal(signal.SIGTERM)
    return began, at, results


class Figures:
    def __init__(self, tally, kind):
        self.tally, self.kind, self.lock = tally, kind, threading.Lock()
        self.took, self.sent, self.egress, self.stubborn = [], 0, 0, 0

    def check(self, holds, text):
        with self.lock:
            return self.tally.check(holds, f"{self.kind}, {text}")


def judge(f, run, n, began, due, ended, results, pace):
    report = drain_report(run.sluice)
    budget = NOTICE[run.kind] + DRAIN + CLEANUP
    events = run.lines()
    f.check("term" in events, f"run {n}: the application had its SIGTERM")
    late = events[events.index("term"):].count("request") if "term" in events else 0
    f.check(late == 0, f"run {n}: {late} requests came to it behind its SIGTERM")
    bad = {name: {k: v for k, v in r.items() if k in ("failed_by_kind", "app_error", "unfinished") and v}
           for name, r in results.items() if r["failed"] or r["app_error"] or r["unfinished"]}
    f.check(not bad, f"run {n}: no request failed: {bad}\n{run.sluice.log_end(4000)}")
    told = run.lines("egress")
    asked, failed = [int(x) for x in told[0].split()[1::2]] if told else (0, 0)
    f.check(failed == 0 and (asked > 0 or run.stubborn),
            f"run {n}: {failed} of {asked} requests of the application's failed")
    f.check(sorted(run.registry.paths()) == ["/first", "/second"],
            f"run {n}: both cleanups, once: {run.registry.paths()}")
    last = max([due, *(call.at for call in run.registry.calls)])
    took = ended - last
    f.check(took <= BOUND + pace.slack(began), f"run {n}: gone {took:.3f} s behind what was last")
    f.check(ended - began <= budget + pace.slack(began),
            f"run {n}: gone {ended - began:.3f} s behind the beginning, by {budget} s")
    f.check(report.get("open") == 0, f"run {n}: nothing open in the report: {report.get('open')}")
    if run.kind == "exec":
        code = {"code": None, "signal": 9, "by_sigterm": True} if run.stubborn else \
            {"code": 0, "signal": None, "by_sigterm": True}
        f.check(report.get("app", {}).get("exit") == code, f"run {n}: {report.get('app')}")
    with f.lock:
        f.took.append(took)
        f.sent += sum(r["sent"] for r in results.values())
        f.egress += asked
        f.stubborn += run.stubborn


def runs(tally, kind, count, pace):
    f = Figures(tally, kind)
    elsewhere = App("elsewhere")

    def work(_, n):
        run = Run(kind, elsewhere.address, stubborn=n % 20 == 5)
        try:
            run.begin_load()
            began, due, results = (end_exec if kind == "exec" else end_pod)(run)
            code = run.sluice.wait_exit(PATIENCE)
            ended = time.monotonic()
            run.sluice.expect_faults = run.stubborn
            run.sluice.check_end(code)
            judge(f, run, n, began, due, ended, results, pace)
        finally:
            run.take_down()
    try:
        in_lanes(LANES, count, work)
    finally:
        elsewhere.stop()
    tally.say(len(f.took) == count,
              f"{kind}: {len(f.took)} of {count} ends in order ({f.stubborn} with an application that "
              f"ignores SIGTERM), {f.sent} requests in and {f.egress} out, exit behind what was last: "
              f"{quantiles(f.took)}")


def main():
    arguments = sys.argv[1:]
    count = int(os.environ.get("SLUICE_ORDERS", 6 if "--short" in arguments else 100))
    kinds = [a for a in arguments if not a.startswith("-")] or ["exec", "pod"]
    tally, pace, begin = Tally(), Pace(), time.monotonic()
    pace.start()
    for kind in kinds:
        runs(tally, kind, count, pace)
    print(f"took {time.monotonic() - begin:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(tally.failed > 0)


if __name__ == "__main__":
    main()
