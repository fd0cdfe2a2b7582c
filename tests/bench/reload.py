#!/usr/bin/env python3
"""How long a reload takes: of files with 1,000 routes and 1,000 endpoints, two in turns, under light
load; 10,000 routes for information. Exit status 1 when a bound of the first is missed."""

import copy
import json
import os
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))

from rig import App, Load, forward, served, start_sluice, take_down, wait_for  # noqa: E402

TIMES = 20
TOOK_MS, SWAP_MS = 50, 2  # what is wanted of 1,000 routes


def config_of(base, app, routes, turn):
    """Upstreams of 10 endpoints each. By the turn weights, paths and endpoints differ, and a tenth
    of the upstreams and routes is another."""
    config = copy.deepcopy(base)
    n = max(routes // 10, 1)
    names = [f"u{k}-{turn if k % 10 == 0 else 'stays'}" for k in range(n)]
    config["upstreams"] += [{"name": name, "endpoints": [
        f"127.{1 + turn}.{k // 250}.{k % 250 + 1}:{1000 + e}" for e in range(10)]}
        for k, name in enumerate(names)]
    config["listeners"][0]["routes"] = [
        {"name": f"r{k}-{turn if k % 10 == 0 else 'stays'}",
         "match": {"pathPrefix": f"/service{k}/v{turn}"},
         "backends": [{"upstream": names[k % n], "weight": 90 + turn},
                      {"upstream": names[(k + 1) % n], "weight": 10}]}
        for k in range(routes)] + [forward(name="every")]
    return json.dumps(config, indent=1) + "\n"


def measure(app, directory, routes):
    s = start_sluice(os.path.join(directory, str(routes)), app,
                     more={"reload": {"watch": False, "pollInterval": "0s"}})
    loads = []
    try:
        texts = [config_of(s.config, app, routes, turn) for turn in (0, 1)]
        loads.append(Load("light", f"http://{s.address}/", ["--rate", "500"], 16))
        wait_for(lambda: served(s) >= 100, "load", 60, 0.01)
        took, swap = [], []
        for i in range(TIMES + 1):
            with open(s.config_path, "w") as f:
                f.write(texts[i % 2])
            code, response = s.admin("POST", "/v1/reload", timeout=60)
            told = json.loads(response.body)
            assert (code, told["result"]) == (200, "applied"), told
            if i > 0:  # the first one is no change from one to the other
                took.append(told["last_reload"]["took_ms"])
                swap.append(told["swap_ms"]["last"])
        loads[0].interrupt()
        result = loads[0].result()
        print(f"{routes:6} routes, {routes:6} endpoints, {len(texts[0]) >> 10} KiB: took "
              f"median {statistics.median(took):.1f}, longest {max(took):.1f} ms; a worker held "
              f"median {statistics.median(swap):.3f}, longest {max(swap):.3f} ms; "
              f"{result['answered']} requests, {result['failed']} failed, longest gap "
              f"{result['longest_gap_ms']:.1f} ms", flush=True)
        return max(took) <= TOOK_MS and max(swap) <= SWAP_MS and result["failed"] == 0
    finally:
        take_down(s, loads)


def main():
    app = App("app")
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            good = measure(app, directory, 1000)
            measure(app, directory, 10000)
    finally:
        app.stop()
    print(f"wanted of 1,000: at most {TOOK_MS} ms and {SWAP_MS} ms: {'met' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
