"""Upstreams of a known capacity (tests/load/slots.c), and clients that come at their rate whatever
is answered (tests/load/open.c): both in C, so that a figure is not made of what they take
themselves."""

import collections
import json
import math
import os
import signal
import subprocess
import time

from rig import BUILD, is_open, wait_for, waits
from ports import free_port

OPEN, SLOTS = (os.path.join(BUILD, "tools/load", name) for name in ("open", "slots"))
LATE = 5
ENDS = {1: "out of patience", 2: "broken off", 3: "not connected", 4: "no connection free",
        LATE: "sent late by the clients themselves"}
Answer = collections.namedtuple("Answer", "due latency status")  # s since their start; s; or of ENDS


class Slots:
    def __init__(self, at_once, service_ms, spread=0, then_ms=None):
        port, self.at_once = free_port(), at_once
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [SLOTS, "--listen", str(port), "--slots", str(at_once), "--service", str(service_ms),
             "--spread", str(spread), *(["--then", str(then_ms)] if then_ms else [])],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        wait_for(lambda: is_open(self.address), "the upstream listens")

    def change(self):
        """From now on answers take then_ms."""
        self.process.send_signal(signal.SIGUSR1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return json.loads(self.process.communicate(timeout=20)[0])


class OpenLoop:
    """`answers()` when it has ended."""

    def __init__(self, url, rate, seconds, connections, patience_ms, http2=False):
        self.seconds, self.begun = seconds, time.monotonic()
        self.process = subprocess.Popen(
            [OPEN, "--url", url, "--rate", str(rate), "-t", str(seconds), "-c", str(connections),
             "--patience", str(patience_ms), *(["--http2"] * http2)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def answers(self):
        out = self.process.communicate(timeout=self.seconds + 60)[0]
        assert self.process.returncode == 0
        return [Answer(int(due) / 1e6, int(latency) / 1e6, int(status))
                for due, latency, status in map(str.split, out.splitlines())]


class Waiting:
    """The share of the time that the busiest thread of a process, of those that were there at first,
    was ready to run and had no CPU."""

    def __init__(self, pid):
        self.pid, self.begun, self.then = pid, time.monotonic(), waits(pid)

    def share(self):
        took = time.monotonic() - self.begun
        return max((ms - self.then.get(task, 0) for task, ms in waits(self.pid).items()),
                   default=0) / 1000 / took


def percentile(values, share):
    """The smallest that so many are not above (nearest rank)."""
    values = sorted(values)
    return values[max(math.ceil(len(values) * share), 1) - 1] if values else 0.0
