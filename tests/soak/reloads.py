"""Reloads under load: other weights, routes, upstreams and listeners again and again, some of them
refused, and nobody notices; tunnels and downloads go on through all of it."""

import copy
import json
import os
import threading
import time

import rig  # noqa: F401 - where the tests' own modules are
import websocket
from rig import (App, Client, add_up, ended_well, forward, free_port, odd, print_table, served,
                 start_loads, start_sluice, take_down, total, wait_for)
from upgrades import faults

WARM = 50    # reloads, after which memory must not grow any more
ALIVE = 10   # generations: what lasts longest is 0.5 s, and a reload takes PAUSE and more
TUNNELS = 8  # of each kind
DOWNLOADS = 6
PAUSE = 0.05  # seconds between two reloads, at least


class Tunnel:
    """Bytes that come back, from the first reload to the last."""

    def __init__(self, address, is_websocket):
        self.client = Client(address, 30)
        self.rounds = 0
        if is_websocket:
            self.client.request("GET", "/websocket", headers=websocket.request_headers())
            assert self.client.response().status == 101
            self.client = websocket.Bytes(self.client, True)
        self.wrong = None

    def turn(self):
        word = b"%016d" % self.rounds
        try:
            self.client.send(word)
            assert self.client.read(len(word)) == word, "other bytes"
            self.rounds += 1
        except (OSError, EOFError, AssertionError) as e:
            self.wrong = self.wrong or repr(e)


class Download:
    """A slow answer that must not end before it is left."""

    def __init__(self, address):
        self.client = Client(address, 30)
        self.client.request("GET", "/chunked?n=1000000&size=100&ms=20")
        assert self.client.response_head().status == 200
        self.got, self.wrong, self.stop = 0, None, threading.Event()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            while not self.stop.is_set():
                data = self.client.read_some()
                if not data:
                    raise EOFError("it ended")
                self.got += len(data)
        except (OSError, EOFError) as e:
            self.wrong = repr(e)

    def turn(self):
        pass

    def end(self):
        self.stop.set()
        self.thread.join(10)
        self.client.close()


class Changes:
    """The file, a bit different each time."""

    def __init__(self, s, app, canary):
        self.s, self.app, self.canary = s, app, canary
        self.base = copy.deepcopy(s.config)
        self.extra = f"127.0.0.1:{free_port()}"
        self.generation = 1
        self.applied = self.refused = 0
        self.slowest = 0.0

    def nth(self, i):
        """Weights always; routes, upstreams, limits and a listener by turns."""
        config = copy.deepcopy(self.base)
        weights = [{"upstream": "app", "weight": 100 - i % 60},
                   {"upstream": f"canary{i // 3 % 4}", "weight": 1 + i % 60}]
        for listener in config["listeners"]:
            if (name := listener["name"]) in ("tcp", "unix"):
                paths = [{"name": f"{name}-{k}", "match": {"pathPrefix": f"/r{k}"},
                          "directResponse": {"body": "x"}} for k in range(i % 7, i % 7 + i % 5)]
                # By a name of its own: by its place it would be another route each time.
                listener["routes"] = [*(paths if i % 2 else paths[::-1]), {
                    "name": f"{name}-every", "match": {"pathPrefix": "/"}, "timeout": "30s",
                    "backends": weights}]
                listener["maxConnections"] = 18000 - i % 3
        config["upstreams"].append({"name": f"canary{i // 3 % 4}", "endpoints": [
            self.canary.address, *([self.app.address] if i % 4 == 1 else [])]})
        config["upstreams"][0]["circuitBreaker"] = {"maxRequests": 1000 + i % 50}
        if i // 10 % 2:
            config["listeners"].append({"name": f"extra{i // 40}", "address": self.extra,
                                        "routes": [forward()]})
        return config

    def write(self, text):
        new = self.s.config_path + "~"
        with open(new, "w") as f:
            f.write(text)
        os.rename(new, self.s.config_path)

    def post(self):
        start = time.monotonic()
        code, response = self.s.admin("POST", "/v1/reload", timeout=60)
        self.slowest = max(self.slowest, time.monotonic() - start)
        return code, json.loads(response.body)

    def make(self, i):
        """The ith; what is wrong."""
        if i % 10 == 7:
            self.spoil(i)
            code, told = self.post()
            self.refused += 1
            return [] if code == 422 else [f"a bad file gave {code} {told}"]
        config = self.nth(i)
        self.write(json.dumps(config, indent=1) + "\n")
        code, told = self.post()
        self.applied += 1
        self.generation += 1
        if (code, told.get("result"), told.get("generation")) != (200, "applied", self.generation):
            return [f"{code} {told}"]
        return []

    def spoil(self, i):
        config = self.nth(i)
        config["listeners"][0]["routes"].insert(0, {"match": {"path": "/"}, "upstream": "nobody"})
        text = json.dumps(config, indent=1)
        self.write(text if i % 20 == 7 else text[:len(text) // 2])

    def told(self):
        code, response = self.s.admin("GET", "/v1/config")
        return json.loads(response.body)


def weight(s):
    """RssAnon in kB, descriptors that are no connection, threads. Connections come and go between
    the looks at them: the median of a few."""
    def look():
        status = s.status()
        connections = status["connections"] + sum(u["connections"] for u in status["upstreams"])
        return s.anon_kb(), s.count_fds() - connections, len(os.listdir(f"/proc/{s.pid}/task"))
    return tuple(sorted(of)[2] for of in zip(*(look() for _ in range(5))))


def finish(tally, changes, n):
    told = changes.told()
    counts = {"applied": changes.applied, "refused": changes.refused, "unchanged": 0}
    tally.say(told["reloads"] == counts and told["generation"] == changes.generation and
              not told["pending_restart"],
              f"/v1/config: generation {told['generation']} after {n} reloads, {told['reloads']}")
    # By the wall clock: on a busy machine most of it is waiting for a CPU. `make bench-reload` has
    # the bound.
    print(f"          a worker was held {told['swap_ms']['max']:.3f} ms at most; the slowest reload "
          f"took {changes.slowest * 1000:.0f} ms, with the wait for it", flush=True)


def reloads(size, tally, app, directory):
    """Weights, routes, upstreams and listeners change under load: nothing failed, nothing cut."""
    canary, tcp = None, f"127.0.0.1:{free_port()}"
    loads, going, most, warm = [], [], 0, None
    s = start_sluice(
        os.path.join(directory, "reload"), app,
        listeners=[{"name": "echo", "protocol": "tcp", "address": tcp,
                    "backends": [{"upstream": "echo", "weight": 1}]}],
        upstreams=[{"name": "echo", "endpoints": [app.echo]}],
        more={"reload": {"watch": False, "pollInterval": "0s"}})
    try:
        canary = App("canary")
        changes = Changes(s, app, canary)
        tally.check(not changes.make(0), "the first one")
        loads = start_loads(s)
        going = [Tunnel(a, a == s.address) for a in (tcp, s.address) for _ in range(TUNNELS)]
        going += [Download(s.address) for _ in range(DOWNLOADS)]
        wait_for(lambda: served(s) >= 1000, "load", 60, 0.01)
        for i in range(1, size.reloads):
            wrong = changes.make(i)
            tally.check(not wrong, f"reload {i}: {'; '.join(wrong)}")
            for it in going:
                it.turn()
            if i % 10 == 9:  # no listener comes and goes just now
                most = max(most, changes.told()["generations_alive"])
            if i + 1 == min(WARM, size.reloads // 2):
                warm = weight(s)
            time.sleep(PAUSE)
        wait_for(lambda: served(s) >= size.reload_requests, "enough requests", 1200, 0.1)
        changes.make(min(WARM, size.reloads // 2) - 1)  # as it was then
        wait_for(lambda: changes.told()["generations_alive"] <= 2 + DOWNLOADS, "old ones go", 30)
        end = weight(s)
        cut = [it.wrong for it in going if it.wrong]
        tally.say(not cut, f"{2 * TUNNELS} tunnels, {DOWNLOADS} downloads through all of it: "
                  f"{len(cut)} cut {cut[:3]}")
        tally.say(most <= ALIVE, f"{most} generations alive at most")
        for it in going:
            it.end() if isinstance(it, Download) else it.client.close()
        results = {load.name: r for load, r in zip(loads, ended(loads))}
        rows = {}
        add_up(rows, results)
        every = print_table(f"{size.reloads} reloads", rows)
        wrong = faults(results)
        tally.say(not wrong and every["sent"] >= size.reload_requests,
                  f"{size.reloads} reloads, {every['sent']} requests {'; '.join(wrong)}")
        if wrong:
            print("         ", odd(results), flush=True)
        grown = end[0] - warm[0]
        tally.say(grown <= 1024 and abs(end[1] - warm[1]) <= 20 and end[2] == warm[2],
                  f"RssAnon, descriptors, threads: {warm} warm, {end} at the end")
        wait_for(lambda: changes.told()["generations_alive"] == 1,
                 lambda: f"one generation: {changes.told()}", 30)
        finish(tally, changes, size.reloads)
        s.signal(15)
        wrong = ended_well(s, s.process.wait(20))
        tally.check(not wrong, f"the end after the reloads: {'; '.join(wrong)}")
        return every["sent"]
    finally:
        take_down(s, loads)
        if canary:
            canary.stop()


def ended(loads):
    for load in loads:
        load.interrupt()
    return [load.result() for load in loads]
