"""Drains under a mixed load: HTTP/1.1 POSTs, HTTP/2 connections of many streams, gRPC, WebSockets,
all at once and each told in its own language."""

import collections
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import time

from rig import (STARTS, App, Load, add_up, drain_report, ended_well, forward, free_port, mere_start,
                 odd, print_table, start_sluice, take_down, total, wait_for, watch_exit)

HERE = os.path.dirname(os.path.abspath(__file__))
Mix = collections.namedtuple(
    "Mix", "drain last_call many streams unary bidi bidi_streams idle websockets tunnels")
FULL = Mix(5.0, 0.5, 4, 100, 2, 2, 10, 10, 1000, 100)
SHORT = Mix(3.5, 0.5, 2, 100, 1, 1, 8, 6, 200, 20)
BOUND = 100    # ms from the drain's beginning to a first GOAWAY
DEAF = 1.0     # s from the first GOAWAY to the second where the PING is not acknowledged
GOODBYES = ("many", "unary", "bidi", "used", "idle", "crossing", "tunnels")


class Program:
    """One of ours: lines of JSON to and fro."""

    def __init__(self, name, argument):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, name), argument], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def line(self, timeout=60):
        # A line is written at once, and nobody says two before the first is read.
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise AssertionError(f"{self.process.args[1]}: nothing within {timeout} s")
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError(f"{self.process.args[1]} ended with {self.process.wait()}")
        return text

    def ask(self):
        self.process.stdin.write("tell\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def end(self):
        """What it says last."""
        self.process.stdin.close()
        last = json.loads(self.line())
        self.process.wait(20)
        return last

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class MixedApp(Program):
    def __init__(self):
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        super().__init__("mixed_app.py", str(port))
        assert self.line() == "ready\n"


class Clients:
    """Those with much to do, and others that see at once what comes: times are theirs."""
    QUICK = ("bidi", "bidi_streams", "idle")

    def __init__(self, mix, address, seed):
        how = {k: v for k, v in mix._asdict().items() if k not in ("drain", "last_call")}
        quick = {k: how.pop(k) for k in self.QUICK}
        self.both = []
        try:
            self.both.append(clients_of(quick, address, seed))
            self.both.append(clients_of(how, address, seed))
        except BaseException:
            self.kill()
            raise

    def answered(self):
        return sum(c.get("answered", 0) for it in self.both for c in it.ask()["calls"].values())

    def end(self):
        """What they have seen, together."""
        together = {}
        for told in [it.end() for it in self.both]:
            for key, value in told.items():
                if not isinstance(value, dict):
                    together[key] = together.get(key, type(value)()) + value
                    continue
                into = together.setdefault(key, collections.Counter())
                for name, n in value.items():
                    into[name] = (collections.Counter(n) + into[name] if isinstance(n, dict) and
                                  name in into else collections.Counter(n) if isinstance(n, dict)
                                  else into[name] + n)
        return together

    def kill(self):
        for it in self.both:
            it.kill()


def clients_of(how, address, seed):
    clients = Program("mixed_clients.py", json.dumps({"address": address, "seed": seed, **how}))
    try:
        ready = json.loads(clients.line())
        assert ready.get("ready") and not ready["errors"], ready
        return clients
    except BaseException:
        clients.kill()
        raise


def start(directory, app, mixed_app, mix, notice):
    routes = [{"match": {"pathPrefix": path}, "upstream": upstream, "timeout": "0s"}
              for path, upstream in (("/1", "mixed1"), ("/2", "mixed2"))]
    address = f"127.0.0.1:{free_port()}"
    s = start_sluice(
        directory, app, more={
            "lifecycle": {"noticePeriod": f"{notice}s", "drainTimeout": f"{mix.drain}s",
                          "lastCall": f"{mix.last_call}s"}},
        listeners=[{"name": "mixed", "direction": "inbound", "address": address,
                    "routes": [*routes, forward("app")]}],
        upstreams=[{"name": "mixed1", "endpoints": [mixed_app.address],
                    "circuitBreaker": {"maxConnections": 8192, "maxRequests": 8192}},
                   {"name": "mixed2", "endpoints": [mixed_app.address], "protocol": "http2",
                    "circuitBreaker": {"maxRequests": 8192}}])
    s.mixed = address
    return s


# --- what one drain has shown ---

def call_faults(told, loads):
    wrong = [f"HTTP/1.1: {key} {n}" for key in ("failed", "unfinished", "app_error", "refused_reset",
                                               "local_error") if (n := total(loads, key))]
    for name in ("HTTP/2 POST", "gRPC unary"):
        counts = told["calls"].get(name, {})
        if counts.get("failed") or not counts.get("answered"):
            wrong.append(f"{name}: {counts}")
        over = sum(counts.get(k, 0) for k in ("answered", "refused_stream", "above_last", "failed"))
        if counts.get("sent") != over:
            wrong.append(f"{name}: {counts['sent']} sent, {over} over")
    others = set(told["elsewhere"]) - {"refused", "taken"}
    return wrong + [f"elsewhere: {told['elsewhere']}"] * bool(others)


def twice_faults(told, app):
    """What was refused must not have been passed on: whoever sent it sends it again."""
    had = app["counts"].get("HTTP/1.1 requests", 0) + app["counts"].get("HTTP/2 requests", 0)
    answered = sum(told["calls"].get(name, {}).get("answered", 0)
                   for name in ("HTTP/2 POST", "gRPC unary"))
    return [] if had == answered else [f"the application had {had} calls, {answered} are answered"]


def bidi_faults(mix, told, last_call):
    """`last_call`: when it began, or later."""
    wrong, counts = [], told["calls"].get("gRPC bidi", {})
    n = mix.bidi * mix.bidi_streams
    if counts != {"sent": n, "grpc-status 14": n}:
        wrong.append(f"gRPC bidi: {counts}")
    if told["told_at"] and min(told["told_at"]) < last_call - 0.1:
        wrong.append(f"gRPC bidi: told {last_call - min(told['told_at']):.2f} s before the last call")
    return wrong


def websocket_faults(mix, told, app):
    n, wrong = mix.websockets + mix.tunnels, []
    if told["websockets"] != {"1001": n}:
        wrong.append(f"WebSockets' clients saw {told['websockets']}")
    seen = {k: v for k, v in app["counts"].items() if k.startswith("websocket")}
    if seen != {"websocket 1001": n} or app["open_websockets"]:
        wrong.append(f"their servers saw {seen}, {app['open_websockets']} are open")
    return wrong


def goodbye_faults(told):
    """Both GOAWAYs on each connection, the second within a round trip of the PING's ACK."""
    wrong = []
    for f in told["facts"]:
        bad = list(f["wrong"])
        if f["end"] != "end":
            bad.append(f"ended by {f['end']}")
        if f["name"] in (*GOODBYES, "deaf") and (f["first"] is None or f["final"] is None):
            bad.append(f"GOAWAYs at {f['first']}, {f['final']}")
        # The round's PING may be read and answered a loop turn before the ACK's effect is sent.
        if f["name"] in GOODBYES and (f["acked"] is None or f["rounds"] > 1):
            bad.append(f"{f['rounds']} round trips from the PING's ACK to the second GOAWAY")
        wrong += [f"{f['name']}: {b}" for b in bad]
    return wrong


def report_faults(mix, told, report):
    """Whatever was open is in it, once."""
    wrong, classes = [], report.get("classes", {})

    def sums(name):
        return sum(classes.get(name, {}).values())
    if report.get("forced_total") != 0:
        wrong.append(f"forced {report.get('forced_total')}: {report.get('forced')}")
    for name, counts in classes.items():
        if counts["failed"] or (counts["last_call"] and name != "grpc"):
            wrong.append(f"report, {name}: {counts}")
    n = mix.websockets + mix.tunnels
    if sums("websocket") != n or classes["websocket"]["closed"] != n:
        wrong.append(f"report, {n} WebSockets: {classes['websocket']}")
    n = mix.bidi * mix.bidi_streams
    if classes["grpc"]["last_call"] != n:
        wrong.append(f"report, {n} bidi streams: {classes['grpc']}")
    n = sum(f["first"] is not None for f in told["facts"])
    if sums("h2_idle") != n or classes["h2_idle"]["closed"] != n:
        wrong.append(f"report, {n} HTTP/2 connections: {classes['h2_idle']}")
    if report.get("elapsed_ms", 0) > report.get("deadline_ms", 0):
        wrong.append(f"report: {report['elapsed_ms']} ms, deadline {report['deadline_ms']}")
    return wrong


class Sums:
    """Over all drains."""

    def __init__(self):
        self.rows = {}
        self.calls = collections.defaultdict(collections.Counter)
        self.websockets, self.app = collections.Counter(), collections.Counter()
        self.elsewhere = collections.Counter()
        self.first, self.second, self.deaf, self.over = [], [], [], []
        self.connections = self.own_round = 0
        self.starts = []

    def add(self, began, told, app, loads, over):
        add_up(self.rows, loads)
        for name, counts in told["calls"].items():
            self.calls[name].update(counts)
        self.websockets.update(told["websockets"])
        self.elsewhere.update(told["elsewhere"])
        self.app.update(app["counts"])
        self.over.append(over)
        self.starts.append(mere_start())
        facts = [f for f in told["facts"] if f["first"] and f["final"]]
        mine = [f for f in facts if f["name"] in GOODBYES]
        quick = [f for f in mine if f["name"] not in ("many", "unary", "tunnels")]
        self.connections += len(facts)
        self.own_round += sum(f["rounds"] == 0 for f in mine)
        self.first.append(max((f["first"] - began for f in quick), default=9) * 1000)
        self.second.append(max((f["final"] - f["acked"] for f in quick if f["acked"]),
                               default=9) * 1000)
        self.deaf += [f["final"] - f["first"] for f in facts if f["name"] == "deaf"]

    def judge(self, tally):
        start = statistics.median(self.starts)
        bound = max(BOUND, STARTS * start)
        tally.say(min(self.first) <= bound,
                  f"the last first GOAWAY, {min(self.first):.0f} to {max(self.first):.0f} ms after "
                  f"the drain's beginning (the best within {bound:.0f}); a mere start takes "
                  f"{start:.1f}")
        tally.say(min(self.second) <= bound,
                  f"the last second one, {min(self.second):.1f} to {max(self.second):.1f} ms after "
                  f"the PING's ACK; before that round trip's end on {self.own_round} of "
                  f"{self.connections - len(self.deaf)} connections")
        tally.say(min(self.deaf) <= DEAF + bound / 1000 and max(self.deaf) >= DEAF - 0.1,
                  f"without an ACK, {min(self.deaf):.2f} to {max(self.deaf):.2f} s")
        refused = self.calls["HTTP/2 POST"]["refused_stream"]
        print(f"          {refused} streams above the last GOAWAY had REFUSED_STREAM")
        failed = sum(c["failed"] for c in self.calls.values())
        answered = sum(c["answered"] for c in self.calls.values())
        tally.say(failed == 0, f"{failed} of {answered + failed} calls by HTTP/2 failed")
        tally.say(set(self.websockets) == {"1001"}, f"WebSockets' clients: {dict(self.websockets)}")
        for name, counts in self.calls.items():
            print(f"          {name}: {dict(counts)}")
        print(f"          after the first GOAWAY, a new connection: {dict(self.elsewhere)}\n"
              f"          the application: {dict(self.app)}\n"
              f"          exit {min(self.over):.0f} to {max(self.over):.0f} ms before the deadline",
              flush=True)


def one(s, app, mix, notice, seed, sums):
    """A drain of it; what is wrong."""
    loads, clients = [], None
    try:
        loads = [Load("keep-alive POST", f"http://{s.mixed}/",
                      ["--method", "POST", "--body", "300", "--think", "10"], 16),
                 Load("POST, thinks 900 ms", f"http://{s.mixed}/",
                      ["--method", "POST", "--body", "300", "--think", "900"], 16)]
        clients = Clients(mix, s.mixed, seed)
        wait_for(lambda: clients.answered() >= mix.many * mix.streams, "calls are answered", 30, 0.05)
        time.sleep(random.random() * 0.3)
        begin = time.monotonic()
        s.signal(signal.SIGTERM)
        due = begin + (mix.drain + notice) * 0.95
        end, waits = watch_exit(s, due)
        code = s.process.wait()
        told = clients.end()
        for load in loads:
            load.interrupt()
        results = {load.name: load.result() for load in loads}
        had = app.ask()
        report = drain_report(s)
        wrong = ended_well(s, code)
        over = (end - begin) * 1000 - report["deadline_ms"]
        if over - waits > 50 and over > STARTS * mere_start():
            wrong.append(f"exit {over:.0f} ms after the deadline")
        wrong += told["errors"] + had["errors"] + told["failures"]
        if told["left_open"]:
            wrong.append(f"{told['left_open']} connections are open")
        wrong += (call_faults(told, results) + twice_faults(told, had) +
                  bidi_faults(mix, told, begin + report["deadline_ms"] / 1000 - mix.last_call) +
                  websocket_faults(mix, told, had) + goodbye_faults(told) +
                  report_faults(mix, told, report))
        sums.add(begin + notice, told, had, results, -over)
        if wrong:
            print("         ", json.dumps(odd(results)), "\n         ", json.dumps(report), flush=True)
        return wrong
    finally:
        if clients:
            clients.kill()
        take_down(s, loads)


def mixed(size, tally, app, directory):
    """SIGTERM under a mixed load: HTTP/1.1, HTTP/2, gRPC, WebSockets at once."""
    mix, sums, mixed_app = FULL if size.mixed > 10 else SHORT, Sums(), MixedApp()
    try:
        for i in range(size.mixed):
            notice = i % 2
            s = start(os.path.join(directory, f"mixed{i}"), app, mixed_app, mix, notice)
            wrong = one(s, mixed_app, mix, notice, i, sums)
            tally.check(not wrong, f"mixed drain {i} (notice {notice}s): " + "\n            ".join(
                [f"{len(wrong)} faults", *wrong[:12]]))
    finally:
        mixed_app.kill()
    every = print_table(f"{size.mixed} mixed drains", sums.rows)
    tally.say(every["failed"] == 0, f"mixed: {every['failed']} of {every['sent']} HTTP/1.1 requests "
              "failed")
    sums.judge(tally)
    return every["sent"]
