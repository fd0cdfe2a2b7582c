"""A sluice with much of everything: 1,000 routes, 5,000 endpoints with health checks, outlier
detection and breakers, and a million keys of a rate limit, which come as fast as they are answered
while the configuration changes, names get other addresses, endpoints are drained and metrics are
read. What it takes of memory, and how long its loops are held.

    scale.py [--short] [--keys N] [--show N]"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import BUILD, LOAD, STARTS, Tally, ended_well, wait_for  # noqa: E402
from scale_rig import UPSTREAMS, Meanwhile, Servers, config, metrics, start  # noqa: E402
from ports import free_port  # noqa: E402
from turns import Turns, waited  # noqa: E402

ROUTES, ENDPOINTS = 1000, 1000  # the latter of each upstream
# s: a turn of a worker, of the control thread, which serves no requests; an answer of /livez
STALL, CONTROL, ANSWER = 0.005, 0.015, 0.25
ROUTE_BYTES, ENDPOINT_BYTES, KEY_BYTES = 4096, 4096, 100
BESIDES = 8192  # KiB that buffers and connections may have grown by while the keys came
GROWTH = 1.05  # what memory may be of itself, when as many other keys have come


def settled(s):
    """KB of RssAnon when it does not change any more."""
    looks = [0, -1]

    def same():
        looks.append(s.anon_kb())
        return abs(looks[-1] - looks[-2]) <= 4
    wait_for(same, "memory rests", 30, 0.5)
    return looks[-1]


class Scale:
    def __init__(self, directory, tally, keys, second, show):
        self.directory, self.tally, self.keys, self.second = directory, tally, keys, second
        self.show, self.n, self.servers = show, 0, Servers()

    def start(self, routes, endpoints, env=None):
        self.n += 1
        address = f"127.0.0.1:{free_port()}"
        made = config(self.servers, address, routes, endpoints, self.keys)
        return start(os.path.join(self.directory, f"s{self.n}"), self.servers, made, env)

    def end(self, s):
        s.process.send_signal(signal.SIGTERM)
        wrong = ended_well(s, s.process.wait(30))
        self.tally.check(not wrong, f"sluice ends well: {wrong}")

    # --- what each thing costs ---

    def costs(self):
        figures = {}
        for what, routes, endpoints in (("nothing", 1, 1), ("routes", 1 + ROUTES, 1),
                                        ("endpoints", 1, ENDPOINTS)):
            s = self.start(routes, endpoints)
            figures[what] = settled(s)
            self.end(s)
        route = (figures["routes"] - figures["nothing"]) * 1024 / ROUTES
        n = UPSTREAMS * (ENDPOINTS - 1)
        endpoint = (figures["endpoints"] - figures["nothing"]) * 1024 / n
        self.tally.say(route <= ROUTE_BYTES, f"a route takes {route:.0f} bytes (bound {ROUTE_BYTES}), "
                       f"of {figures['nothing']} KiB with nothing")
        self.tally.say(endpoint <= ENDPOINT_BYTES, "an endpoint with two workers and a health check "
                       f"takes {endpoint:.0f} bytes (bound {ENDPOINT_BYTES})")

    # --- the load ---

    def warm(self, s):
        """So that connections, routes' counters and buffers are not taken for keys."""
        subprocess.run([LOAD, "--url", f"http://{s.address}/r/{{number}}", "--numbers", str(ROUTES),
                        "-c", "64", "-n", "40000", "--quiet", "--allow-failed"],
                       stdout=subprocess.DEVNULL, check=False)

    def keyed(self, s, prefix, m):
        """As many keys as there are, each once; on the routes besides, one after the other, until all
        that goes on meanwhile has been seen."""
        others = subprocess.Popen(
            [LOAD, "--url", f"http://{s.address}/r/{{number}}", "--numbers", str(ROUTES), "-c", "16",
             "--rate", "1500", "--json", "--quiet", "--allow-failed"], stdout=subprocess.PIPE)
        began = time.monotonic()
        out = subprocess.run(
            [LOAD, "--url", f"http://{s.address}/keyed", "-H", f"X-Key: {prefix}{{number}}", "-c",
             "64", "-n", str(self.keys), "--json", "--quiet", "--allow-failed"],
            capture_output=True, check=False).stdout
        took = time.monotonic() - began
        wait_for(m.seen, lambda: f"seen so far: { {k: len(v) for k, v in m.done.items()} }", 120, 0.1)
        others.send_signal(signal.SIGINT)
        return json.loads(out), json.loads(others.communicate(timeout=30)[0]), took

    def judge_load(self, s, keyed, others, took):
        wrong = {k: v for r in (keyed, others) for k, v in r.items()
                 if k in ("failed", "app_error", "unfinished", "local_error") and v}
        self.tally.say(not wrong, f"{keyed['answered']} requests with a key each in {took:.0f} s, "
                       f"{others['answered']} on {ROUTES} routes: none failed, but {wrong or 'nothing'}")

    def judge_turns(self, turns, since, until, m):
        for what, prefix, bound, stands in (("a worker", "worker-", STALL, STALL),
                                            ("control", "sluice", CONTROL, ANSWER)):
            seen = turns.of(prefix, since, until)
            n = sum(count for name, (count, _, _) in turns.read().items() if name.startswith(prefix))
            work = max((t.cpu for t in seen), default=0)
            wait = max((waited(t) for t in seen), default=0)
            # None at all: turns.so was not there to see them.
            self.tally.say(n > 0 and work <= bound, f"longest turn of {what}: {work * 1000:.2f} ms of work (bound "
                           f"{bound * 1000:.0f}), of {n} turns, {sum(t.cpu > STALL for t in seen)} above "
                           f"{STALL * 1000:.0f} ms")
            self.tally.say(wait <= max(stands, m.pace()), f"longest wait in a turn of {what}: "
                           f"{wait * 1000:.2f} ms (bound {max(stands, m.pace()) * 1000:.0f}), "
                           f"{sum(waited(t) > STALL for t in seen)} above {STALL * 1000:.0f} ms")
            for t in sorted(seen, key=lambda t: max(t.cpu, waited(t)), reverse=True)[:self.show]:
                print(f"            wall {t.wall * 1000:.2f}, CPU {t.cpu * 1000:.2f} ms, waited "
                      f"{t.waited} times, taken {t.taken} times {m.at(t.end)}")

    def judge_control(self, s, m):
        done = m.done
        bound = max(ANSWER, m.pace() * STARTS)
        self.tally.say(m.longest("health") <= bound,
                       f"/livez took {m.longest('health') * 1000:.0f} ms at the longest of "
                       f"{len(done['health'])} (bound {bound * 1000:.0f}), while /metrics took "
                       f"{m.longest('scrape') * 1000:.0f} at the longest of {len(done['scrape'])}")
        self.tally.say(m.seen(), f"{len(done['reload'])} reloads, {m.longest('reload') * 1000:.0f} ms at the "
                       f"longest; {len(done['drain'])} times an endpoint drained; names with other "
                       f"addresses {len(done['names'])} times")
        now = metrics(s)
        told, left_out = now.get("sluice_metrics_series"), now.get("sluice_metrics_series_dropped")
        self.tally.say(told == len(now.samples) and told <= 50000,
                       f"{told:.0f} series in {m.bytes / 1e6:.1f} MB, {left_out:.0f} left out")

    def judge_keys(self, s, before):
        held_ = metrics(s).get("sluice_rate_limit_keys", limit="each")
        after = settled(s)
        bound = before + BESIDES + self.keys * KEY_BYTES // 1024
        self.tally.say(held_ >= 0.97 * self.keys and after <= bound,
                       f"{held_:.0f} of {self.keys} keys are held; RssAnon {before} -> {after} KiB, "
                       f"{(after - before) * 1024 / self.keys:.0f} bytes a key (bound {bound} KiB)")
        return after

    def run(self):
        turns = Turns(self.directory, BUILD)
        s = self.start(ROUTES, ENDPOINTS, env=turns.env)
        wait_for(lambda: metrics(s).get("sluice_upstream_endpoints") == UPSTREAMS * ENDPOINTS,
                 "all endpoints are there", 30)
        self.warm(s)
        before = settled(s)
        for turn, prefix in enumerate("ab"[:1 + self.second]):
            since, m = time.monotonic(), Meanwhile(s, self.servers)
            keyed, others, took = self.keyed(s, prefix, m)
            m.stop()
            print(f"  {'the same number of other keys' if turn else 'keys'}:")
            self.judge_load(s, keyed, others, took)
            self.judge_turns(turns, since, time.monotonic(), m)
            self.judge_control(s, m)
            if turn == 0:
                after = self.judge_keys(s, before)
            else:
                again = settled(s)
                self.tally.say(again <= GROWTH * after, f"RssAnon {after} -> {again} KiB")
        self.end(s)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="100,000 keys, once")
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--show", type=int, default=5, help="so many of the longest turns")
    arguments = parser.parse_args()
    keys = arguments.keys or (100000 if arguments.short else 1000000)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="sluice-scale-") as directory:
        scale = Scale(directory, tally, keys, not arguments.short, arguments.show)
        try:
            scale.costs()
            scale.run()
        finally:
            scale.servers.stop()
    print(f"{tally.passed} passed, {tally.failed} failed")
    return tally.failed > 0


if __name__ == "__main__":
    sys.exit(main())
