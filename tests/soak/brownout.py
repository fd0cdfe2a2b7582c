"""One endpoint of four begins to take two seconds: how soon is the clients' p99 what it was, and does
it stay there while sluice tries that endpoint again, now and then? Nothing is configured but
addresses.

Requests are due at random (Poisson), and a latency counts from when it was due. The p99 is that of
each second, and of each that begins half a second later: at these rates it is the third or so
greatest of them, and not the greatest. All answers take 50 ms and more, so that what the machine adds
to normal ones is small against half of that; where it is not, nothing is proved, and that fails."""

import collections
import time

from open_loop import OpenLoop, Slots, Waiting, percentile
from ports import free_port

BOUND, TIMES = 3.0, 1.5  # s after the fault; of the p99 before it
BEFORE, SLOW_MS, WINDOW = 5, 2000, 1.0  # s; ms; s

Case = collections.namedtuple("Case", "workers rate service_ms http2", defaults=(False,))
CASES = [Case(1, 300, 50), Case(2, 300, 50), Case(4, 300, 50), Case(2, 1000, 50), Case(2, 200, 100),
         Case(2, 300, 50, http2=True)]


def speaks_http2(c, endpoints):
    """A sluice in front of them, with an address for each; and these."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in endpoints]
    s = c.sluice(["127.0.0.1:1"], more={
        "listeners": [{"name": f"e{i}", "direction": "inbound", "address": a, "protocol": "http2",
                       "routes": [{"match": {"pathPrefix": "/"},
                                   "backends": [{"upstream": f"e{i}"}]}]}
                      for i, a in enumerate(addresses)],
        "upstreams": [{"name": f"e{i}", "endpoints": [e.address]} for i, e in enumerate(endpoints)]})
    return s, addresses


def settled(answers, fault, end, bound):
    """When the last second ends whose p99 is above it, since the fault."""
    last, at = 0.0, fault
    while at + WINDOW <= end:
        p99 = percentile([a.latency for a in answers if at <= a.due < at + WINDOW], 0.99)
        if p99 > bound:
            last = at + WINDOW - fault
        at += WINDOW / 2
    return last


def run(c, case, after):
    endpoints = [Slots(1000, case.service_ms, then_ms=SLOW_MS) for _ in range(4)]
    inner, addresses = (speaks_http2(c, endpoints) if case.http2 else
                        (None, [e.address for e in endpoints]))
    s = c.sluice(addresses, workers=case.workers, **({"protocol": "http2"} if case.http2 else {}))
    waiting = Waiting(s.pid)
    load = OpenLoop(f"http://{s.address}/", case.rate, BEFORE + after, 1000, 20000)
    time.sleep(BEFORE)
    endpoints[0].change()
    fault = time.monotonic() - load.begun
    answers = load.answers()
    before = percentile([a.latency for a in answers if a.due < fault - WINDOW], 0.99)
    c.tally.check(before * 1000 <= TIMES * case.service_ms, f"without a fault p99 is {before * 1000:.1f} "
                  f"ms of answers that take {case.service_ms}: this machine is too busy for this")
    took = settled(answers, fault, BEFORE + after, TIMES * before)
    late = [a for a in answers if a.due >= fault + BOUND]
    slow, odd = sum(a.latency > 1 for a in late), [a for a in answers if a.status != 200]
    c.tally.say(took <= BOUND and not odd,
                f"one of 4 takes 2 s, {case.rate} requests/s, {case.workers} workers"
                f"{', HTTP/2' * case.http2}, settings: none: p99 {before * 1000:.1f} ms before, within "
                f"{TIMES} times that after {took:.1f} s, for {after} s (bound {BOUND}); from then on "
                f"{slow} of {len(late)} are slow; {len(odd)} not answered; sluice was kept waiting for "
                f"a CPU for {waiting.share():.1%} of the time")
    for each in (s, inner):
        if each:
            c.end(each)
    for e in endpoints:
        e.stop()


def brownout(c):
    for case in CASES[:1 if c.short else None]:
        run(c, case, 20 if c.short else 40)
