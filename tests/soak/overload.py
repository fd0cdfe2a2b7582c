"""Three times as many requests as an upstream can serve, for a minute: with an adaptive limit, with
fixed ones, and with none for contrast. The upstream (tests/load/slots.c) works on what it has read
whether its client still waits or not; the clients (tests/load/open.c) come at their rate whatever is
answered, and wait for a second, or for less. The bounds are the project's, for the adaptive limit.

Sluice is what is judged, so the others must not be what fills the machine. With the fastest upstream
(2,000/s, so 6,000 requests/s come) clients and upstream together use less than a third of a CPU, and
sluice a quarter. Faster than that the pauses that a machine makes are longer than an answer. Where the
clients could not send in time nothing is proved, and that fails.

    overload.py [--short] [CASE...]"""

import argparse
import collections
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from open_loop import ENDS, LATE, OpenLoop, Slots, Waiting, percentile  # noqa: E402
from ports import free_port  # noqa: E402
from rig import LOAD, Sluice, Tally, ended_well, forward  # noqa: E402

GOODPUT, P99, TIMES = 0.9, 3.0, 3  # of capacity; of unloaded; the load
# KB that RssAnon's highest of the second half may be above the first half's; and for each connection
# more that clients have open, and each request more that was under way at once: a pause of this
# machine lets them send more, which then come together, and what they took stays in the heap.
FLAT, FLAT_EACH = 256, 2
# By HTTP/2 the heap comes to rest after half a minute to one and a half, so that two halves of a
# minute tell nothing of it.
SECONDS, SECONDS_HTTP2, SECONDS_SHORT = 60, 150, 10
LATE_SHARE = 0.001  # of what is sent
CRITICAL_SHARE, CRITICAL = 0.02, 0.95  # of capacity, on top; of them answered
MANY = 1000000

# What the upstream is given, besides its address.
POLICIES = {
    "adaptive": {"concurrency": {}},
    "limits": {"circuitBreaker": {"maxRequests": 24, "maxPendingRequests": 20}},
    "defaults": {},
    "none": {"circuitBreaker": {k: MANY for k in ("maxConnections", "maxRequests",
                                                  "maxPendingRequests")}},
}
Case = collections.namedtuple("Case", "policy http2 slots service_ms spread patience_ms",
                              defaults=(False, 20, 40, 0, 1000))
CASES = {
    "adaptive-h1": Case("adaptive"),
    "adaptive-h2": Case("adaptive", http2=True),
    "adaptive-fast": Case("adaptive", service_ms=10),
    "adaptive-fast-h2": Case("adaptive", http2=True, service_ms=10),
    "adaptive-spread": Case("adaptive", slots=40, spread=50),
    "adaptive-impatient": Case("adaptive", http2=True, patience_ms=80),
    "limits-h1": Case("limits"),
    "limits-h2": Case("limits", http2=True),
    "defaults-h1": Case("defaults"),
    "defaults-h2": Case("defaults", http2=True),
    "none-h1": Case("none"),
    "none-h2": Case("none", http2=True),
}


class Upstream(Slots):
    def __init__(self, case):
        super().__init__(case.slots, case.service_ms, case.spread)

    def measured(self, seconds):
        """Answers a second with more clients than slots, each of which waits for its answer; and how
        many there were."""
        out = subprocess.run([LOAD, "--url", f"http://{self.address}/", "-c",
                              str(2 * self.at_once), "-t", str(seconds), "--json", "--quiet"],
                             capture_output=True, text=True, check=True).stdout
        measured = json.loads(out)
        return measured["rps"], measured["answered"]


class Clients(OpenLoop):
    def __init__(self, address, case, rate, seconds, path="/"):
        # Few enough by HTTP/2 that all are made soon, and not while memory is watched.
        connections = (min(100, int(rate) + 1) if case.http2 else
                       int(rate * case.patience_ms / 1000 * 1.2) + 100)
        super().__init__(f"http://{address}{path}", rate, seconds, connections, case.patience_ms,
                         case.http2)

    def result(self):
        return Result(self.answers(), self.seconds)


def most_at_once(answers):
    changes = sorted([(a.due, 1) for a in answers] + [(a.due + a.latency, -1) for a in answers])
    return max(itertools.accumulate(change for _, change in changes), default=0)


class Result:
    def __init__(self, answers, seconds):
        self.sent = len(answers)
        self.by = collections.Counter(a.status for a in answers)
        good = [a for a in answers if a.status == 200]
        self.rate = len(good) / seconds
        self.p50, self.p99 = (percentile([a.latency * 1000 for a in good], q) for q in (0.5, 0.99))
        each = collections.Counter(int(a.due + a.latency) for a in good)
        halves = [a for a in answers if a.due < seconds / 2], [a for a in answers if
                                                               a.due >= seconds / 2]
        self.at_once = [most_at_once(half) for half in halves]
        self.worst_second = min((each[i] for i in range(int(seconds))), default=0)

    def ends(self):
        return ", ".join(f"{n} {ENDS.get(status, status)}" for status, n in sorted(self.by.items()))


class Watch:
    """RssAnon and connections each second; whether admin and health answer, and how soon."""

    HEALTH = ("/livez", "/readyz", "/metrics")

    def __init__(self, s):
        self.s, self.anon_kb, self.answers, self.wrong = s, [], [], []
        self.connections, self.now = [], 0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._anon, self._ask)]

    def _anon(self):
        while not self.ended.wait(1):
            self.anon_kb.append(self.s.anon_kb())
            self.connections.append(self.now)

    def _ask(self):
        while not self.ended.wait(0.2):
            for path in (*self.HEALTH, "/v1/status"):
                begin = time.monotonic()
                try:
                    status, response = (self.s.admin if path.startswith("/v1") else
                                        self.s.http_health)("GET", path, timeout=2)
                    if path == "/v1/status":
                        workers = json.loads(response.body)["workers"]
                        self.now = sum(w["connections"] for w in workers)
                except (OSError, EOFError) as e:
                    status = repr(e)
                self.answers.append(time.monotonic() - begin)
                if status != 200:
                    self.wrong.append(f"{path}: {status}")

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for t in self.threads:
            t.join()


class Proxy(Sluice):
    def __init__(self, directory, upstream, policy):
        os.mkdir(directory)
        self.address, self.unix = f"127.0.0.1:{free_port()}", os.path.join(directory, "none")
        super().__init__(directory, {
            "workers": 2,
            "accessLog": {"path": "/dev/null"},
            "listeners": [{"name": "in", "direction": "inbound", "address": self.address,
                           "routes": [forward(match={"pathPrefix": "/critical"},
                                              priority="critical"), forward()]}],
            "upstreams": [{"name": "app", "endpoints": [upstream.address], **POLICIES[policy]}]})

    def http_health(self, method, path, timeout):
        return self.http(self.health, method, path, timeout=timeout)


def cpu_of(process):
    with open(f"/proc/{process.pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def overloaded(s, upstream, case, capacity, seconds):
    """What became of the requests, of the critical ones, what was seen meanwhile, and CPUs used."""
    begun = time.monotonic()
    before = children_cpu(), s.cpu_seconds(), cpu_of(upstream.process)
    with Watch(s) as watch:
        many = Clients(s.address, case, TIMES * capacity, seconds)
        critical = Clients(s.address, case, CRITICAL_SHARE * capacity, seconds, "/critical")
        waiting = [Waiting(p) for p in (s.pid, upstream.process.pid, many.process.pid)]
        time.sleep(0.9 * seconds)  # while they are there to be asked
        waited = [w.share() for w in waiting]
        many, critical = many.result(), critical.result()
    took = time.monotonic() - begun
    print("  sluice was kept waiting for a CPU for {:.1%} of the time, the upstream for {:.1%}, the "
          "clients for {:.1%}".format(*waited), flush=True)
    after = children_cpu(), s.cpu_seconds(), cpu_of(upstream.process)
    return many, critical, watch, [(b - a) / took for a, b in zip(before, after)]


def judge(say, case, capacity, unloaded, many, critical, watch):
    rate = many.rate + critical.rate
    half = len(watch.anon_kb) // 2
    (first, second), (had, has) = ((max(each[:half], default=0), max(each[half:], default=0))
                                   for each in (watch.anon_kb, watch.connections))
    answered = critical.by[200] / critical.sent
    worst = sorted(watch.answers)
    say(rate >= GOODPUT * capacity,
        f"goodput {rate:.0f}/s of {capacity:.0f}/s, {rate / capacity:.1%} (bound {GOODPUT:.0%}); in "
        f"the worst second {many.worst_second}/s without critical ones")
    say(many.p99 <= P99 * unloaded.p99,
        f"admitted: p50 {many.p50:.1f} ms, p99 {many.p99:.1f} ms, times {many.p99 / unloaded.p99:.2f} "
        f"of {unloaded.p99:.1f} ms unloaded (bound {P99:.0f})")
    together, then = many.at_once
    more = max(has - had, 0) + max(then - together, 0)
    say(second <= first + FLAT + FLAT_EACH * more,
        f"RssAnon at most {first} KB in the first half with {had} connections and {together} requests "
        f"at once, {second} KB in the second with {has} and {then} (bound {FLAT} more, and {FLAT_EACH} "
        "for each more of these)")
    say(not watch.wrong, f"{len(watch.answers)} questions to admin and health answered, in "
        f"{worst[len(worst) // 2] * 1000:.1f} ms (median), {worst[-1] * 1000:.1f} ms (worst)"
        f"{': wrong ' + str(watch.wrong[:5]) if watch.wrong else ''}")
    say(answered >= CRITICAL, f"critical: {answered:.2%} of {critical.sent} answered (bound "
        f"{CRITICAL:.0%}), p99 {critical.p99:.1f} ms")
    odd = {status: n for status, n in (many.by + critical.by).items() if status not in (200, 503)}
    if case.patience_ms >= 10 * case.service_ms:
        say(not odd, f"the others are refused at once: {many.ends()}")
    else:
        print(f"          {many.ends()}", flush=True)


def run(name, tally, directory, short):
    case = CASES[name]
    upstream = Upstream(case)
    s = Proxy(os.path.join(directory, name), upstream, case.policy)
    print(f"{name}: {case.slots} places of {case.service_ms} ms"
          f"{f' ± {case.spread} %' * bool(case.spread)}, clients wait for {case.patience_ms} ms; "
          f"settings: {json.dumps(POLICIES[case.policy])}", flush=True)
    capacity, useful = upstream.measured(2)
    unloaded = Clients(s.address, case, capacity / 2, 2 if short else 5).result()
    seconds = SECONDS_SHORT if short else SECONDS_HTTP2 if case.http2 else SECONDS
    many, critical, watch, cpus = overloaded(s, upstream, case, capacity, seconds)

    def say(holds, text):
        if case.policy == "adaptive":
            tally.say(holds, text)
        else:
            print(f"  {'' if holds else 'not '}within  {text}", flush=True)
    judge(say, case, capacity, unloaded, many, critical, watch)
    late = (many.by + critical.by)[LATE]
    tally.check(late <= LATE_SHARE * many.sent, f"clients send in time: {late} of {many.sent} they did "
                "not, this machine is too busy for this")
    s.settle()
    limits = s.status()["upstreams"][0].get("concurrency", {})
    tally.check(limits.get("in_flight", 0) == 0, f"nothing in flight: {limits}")
    s.process.send_signal(signal.SIGTERM)
    wrong = ended_well(s, s.process.wait(20))
    tally.check(not wrong, f"sluice ends well: {wrong}")
    did = upstream.stop()
    work, useful = did["answered"] + did["wasted"], useful + unloaded.by[200]
    print("  CPUs: clients {:.2f}, sluice {:.2f}, upstream {:.2f}".format(*cpus) +
          f"; of the upstream's work {1 - (many.by[200] + critical.by[200]) / (work - useful):.1%} was "
          f"for nobody, at most {did['queued_max']} queued in it", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    arguments = parser.parse_args()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="sluice-overload-") as directory:
        for name in arguments.cases or CASES:
            run(name, tally, directory, arguments.short)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return tally.failed > 0


if __name__ == "__main__":
    sys.exit(main())
