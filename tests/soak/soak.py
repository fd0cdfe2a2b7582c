#!/usr/bin/env python3
"""The long run: a million requests through 50 drains, 20 kills, 50 upgrades and 500 reloads, the
deadline with everything open, a long upload against a slow reader, and the split over many requests.

    soak.py [--short] [drains] [mixed] [kills] [upgrades] [reloads] [deadline] [backpressure]
            [memory] [bombs] [split]

Counts are the load client's, in the words of the design, and checked against what sluice and the
application say. The last line is `N passed, N failed`."""

import argparse
import collections
import json
import os
import random
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time

from rig import (STARTS, App, Client, Load, Scenario, Tally, access_records, add_up, drain_report,
                 end_loads, ended_well, free_port, mere_start, odd, print_table, served,
                 start_loads, start_sluice, take_down, total, wait_for, watch_exit)
from kills import kills
from memory import bombs, memory
from mixed import mixed
from reloads import reloads
from upgrades import upgrades

Size = collections.namedtuple(
    "Size", "drains kills drain_requests kill_requests least deadlines upload split upgrades "
            "reloads reload_requests mixed idle")
DUE = 2.375  # s from SIGTERM to the drain's deadline: rig's drainTimeout less 5 %
LATE = 50   # ms from the drain's deadline to the exit
TRIES = 4   # more, where all were later

FULL = Size(50, 20, 19000, 8000, 1000000, 3, 10 << 30, 100000, 50, 500, 500000, 50, 1000)
SHORT = Size(5, 5, 9000, 3000, 50000, 1, 200 << 20, 40000, 5, 40, 10000, 4, 1000)


def drains(size, tally, app, directory):
    """SIGTERM under load: whoever was let in is answered."""
    rows, took = {}, {"0s": [], "1s": []}
    for i in range(size.drains):
        notice = ("0s", "1s")[i % 2]
        # No record of the access log is to be lost, however busy the disk.
        s = start_sluice(os.path.join(directory, f"drain{i}"), app, more={
            "lifecycle": {"noticePeriod": notice}, "accessLog": {"bufferSize": "8MiB"}})
        loads = []
        try:
            before = app.requests()
            loads = start_loads(s)
            wait_for(lambda: served(s) >= size.drain_requests, "load", 60, 0.01)
            time.sleep(random.random() * 0.3)  # anywhere in the thinkers' pauses
            start = time.monotonic()
            s.signal(signal.SIGTERM)
            code = s.process.wait(20)
            took[notice].append(time.monotonic() - start)
            results = end_loads(loads)
            add_up(rows, results)
            wrong = ended_well(s, code) + drain_faults(s, results, app.requests() - before)
            if not tally.check(not wrong, f"drain {i} (notice {notice}): {'; '.join(wrong)}"):
                print("         ", json.dumps(odd(results)), "\n         ",
                      json.dumps(drain_report(s)), flush=True)
        finally:
            take_down(s, loads)
    every = print_table(f"{size.drains} drains", rows)
    for notice, times in took.items():
        print(f"          notice {notice}: {len(times)} drains, SIGTERM to exit "
              f"{min(times):.2f} to {max(times):.2f} s")
    tally.say(every["failed"] == 0, f"drains: {every['failed']} of {every['sent']} requests failed")
    return every["sent"]


def drain_faults(s, results, app_requests):
    """The clients, the access log, the application and the report must say the same; and a
    listener's end may refuse, but not reset what waits in its backlog."""
    wrong = [f"{key} {n}" for key in ("failed", "unfinished", "app_error", "refused_reset",
                                      "local_error") if (n := total(results, key))]
    sent, answered = total(results, "sent"), total(results, "answered")
    crossed = total(results, "idle_close_crossed")
    if sent != answered + crossed:
        wrong.append(f"{sent} sent, {answered} answered, {crossed} crossed")
    records, whole = access_records(s)
    if (records, whole) != (answered, answered):
        wrong.append(f"access log: {records} records, {whole} of whole answers, "
                     f"{answered} were answered")
    if app_requests != answered:
        wrong.append(f"the application had {app_requests} requests, {answered} were answered")
    report = drain_report(s)
    if report.get("forced_total") != 0:
        wrong.append(f"forced {report.get('forced_total')}")
    for name, counts in report.get("classes", {}).items():
        if counts["failed"] or counts["last_call"]:
            wrong.append(f"report, {name}: {counts}")
    return wrong


def deadline(size, tally, app, directory):
    """Everything open that can be, and the process is gone by its deadline."""
    idle = min(10000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 2000)
    anon, late, starts = [], [], []
    # A machine that stands still for a moment makes it late: then it gets other tries. One that is
    # late by itself is so each time.
    while len(late) < size.deadlines or (min(late) > LATE and len(late) < size.deadlines + TRIES):
        i = len(late)
        echo = f"127.0.0.1:{free_port()}"
        s = start_sluice(
            os.path.join(directory, f"deadline{i}"), app,
            listeners=[{"name": "echo", "protocol": "tcp", "address": echo,
                        "backends": [{"upstream": "echo", "weight": 1}]}],
            upstreams=[{"name": "echo", "endpoints": [app.echo]}])
        loads, tunnels = [], []
        try:
            url = f"http://{s.address}"
            empty = s.anon_kb()
            loads.append(Load("idle", url + "/", ["--idle", str(idle)], 0))
            wait_for(lambda: served(s) >= idle and s.status()["streams"] == 0, "idle clients", 60,
                     0.05)
            full = s.anon_kb()
            anon.append(((full - empty) / idle, full, empty))
            loads.append(Load("stuck", url + "/", ["--stuck", "100", "--timeout", "60"], 0))
            loads.append(Load("endless", url + "/chunked?n=1000000&size=10&ms=20",
                              ["--timeout", "60"], 50))
            for _ in range(50):
                tunnels.append(Client(echo))
                tunnels[-1].send("here")
                assert tunnels[-1].read(4) == b"here"
            wait_for(lambda: s.status()["streams"] >= 200, "200 streams", 20)
            start = time.monotonic()
            s.signal(signal.SIGTERM)
            end, waits = watch_exit(s, start + DUE)
            wrong = ended_well(s, s.process.wait())
            report = drain_report(s)
            assert report["deadline_ms"] == DUE * 1000, report["deadline_ms"]
            over = (end - start) * 1000 - report["deadline_ms"]
            own = over - waits  # for a CPU that others had
            closed = report["classes"]["h1_idle"]["closed"]
            cut = report["classes"]["h1_active"]["last_call"]
            if closed != idle:
                wrong.append(f"idle: {report['classes']['h1_idle']}")
            if cut < 100 or report["forced_total"] < 50:
                wrong.append(f"last call and force had too little to do: {report['classes']}")
            late.append(own)
            starts += [mere_start() for _ in range(3)]
            tally.say(not wrong, f"deadline {report['deadline_ms']} ms, exit {over:+.1f} ms, "
                      f"{own:+.1f} without the wait for a CPU; "
                      f"{closed} idle closed, {cut} at the last call, {report['forced_total']} "
                      f"forced {'; '.join(wrong)}")
            print(f"          phases {report['budget']}", flush=True)
            end_loads(loads)
        finally:
            for tunnel in tunnels:
                tunnel.close()
            take_down(s, loads)
    start = statistics.median(starts)
    tally.say(min(late) <= max(LATE, STARTS * start),
              f"deadline: {min(late):+.1f} ms, the best of {len(late)} (bound {LATE}); a mere start "
              f"takes {start:.1f}")
    each, full, empty = max(anon)
    tally.say(full <= 14 * 1024 and each <= 1,
              f"RssAnon with {idle} idle connections: {full / 1024:.1f} MB, {each:.2f} KB each "
              f"({empty / 1024:.1f} MB before them)")


def backpressure(size, tally, app, directory):
    """A long upload to who reads slowly: sluice holds a few buffers of it."""
    n, piece = size.upload, os.urandom(1 << 18)
    go = threading.Event()

    def script(conn):
        conn.head()
        left = n
        go.wait(120)
        while left > 0:
            step = min(left, 8 << 20)
            conn.discard(step)
            left -= step
            time.sleep(0.001)  # the slowness itself
        conn.answer(b"done")
        conn.read_to_end()

    def send():
        left = n
        while left > 0:
            client.send(piece if left >= len(piece) else piece[:left])
            left -= min(left, len(piece))

    def body_bytes():
        return sc.s.metrics().get("sluice_request_body_bytes_total")

    sc = Scenario()
    failed = True
    try:
        sc.proxy(script=script)
        client = sc.client(timeout=60)
        base = peak = sc.s.anon_kb()
        client.send(f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {n}\r\n\r\n")
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sc.app.wait_requests(1)
        looks = [-1, 0]

        def rests():
            looks.append(body_bytes())
            return looks[-1] == looks[-2] > 0
        wait_for(rests, lambda: f"sluice rests while the upstream does not read: {looks}", 60, 0.5)
        tally.check(looks[-1] < n / 2, f"sluice stops reading: it has read {looks[-1]} of {n} bytes")
        start = time.monotonic()
        go.set()
        while sender.is_alive():
            peak = max(peak, sc.s.anon_kb())
            sender.join(0.05)
        answer = client.response().body
        seconds = time.monotonic() - start
        peak = max(peak, sc.s.anon_kb())
        tally.say(answer == b"done" and body_bytes() == n and peak - base <= 1024,
                  f"upload of {n >> 20} MB at {(n >> 20) / seconds:.0f} MB/s: RssAnon grew by "
                  f"{peak - base} KB (from {base} KB)")
        failed = False
    finally:
        sc.close(failed)


def split(size, tally, app, directory):
    """Exact shares, whoever comes in turns."""
    canary = App("canary")
    try:
        for weights in ((95, 5), (50, 50)):
            route = {"match": {"pathPrefix": "/"}, "backends": [
                {"upstream": "app", "weight": weights[0]},
                {"upstream": "canary", "weight": weights[1]}]}
            s = start_sluice(os.path.join(directory, f"split{weights[1]}"), app, route,
                             upstreams=[{"name": "canary", "endpoints": [canary.address]}])
            loads = []
            try:
                loads.append(Load("split", f"http://{s.address}/", [
                    "--method", "mix", "--body", "100", "-n", str(size.split)], 32))
                r = loads[0].result()
                n, got = r["answered"], r["versions"]["canary"]
                off = abs(got["total"] - n * weights[1] / 100)
                status = s.status()
                picked = {b["upstream"]: b["picked"] for b in status["routes"][0]["backends"]}
                workers = len(status["workers"])
                tally.say(n >= size.split and r["failed"] == 0 and off <= workers and
                          picked == {"app": n - got["total"], "canary": got["total"]},
                          f"split {weights[0]}/{weights[1]}: {got['total']} of {n} went to the "
                          f"canary, {off:.1f} off, {workers} workers; sluice says {picked}")
                whole = {m: r["versions"]["app"][m] + got[m] for m in ("GET", "POST")}
                shares = {m: 100 * got[m] / whole[m] for m in whole}
                told = ", ".join(f"{m} {shares[m]:.2f} % of {whole[m]}" for m in whole)
                if weights[1] == 50:
                    tally.say(all(47.5 <= share <= 52.5 for share in shares.values()),
                              f"each method: {told}")
                else:
                    print(f"          each method: {told}")
                s.signal(signal.SIGTERM)
                wrong = ended_well(s, s.process.wait(20))
                tally.check(not wrong, f"the end after the split: {'; '.join(wrong)}")
            finally:
                take_down(s, loads)
    finally:
        canary.stop()


PARTS = {f.__name__: f for f in (drains, mixed, kills, upgrades, reloads, deadline, backpressure,
                                 memory, bombs, split)}
# Not in the short form unless they are named.
LONG = ("memory", "bombs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--short", action="store_true", help="within a minute")
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part {part!r}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = SHORT if options.short else FULL
    tally = Tally()
    began = time.monotonic()
    directory = tempfile.mkdtemp(prefix="soak-")  # short: a Unix socket's path has 107 bytes
    app = App("app", tcp_echo=True)
    requests = {}
    try:
        for name in options.parts or [n for n in PARTS if not (options.short and n in LONG)]:
            start = time.monotonic()
            print(f"--- {name}: {PARTS[name].__doc__}", flush=True)
            try:
                requests[name] = PARTS[name](size, tally, app, directory)
            except Exception as e:  # noqa: BLE001 - the other parts still tell something
                tally.check(False, f"{name}: {type(e).__name__}: {e}")
            print(f"  {name} took {time.monotonic() - start:.0f} s", flush=True)
        if "drains" in requests and "kills" in requests:
            sent = requests["drains"] + requests["kills"]
            tally.say(sent >= size.least,
                      f"{sent} requests through {size.drains} drains and {size.kills} kills")
    finally:
        app.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"took {time.monotonic() - began:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
