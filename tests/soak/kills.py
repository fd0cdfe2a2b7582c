"""kill -9 of the serving process, at rest and under load: only what was in flight is lost, and the
next process answers at once."""

import json
import os
import re
import signal
import statistics
import time

from rig import (STARTS, Client, add_up, end_loads, ended_well, mere_start, odd, print_table,
                 served, start_loads, start_sluice, take_down, total, wait_for, waited, waits)

BOUND = 50    # ms from the kill to the first answer on a new connection
AT_REST = 10  # kills without load
IN_A_ROW = 5  # deaths within a second of the start that cost no waiting
DIES = re.compile(r"serving process \d+ dies: another starts")
KILLED = re.compile(r"serving process \d+ was killed by signal 9")


def until_answered(address):
    """Tries new connections until one is answered; how many were refused, and how many lost."""
    refused = lost = 0
    while True:
        client = None
        try:
            client = Client(address, 5)
            client.request("GET", "/", host="probe", headers=[("Connection", "close")])
            if client.response().status == 200:
                return refused, lost
        except ConnectionRefusedError:
            refused += 1
        except (OSError, EOFError):
            lost += 1
        finally:
            if client:
                client.close()


class Pace:
    """What kills took. At rest the best must keep the bound as it is: whatever the program does or
    waits for by itself is in each of them. Only where the machine is so busy that STARTS mere starts
    of a process take longer than the bound, those are the measure. The median must keep the bound
    without the time in which those on the way to the answer waited for a CPU that others had:
    supervisor, new process, application and ourselves. (Some of them wait at the same time: on a
    busy machine it says less.)"""

    def __init__(self, s, app):
        self.s, self.app = s, app
        self.took, self.own, self.starts = [], [], []

    def kill(self):
        """(refused, lost) probes until the next one answered."""
        self.starts.append(mere_start())
        pids = os.getpid(), self.s.process.pid, self.app.process.pid
        then = [(pid, waits(pid)) for pid in pids]
        start = time.monotonic()
        os.kill(self.s.pid, signal.SIGKILL)
        counts = until_answered(self.s.address)
        took = (time.monotonic() - start) * 1000
        # First of ourselves: to look costs time, too.
        late = sum(waited(pid, before) for pid, before in [*then, (self.s.pid, {})])
        self.took.append(took)
        self.own.append(max(0, took - late))
        return counts

    def judge(self, tally, what, best_too):
        own, took = statistics.median(self.own), sorted(self.took)
        start = statistics.median(self.starts)
        tally.say(own <= BOUND and (not best_too or took[0] <= max(BOUND, STARTS * start)),
                  f"{what}: first answer after {took[0]:.1f} to {took[-1]:.1f} ms, median "
                  f"{statistics.median(took):.1f} of {len(took)}, {own:.1f} without the wait for a "
                  f"CPU (bound {BOUND}); a mere start takes {start:.1f}")


def probe_faults(refused, lost):
    wrong = [f"{refused} probes refused"] if refused else []
    if lost > 1:  # the dying process may have accepted one
        wrong.append(f"{lost} probes lost")
    return wrong


def kill_faults(loads, results):
    """Only what was in flight may be lost: one request a connection at most."""
    wrong = [f"{key} {n}" for key in ("refused", "refused_connect_timeout", "unfinished",
                                      "app_error", "local_error") if (n := total(results, key))]
    for load in loads:
        r = results[load.name]
        gone = r["failed"] + r["idle_close_crossed"] + r["refused_reset"]
        if gone > load.connections:
            wrong.append(f"{load.name}: {gone} lost on {load.connections} connections")
        if r["proxy_errors"] or r["failed_by_kind"]["timeout"]:
            wrong.append(f"{load.name}: {r['proxy_errors']} {r['failed_by_kind']}")
    return wrong


def restarts(log):
    """ms from each death in the supervisor's log to the next process that serves."""
    found, died = [], None
    for line in log.splitlines():
        if DIES.search(line):
            died = line.split(" ", 1)[0]
        elif died and " serves: " in line:
            a, b = (float(t[17:-1]) for t in (died, line.split(" ", 1)[0]))
            found.append((b - a) % 60 * 1000)
            died = None
    return found


def at_rest(s, app, tally):
    pace = Pace(s, app)
    for i in range(AT_REST):
        if i % IN_A_ROW == 0:
            time.sleep(1.1)
        s.wait_ready()
        wrong = probe_faults(*pace.kill())
        tally.check(not wrong, f"kill {i} at rest: {'; '.join(wrong)}")
    return pace


def under_load(s, app, size, tally, rows):
    pace, gaps = Pace(s, app), []
    for i in range(size.kills):
        start, seen, loads = time.monotonic(), served(s), start_loads(s)
        try:
            wait_for(lambda: served(s) >= seen + size.kill_requests * 2 // 3, "load", 60, 0.01)
            # What dies within a second of its start is what the supervisor slows down for.
            time.sleep(max(0, 1.2 - (time.monotonic() - start)))
            victim = s.pid
            wrong = probe_faults(*pace.kill())
            wait_for(lambda: served(s) >= size.kill_requests // 3, "load after the kill", 60, 0.01)
            results = end_loads(loads)
        finally:
            for load in loads:
                load.kill()
        add_up(rows, results)
        gaps.append(results["keep-alive"]["longest_gap_ms"])
        wrong += kill_faults(loads, results)
        if s.pid == victim:
            wrong.append("the same process serves")
        if not tally.check(not wrong, f"kill {i}: {'; '.join(wrong)}"):
            print("         ", json.dumps(odd(results)), flush=True)
    return pace, gaps


def kills(size, tally, app, directory):
    """kill -9 of the serving process: only what was in flight is lost."""
    rows = {}
    s = start_sluice(os.path.join(directory, "kill"), app)
    try:
        rest = at_rest(s, app, tally)
        loaded, gaps = under_load(s, app, size, tally, rows)
        s.base_fds = None  # of the first process
        wait_for(lambda: not s.alive(), lambda: f"at rest, left: {s.alive()}", 20)
        s.signal(signal.SIGTERM)
        wrong = ended_well(s, s.process.wait(20))
        log = s.log()
        n = AT_REST + size.kills
        if (deaths := len(KILLED.findall(log))) != n:
            wrong.append(f"{deaths} deaths in the log, of {n}")
        every = print_table(f"{size.kills} kills", rows)
        tally.say(not wrong, f"the end after {n} kills: at rest, all gone {'; '.join(wrong)}")
    finally:
        take_down(s, [])
    rest.judge(tally, "kills at rest", True)
    loaded.judge(tally, "kills under load", False)
    ms = restarts(log)
    tally.say(len(ms) == n, f"supervisor's log, {len(ms)} of {n}: death to serving {min(ms):.0f} to "
              f"{max(ms):.0f} ms, median {statistics.median(ms):.0f}")
    print(f"          the keep-alive client's longest gap {max(gaps):.1f} ms", flush=True)
    return every["sent"]
