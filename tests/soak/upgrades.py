"""Upgrades under load: a new file at the program's path again and again, and nobody notices."""

import os
import re
import shutil
import signal
import time

from rig import (SLUICE, add_up, odd, print_table, served, start_loads, start_sluice, take_down,
                 total, wait_for)

SUPERVISES = " supervises, pid "
BETWEEN = 0.3  # seconds of load on each new process, at least


def install(path):
    shutil.copy(SLUICE, path + ".new")
    os.rename(path + ".new", path)
    return os.stat(path).st_ino


def exe_of(pid):
    return os.stat(f"/proc/{pid}/exe").st_ino


def upgrade(s, path):
    """One of them; what is wrong, and how long it took to the new supervisor, in ms."""
    # One more is refused while eight old ones drain.
    wait_for(lambda: len(s.children()) <= 8, "old processes end", 30, 0.01)
    inode, seen, old = install(path), s.log().count(SUPERVISES), s.pid
    start = time.monotonic()
    s.signal(signal.SIGUSR2)
    wait_for(lambda: s.log().count(SUPERVISES) > seen, lambda: s.log()[-3000:], 30, 0.002)
    took = (time.monotonic() - start) * 1000
    wrong = []
    new = s.pid
    if new == old:
        wrong.append("the same process serves")
    if (exe_of(new), exe_of(s.process.pid)) != (inode, inode):
        wrong.append("not the new file")
    wait_for(lambda: served(s) > 0, "the new one is asked", 30, 0.01)
    time.sleep(BETWEEN)
    return wrong, took


def faults(results):
    """Of the whole load: what no upgrade may cause."""
    return [f"{key} {n}" for key in ("failed", "refused", "refused_reset",
                                     "refused_connect_timeout", "unfinished", "app_error",
                                     "local_error") if (n := total(results, key))]


def upgrades(size, tally, app, directory):
    """SIGUSR2 under load: nothing failed, nobody refused or reset."""
    path = os.path.join(directory, "sluice")
    install(path)
    s = start_sluice(os.path.join(directory, "upgrade"), app, program=path)
    loads, took = [], []
    try:
        supervisor, fds = s.process.pid, s.count_fds(s.process.pid)
        loads = start_loads(s)
        wait_for(lambda: served(s) >= 1000, "load", 60, 0.01)
        for i in range(size.upgrades):
            wrong, ms = upgrade(s, path)
            took.append(ms)
            tally.check(not wrong, f"upgrade {i}: {'; '.join(wrong)}")
        s.base_fds = None
        wait_for(lambda: s.children() == [s.pid], lambda: f"one serves: {s.children()}", 30)
        grown = s.count_fds(supervisor) - fds
        tally.say(grown == 0, f"the supervisor is pid {supervisor} still, {grown} descriptors more")
        by_load = {load.name: load for load in loads}
        for load in loads:
            load.interrupt()
        results = {name: load.result() for name, load in by_load.items()}
        rows = {}
        add_up(rows, results)
        every = print_table(f"{size.upgrades} upgrades", rows)
        wrong = faults(results)
        forced = re.findall(r'"forced_total":([1-9]\d*)', s.log())
        if forced:
            wrong.append(f"forced {forced}")
        if not tally.say(not wrong, f"{size.upgrades} upgrades, {every['sent']} requests "
                         f"{'; '.join(wrong)}"):
            print("         ", odd(results), flush=True)
        took.sort()
        print(f"          SIGUSR2 to the new supervisor: median {took[len(took) // 2]:.0f}, "
              f"longest {took[-1]:.0f} ms", flush=True)
        s.signal(signal.SIGTERM)
        code = s.process.wait(20)
        tally.check(code == 0 and not s.session(), f"the end: exit code {code}, {s.session()}")
        return every["sent"]
    finally:
        take_down(s, loads)
