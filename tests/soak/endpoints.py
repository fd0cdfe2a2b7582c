"""What clients see of an endpoint that turns bad: killed, behind a network that drops packets, slow,
or answering 500; and what the others see of clients' retries. Each case says which settings were
given besides addresses and routes; the bounds are the project's.

    endpoints.py [--short] [CASE...]"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import netns  # noqa: E402
from brownout import brownout  # noqa: E402
from endpoint_rig import Endpoint, EndpointH2, Load, start  # noqa: E402
from ports import free_port  # noqa: E402
from rig import LOAD, Tally, ended_well  # noqa: E402

KILL_BOUND, BLACKHOLE_BOUND = 0.050, 3.0  # s after the fault
STALL = 0.5  # s: an answer that comes later counts as a stall, besides those that fail


class Case:
    def __init__(self, tally, directory, short):
        self.tally, self.directory, self.short, self.n = tally, directory, short, 0
        self.rest = []

    def endpoints(self, n, kind=Endpoint):
        made = [kind(f"127.0.0.{i + 2}:{free_port()}") for i in range(n)]
        self.rest += made
        return made

    def sluice(self, endpoints, **how):
        self.n += 1
        s = start(os.path.join(self.directory, f"s{self.n}"), [
            e if isinstance(e, str) else e.address for e in endpoints], **how)
        return s

    def end(self, s, **how):
        s.process.send_signal(signal.SIGTERM)
        wrong = ended_well(s, s.process.wait(20))
        self.tally.check(not wrong, f"sluice ends well: {wrong}")
        for e in self.rest:
            e.stop()
        self.rest = []


def failed(samples):
    return [x for x in samples if x.status == 0 or x.status >= 500]


def since(samples, fault):
    return max((x.end - fault for x in samples), default=0.0)


def kill_one_of(c, endpoints, what, **how):
    for e in endpoints:
        e.delay_ms.value = 5
    s = c.sluice(endpoints, **how)
    fault = []

    def kill(victim=endpoints[0]):
        fault.append(time.monotonic())
        victim.kill()
    samples = asyncio.run(Load(s.address, 400).run(4, [(1.5, kill)]))
    bad = failed(samples)
    gets = [x for x in bad if x.method == "GET"]
    c.tally.say(since(bad, fault[0]) <= KILL_BOUND and not gets,
                f"one of {len(endpoints)} killed, {what}: {len(samples)} requests, {len(bad)} failed, "
                f"the last {since(bad, fault[0]) * 1000:.0f} ms after it (bound "
                f"{KILL_BOUND * 1000:.0f}); of idempotent ones {len(gets)}")
    c.end(s)


def killed(c):
    for n, workers, route in [(4, 1, None), (4, 2, None), (2, 1, None), (2, 2, None),
                              (4, 2, {"retry": {}})][:2 if c.short else None]:
        kill_one_of(c, c.endpoints(n), f"{workers} workers, settings: {route or 'none'}",
                    workers=workers, route=route)


def killed_h2(c):
    for n, workers in [(4, 1), (4, 2), (2, 2)][:1 if c.short else None]:
        kill_one_of(c, c.endpoints(n, EndpointH2), f"HTTP/2, {workers} workers, settings: none",
                    workers=workers, protocol="http2")


def report_blackhole(c, s, what, samples, fault, back, get_through):
    during = [x for x in samples if x.end < back]
    bad = failed(during)
    stalls = [x for x in during if x.end - x.begin >= STALL and x not in bad]
    gets = sum(x.method == "GET" for x in bad)
    worst = max(x.end - x.begin for x in during)
    c.tally.say(since(bad + stalls, fault) <= BLACKHOLE_BOUND,
                f"{what}: {len(samples)} requests, {len(bad)} failed ({gets} idempotent), "
                f"{len(stalls)} stalled for > {STALL} s, the last ended {since(bad + stalls, fault):.2f} "
                f"s after (bound {BLACKHOLE_BOUND}); worst latency {worst:.2f} s")
    late = failed([x for x in samples if x.end >= back])
    c.tally.say(not late and get_through(), f"{what}: used again once packets pass, {len(late)} failed")


def blackholed(c):
    for workers, delay in [(1, 5), (2, 100)][:1 if c.short else None]:
        space = netns.Namespace()
        endpoints = c.endpoints(4)
        for e in endpoints:
            e.delay_ms.value = delay
        s = c.sluice(endpoints, workers=workers)
        marks, seen = {}, []

        def drop():
            marks["fault"] = time.monotonic()
            space.drop("127.0.0.2")

        def restore():
            seen.append(endpoints[0].seen.value)
            marks["back"] = time.monotonic()
            space.pass_again("127.0.0.2")
        samples = asyncio.run(Load(s.address, 300).run(13, [(2, drop), (9, restore)]))
        report_blackhole(c, s, f"one of 4 blackholed, HTTP/1, {workers} workers, answers take "
                         f"{delay} ms, settings: none", samples, marks["fault"], marks["back"],
                         lambda: endpoints[0].seen.value > seen[0] + 50)
        c.end(s)
        space.leave()


def blackholed_h2(c):
    space = netns.Namespace()
    addresses = [f"127.0.0.{i + 2}:{free_port()}" for i in range(4)]
    inner = c.sluice(["127.0.0.1:1"], more={"listeners": [
        {"name": f"e{i}", "direction": "inbound", "address": a, "protocol": "http2",
         "routes": [{"match": {"pathPrefix": "/"}, "directResponse": {"status": 200, "body": "ok"}}]}
        for i, a in enumerate(addresses)]})
    s = c.sluice(addresses, protocol="http2", workers=2)
    marks = {}

    def drop():
        marks["fault"] = time.monotonic()
        space.drop("127.0.0.2")

    def restore():
        marks["back"] = time.monotonic()
        space.pass_again("127.0.0.2")
    samples = asyncio.run(Load(s.address, 300).run(13, [(2, drop), (9, restore)]))
    report_blackhole(c, s, "one of 4 blackholed, HTTP/2, 2 workers, settings: none", samples,
                     marks["fault"], marks["back"], lambda: "can be reached" in s.log())
    c.end(s)
    c.end(inner)
    space.leave()


def turns_bad(c):
    threshold, in_flight = 5, 16
    for workers in (1, 2):
        endpoints = c.endpoints(4)
        for e in endpoints:
            e.delay_ms.value = 20
        s = c.sluice(endpoints, workers=workers, outlierDetection={"consecutive5xx": threshold})
        load = subprocess.Popen([LOAD, "--url", f"http://{s.address}/", "-c", str(in_flight), "-t", "4",
                                 "--json", "--quiet", "--allow-failed"], stdout=subprocess.DEVNULL)
        time.sleep(1.5)
        before = endpoints[0].seen.value
        endpoints[0].status.value = 500
        load.wait()
        let = endpoints[0].seen.value - before
        c.tally.say(let <= threshold + in_flight,
                    f"one of 4 answers 500, {workers} workers, settings: outlierDetection of "
                    f"{threshold} in a row: {let} let through (bound {in_flight} in flight + {threshold})")
        c.end(s)


def storm(c):
    endpoints = c.endpoints(4)
    for e in endpoints:
        e.status.value = 503
    s = c.sluice(endpoints, workers=2, route={"retry": {"attempts": 3}})
    rate, seconds = (500, 5) if c.short else (2000, 10)
    out = subprocess.run([LOAD, "--url", f"http://{s.address}/", "-c", "64", "-t", str(seconds),
                          "--rate", str(rate), "--quiet", "--allow-failed", "--json"],
                         capture_output=True, text=True, check=False).stdout
    sent, tries = json.loads(out)["sent"], sum(e.seen.value for e in endpoints)
    c.tally.say(sent <= tries <= 1.2 * sent,
                f"all of 4 answer 503, {rate} requests/s for {seconds} s, settings: retry with 3 "
                f"attempts: {tries} tries of {sent} requests, times {tries / sent:.3f} (bound 1.2)")
    c.end(s)


CASES = {"killed": killed, "killed-h2": killed_h2, "blackholed": blackholed, "blackholed-h2": blackholed_h2,
         "brownout": brownout, "turns-bad": turns_bad, "storm": storm}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    arguments = parser.parse_args()
    tally, why = Tally(), netns.why_not()
    with tempfile.TemporaryDirectory(prefix="sluice-endpoints-") as directory:
        for name in arguments.cases or CASES:
            if why and name.startswith("blackholed"):
                print(f"  {name}: skipped: {why}")
                continue
            print(f"{name}:", flush=True)
            case_directory = os.path.join(directory, name)
            os.mkdir(case_directory)
            CASES[name](Case(tally, case_directory, arguments.short))
    print(f"{tally.passed} passed, {tally.failed} failed")
    return tally.failed > 0


if __name__ == "__main__":
    sys.exit(main())
