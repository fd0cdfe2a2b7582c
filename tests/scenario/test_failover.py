"""Failover by priority and zone: who takes over, how much, and how it goes back; over real sockets."""

import json
import subprocess
import threading

import pytest

import h2wire
from harness import SLUICE
from wire import Client, wait_for

CHECK = {"http": {"path": "/healthz"}, "interval": "100ms", "unhealthyInterval": "100ms",
         "timeout": "5s", "rise": 1, "fall": 1, "jitter": 0, "skipWhileServing": False}
RETRY = {"attempts": 2, "on": ["connect-failure", "reset-before-response", "gateway-error"],
         "backoff": {"base": "1ms"}}
ASKS = 600


class App:
    """A server whose health and whose answers can be changed while it runs."""

    def __init__(self, name):
        self.name, self.healthy, self.status = name, True, 200

    def __call__(self, conn):
        while (request := conn.request()) is not None:
            if request.target == "/healthz":
                conn.answer(b"x", status=200 if self.healthy else 500)
            else:
                conn.answer(self.name.encode(), status=self.status)


def spot(backend, priority=0, zone=None):
    return {"address": backend.address, "priority": priority, **({"zone": zone} if zone else {})}


class Levels:
    """An upstream with so many servers of each priority; zones: those of each priority."""

    def __init__(self, sc, *sizes, zones=None, workers=1, more=None, route=None, **upstream):
        self.sc = sc
        self.apps, self.spots, self.backends = [], [], []
        for priority, size in enumerate(sizes):
            for i in range(size):
                zone = zones[priority][i] if zones else None
                app = App(f"{priority}{zone or ''}")
                backend = sc.backend(app)
                self.apps.append(app)
                self.backends.append(backend)
                self.spots.append(spot(backend, priority, zone))
        upstream.setdefault("healthCheck", CHECK)
        if upstream["healthCheck"] is None:
            del upstream["healthCheck"]
        sc.proxy(backend=self.backends[0], route=route,
                 more={"workers": workers, "upstreams": [
                     {"name": "app", "endpoints": self.spots, **upstream}], **(more or {})})

    def shares(self, n=ASKS):
        """Percent of answers by the name of who gave them; what is no 200 by its status."""
        client = self.sc.client()
        got = {}
        for _ in range(n):
            response = client.ask()
            name = response.body.decode() if response.status == 200 else response.status
            got[name] = got.get(name, 0) + 100 / n
        client.close()
        return got

    def set_health(self, healthy, *which):
        for i in which:
            self.apps[i].healthy = healthy
        word = "well" if healthy else "unhealthy"
        addresses = [self.backends[i].address for i in which]
        wait_for(lambda: all(e["state"] == word for e in shown(self.sc)["endpoints"]
                             if e["address"] in addresses), word)


def shown(sc):
    code, response = sc.s.admin("GET", "/v1/endpoints?upstream=app")
    assert code == 200, response.body
    return json.loads(response.body)["upstreams"][0]


def levels(sc):
    return [level["share_percent"] for level in shown(sc)["standing"]["levels"]]


def reload(sc, change):
    change(sc.s.config["upstreams"][0])
    with open(sc.s.config_path, "w") as f:
        json.dump(sc.s.config, f)
    code, response = sc.s.admin("POST", "/v1/reload")
    assert code == 200, response.body


def near(got, expected):
    """600 draws: five standard deviations are 10 at most."""
    assert set(got) <= set(expected), got
    for name, share in expected.items():
        assert abs(got.get(name, 0) - share) <= (10 if 0 < share < 100 else 0.01), (got, expected)


class Load:
    """Clients that ask one after another until it ends, and what they got."""

    def __init__(self, sc, n=4):
        self.failed, self.done, self.names = [], 0, []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(sc.address,)) for _ in range(n)]
        for t in self.threads:
            t.start()

    def run(self, address):
        client = Client(address)
        try:
            while not self.stop.is_set():
                response = client.ask()
                self.done += 1
                self.names.append(response.body)
                if response.status != 200:
                    self.failed.append((response.status, response.body))
        except (OSError, EOFError) as e:
            self.failed.append(repr(e))
        finally:
            client.close()

    def more(self, n=200):
        before = self.done
        wait_for(lambda: self.done >= before + n, "requests")

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()


# --- levels ---

def test_the_first_takes_all_and_the_rest_by_health(sc):
    t = Levels(sc, 4, 2)
    near(t.shares(), {"0": 100})
    t.set_health(False, 0)  # 75 % x 1.4
    near(t.shares(), {"0": 100})
    t.set_health(False, 1)
    near(t.shares(), {"0": 70, "1": 30})
    assert levels(sc) == [70, 30]
    wait_for(lambda: "upstream app: failover: priority 0 takes 70 % (2 of 4 well), priority 1 takes 30 % "
             "(2 of 2 well)" in sc.s.log(), "it is told, once a second")
    t.set_health(False, 2, 3)
    near(t.shares(), {"1": 100})
    t.set_health(True, 0, 1, 2, 3)
    near(t.shares(), {"0": 100})
    wait_for(lambda: "upstream app: failed back: priority 0 takes 100 % (4 of 4 well)" in sc.s.log(),
             "it is told")


def test_dry_run(sc):
    """Told and counted; the best priority keeps everything, and its zones are alike."""
    t = Levels(sc, 2, 2, zones=[["a", "b"], ["a", "b"]], failover={"dryRun": True},
               balance="roundRobin", more={"locality": {"zone": "a"}})
    t.set_health(False, 0, 1)
    near(t.shares(), {"0a": 50, "0b": 50})
    assert levels(sc) == [0, 100] and shown(sc)["standing"]["failover_dry_run"] is True
    m = sc.s.metrics()
    requests = "sluice_upstream_level_requests_total"
    assert m.get(requests, priority="0", dry_run="false") == ASKS
    assert m.get(requests, priority="1", dry_run="true") == ASKS
    assert m.get(requests, priority="1", dry_run="false") == 0
    zones = "sluice_upstream_zone_requests_total"
    assert m.get(zones, zone="own", dry_run="true") == ASKS  # a brings half, and has half
    assert m.get(zones, zone="own", dry_run="false") == ASKS / 2
    wait_for(lambda: "upstream app (dryRun): failover: priority 0 takes 0 %" in sc.s.log(), "it is told")
    # A refused connect does not lead beyond either.
    for i in (0, 1):
        t.backends[i].stop()
    wait_for(lambda: t.shares(1) == {502: 100}, "nobody else is asked")
    reload(sc, lambda upstream: upstream["failover"].update(dryRun=False))
    near(t.shares(100), {"1a": 100})


def test_what_is_shown(sc):
    t = Levels(sc, 2, 1)
    t.shares(30)
    t.set_health(False, 0)
    m = sc.s.metrics()
    assert m.get("sluice_upstream_level_share", upstream="app", priority="0") == 0.7
    assert m.get("sluice_upstream_level_share", upstream="app", priority="1") == 0.3
    assert m.get("sluice_upstream_level_endpoints", upstream="app", priority="0") == 2
    assert m.get("sluice_upstream_level_endpoints_well", upstream="app", priority="0") == 1
    assert m.get("sluice_upstream_level_requests_total", upstream="app", priority="0") == 30
    standing = sc.s.status()["upstreams"][0]["standing"]
    assert standing["levels"] == [
        {"priority": 0, "there": 2, "well": 1, "share_percent": 70.0},
        {"priority": 1, "there": 1, "well": 1, "share_percent": 30.0}]
    assert [e["priority"] for e in shown(sc)["endpoints"]] == [0, 0, 1]
    done = subprocess.run([SLUICE, "endpoint", "list", "--admin", sc.s.socket_path],
                          capture_output=True, text=True, check=True)
    assert "PRIORITY" in done.stdout and "0: 70%" in done.stdout and "1: 30%" in done.stdout


def test_without_priorities_nothing_is_shown(sc):
    sc.proxy()
    sc.ask()
    assert "levels" not in shown(sc)["standing"] and "priority" not in shown(sc)["endpoints"][0]
    assert not sc.s.metrics().series("sluice_upstream_level_requests_total")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_killed_level_costs_nothing(sc, n):
    """Connections refused: idempotent requests notice nothing, with one, two or three servers."""
    t = Levels(sc, n, 1, healthCheck=None, workers=2, route={"retry": RETRY},
               retryBudget={"minPerSecond": 1000},
               outlierDetection={"maxEjectionPercent": 100, "baseEjectionTime": "60s"})
    load = Load(sc)
    load.more()
    for backend in t.backends[:n]:
        backend.stop()
    load.more()
    wait_for(lambda: [e["state"] for e in shown(sc)["endpoints"]] == ["ejected"] * n + ["well"],
             "the level is left alone")
    load.more()
    load.end()
    assert load.failed == []
    assert b"1" in load.names
    assert levels(sc) == [0, 100]
    near(t.shares(50), {"1": 100})


def test_refused_without_any_judge(sc):
    """Nobody ejects, nobody checks: what has just refused is asked again only now and then."""
    t = Levels(sc, 2, 1, healthCheck=None)
    t.shares(20)
    for backend in t.backends[:2]:
        backend.stop()
    near(t.shares(200), {"1": 100})
    assert levels(sc) == [100, 0]


def test_ejected_by_their_answers(sc):
    t = Levels(sc, 2, 1, healthCheck=None, route={"retry": RETRY}, retryBudget={"percent": 100},
               outlierDetection={"maxEjectionPercent": 100, "baseEjectionTime": "60s"})
    for app in t.apps[:2]:
        app.status = 503
    near(t.shares(100), {"1": 100})
    assert [e["state"] for e in shown(sc)["endpoints"]] == ["ejected", "ejected", "well"]


def test_fail_back_is_slow(sc):
    t = Levels(sc, 3, 2, slowStart={"window": "60s", "initialPercent": 10})
    t.set_health(False, 0, 1, 2)
    near(t.shares(100), {"1": 100})
    t.set_health(True, 0, 1, 2)
    first = levels(sc)[0]
    assert 14 <= first < 60
    got = t.shares()
    after = levels(sc)[0]
    assert first - 10 <= got["0"] <= after + 10 and got["0"] + got["1"] == pytest.approx(100)
    wait_for(lambda: levels(sc)[0] > first + 1, "it grows")
    reload(sc, lambda u: u.update(slowStart={"window": "1ms", "initialPercent": 100}))
    near(t.shares(100), {"0": 100})


@pytest.mark.parametrize("threshold,panic", [(50, True), (0, False)])
def test_all_are_bad(sc, threshold, panic):
    """All are used by their number, or without panic those of the first."""
    t = Levels(sc, 3, 1, panicThreshold=threshold)
    t.set_health(False, 0, 1, 2, 3)
    near(t.shares(), {"0": 75, "1": 25} if panic else {"0": 100})
    assert shown(sc)["standing"]["panic"] is panic
    assert sc.s.metrics().get("sluice_upstream_panic", upstream="app") == panic


def test_no_panic_while_the_rest_is_enough(sc):
    """One of five is well: less than panicThreshold, and its level can take everything."""
    t = Levels(sc, 4, 1)
    t.set_health(False, 0, 1, 2, 3)
    near(t.shares(100), {"1": 100})
    assert shown(sc)["standing"]["panic"] is False


def test_operator_drains_a_level(sc):
    t = Levels(sc, 1, 1, healthCheck=None)

    def say(verb, i):
        subprocess.run([SLUICE, "endpoint", verb, "app", t.backends[i].address, "--admin",
                        sc.s.socket_path], check=True, capture_output=True)
    load = Load(sc)
    load.more()
    say("drain", 0)
    load.more()
    load.end()
    assert load.failed == []
    near(t.shares(50), {"1": 100})
    say("drain", 1)
    near(t.shares(5), {503: 100})
    assert b"no_endpoint" in sc.ask().body
    say("ready", 0)
    near(t.shares(50), {"0": 100})


def test_reload_swaps_the_levels_under_load(sc):
    t = Levels(sc, 2, 2, workers=2)
    load = Load(sc)
    load.more()
    before = {e["address"]: e["requests"] for e in shown(sc)["endpoints"]}
    assert sum(before.values()) > 0

    def swap(u):
        for e in u["endpoints"]:
            e["priority"] = 1 - e["priority"]
    for _ in range(5):
        reload(sc, swap)
        load.more(100)
    load.end()
    assert load.failed == []
    near(t.shares(100), {"1": 100})
    after = {e["address"]: e["requests"] for e in shown(sc)["endpoints"]}
    assert all(after[a] >= n for a, n in before.items())
    assert [e["priority"] for e in shown(sc)["endpoints"]] == [0, 0, 1, 1]
    assert [e["address"] for e in shown(sc)["endpoints"]][:2] == [b.address for b in t.backends[2:]]
    reload(sc, lambda u: u.update(endpoints=[b.address for b in t.backends]))
    near(t.shares(), {"0": 50, "1": 50})


def test_ejection_survives_a_change_of_level(sc):
    t = Levels(sc, 2, 1, healthCheck=None,
               outlierDetection={"consecutive5xx": 2, "baseEjectionTime": "60s"})
    t.apps[0].status = 500
    wait_for(lambda: t.shares(20) and shown(sc)["endpoints"][0]["state"] == "ejected", "it is ejected")
    reload(sc, lambda u: u["endpoints"][0].update(priority=2))
    last = shown(sc)["endpoints"][2]
    assert last["address"] == t.backends[0].address
    assert last["state"] == "ejected" and last["priority"] == 2
    assert [level["well"] for level in shown(sc)["standing"]["levels"]] == [1, 1, 0]


def test_back_at_the_limit_of_connections(sc):
    """What was opened while the first was away is not handed on for ever."""
    t = Levels(sc, 1, 1, workers=1, circuitBreaker={"maxConnections": 2}, pool={"idleTimeout": "60s"})
    load = Load(sc, 8)
    t.set_health(False, 0)
    load.more()
    t.set_health(True, 0)
    load.more()
    wait_for(lambda: load.more(50) or set(load.names[-30:]) == {b"0"}, "the first takes all again")
    load.end()
    assert load.failed == []


# --- zones ---

ZONES = {"locality": {"zone": "${ZONE:-b}"}}


def test_own_zone(sc):
    t = Levels(sc, 9, zones=["aaabbbccc"], more=ZONES)
    near(t.shares(), {"0b": 100})
    t.set_health(False, 3)
    near(t.shares(), {"0b": 75, "0a": 12.5, "0c": 12.5})
    m = sc.s.metrics()
    own = m.get("sluice_upstream_zone_requests_total", upstream="app", zone="own")
    other = m.get("sluice_upstream_zone_requests_total", upstream="app", zone="other")
    assert own + other == 2 * ASKS and 0 < other < ASKS
    zones = shown(sc)["standing"]["levels"][0]["zones"]
    assert [z["zone"] for z in zones] == ["a", "b", "c"] and [z["own"] for z in zones] == [0, 1, 0]
    t.set_health(False, 4, 5)
    near(t.shares(), {"0a": 50, "0c": 50})
    t.set_health(True, 3, 4, 5)
    reload(sc, lambda u: u.update(failover={"preferOwnZone": False}))
    near(t.shares(), {"0a": 33.3, "0b": 33.3, "0c": 33.3})


def test_a_small_zone_is_not_overrun(sc):
    """One of ten servers is ours: it keeps 20 % of what we send, twice its share."""
    t = Levels(sc, 10, zones=["b" + 9 * "a"], more=ZONES)
    near(t.shares(), {"0b": 20, "0a": 80})


def test_zone_within_a_level(sc):
    t = Levels(sc, 2, 2, zones=["ab", "ab"], more=ZONES)
    near(t.shares(200), {"0b": 100})
    t.set_health(False, 1)  # half of the level is good for 70 %
    near(t.shares(), {"0a": 70, "1b": 30})
    t.set_health(False, 0)
    near(t.shares(200), {"1b": 100})


# --- HTTP/2 ---

def test_http2_upstreams(sc):
    """The first server goes away. Its answers are one frame each, so that none is cut in two."""
    def bare(conn):
        while (st := conn.request()) is not None:
            if st.reset is None:
                conn.answer(st)
    first, second = (h2wire.Backend(bare) for _ in range(2))
    sc.backends += [first, second]
    sc.proxy(backend=first, route={"retry": RETRY},
             more={"workers": 2, "upstreams": [{
                 "name": "app", "protocol": "http2", "endpoints": [spot(first), spot(second, 1)],
                 "retryBudget": {"minPerSecond": 1000},
                 "outlierDetection": {"maxEjectionPercent": 100, "baseEjectionTime": "60s"}}]})
    load = Load(sc)
    load.more()
    assert not second.requests
    first.stop()
    load.more(400)
    load.end()
    assert load.failed == []
    assert len(second.requests) > 100
