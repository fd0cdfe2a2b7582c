"""What the soak is made of: the application, the load clients, and what must hold at an end."""

import collections
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "scenario"))

from harness import BUILD, SLUICE, Scenario, Sluice, deep_update, forward  # noqa: E402
from wire import Client, free_port, wait_for  # noqa: E402

LOAD = os.path.join(BUILD, "tools/load/load")
# As harness.FAULTS, without the kills that the soak makes itself.
FAULTS = re.compile(r"check failed|Sanitizer|runtime error:|Assertion|CHECK|core dumped")

# name, path, arguments, connections. Thinkers and idlers are there so that some connections are
# idle whenever the end comes, and the longest thoughts end just when a drain closes idle ones; slow
# ones are there so that some are not idle.
CLIENTS = [
    ("keep-alive", "/", ["--method", "mix", "--body", "300"], 16),
    ("connection each", "/", ["--method", "mix", "--body", "300", "--close"], 6),
    ("thinks 250 ms", "/", ["--method", "mix", "--body", "2000", "--think", "250"], 30),
    ("thinks 900 ms", "/", ["--method", "mix", "--think", "900"], 30),
    ("thinks 2.2 s", "/", ["--method", "mix", "--think", "2200"], 40),
    ("idle", "/", ["--idle", "100"], 0),
    ("slow answers", "/delay?ms=300", [], 6),
    ("streams", "/chunked?n=10&size=1000&ms=50", [], 4),
    ("uploads", "/upload",
     ["--method", "POST", "--body", "200000", "--chunked", "--think", "20"], 2),
    ("unix socket", "/", ["--unix", "SOCKET", "--method", "mix", "--body", "300"], 4),
    ("unix, each", "/", ["--unix", "SOCKET", "--method", "mix", "--close"], 2),
]

# A bound in ms holds as it is where this many mere starts of a process fit into it, as they do on
# an idle machine; where others have the CPUs, they are the bound.
STARTS = 4

COUNTED = ["sent", "answered", "failed", "refused", "refused_connect_timeout", "refused_reset",
           "idle_close_crossed", "idle_closed", "idle_reset", "unfinished", "app_error",
           "local_error"]
COLUMNS = [("sent", "sent"), ("answered", "answered"), ("failed", "failed"), ("refused", "refused"),
           ("refused_reset", "reset"), ("idle_close_crossed", "crossed"),
           ("idle_closed", "idle closed"), ("idle_reset", "idle reset")]


class Tally:
    """Passed and failed checks; what failed is said at once."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, holds, text):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"  FAILED  {text}", flush=True)
        return holds

    def say(self, holds, text):
        """A check that is told when it holds, too: for figures."""
        if self.check(holds, text):
            print(f"  ok      {text}", flush=True)
        return holds


class App:
    """`sluice demo-app` in a process of its own."""

    def __init__(self, version, tcp_echo=False):
        self.address = f"127.0.0.1:{free_port()}"
        self.echo = f"127.0.0.1:{free_port()}" if tcp_echo else None
        self.asked = 0
        self.process = subprocess.Popen(
            [SLUICE, "demo-app", "--listen", self.address, "--version", version,
             *(["--tcp-echo", self.echo] if tcp_echo else [])], stdin=subprocess.DEVNULL)
        wait_for(lambda: is_open(self.address), "the application listens")

    def requests(self):
        """That it has had, but for these questions."""
        client = Client(self.address)
        n = json.loads(client.ask("GET", "/stats").body)["requests"]
        client.close()
        self.asked += 1
        return n - self.asked

    def stop(self):
        self.process.kill()
        self.process.wait()


class Load:
    """A load client, until it has sent what it should or is interrupted."""

    def __init__(self, name, url, arguments, connections):
        self.name, self.connections = name, connections
        argv = [LOAD, "--url", url, "--json", "--quiet", "--allow-failed", *arguments]
        if connections:
            argv += ["-c", str(connections)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def interrupt(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def result(self):
        out = self.process.communicate(timeout=120)[0]
        if self.process.returncode != 0:
            raise AssertionError(f"the load client ended with {self.process.returncode}")
        return json.loads(out)


def start_loads(s):
    return [Load(name, f"http://{s.address}{path}",
                 [s.unix if a == "SOCKET" else a for a in arguments], connections)
            for name, path, arguments, connections in CLIENTS]


def end_loads(loads):
    """name -> result."""
    for load in loads:
        load.interrupt()
    return {load.name: load.result() for load in loads}


def is_open(address):
    host, _, port = address.rpartition(":")
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


def listening(address):
    """Does any socket listen there, whoever holds it?"""
    port = f":{int(address.rpartition(':')[2]):04X}"
    with open("/proc/net/tcp") as f:
        return any(line.split()[1].endswith(port) and line.split()[3] == "0A"
                   for line in f.readlines()[1:])


def start_sluice(directory, app, route=None, listeners=(), upstreams=(), more=None, **how):
    """Two workers, a TCP and a Unix listener with everything to the application."""
    os.mkdir(directory)
    address, unix = f"127.0.0.1:{free_port()}", os.path.join(directory, "front.sock")
    route = route or forward(upstream="app", timeout="30s")
    config = {
        "workers": 2,
        "lifecycle": {"noticePeriod": "0s", "drainTimeout": "2500ms", "lastCall": "500ms",
                      "appCleanup": "0s"},
        "listeners": [
            {"name": "tcp", "direction": "inbound", "address": address, "maxConnections": 18000,
             "routes": [route]},
            {"name": "unix", "direction": "inbound", "address": "unix:" + unix, "routes": [route]},
            *listeners],
        "upstreams": [{"name": "app", "endpoints": [app.address]}, *upstreams]}
    s = Sluice(directory, deep_update(config, more or {}), **how)
    s.address, s.unix = address, unix
    return s


def served(s):
    """Requests that this serving process has seen; 0 while there is none to ask."""
    try:
        return sum(w["requests"] for w in s.status()["workers"])
    except (OSError, EOFError):
        return 0


def mere_start():
    """ms that a process takes which starts and does nothing, in a session of its own as sluice is:
    the machine's pace just now."""
    start = time.monotonic()
    subprocess.run([SLUICE, "--version"], stdout=subprocess.DEVNULL, check=True,
                   start_new_session=True)
    return (time.monotonic() - start) * 1000


def waits(pid):
    """ms that each of its threads has been ready to run and had no CPU."""
    each = {}
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                each[int(task)] = int(f.read().split()[1]) / 1e6
    except OSError:
        pass  # it is being buried
    return each


def most_waited(pid, each):
    """Of its first thread, and the most of the others, which wait at the same time."""
    return each.pop(pid, 0) + max(each.values(), default=0)


def waited(pid, then):
    """ms that it has waited since `then`, an earlier waits(); threads that are new since count
    whole."""
    return most_waited(pid, {task: ms - then.get(task, 0) for task, ms in waits(pid).items()})


def watch_exit(s, due):
    """Until the supervisor has exited: when that was, and how many ms it and the serving process have
    waited for a CPU since `due`, and at last we ourselves, to see it."""
    us, pids, late = os.getpid(), (os.getpid(), s.process.pid, s.pid), 0
    fd = os.pidfd_open(s.process.pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    then, gone = {pid: waits(pid) for pid in pids}, False
    while not gone:
        gone = poll.poll(5)
        end = time.monotonic()
        now = {pid: waits(pid) for pid in pids}
        if end > due:
            late += sum(most_waited(pid, {task: ms - then[pid][task] for task, ms in now[pid].items()
                                          if task in then[pid]})
                        for pid in pids if pid != us or gone)
        then = now
    os.close(fd)
    return end, late


def drain_report(s):
    mark = "drain report "
    lines = [line for line in s.log().splitlines() if mark in line]
    return json.loads(lines[-1].partition(mark)[2]) if lines else {}


def ended_well(s, code):
    """What is wrong with the end of a sluice that has exited; empty when nothing is."""
    s.ended = True
    s.log_file.close()
    wrong = []
    found = FAULTS.search(s.log())
    left = s.session()
    if code != 0:
        wrong.append(f"exit code {code}")
    if (still := drain_report(s).get("open", "unknown: no report")) != 0:
        wrong.append(f"open {still}")
    if found:
        wrong.append(f"{found.group(0)!r} in the log")
    if left:
        wrong.append(f"processes {left} are left")
    wrong += [f"{a} listens" for a in (s.address, s.health) if listening(a)]
    wrong += [f"{p} is left" for p in (s.unix, s.socket_path) if os.path.exists(p)]
    return wrong


def access_records(s):
    """(all, those of a whole answer from the application) in the access log."""
    whole = total = 0
    with open(s.access_path, "rb") as f:
        for line in f:
            total += 1
            whole += b'"status":200,"reason":"none"' in line
    return total, whole


def take_down(s, loads):
    """Whatever state they are in."""
    for load in loads:
        load.kill()
    s.kill()
    shutil.rmtree(s.directory, ignore_errors=True)


def total(results, key):
    return sum(r[key] for r in results.values())


def add_up(into, results):
    for name, r in results.items():
        row = into.setdefault(name, collections.Counter())
        row.update({k: r[k] for k in COUNTED})
        row.update({"failed: " + k: n for k, n in r["failed_by_kind"].items() if n})


def print_table(title, rows):
    """Returns the sums."""
    every = sum(rows.values(), collections.Counter())
    print(f"\n  {title:16}" + "".join(f"{head:>12}" for _, head in COLUMNS))
    for name, row in [*rows.items(), ("all", every)]:
        print(f"  {name:16}" + "".join(f"{row[key]:>12}" for key, _ in COLUMNS))
        kinds = [f"{n} {k[8:]}" for k, n in row.items() if k.startswith("failed: ")]
        if kinds:
            print(" " * 18 + ", ".join(kinds))
    print("", flush=True)
    return every


def odd(results):
    """What was not as it should be, by client."""
    return {name: {k: v for k, v in r.items()
                   if k in ("failed_by_kind", "proxy_errors", "refused_reset", "unfinished") and v}
            for name, r in results.items()
            if r["failed"] or r["unfinished"] or r["app_error"] or r["refused_reset"]}
