"""What tests/soak/scale.py is made of: its configurations, its servers, and who does what while the
load runs."""

import copy
import json
import os
import subprocess
import threading
import time

from rig import SLUICE, STARTS, Sluice, is_open, mere_start, wait_for
from dns_server import DnsServer  # noqa: E402 - rig has made scenario's modules known
from ports import free_port
from prometheus import parse

UPSTREAMS = 5
NAMES, OF_A_NAME = 20, 50  # an answer has at most 64 records, an upstream 1,024 addresses
BACKENDS = {"healthCheck": {"http": {"path": "/healthz"}, "interval": "5s"},
            "outlierDetection": {"interval": "2s"}, "slowStart": {},
            "circuitBreaker": {"errorRate": 50}}


class Servers:
    """The application on every address of 127.0.0.0/8, and the DNS server that has names for some."""

    def __init__(self):
        self.port = free_port()
        self.process = subprocess.Popen([SLUICE, "demo-app", "--listen", f"0.0.0.0:{self.port}"],
                                        stdin=subprocess.DEVNULL)
        wait_for(lambda: is_open(f"127.0.0.1:{self.port}"), "the application listens")
        self.dns = DnsServer()
        self.round = 0
        self.turn_names()

    def address(self, upstream, i):
        return f"127.{upstream + 10}.{i // 250}.{i % 250 + 1}"

    def turn_names(self):
        """Each name has other addresses than before, but for half of them."""
        for name in range(NAMES):
            first = name * 2 * OF_A_NAME + (self.round * OF_A_NAME // 2) % OF_A_NAME
            self.dns.set(f"n{name}.test", "A", [self.address(UPSTREAMS, first + i)
                                                for i in range(OF_A_NAME)], ttl=1)
        self.round += 1

    def stop(self):
        self.dns.stop()
        self.process.kill()
        self.process.wait()


def upstream(servers, number, n):
    """n addresses: of the last upstream by names, as far as these go."""
    if number == UPSTREAMS - 1 and n > 1:
        endpoints = [f"n{i}.test:{servers.port}" for i in range(n // OF_A_NAME)]
    else:
        endpoints = [f"{servers.address(number, i)}:{servers.port}" for i in range(n)]
    return {"name": f"u{number}", "endpoints": endpoints, "dns": {"minTtl": "2s"},
            **copy.deepcopy(BACKENDS)}


def route(i):
    made = {"name": f"r{i}", "match": {"pathPrefix": f"/r/{i:08}"}}
    if i % 4 == 0:
        made["backends"] = [{"upstream": f"u{i % UPSTREAMS}", "weight": 95},
                            {"upstream": f"u{(i + 1) % UPSTREAMS}", "weight": 5}]
    else:
        made["upstream"] = f"u{i % UPSTREAMS}"
    return made


def config(servers, address, routes, endpoints, keys):
    """`endpoints` of each upstream."""
    limit = {"name": "each", "requests": 10, "per": "1h", "maxKeys": keys,
             "key": {"header": "X-Key"}}
    return {
        "workers": 2,
        "accessLog": {"path": "/dev/null"},
        "dns": {"servers": [servers.dns.address]},
        "listeners": [{
            "name": "out", "direction": "outbound", "address": address,
            "routes": [{"name": "keyed", "match": {"path": "/keyed"}, "upstream": "u0",
                        "rateLimits": [limit]},
                       *(route(i) for i in range(routes))]}],
        "upstreams": [upstream(servers, i, endpoints) for i in range(UPSTREAMS)]}


def changed(base, turn):
    """As an operator changes it: weights, timeouts, one upstream's addresses, a route's name."""
    made = copy.deepcopy(base)
    routes = made["listeners"][0]["routes"]
    for i, r in enumerate(routes):
        if "backends" in r:
            r["backends"][0]["weight"] = 50 + (i + turn) % 50
        r["timeout"] = f"{10 + turn % 5}s"
    routes[1 + turn % (len(routes) - 1)]["name"] = f"new{turn}"
    endpoints = made["upstreams"][1 + turn % 3]["endpoints"]
    del endpoints[:len(endpoints) // 2 if turn % 4 == 0 else 1]
    return made


def start(directory, servers, config_, env=None):
    os.mkdir(directory)
    listeners = config_["listeners"]
    s = Sluice(directory, config_, env=env)
    s.address, s.unix = listeners[0]["address"], s.socket_path
    return s


class Every:
    """Calls something every `pause` seconds, until it is stopped; what it raises fails the run."""

    def __init__(self, pause, call):
        self.pause, self.call, self.error = pause, call, None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.stopping.wait(self.pause):
                self.call()
        except Exception as e:  # noqa: BLE001 - told by who stops it
            self.error = e

    def stop(self):
        self.stopping.set()
        self.thread.join()
        if self.error:
            raise self.error


class Meanwhile:
    """What goes on besides the load; `done` has for each thing when it began and ended."""

    def __init__(self, s, servers):
        self.s, self.servers = s, servers
        self.done = {what: [] for what in ("scrape", "health", "reload", "drain", "names")}
        self.turn, self.bytes, self.starts = 0, 0, [mere_start()]
        self.doing = [Every(1.0, self.scrape), Every(0.02, self.health), Every(2.0, self.reload),
                      Every(1.5, self.drain), Every(5.0, self.names), Every(2.0, self.look)]

    def _note(self, what, begin):
        self.done[what].append((begin, time.monotonic()))

    def scrape(self):
        begin = time.monotonic()
        code, response = self.s.get_health("/metrics")
        assert code == 200, response
        self._note("scrape", begin)
        self.bytes = len(response.body)

    def health(self):
        begin = time.monotonic()
        assert self.s.get_health("/livez")[0] == 200
        self._note("health", begin)

    def reload(self):
        self.turn += 1
        made = changed(self.s.config, self.turn)
        with open(self.s.config_path + ".new", "w") as f:
            json.dump(made, f)
        os.rename(self.s.config_path + ".new", self.s.config_path)
        begin = time.monotonic()
        code, response = self.s.admin("POST", "/v1/reload")
        assert code == 200, response.body
        self._note("reload", begin)

    def drain(self):
        """One endpoint after the other is drained, and the one before is ready again."""
        n = len(self.done["drain"])
        begin = time.monotonic()
        self._word("drain", n + 600)
        if n > 0:
            self._word("ready", n + 599)
        self._note("drain", begin)

    def _word(self, verb, i):
        address = f"{self.servers.address(0, i % 1000)}:{self.servers.port}"
        subprocess.run([SLUICE, "endpoint", verb, "u0", address, "--admin", self.s.socket_path],
                       check=True, stdout=subprocess.DEVNULL)

    def look(self):
        self.starts.append(mere_start())

    def pace(self):
        """Seconds: what a bound becomes where others have the processors (rig.STARTS). It is the
        longest that is judged, so it is the longest start."""
        return max(self.starts) * STARTS / 1000

    def seen(self):
        """Has each of it happened, however fast the load was?"""
        least = {"scrape": 2, "health": 1, "reload": 3, "drain": 3, "names": 1}
        return all(len(self.done[what]) >= n for what, n in least.items()) or self.failed()

    def failed(self):
        return any(doing.error for doing in self.doing)

    def names(self):
        begin = time.monotonic()
        self.servers.turn_names()
        self._note("names", begin)

    def stop(self):
        for doing in self.doing:
            doing.stop()

    def longest(self, what):
        return max((end - begin for begin, end in self.done[what]), default=0.0)

    def at(self, when):
        """What went on at that moment, or ended up to 0.2 s before it."""
        return [what for what, times in self.done.items() if what != "health"
                and any(begin <= when <= end + 0.2 for begin, end in times)]


def metrics(s):
    code, response = s.get_health("/metrics")
    assert code == 200, response
    return parse(response.body.decode())
